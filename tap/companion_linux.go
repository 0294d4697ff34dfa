package tap

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"weft/frame"
)

// A companion is a TAP through which weft reads and writes the frames of a netdev.
type companion struct {
	link     netlink.Link
	mark     mark
	queue    *Queue
	features frame.Features
	fresh    bool // made by this call, not left by an earlier process
}

// openCompanion makes the companion of a device, down, or opens the one that an
// earlier process left. Nothing is taken over before the queue is ours: another
// daemon may be using it.
func openCompanion(m mark, mtu int) (*companion, error) {
	c := &companion{mark: m}
	name := companionName(m.role, m.of)
	l, err := linkByName(name)
	switch {
	case errors.Is(err, ErrNoDevice):
		if err := makeTAP(name, 0, -1, false); err != nil {
			return nil, err
		}
		if l, err = linkByName(name); err != nil {
			return nil, err
		}
		c.fresh = true
	case err != nil:
		return nil, err
	default:
		if err := c.takeOver(l); err != nil {
			return nil, err
		}
	}
	c.link = l
	c.queue, c.features, err = newQueue(name, true)
	if err == nil {
		// An old companion regains its carrier by the opening, but carries frames only
		// after a delay of the kernel's, unless it comes up anew.
		err = netlink.LinkSetDown(l)
	}
	if err == nil {
		disableIPv6(l)
		err = setUpTAP(&netlink.Handle{}, l, c.mark, mtu)
	}
	if err != nil {
		return nil, errors.Join(err, c.abandon())
	}
	return c, nil
}

// takeOver adopts the marks of a companion that was left. One without any was left
// by a crash between its making and its marking.
func (c *companion) takeOver(l netlink.Link) error {
	alias := l.Attrs().Alias
	old := parseMark(alias)
	if alias != "" && (old.role != c.mark.role || old.of != c.mark.of) {
		return fmt.Errorf("%s: companion %s: %w (its alias is %q): ip link delete dev %s", c.mark.of, l.Attrs().Name, ErrForeign, alias, l.Attrs().Name)
	}
	c.mark.qdisc = c.mark.qdisc || old.qdisc
	return nil
}

// abandon leaves things as they were before openCompanion.
func (c *companion) abandon() error {
	var err error
	if c.queue != nil {
		err = c.queue.Close()
	}
	if c.fresh {
		err = errors.Join(err, removeLink(c.link))
	}
	return err
}

// remove ends the companion; its programs go with it.
func (c *companion) remove() error {
	return errors.Join(removeLink(c.link), c.queue.Close())
}

// setUp brings a link up.
func setUp(l netlink.Link) error {
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("%s: set up: %w", l.Attrs().Name, explain(err))
	}
	return nil
}
