package tap

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// A Spec describes a persistent TAP that a hypervisor will open by name.
type Spec struct {
	Name   string
	Port   string // the port it is for; recorded in the device's alias
	Owner  int    // uid that may open it; -1: not restricted
	Group  int    // gid that may open it; -1: not restricted
	Queues int    // queue pairs; more than 1 makes it multi-queue
	MTU    int    // bytes; 0: the kernel's default
}

// Create makes the TAP through water, or takes over one that weft made with the
// same spec. One that differs in queues, owner or group is remade if nobody has it
// open; else other queues are ErrBusy, and with another owner or group alone the TAP
// is taken over as it is, and ErrOldOwner says so. A device of that name that weft did not make is ErrForeign.
// The TAP is down until AttachDevice: else the host would see its guest's frames.
func Create(s Spec) error {
	l, err := own(s.Name, rolePort)
	switch {
	case errors.Is(err, ErrNoDevice):
	case err != nil:
		return err
	case s.matches(l):
		return s.setUp(l)
	case hasCarrier(l.Attrs()) && s.opensLike(l):
		if err := s.setUp(l); err != nil {
			return err
		}
		return fmt.Errorf("%s: %w: a running guest has it open: stop the guest", s.Name, ErrOldOwner)
	case hasCarrier(l.Attrs()):
		return fmt.Errorf("%s: %w: a running guest has it open with other queues: stop the guest first", s.Name, ErrBusy)
	default:
		if err := removeLink(l); err != nil {
			return err
		}
	}
	if err := makeTAP(s.Name, s.Owner, s.Group, s.Queues > 1); err != nil {
		return err
	}
	if l, err = linkByName(s.Name); err != nil {
		return err
	}
	if err := s.setUp(l); err != nil {
		return errors.Join(err, removeLink(l))
	}
	return nil
}

func (s Spec) setUp(l netlink.Link) error {
	disableIPv6(l)
	return setUpTAP(&netlink.Handle{}, l, mark{role: rolePort, of: s.Port}, s.MTU)
}

func (s Spec) matches(l netlink.Link) bool {
	t, ok := l.(*netlink.Tuntap)
	return ok && s.opensLike(l) && t.Owner == id(s.Owner) && t.Group == id(s.Group)
}

// opensLike compares what a hypervisor sees that has the TAP open. How many queues it
// will open the kernel does not know, only whether it may be more than one.
func (s Spec) opensLike(l netlink.Link) bool {
	t, ok := l.(*netlink.Tuntap)
	multiQueue := ok && t.Flags&netlink.TUNTAP_MULTI_QUEUE != 0
	return ok && multiQueue == (s.Queues > 1)
}

// id converts a uid or gid; the kernel leaves out the attribute of none.
func id(n int) uint32 { return uint32(max(n, 0)) }

// Delete removes a TAP that Create made. A missing one is no error. A TAP that a
// hypervisor has open is removed all the same, see InUse; one to which a daemon is
// attached is ErrBusy.
func Delete(name string) error {
	l, err := own(name, rolePort)
	if errors.Is(err, ErrNoDevice) {
		return nil
	}
	if err != nil {
		return err
	}
	companion := companionName(roleCompanion, name)
	attached, err := InUse(companion)
	if attached {
		return fmt.Errorf("%s: %w: its companion %s is open (is a second weftd running?)", name, ErrBusy, companion)
	}
	if err != nil && !errors.Is(err, ErrNoDevice) {
		return err
	}
	return removeLink(l)
}

// InUse reports whether a program has the TAP open (it has carrier). A TAP that is
// down does not tell and counts as free.
func InUse(name string) (bool, error) {
	l, err := linkByName(name)
	if err != nil {
		return false, err
	}
	return hasCarrier(l.Attrs()), nil
}

// own returns the device of that name if weft made it for that role.
func own(name string, r role) (netlink.Link, error) {
	l, err := linkByName(name)
	if err != nil {
		return nil, err
	}
	if m := parseMark(l.Attrs().Alias); m.absent || m.role != r {
		return nil, fmt.Errorf("%s: %w (its alias is %q): name the port otherwise, attach it as type device, or remove it: ip link delete dev %s",
			name, ErrForeign, l.Attrs().Alias, name)
	}
	return l, nil
}
