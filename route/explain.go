package route

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weft/frame"
)

// A Neighbor is what is known of a station's address, for reports.
type Neighbor struct {
	At    frame.PortID // the interface
	Addr  netip.Addr
	MAC   frame.MAC     // zero: not known
	State string        // incomplete, reachable, stale, probe, failed; kernel: as the host's kernel says
	Used  time.Duration // when a packet was last for it, to the second; negative: never
}

// Neighbors returns all neighbors, sorted by interface and address.
func (r *Router) Neighbors(now time.Duration) []Neighbor {
	ns := &r.neighbors
	ns.mu.Lock()
	list := make([]Neighbor, len(ns.all))
	for k, n := range ns.all {
		list[k] = n.report(now)
	}
	ns.mu.Unlock()
	slices.SortFunc(list, func(a, b Neighbor) int { return cmp.Or(cmp.Compare(a.At, b.At), a.Addr.Compare(b.Addr)) })
	return list
}

func (n *neighbor) report(now time.Duration) Neighbor {
	state := [...]string{incomplete: "incomplete", resolved: "reachable", probed: "probe", failed: "failed"}[n.state]
	if n.state == resolved {
		switch {
		case n.kernel:
			state = "kernel"
		case now-n.confirmed >= reachableTime:
			state = "stale"
		}
	}
	return Neighbor{At: n.at, Addr: n.addr, MAC: frame.MAC(n.mac.Load()), State: state, Used: max(-1, n.lastUsed())}
}

// Routes returns the routes in force, sorted by prefix; those of inside interfaces' own
// subnets have a negative metric.
func (r *Router) Routes() []Route { return slices.Clone(r.view.Load().routes) }

// A Decision says what becomes of a packet by its addresses.
type Decision struct {
	Reason     frame.Reason // not zero: it is dropped
	Host       bool         // it is left to the host's stack
	Translator bool         // the translator is asked for its destination first; if it does not know, Host or Reason holds
	Realm      uint16       // not zero: it leaves with an external source address
	Route      Route        // by which it is forwarded
	NextHop    netip.Addr   // likewise
	MAC        frame.MAC    // of the next hop; zero: to be asked for
}

// Explain returns what becomes of a packet that comes to the interface of port at. It
// decides by the very rules that packets go by.
func (r *Router) Explain(at frame.PortID, src, dst netip.Addr) (Decision, error) {
	v := r.view.Load()
	in := v.byPort[at]
	if in == nil {
		return Decision{}, fmt.Errorf("route: port %d is no interface of the router", at)
	}
	if src.Is4() != dst.Is4() || !src.IsValid() || !dst.IsValid() {
		return Decision{}, fmt.Errorf("route: %v and %v are not of one family", src, dst)
	}
	j := judge(in, in.lookup(src), in.lookup(dst))
	switch j.verdict {
	case leave:
		return Decision{Host: true}, nil
	case translate:
		return Decision{Translator: true, Reason: j.reason, Host: j.reason == 0}, nil
	case drop:
		return Decision{Reason: j.reason}, nil
	}
	d := Decision{Route: j.target.route, NextHop: j.target.next(dst)}
	if j.target.iface.Outside {
		d.Realm = in.Realm
	}
	if n := r.neighbors.find(j.target.iface.Port, d.NextHop); n != nil {
		d.MAC = frame.MAC(n.mac.Load())
	}
	return d, nil
}
