package tap

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A Link is the state of one netdev.
type Link struct {
	Index   int
	Name    string
	Kind    string // "tun", "veth", "bridge", …; "" for hardware
	Alias   string
	MAC     net.HardwareAddr
	MTU     int
	Up      bool   // administratively
	Carrier bool   // a TAP has it while a program holds it open
	Master  string // name of the bridge, bond or VRF that has it
	Deleted bool
}

// txQueueLen is the length, in frames, of the queue between the kernel and the
// reader of a TAP. The default of 1000 overflows when a reader is scheduled late.
const txQueueLen = 2000

// Links returns all links of the namespace.
func Links() ([]Link, error) {
	all, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	names := make(map[int]string, len(all))
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	links := make([]Link, len(all))
	for i, l := range all {
		links[i] = newLink(l)
		links[i].Master = names[l.Attrs().MasterIndex]
	}
	return links, nil
}

// LinkByName returns one link of the namespace, or ErrNoDevice.
func LinkByName(name string) (Link, error) {
	l, err := linkByName(name)
	if err != nil {
		return Link{}, err
	}
	found := newLink(l)
	if index := l.Attrs().MasterIndex; index != 0 {
		if m, err := netlink.LinkByIndex(index); err == nil {
			found.Master = m.Attrs().Name
		}
	}
	return found, nil
}

// newLink leaves out Master, which the message tells by index only.
func newLink(l netlink.Link) Link {
	a := l.Attrs()
	kind := l.Type()
	switch kind {
	case "device":
		kind = ""
	case "tuntap":
		kind = "tun"
	}
	return Link{
		Index: a.Index, Name: a.Name, Kind: kind, Alias: a.Alias,
		MAC: a.HardwareAddr, MTU: a.MTU,
		Up:      a.RawFlags&unix.IFF_UP != 0,
		Carrier: hasCarrier(a),
	}
}

// hasCarrier does not ask for the operational state, which follows up to a second
// later.
func hasCarrier(a *netlink.LinkAttrs) bool { return a.RawFlags&unix.IFF_LOWER_UP != 0 }

// dump repeats a netlink dump that a change of links interrupted, which happens
// all the time on a busy host.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	for range 30 {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, explain(err)
		}
	}
	return nil, fmt.Errorf("%w 30 times: links change too fast", netlink.ErrDumpInterrupted)
}

func linkByName(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("%s: %w", name, ErrNoDevice)
	case err != nil:
		return nil, fmt.Errorf("look up link %s: %w", name, explain(err))
	}
	return l, nil
}

// removeLink deletes a link. One that is gone is no error.
func removeLink(l netlink.Link) error {
	err := netlink.LinkDel(l)
	if err == nil || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("remove link %s: %w", l.Attrs().Name, explain(err))
}

// setUpTAP gives a TAP that weft made the settings all of them share. h acts in
// the namespace that the TAP is in.
func setUpTAP(h *netlink.Handle, l netlink.Link, m mark, mtu int) error {
	name := l.Attrs().Name
	fail := func(what string, err error) error {
		return fmt.Errorf("%s: set %s: %w", name, what, explain(err))
	}
	if l.Attrs().Alias != m.String() {
		if err := h.LinkSetAlias(l, m.String()); err != nil {
			return fail("alias", err)
		}
	}
	if l.Attrs().MTU != mtu && mtu > 0 {
		if err := h.LinkSetMTU(l, mtu); err != nil {
			return fail("MTU "+strconv.Itoa(mtu), err)
		}
	}
	if l.Attrs().TxQLen != txQueueLen {
		if err := h.LinkSetTxQLen(l, txQueueLen); err != nil {
			return fail("txqueuelen", err)
		}
	}
	// The TAP's own ring is the queue; a second one only adds latency. A kernel that
	// has no noqueue keeps its default.
	_ = h.QdiscReplace(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_ROOT},
		QdiscType:  "noqueue",
	})
	return nil
}

// disableIPv6 keeps the host from having a link-local address on a device that is
// the switch's alone. The guards drop what it would send; this spares the work.
// Where /proc is read only, at least no address is made.
func disableIPv6(l netlink.Link) {
	path := "/proc/sys/net/ipv6/conf/" + l.Attrs().Name + "/disable_ipv6"
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		const addrGenModeNone = 1 // IN6_ADDR_GEN_MODE_NONE
		_ = netlink.LinkSetIP6AddrGenMode(l, addrGenModeNone)
	}
}
