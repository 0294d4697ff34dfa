package tap

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// A Front is programs that see a device's frames before weft's own do, which get
// what these let pass (TC_ACT_UNSPEC). The kernel's names of them begin with weftfp_, by
// which they are known again after a crash. nil: none.
type Front struct{ Ingress, Egress *ebpf.Program }

// SetFront puts the front's program at the ingress of the device, over one that is there,
// also that of an earlier process, in one step. It makes nothing of Egress. It must not be
// called at once with Close or Release, nor after them.
func (d *Device) SetFront(f Front) error { return d.setFront(ingress, f.Ingress) }

// SetFront puts the front's programs before those of the NIC: see Device.SetFront.
func (u *Uplink) SetFront(f Front) error {
	return inOrder(
		func() error { return u.setFront(ingress, f.Ingress) },
		func() error { return u.setFront(egress, f.Egress) },
	)
}

func (a *attachment) setFront(d direction, p *ebpf.Program) error {
	a.fronted = a.fronted || p != nil
	return setFront(a.device, d, p)
}

// follow removes the programs from the device if it was moved to a namespace that has a
// name, and is still called the same there. Elsewhere nobody finds it: weft's own programs
// know that they are retired, and the front has no decisions about the device any more.
func (a *attachment) follow() error {
	if _, err := netlink.LinkByIndex(a.Index()); err == nil {
		return nil
	}
	var failed error
	namedPlaces(func(_ string, p place) bool {
		l, err := p.link(a.device.Attrs().Name)
		if err != nil || l == nil {
			return false
		}
		var found bool
		err = p.do(func() error {
			if found = a.programmed(l); found {
				return removePrograms(l, false)
			}
			return nil
		})
		failed = errors.Join(failed, err)
		return found
	})
	return failed
}

// programmed reports whether the programs of this attachment are on l.
func (a *attachment) programmed(l netlink.Link) bool {
	info, err := a.states.Info()
	if err != nil {
		return false
	}
	now, _ := info.ID()
	for _, h := range hooks() {
		id, err := h.find(l, egress, ownSeat)
		if err == nil && id != 0 && uses(id, now) {
			return true
		}
	}
	return false
}

// SetFront puts the front's program at the egress of the TAP, where the host's frames come
// out: see Device.SetFront. It makes nothing of Ingress. A TAP in another namespace takes
// none, but loses the one it has.
func (h *Host) SetFront(f Front) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, l, err := h.where()
	if err != nil {
		return fmt.Errorf("%s: %w", h.config.what(), err)
	}
	defer at.close()
	if f.Egress != nil && !h.atHome(at) {
		return fmt.Errorf("%s: its TAP is in another namespace than weft: no program can stand there", h.config.what())
	}
	return at.do(func() error { return h.setFront(l, f.Egress) })
}

func (h *Host) setFront(l netlink.Link, p *ebpf.Program) error {
	if p == nil {
		return errors.Join(setFront(l, egress, nil), h.restore(l))
	}
	made, err := hooks()[0].prepare(l)
	h.qdisc = h.qdisc || made
	if err != nil {
		return err
	}
	return setFront(l, egress, p)
}

// restore removes the qdisc that was made for a front.
func (h *Host) restore(l netlink.Link) error {
	if !h.qdisc {
		return nil
	}
	h.qdisc = false
	return clsact{}.restore(l)
}

// atHome reports whether the place is the daemon's own namespace.
func (h *Host) atHome(at place) bool {
	is, err := at.inode()
	return err == nil && is == h.mark.home
}

// setFront puts p into the front's seat; nil empties it.
func setFront(device netlink.Link, d direction, p *ebpf.Program) error {
	if p == nil {
		return vacate(hooks(), device, d, frontSeat)
	}
	info, err := p.Info()
	if err != nil {
		return err
	}
	if seatOf(info.Name) != frontSeat {
		return fmt.Errorf("%s: program %s is no front: its name must begin with %s", device.Attrs().Name, info.Name, frontSeat.prefix)
	}
	return install(device, d, frontSeat, p)
}

