package tap

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Flags of a request to attach an XDP program (linux/if_link.h).
const (
	xdpIfNone = 1 << 0 // refused if there is one
	xdpDriver = 1 << 2 // native mode: before the kernel makes the frame its own
)

// SetXDP puts p in front of everything at a TAP's ingress, over one that is there, also that
// of an earlier process, in one step; nil removes it. The name of p must begin with weftfp_,
// as with a Front. What it redirects no tc program sees, and no capture on the device. The
// program of somebody else is ErrBusy. It must not be called at once with Close or Release,
// nor after them.
func (d *Device) SetXDP(p *ebpf.Program) error {
	if p == nil {
		return removeXDP(d.device)
	}
	name := d.device.Attrs().Name
	info, err := p.Info()
	if err != nil {
		return err
	}
	if seatOf(info.Name) != frontSeat || p.Type() != ebpf.XDP {
		return fmt.Errorf("%s: %s program %s is no front: it must be of XDP, and its name begin with %s", name, p.Type(), info.Name, frontSeat.prefix)
	}
	if !isTAP(d.device) {
		return fmt.Errorf("%s: it is no TAP: XDP is for TAPs alone", name)
	}
	l, err := netlink.LinkByIndex(d.Index())
	if err != nil {
		return fmt.Errorf("%s: look up link: %w", name, explain(err))
	}
	flags := xdpDriver
	switch there, ours := xdpOf(l); {
	case there == 0:
		flags |= xdpIfNone
	case !ours:
		return fmt.Errorf("%s: %w: it has an XDP program that is not weft's (id %d): ip link set dev %s xdp off", name, ErrBusy, there, name)
	}
	d.fronted = true
	if err := netlink.LinkSetXdpFdWithFlags(l, p.FD(), flags); err != nil {
		return fmt.Errorf("%s: attach XDP program: %w", name, explain(err))
	}
	return nil
}

// XDPTarget reports whether XDP programs may redirect frames to the device: it is a TAP of
// one queue, as of several the kernel would choose by processor and not by flow, and nobody
// has put shaping or programs in the way out.
func (d *Device) XDPTarget() bool {
	l, err := netlink.LinkByIndex(d.Index())
	if err != nil || !isTAP(l) || l.(*netlink.Tuntap).Flags&netlink.TUNTAP_MULTI_QUEUE != 0 {
		return false
	}
	return unshaped(l)
}

func isTAP(l netlink.Link) bool {
	t, ok := l.(*netlink.Tuntap)
	return ok && t.Mode == netlink.TUNTAP_MODE_TAP
}

// xdpOf returns the id of the device's XDP program, or 0, and whether weft put it there.
func xdpOf(l netlink.Link) (id ebpf.ProgramID, ours bool) {
	x := l.Attrs().Xdp
	if x == nil || !x.Attached {
		return 0, false
	}
	id = ebpf.ProgramID(x.ProgId)
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return id, false
	}
	defer p.Close()
	info, err := p.Info()
	return id, err == nil && seatOf(info.Name) == frontSeat
}

// removeXDP removes weft's XDP program from the device, if it has one.
func removeXDP(device netlink.Link) error {
	l, err := netlink.LinkByIndex(device.Attrs().Index)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err == nil {
		if _, ours := xdpOf(l); !ours {
			return nil
		}
		err = netlink.LinkSetXdpFdWithFlags(l, -1, xdpDriver)
	}
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%s: detach XDP program: %w", device.Attrs().Name, explain(err))
	}
	return nil
}
