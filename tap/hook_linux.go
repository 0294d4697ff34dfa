package tap

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A direction is seen from the kernel: ingress is what the device received.
type direction int

const (
	ingress direction = iota
	egress
)

func (d direction) String() string { return [...]string{"ingress", "egress"}[d] }

// A hook attaches programs to netdevs so that they outlive the process. It knows
// one place for weft in each direction of a device; it neither moves nor removes
// the programs of others.
type hook interface {
	// prepare makes the device ready and reports whether it changed it for that.
	prepare(device netlink.Link) (changed bool, err error)
	// attach puts p into weft's place. What was there is replaced in one step.
	attach(device netlink.Link, d direction, p *ebpf.Program) error
	// find returns the id of the program in weft's place, or 0.
	find(device netlink.Link, d direction) (ebpf.ProgramID, error)
	// detach empties weft's place.
	detach(device netlink.Link, d direction) error
}

// hooks returns what the kernel has, best first: tcx where it lets us look up
// programs by id (which takes CAP_SYS_ADMIN), and clsact. Tests change the order.
var hooks = sync.OnceValue(func() []hook {
	if tcxWorks() {
		return []hook{tcx{}, clsact{}}
	}
	return []hook{clsact{}}
})

func tcxWorks() bool {
	const loopback = 1 // in every namespace
	_, err := link.QueryPrograms(link.QueryOptions{Target: loopback, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return false
	}
	_, err = ebpf.ProgramGetNextID(0)
	return err == nil || errors.Is(err, os.ErrNotExist)
}

// Programs are attached to tcx themselves, not by a link: a link would have to be
// pinned to outlive the process, and the bpffs for that may be missing or hidden.
type tcx struct{}

func (tcx) prepare(netlink.Link) (bool, error) { return false, nil }

func tcxType(d direction) ebpf.AttachType {
	return [...]ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress}[d]
}

func (t tcx) attach(device netlink.Link, d direction, p *ebpf.Program) error {
	old, err := t.program(device, d)
	if err != nil {
		return err
	}
	// Before those of others: a program that accepts a frame hides all behind it.
	anchor := link.Head()
	if old != nil {
		defer old.Close()
		anchor = link.ReplaceProgram(old)
	}
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: device.Attrs().Index, Program: p, Attach: tcxType(d), Anchor: anchor,
	})
	if err != nil {
		return fmt.Errorf("%s: attach program to %s (tcx): %w", device.Attrs().Name, d, explain(err))
	}
	return nil
}

func (t tcx) find(device netlink.Link, d direction) (ebpf.ProgramID, error) {
	p, err := t.program(device, d)
	if p == nil {
		return 0, err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return 0, err
	}
	id, _ := info.ID()
	return id, nil
}

func (t tcx) detach(device netlink.Link, d direction) error {
	p, err := t.program(device, d)
	if p == nil {
		return err
	}
	defer p.Close()
	err = link.RawDetachProgram(link.RawDetachProgramOptions{
		Target: device.Attrs().Index, Program: p, Attach: tcxType(d),
	})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%s: detach program from %s (tcx): %w", device.Attrs().Name, d, explain(err))
	}
	return nil
}

// program returns weft's program at the device, or nil.
func (tcx) program(device netlink.Link, d direction) (*ebpf.Program, error) {
	all, err := link.QueryPrograms(link.QueryOptions{Target: device.Attrs().Index, Attach: tcxType(d)})
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: read programs of %s (tcx): %w", device.Attrs().Name, d, explain(err))
	}
	for _, at := range all.Programs {
		p, err := ebpf.NewProgramFromID(at.ID)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: read program %d: %w", device.Attrs().Name, at.ID, explain(err))
		}
		if info, err := p.Info(); err == nil && isOurs(info.Name) {
			return p, nil
		}
		p.Close()
	}
	return nil, nil
}
