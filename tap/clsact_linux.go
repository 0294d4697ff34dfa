package tap

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// clsact is the hook of kernels before 6.6: filters of a clsact qdisc. They outlive
// the process by themselves.
type clsact struct{}

// weft's filters stand at priorities of their own, before those that tc numbers by
// itself (from 49152 down) and behind what an administrator puts at 1 on purpose.
const filterHandle = 1

func clsactParent(d direction) uint32 {
	return [...]uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS}[d]
}

func clsactQdisc(device netlink.Link) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: device.Attrs().Index,
		Handle:    netlink.MakeHandle(0xffff, 0),
		Parent:    netlink.HANDLE_CLSACT,
	}}
}

func (clsact) prepare(device netlink.Link) (bool, error) {
	name := device.Attrs().Name
	err := netlink.QdiscAdd(clsactQdisc(device))
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, unix.EEXIST) {
		return false, fmt.Errorf("%s: add clsact qdisc: %w", name, explain(err))
	}
	kind, err := ingressQdisc(device)
	if err != nil {
		return false, err
	}
	if kind != "clsact" {
		return false, fmt.Errorf("%s: %w: it has an %s qdisc, which leaves no place for clsact: tc qdisc delete dev %s ingress", name, ErrBusy, kind, name)
	}
	return false, nil
}

// ingressQdisc returns the kind of the qdisc in the place of clsact, or "".
func ingressQdisc(device netlink.Link) (string, error) {
	all, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(device) })
	if err != nil {
		return "", fmt.Errorf("%s: list qdiscs: %w", device.Attrs().Name, err)
	}
	for _, q := range all {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT {
			return q.Type(), nil
		}
	}
	return "", nil
}

func (c clsact) attach(device netlink.Link, d direction, s seat, p *ebpf.Program) error {
	name := device.Attrs().Name
	all, err := c.filters(device, d)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Attrs().Priority == s.priority && filterSeat(f) != s {
			return fmt.Errorf("%s: %w: another program has filter priority %d: tc filter delete dev %s %s pref %d",
				name, ErrBusy, s.priority, name, d, s.priority)
		}
	}
	info, err := p.Info()
	if err != nil {
		return err
	}
	// With the handle of a filter that is there, the kernel exchanges its program.
	err = netlink.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: device.Attrs().Index,
			Parent:    clsactParent(d),
			Handle:    filterHandle,
			Priority:  s.priority,
			Protocol:  unix.ETH_P_ALL,
		},
		Fd: p.FD(), Name: info.Name, DirectAction: true,
	})
	if err != nil {
		return fmt.Errorf("%s: attach program to %s (clsact): %w", name, d, explain(err))
	}
	return nil
}

func (c clsact) find(device netlink.Link, d direction, s seat) (ebpf.ProgramID, error) {
	f, err := c.filter(device, d, s)
	if f == nil {
		return 0, err
	}
	return ebpf.ProgramID(f.Id), nil
}

func (c clsact) detach(device netlink.Link, d direction, s seat) error {
	f, err := c.filter(device, d, s)
	if f == nil {
		return err
	}
	if err := netlink.FilterDel(f); err != nil && !vanished(err) {
		return fmt.Errorf("%s: detach program from %s (clsact): %w", device.Attrs().Name, d, explain(err))
	}
	return nil
}

// restore removes the qdisc, if nobody uses it.
func (c clsact) restore(device netlink.Link) error {
	if kind, err := ingressQdisc(device); kind != "clsact" {
		return err
	}
	for _, d := range []direction{ingress, egress} {
		if others, err := c.filters(device, d); err != nil || len(others) > 0 {
			return err
		}
	}
	if err := netlink.QdiscDel(clsactQdisc(device)); err != nil && !vanished(err) {
		return fmt.Errorf("%s: delete clsact qdisc: %w", device.Attrs().Name, explain(err))
	}
	return nil
}

func (c clsact) alone(device netlink.Link, d direction) (bool, error) {
	all, err := c.filters(device, d)
	isOthers := func(f netlink.Filter) bool { return filterSeat(f) == seat{} }
	return !slices.ContainsFunc(all, isOthers), err
}

// filter returns weft's filter of the seat, or nil.
func (c clsact) filter(device netlink.Link, d direction, s seat) (*netlink.BpfFilter, error) {
	all, err := c.filters(device, d)
	for _, f := range all {
		if filterSeat(f) == s {
			return f.(*netlink.BpfFilter), nil
		}
	}
	return nil, err
}

// filters returns all filters of one direction; none if there is no clsact.
func (c clsact) filters(device netlink.Link, d direction) ([]netlink.Filter, error) {
	kind, err := ingressQdisc(device)
	if kind != "clsact" {
		return nil, err
	}
	all, err := dump(func() ([]netlink.Filter, error) { return netlink.FilterList(device, clsactParent(d)) })
	if err != nil && !vanished(err) {
		return nil, fmt.Errorf("%s: list filters of %s: %w", device.Attrs().Name, d, err)
	}
	return all, nil
}

// filterSeat returns the filter's seat; zero if it is not weft's.
func filterSeat(f netlink.Filter) seat {
	if b, ok := f.(*netlink.BpfFilter); ok && b.Priority == seatOf(b.Name).priority {
		return seatOf(b.Name)
	}
	return seat{}
}

// vanished reports that the device, qdisc or filter was removed meanwhile.
func vanished(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT)
}
