package tap

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"weft/frame"
)

// An attachment is what Device and Uplink share: a netdev with programs on it, and
// the companions that these redirect to.
type attachment struct {
	device     netlink.Link
	hook       hook
	changed    bool // hook.prepare changed the device just now
	qdisc      bool // weft made the device's clsact qdisc, now or earlier
	companions []*companion
	states     *ebpf.Map // of the device's programs
	fronted    bool      // a front was set

	once   sync.Once
	closed error
}

// attachTo looks at the netdev name and opens a companion for each role. Programs
// are the caller's; nothing flows yet.
func attachTo(name string, mtu int, roles ...role) (*attachment, error) {
	l, err := linkByName(name)
	if err != nil {
		return nil, err
	}
	if err := attachable(l); err != nil {
		return nil, err
	}
	a := &attachment{device: l, hook: hooks()[0]}
	if a.qdisc, err = a.removeOther(roles); err != nil {
		return nil, err
	}
	if a.changed, err = a.hook.prepare(l); err != nil {
		return nil, err
	}
	a.qdisc = a.qdisc || a.changed
	for _, r := range roles {
		if err := a.open(mark{role: r, of: name, qdisc: a.qdisc}, mtu); err != nil {
			return nil, errors.Join(err, a.abandon())
		}
	}
	if a.states, err = newMap(attachMapStates, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), a.abandon())
	}
	return a, nil
}

// open adds a companion.
func (a *attachment) open(m mark, mtu int) error {
	c, err := openCompanion(m, mtu)
	if err != nil {
		return err
	}
	a.companions = append(a.companions, c)
	a.qdisc = a.qdisc || c.mark.qdisc
	_, err = a.hook.prepare(c.link)
	return err
}

// attachable refuses devices that are not ours to attach to.
func attachable(l netlink.Link) error {
	at := l.Attrs()
	if at.EncapType != "ether" {
		return fmt.Errorf("%s: it is no Ethernet device (%s)", at.Name, at.EncapType)
	}
	if m := parseMark(at.Alias); m.isCompanion() || m.role == roleHost || m.role == roleGateway {
		return fmt.Errorf("%s: %w: it is weft's own %s %s", at.Name, ErrBusy, m.role, m.of)
	}
	if at.MasterIndex == 0 {
		return nil
	}
	master, kind := fmt.Sprintf("the device of index %d", at.MasterIndex), "bridge"
	if m, err := netlink.LinkByIndex(at.MasterIndex); err == nil {
		master, kind = m.Attrs().Name, m.Type()
	}
	if kind == "openvswitch" {
		return fmt.Errorf("%s: %w: Open vSwitch has it: ovs-vsctl del-port %s", at.Name, ErrEnslaved, at.Name)
	}
	return fmt.Errorf("%s: %w: %s %s has it: ip link set dev %s nomaster", at.Name, ErrEnslaved, kind, master, at.Name)
}

// removeOther removes companions of roles that the device no longer has, such as
// those of an uplink that became a plain port while weft was not running. It
// reports whether weft made the device's qdisc for them.
func (a *attachment) removeOther(roles []role) (qdisc bool, err error) {
	name := a.device.Attrs().Name
	for _, r := range []role{roleCompanion, roleWireCompanion, roleHostCompanion} {
		if slices.Contains(roles, r) {
			continue
		}
		l, err := linkByName(companionName(r, name))
		if errors.Is(err, ErrNoDevice) {
			continue
		}
		if err != nil {
			return qdisc, err
		}
		m := parseMark(l.Attrs().Alias)
		if m.role != r || m.of != name {
			continue
		}
		if hasCarrier(l.Attrs()) {
			return qdisc, fmt.Errorf("%s: %w: its %s is open (is a second weftd running?)", name, ErrBusy, l.Attrs().Name)
		}
		qdisc = qdisc || m.qdisc
		if err := removeLink(l); err != nil {
			return qdisc, err
		}
	}
	return qdisc, nil
}

// place puts a program onto a device in one step, also over one of an earlier
// process, whichever hook that used.
func (a *attachment) place(device netlink.Link, d direction, p program) error {
	now := a.states
	if device != a.device { // a companion goes nowhere, and is never retired
		var err error
		if now, err = newMap(attachMapStates, 0); err != nil {
			return fmt.Errorf("%s: %w", device.Attrs().Name, err)
		}
		defer now.Close()
	}
	loaded, err := p.load(now)
	if err != nil {
		return fmt.Errorf("%s: %w", device.Attrs().Name, err)
	}
	defer loaded.Close() // the kernel holds it now
	if err := carryFront(device, d); err != nil {
		return err
	}
	return install(device, d, ownSeat, loaded)
}

// index returns the ifindex of the i-th companion.
func (a *attachment) index(i int) int { return a.companions[i].link.Attrs().Index }

// features returns what all companions take.
func (a *attachment) features() frame.Features {
	f := a.companions[0].features
	for _, c := range a.companions {
		f &= c.features
	}
	return f
}

// abandon ends an attachment that could not be completed. What an earlier process
// left stays, so that guests' frames still do not reach the host; it may even be
// that of a daemon that is running.
func (a *attachment) abandon() error {
	switch left := func(c *companion) bool { return !c.fresh }; {
	case slices.ContainsFunc(a.companions, left):
		return a.Release()
	case len(a.companions) > 0:
		return a.Close()
	case a.changed:
		return clsact{}.restore(a.device)
	}
	return nil
}

// Release closes the descriptors and leaves all else in the kernel, for whoever
// attaches next; until then frames of the device are lost, and none reaches the
// host. Close and Release may be called again; the first decides.
func (a *attachment) Release() error {
	a.once.Do(func() {
		for _, c := range a.companions {
			a.closed = errors.Join(a.closed, c.queue.Close())
		}
		a.states.Close()
	})
	return a.closed
}

// Close removes the programs, first those of the device, and all that was made for
// them. Safe to call twice.
func (a *attachment) Close() error {
	a.once.Do(func() {
		var errs []error
		if a.states != nil {
			errs = append(errs, setStates(a.states, stateRetired))
		}
		errs = append(errs, removePrograms(a.device, a.qdisc))
		if a.fronted {
			errs = append(errs, a.follow())
		}
		a.states.Close()
		for _, c := range a.companions {
			errs = append(errs, c.remove())
		}
		a.closed = errors.Join(errs...)
	})
	return a.closed
}

// removePrograms takes weft's programs off a device, and the clsact qdisc if weft
// made it and nobody else uses it by now.
func removePrograms(device netlink.Link, qdisc bool) error {
	errs := []error{removeXDP(device)}
	for _, h := range hooks() {
		for _, s := range seats {
			errs = append(errs, h.detach(device, ingress, s), h.detach(device, egress, s))
		}
	}
	if qdisc {
		errs = append(errs, clsact{}.restore(device))
	}
	return errors.Join(errs...)
}
