package tap

import (
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// A Use is what a device is to weft.
type Use int

// The uses. A hypervisor's TAP has two of them.
const (
	MadeTAP      Use = iota // Create made it
	MadeHostPort            // OpenHost made it
	Attached                // AttachDevice or AttachUplink attached to it
	MadeGateway             // OpenHost made it, for a gateway
)

// Sweep removes what an earlier process left and keep does not name, by device and
// use: TAPs and host ports, companions and programs. It touches nothing that weft
// did not make, and leaves what another process has open. It returns what it
// removed, one line each.
func Sweep(keep func(device string, as Use) bool) ([]string, error) {
	all, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("sweep: list links: %w", err)
	}
	s := sweep{keep: inUse(all, keep), qdisc: make(map[string]bool)}
	for _, l := range all {
		s.companion(l)
	}
	s.programs(all)
	for _, l := range all {
		s.port(&netlink.Handle{}, l, "")
	}
	s.moved()
	return s.removed, errors.Join(s.errs...)
}

// inUse adds to keep the devices that somebody is using: their TAP or their
// companion is open. All that belongs to them stays, so that the frames of a guest
// that still runs do not reach the host.
func inUse(all []netlink.Link, keep func(string, Use) bool) func(string, Use) bool {
	open := make(map[string]bool)
	for _, l := range all {
		m := parseMark(l.Attrs().Alias)
		switch {
		case m.absent || !hasCarrier(l.Attrs()):
		case m.isCompanion():
			open[m.of] = true
		default:
			open[l.Attrs().Name] = true
		}
	}
	return func(device string, as Use) bool { return open[device] || keep(device, as) }
}

// A sweep is one call of Sweep.
type sweep struct {
	keep    func(device string, as Use) bool
	qdisc   map[string]bool // devices whose clsact qdisc weft made
	removed []string
	errs    []error
}

func (s *sweep) did(err error, format string, args ...any) {
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("sweep: %w", err))
		return
	}
	s.removed = append(s.removed, fmt.Sprintf(format, args...))
}

func (s *sweep) companion(l netlink.Link) {
	m := parseMark(l.Attrs().Alias)
	if !m.isCompanion() || s.keep(m.of, Attached) {
		return
	}
	if m.qdisc {
		s.qdisc[m.of] = true
	}
	s.did(removeLink(l), "%s, %s %s", l.Attrs().Name, m.role, m.of)
}

// programs takes weft's programs off all devices that are not kept, whether their
// companions were still there or not. Those of host ports and gateways go with them.
func (s *sweep) programs(all []netlink.Link) {
	withClsact, err := clsactDevices()
	if err != nil {
		s.errs = append(s.errs, err)
	}
	for _, l := range all {
		m := parseMark(l.Attrs().Alias)
		name := l.Attrs().Name
		if m.isCompanion() || m.role == roleHost || m.role == roleGateway || s.keep(name, Attached) || !s.qdisc[name] && !programmed(l, withClsact) {
			continue
		}
		s.did(removePrograms(l, s.qdisc[name]), "programs of %s", name)
	}
}

// moved removes the host ports that were moved to named namespaces, and gateways, which
// have no business there. Those of the daemon of another namespace are not ours.
func (s *sweep) moved() {
	here, err := openPlace("")
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	defer here.close()
	home, err := here.inode()
	if err != nil {
		s.errs = append(s.errs, err)
		return
	}
	namedPlaces(func(name string, p place) bool {
		links, err := dump(p.LinkList)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("namespace %s: list links: %w", name, err))
		}
		for _, l := range links {
			if m := parseMark(l.Attrs().Alias); (m.role == roleHost || m.role == roleGateway) && m.home == home {
				s.port(p.Handle, l, name)
			}
		}
		return false
	})
}

func (s *sweep) port(h *netlink.Handle, l netlink.Link, namespace string) {
	m := parseMark(l.Attrs().Alias)
	name := l.Attrs().Name
	if m.absent || m.isCompanion() || hasCarrier(l.Attrs()) {
		return
	}
	stray := m.role == roleGateway && namespace != ""
	if !stray && s.keep(name, map[role]Use{rolePort: MadeTAP, roleHost: MadeHostPort, roleGateway: MadeGateway}[m.role]) {
		return
	}
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	s.did(h.LinkDel(l), "%s, TAP of %s %s%s", name, m.role, m.of, where)
}

// clsactDevices returns the indexes of the devices that have a clsact qdisc.
func clsactDevices() (map[int]bool, error) {
	all, err := dump(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(nil) })
	if err != nil {
		return nil, fmt.Errorf("list qdiscs: %w", err)
	}
	found := make(map[int]bool)
	for _, q := range all {
		if q.Type() == "clsact" {
			found[q.Attrs().LinkIndex] = true
		}
	}
	return found, nil
}

// programmed reports whether a program of weft is on the device.
func programmed(l netlink.Link, withClsact map[int]bool) bool {
	_, xdp := xdpOf(l)
	return xdp || len(programsOf(l, withClsact, seats...)) > 0
}

// programsOf returns the ids of weft's programs on the device that have one of the seats.
func programsOf(l netlink.Link, withClsact map[int]bool, some ...seat) (found []ebpf.ProgramID) {
	for _, h := range hooks() {
		if _, ok := h.(clsact); ok && !withClsact[l.Attrs().Index] {
			continue
		}
		for _, d := range []direction{ingress, egress} {
			for _, s := range some {
				if id, err := h.find(l, d, s); err == nil && id != 0 {
					found = append(found, id)
				}
			}
		}
	}
	return found
}

// KernelDrops returns what the kernel dropped at the attachment's devices, by name
// of the counter, for Device, Uplink and Host alike. A counter's name is that of
// the netdev (the device or a companion of it) and rx_dropped or tx_dropped: what
// weft did not read in time is tx_dropped of a companion or a host port's TAP, what
// a guest did not read tx_dropped of the device.
func KernelDrops(devices ...string) map[string]uint64 {
	drops := make(map[string]uint64)
	for _, device := range devices {
		names := []string{device}
		for _, r := range []role{roleCompanion, roleWireCompanion, roleHostCompanion} {
			names = append(names, companionName(r, device))
		}
		for _, name := range names {
			if l, err := netlink.LinkByName(name); err == nil {
				maps.Copy(drops, linkDrops(l.Attrs()))
			}
		}
	}
	return drops
}

func linkDrops(a *netlink.LinkAttrs) map[string]uint64 {
	if a.Statistics == nil {
		return nil
	}
	return map[string]uint64{
		a.Name + " rx_dropped": a.Statistics.RxDropped,
		a.Name + " tx_dropped": a.Statistics.TxDropped,
	}
}
