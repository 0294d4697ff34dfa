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
	Metric int // of several routes for one prefix that an interface may use, the lowest is taken
}

// A View is all that the router goes by but its neighbors.
type View struct {
	Interfaces []Interface
	Routes     []Route        // the host's, and static ones by inside interfaces; Set adds the subnets of the latter. What goes by other ports, or by none, is unreachable from inside
	Local      []netip.Addr   // all addresses of the host, of any interface, but not loopback: what goes there is for the host's stack
	External   []netip.Addr   // addresses of NAT pools that are not the host's
	Owned      []netip.Prefix // what is answered for at outside interfaces with Proxy; External always is
}

// A view is a View made ready to look things up in. It never changes.
type view struct {
	ifaces []*iface
	byPort map[frame.PortID]*iface
	table  *bart.Fast[*target] // with all uplinks
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
	n.addRoutes(v)
	return n, nil
}

// addRoutes makes the tables: one with all uplinks, and one for each choice of them that
// an interface has.
func (v *view) addRoutes(c View) {
	list := slices.Clone(c.Routes)
	for _, i := range v.ifaces {
		if i.Outside {
			continue
		}
		for _, p := range i.Addresses {
			list = append(list, Route{Prefix: p, Port: i.Port, Metric: connected})
		}
	}
	list = slices.DeleteFunc(list, func(r Route) bool { return isSpecial(r.Prefix) })
	for k := range list {
		list[k].Prefix, list[k].Via = list[k].Prefix.Masked(), list[k].Via.WithZone("")
	}
	slices.SortStableFunc(list, v.compare)
	v.table, v.routes = v.tableOf(c, list, nil)
	tables := map[string]*bart.Fast[*target]{}
	for _, i := range v.ifaces {
		i.table = v.table
		if i.Uplinks == nil {
			continue
		}
		choice := fmt.Sprint(slices.Sorted(slices.Values(i.Uplinks)))
		if tables[choice] == nil {
			tables[choice], _ = v.tableOf(c, list, i.Uplinks)
		}
		i.table = tables[choice]
	}
}

// tableOf returns a table with the best route for each prefix, and these routes. With
// a choice of uplinks a route by another of them counts only where there is none by
// those, and leads nowhere.
func (v *view) tableOf(c View, list []Route, uplinks []frame.PortID) (*bart.Fast[*target], []Route) {
	table, routes := new(bart.Fast[*target]), []Route(nil)
	for _, s := range special {
		table.Insert(s.prefix, &target{kind: s.kind})
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Prefix == list[0].Prefix {
			n++
		}
		best, i := list[0], v.byPort[list[0].Port]
		for _, r := range list[:n] {
			if out := v.byPort[r.Port]; uplinks != nil && out != nil && (!out.Outside || slices.Contains(uplinks, out.Port)) {
				best, i = r, out
				break
			}
			if uplinks != nil {
				i = nil
			}
		}
		list = list[n:]
		if i == nil {
			table.Insert(best.Prefix, &target{kind: elsewhere})
			continue
		}
		routes = append(routes, best)
		table.Insert(best.Prefix, &target{kind: routed, iface: i, via: best.Via, route: best})
	}
	v.addAddresses(c, table)
	return table, routes
}

// compare sorts routes by prefix, and the one to be taken before others for the same.
func (v *view) compare(a, b Route) int {
	return cmp.Or(
		a.Prefix.Addr().Compare(b.Prefix.Addr()),
		cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
		cmp.Compare(a.Metric, b.Metric),
		cmp.Compare(v.order(a), v.order(b)),
		a.Via.Compare(b.Via),
	)
}

// order is that of a route's interface; those that are not ours come last.
func (v *view) order(r Route) int {
	if i := v.byPort[r.Port]; i != nil {
		return i.order
	}
	return len(v.ifaces)
}

// addAddresses adds what single addresses are, which goes before all routes.
func (v *view) addAddresses(c View, table *bart.Fast[*target]) {
	add := func(a netip.Addr, t *target) {
		if !isSpecial(netip.PrefixFrom(a, a.BitLen())) {
			table.Insert(netip.PrefixFrom(a, a.BitLen()), t)
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

// lookup returns what the address is with all uplinks.
func (v *view) lookup(a netip.Addr) *target {
	t, _ := v.table.Lookup(a)
	return t
}
