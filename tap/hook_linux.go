package tap

import (
	"errors"
	"fmt"
	"os"
	"strings"
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

// A seat is one of weft's two places in each direction of a device.
type seat struct {
	prefix   string // of the names of its programs, in the kernel too
	priority uint16 // of its filter, where filters are used
}

// The front sees frames first, and what it lets pass goes on to weft's own program.
var (
	frontSeat = seat{prefix: "weftfp_", priority: 0x56}
	ownSeat   = seat{prefix: "weft_", priority: 0x57}
)

// seats are both, in the order in which they see a frame.
var seats = []seat{frontSeat, ownSeat}

// seatOf returns the seat of programs with that name; zero if it is not one of weft's.
func seatOf(programName string) seat {
	for _, s := range seats {
		if strings.HasPrefix(programName, s.prefix) {
			return s
		}
	}
	return seat{}
}

// A hook attaches programs to netdevs so that they outlive the process. It knows
// weft's seats; it neither moves nor removes the programs of others.
type hook interface {
	// prepare makes the device ready and reports whether it changed it for that.
	prepare(device netlink.Link) (changed bool, err error)
	// attach puts p into the seat. What was there is replaced in one step.
	attach(device netlink.Link, d direction, s seat, p *ebpf.Program) error
	// find returns the id of the program in the seat, or 0.
	find(device netlink.Link, d direction, s seat) (ebpf.ProgramID, error)
	// detach empties the seat.
	detach(device netlink.Link, d direction, s seat) error
	// alone reports whether all programs of the device are weft's.
	alone(device netlink.Link, d direction) (bool, error)
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

func (t tcx) attach(device netlink.Link, d direction, s seat, p *ebpf.Program) error {
	there, err := t.programs(device, d)
	if err != nil {
		return err
	}
	// Before those of others: a program that accepts a frame hides all behind it.
	anchor := link.Head()
	switch {
	case there[s] != 0:
		old, err := ebpf.NewProgramFromID(there[s])
		if err != nil {
			return t.explain(device, d, "replace program of", err)
		}
		defer old.Close()
		anchor = link.ReplaceProgram(old)
	case s == ownSeat && there[frontSeat] != 0:
		anchor = link.AfterProgramByID(there[frontSeat])
	case s == frontSeat && there[ownSeat] != 0:
		anchor = link.BeforeProgramByID(there[ownSeat])
	}
	err = link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: device.Attrs().Index, Program: p, Attach: tcxType(d), Anchor: anchor,
	})
	if err != nil && !errors.Is(err, unix.EEXIST) { // p itself is there
		return t.explain(device, d, "attach program to", err)
	}
	return nil
}

func (t tcx) find(device netlink.Link, d direction, s seat) (ebpf.ProgramID, error) {
	there, err := t.programs(device, d)
	return there[s], err
}

func (t tcx) detach(device netlink.Link, d direction, s seat) error {
	id, err := t.find(device, d, s)
	if id == 0 {
		return err
	}
	p, err := ebpf.NewProgramFromID(id)
	if err == nil {
		defer p.Close()
		err = link.RawDetachProgram(link.RawDetachProgramOptions{
			Target: device.Attrs().Index, Program: p, Attach: tcxType(d),
		})
	}
	if err != nil && !vanished(err) {
		return t.explain(device, d, "detach program from", err)
	}
	return nil
}

func (t tcx) alone(device netlink.Link, d direction) (bool, error) {
	there, err := t.programs(device, d)
	return there[seat{}] == 0, err
}

// programs returns the ids of the programs at the device by their seat; those of others
// have none.
func (t tcx) programs(device netlink.Link, d direction) (map[seat]ebpf.ProgramID, error) {
	all, err := link.QueryPrograms(link.QueryOptions{Target: device.Attrs().Index, Attach: tcxType(d)})
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, t.explain(device, d, "read programs of", err)
	}
	found := make(map[seat]ebpf.ProgramID)
	for _, at := range all.Programs {
		p, err := ebpf.NewProgramFromID(at.ID)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, t.explain(device, d, "read programs of", err)
		}
		if info, err := p.Info(); err == nil {
			found[seatOf(info.Name)] = at.ID
		}
		p.Close()
	}
	return found, nil
}

func (tcx) explain(device netlink.Link, d direction, what string, err error) error {
	return fmt.Errorf("%s: %s %s (tcx): %w", device.Attrs().Name, what, d, explain(err))
}