// install puts p into the seat in one step, also over one of an earlier process,
// whichever hook that used.
func install(device netlink.Link, d direction, s seat, p *ebpf.Program) error {
	all := hooks()
	if err := all[0].attach(device, d, s, p); err != nil {
		return err
	}
	return vacate(all[1:], device, d, s)
}

func vacate(some []hook, device netlink.Link, d direction, s seat) error {
	for _, h := range some {
		if err := h.detach(device, d, s); err != nil {
			return err
		}
	}
	return nil
}

// carryFront brings the front that an earlier process left at another hook to the one
// that is used now, where weft's own program would hide the frames from it.
func carryFront(device netlink.Link, d direction) error {
	for _, h := range hooks()[1:] {
		id, err := h.find(device, d, frontSeat)
		if err != nil {
			return err
		}
		if id == 0 {
			continue
		}
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			return fmt.Errorf("%s: read program %d: %w", device.Attrs().Name, id, explain(err))
		}
		defer p.Close()
		if err := install(device, d, frontSeat, p); err != nil {
			return err
		}
	}
	return nil
}

// LeftFront returns the programs of fronts in this namespace, each once: what an
// earlier process left, before SetFront replaces it. The caller closes them.
func LeftFront() ([]*ebpf.Program, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	withClsact, err := clsactDevices()
	if err != nil {
		return nil, err
	}
	seen := make(map[ebpf.ProgramID]bool)
	var left []*ebpf.Program
	for _, l := range links {
		for _, id := range programsOf(l, withClsact, frontSeat) {
			if seen[id] {
				continue
			}
			seen[id] = true
			// One that is gone by now has nothing to tell.
			if p, err := ebpf.NewProgramFromID(id); err == nil {
				left = append(left, p)
			}
		}
	}
	return left, nil
}

// RemoveFronts removes the fronts that an earlier process left in this namespace, but for
// those of the devices to keep, whose ones are about to be replaced.
func RemoveFronts(keep func(index int) bool) error {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	withClsact, err := clsactDevices()
	errs := []error{err}
	for _, l := range links {
		if _, xdp := xdpOf(l); keep(l.Attrs().Index) || !xdp && len(programsOf(l, withClsact, frontSeat)) == 0 {
			continue
		}
		errs = append(errs, removeXDP(l), vacate(hooks(), l, ingress, frontSeat), vacate(hooks(), l, egress, frontSeat))
	}
	return errors.Join(errs...)
}

// Index returns the ifindex of the device.
func (a *attachment) Index() int { return a.device.Attrs().Index }

// Companion returns the ifindex of the device whose queue the switch reads.
func (d *Device) Companion() int { return d.index(0) }

// WireCompanion returns the ifindex of the device whose queue has what comes from the wire.
func (u *Uplink) WireCompanion() int { return u.index(0) }

// HostCompanion returns the ifindex of the device whose queue has what comes from the host.
func (u *Uplink) HostCompanion() int { return u.index(1) }

// Index returns the ifindex of the TAP, or 0 if it is in another namespace.
func (h *Host) Index() int {
	at, l, err := h.where()
	if err != nil {
		return 0
	}
	defer at.close()
	if !h.atHome(at) {
		return 0
	}
	return l.Attrs().Index
}

// Peerable reports whether frames may go straight to the device's peer: it is a veth, the
// peer is in another namespace, and nobody has put shaping or programs in between.
func (d *Device) Peerable() bool {
	l, err := netlink.LinkByIndex(d.Index())
	if err != nil || l.Type() != "veth" || l.Attrs().NetNsID < 0 {
		return false
	}
	return unshaped(l)
}

// unshaped reports whether nobody has put shaping or programs before what leaves by the
// device. A qdisc that the kernel chose by itself has no handle.
func unshaped(l netlink.Link) bool {
	for _, h := range hooks() {
		if alone, err := h.alone(l, egress); err != nil || !alone {
			return false
		}
	}
	qdiscs, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(l) })
	for _, q := range qdiscs {
		if q.Attrs().Parent == netlink.HANDLE_ROOT && q.Attrs().Handle != 0 && q.Type() != "noqueue" {
			return false
		}
	}
	return err == nil
}
