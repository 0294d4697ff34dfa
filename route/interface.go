package route

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"weft/frame"
)

// An Interface is where the router meets a network: layer 3 of the bridge port that
// names it.
type Interface struct {
	Port      frame.PortID
	Name      string         // for reports only
	MAC       frame.MAC      // frames for it are offered to the router, and what it sends comes from it
	MTU       int            // of the network behind it, in bytes
	Addresses []netip.Prefix // its own, with their subnets

	Outside bool           // an uplink: its routes, neighbors and addresses are those of the host's kernel
	Realm   uint16         // inside with NAT: its realm; 0: routed
	Pool    uint16         // inside: pool of its own external IPv4 addresses; 0: that of the uplink. Outside: pool of the host's addresses there
	Pool6   uint16         // inside: of its own external IPv6 addresses; 0: that of the uplink
	Reach   []frame.PortID // inside: other inside interfaces to which it may send
	Uplinks []frame.PortID // inside: the uplinks that its packets may leave by; nil: all
	Proxy   bool           // outside: answer ARP and neighbor solicitations there for View.Owned too
}

// An iface is an Interface as the snapshot has it.
type iface struct {
	Interface
	table     *bart.Fast[*target] // what addresses are to what comes in here
	order     int                 // among the view's, to choose between routes alike
	addr4     netip.Addr          // its source of ICMP errors and ARP requests; zero: none
	addr6     netip.Addr          // its source of ICMP errors: global, if it has such
	linkLocal netip.Addr          // its source of neighbor solicitations; zero: addr6
}

func newIface(c Interface, order int) *iface {
	c.Addresses, c.Reach, c.Uplinks = slices.Clone(c.Addresses), slices.Clone(c.Reach), slices.Clone(c.Uplinks)
	i := &iface{Interface: c, order: order}
	for _, p := range c.Addresses {
		a := p.Addr()
		switch {
		case a.Is4():
			i.addr4 = first(i.addr4, a)
		case a.IsLinkLocalUnicast():
			i.linkLocal = first(i.linkLocal, a)
		default:
			i.addr6 = first(i.addr6, a)
		}
	}
	i.addr6 = first(i.addr6, i.linkLocal)
	i.linkLocal = first(i.linkLocal, i.addr6)
	return i
}

func first(a, b netip.Addr) netip.Addr {
	if a.IsValid() {
		return a
	}
	return b
}

// lookup returns what the address is to what comes in here, by the longest prefix, or
// nil if no route leads there.
func (i *iface) lookup(a netip.Addr) *target {
	t, _ := i.table.Lookup(a)
	return t
}

// source returns the interface's address of the IP version, from which it tells of
// errors (RFC 1812 4.3.2.4); not valid if it has none.
func (i *iface) source(version uint8) netip.Addr {
	if version == 4 {
		return i.addr4
	}
	return i.addr6
}

// minMTU is what IPv4 demands of a link (RFC 791 3.2).
const minMTU = 68

// check returns what is wrong with the interface.
func (c *Interface) check(translator bool) error {
	var errs []error
	fault := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("interface %s: "+format, append([]any{c.Name}, args...)...))
	}
	if c.Port == 0 {
		fault("no port")
	}
	if c.MAC == 0 || c.MAC.IsGroup() {
		fault("MAC %v is not that of a station", c.MAC)
	}
	if c.MTU < minMTU {
		fault("MTU %d (want %d or more)", c.MTU, minMTU)
	}
	for _, p := range c.Addresses {
		if !p.IsValid() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			fault("address %v is not an address with the length of its subnet", p)
		}
	}
	switch {
	case c.Outside && c.Realm != 0:
		fault("an uplink has no realm")
	case c.Realm != 0 && !translator:
		fault("realm %d, and the router has no translator", c.Realm)
	}
	return errors.Join(errs...)
}
