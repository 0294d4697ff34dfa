package route

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"weft/frame"
)

// A Route says by which interface, and over which next hop, a prefix is reached.
type Route struct {
	Prefix netip.Prefix
	Via    netip.Addr // next hop; zero: the destinations are on the link
	Port   frame.PortID
	Metric int // of several routes for one prefix, the lowest is taken
}

// A View is all that the router goes by but its neighbors.
type View struct {
	Interfaces []Interface
	Routes     []Route        // the host's, by outside interfaces, and static ones by inside interfaces; Set adds the subnets of the latter. Those by other ports are ignored
	Local      []netip.Addr   // all addresses of the host, of any interface, but not loopback: what goes there is for the host's stack
	External   []netip.Addr   // addresses of NAT pools that are not the host's
	Owned      []netip.Prefix // what is answered for at outside interfaces with Proxy; External always is
}

// A view is a View made ready to look things up in. It never changes.
type view struct {
	ifaces []*iface
	byPort map[frame.PortID]*iface
	table  bart.Fast[*target]
	owned  bart.Lite
	routes []Route // in force
	minMTU int     // of all interfaces, in bytes
}

// connected is the metric of an inside interface's own subnet: it beats all routes for
// the same prefix. Two networks with one subnet would else change places with the
// host's routes.
const connected = -1

// newView returns the snapshot of v, or all that is wrong with it.
func newView(v View, translator bool) (*view, error) {
	n := &view{byPort: make(map[frame.PortID]*iface, len(v.Interfaces)), minMTU: 1 << 16}
	var errs []error
	for order, c := range v.Interfaces {
		errs = append(errs, c.check(translator))
		if n.byPort[c.Port] != nil {
			errs = append(errs, fmt.Errorf("interface %s: port %d is that of interface %s", c.Name, c.Port, n.byPort[c.Port].Name))
		}
		i := newIface(c, order)
		n.ifaces = append(n.ifaces, i)
		n.byPort[c.Port] = i
		n.minMTU = min(n.minMTU, c.MTU)
	}
	for _, r := range v.Routes {
		if !r.Prefix.IsValid() {
			errs = append(errs, fmt.Errorf("route %v via %v: no prefix", r.Prefix, r.Via))
		}
	}
	for _, p := range v.Owned {
		if !p.IsValid() {
			errs = append(errs, fmt.Errorf("owned prefix %v: no prefix", p))
			continue
		}
		n.owned.Insert(p.Masked())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("route: %w", err)
	}
	n.addRoutes(v.Routes)
	n.addAddresses(v)
	return n, nil
}

// addRoutes fills the table with the best route for each prefix.
func (v *view) addRoutes(list []Route) {
	for _, s := range special {
		v.table.Insert(s.prefix, &target{kind: s.kind})
	}
	list = slices.Clone(list)
	for _, i := range v.ifaces {
		if i.Outside {
			continue
		}
		for _, p := range i.Addresses {
			list = append(list, Route{Prefix: p, Port: i.Port, Metric: connected})
		}
	}
	list = slices.DeleteFunc(list, func(r Route) bool { return v.byPort[r.Port] == nil || isSpecial(r.Prefix) })
	for k := range list {
		list[k].Prefix, list[k].Via = list[k].Prefix.Masked(), list[k].Via.WithZone("")
	}
	slices.SortStableFunc(list, v.compare)
	for k, r := range list {
		if k > 0 && r.Prefix == list[k-1].Prefix {
			continue
		}
		v.routes = append(v.routes, r)
		v.table.Insert(r.Prefix, &target{kind: routed, iface: v.byPort[r.Port], via: r.Via, route: r})
	}
}

// compare sorts routes by prefix, and the one to be taken before others for the same.
func (v *view) compare(a, b Route) int {
	return cmp.Or(
		a.Prefix.Addr().Compare(b.Prefix.Addr()),
		cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
		cmp.Compare(a.Metric, b.Metric),
		cmp.Compare(v.byPort[a.Port].order, v.byPort[b.Port].order),
		a.Via.Compare(b.Via),
	)
}

// addAddresses adds what single addresses are, which goes before all routes.
func (v *view) addAddresses(c View) {
	add := func(a netip.Addr, t *target) {
		if !isSpecial(netip.PrefixFrom(a, a.BitLen())) {
			v.table.Insert(netip.PrefixFrom(a, a.BitLen()), t)
		}
	}
	for _, i := range v.ifaces {
		for _, p := range i.Addresses {
			for _, a := range broadcasts(p, i.Outside) {
				add(a, &target{kind: broadcast, iface: i})
			}
		}
	}
	for _, a := range c.External {
		add(a, &target{kind: external})
	}
	for _, a := range c.Local {
		add(a.WithZone(""), &target{kind: local})
	}
	// The translator is asked about an address that an uplink has too.
	for _, outside := range []bool{false, true} {
		for _, i := range v.ifaces {
			if i.Outside != outside {
				continue
			}
			for _, p := range i.Addresses {
				add(p.Addr(), &target{kind: local, gateway: !outside})
			}
		}
	}
}

// lookup returns what the address is by the longest prefix, or nil if no route leads
// there.
func (v *view) lookup(a netip.Addr) *target {
	t, _ := v.table.Lookup(a)
	return t
}
