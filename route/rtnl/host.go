// Package rtnl follows what the host's kernel knows of addresses, routes and neighbors,
// by rtnetlink(7), and makes it resolve neighbors. Only the main routing table is
// followed, and the default one behind it where the rules are the plain ones: a host
// with policy routing has Rules to show for it.
package rtnl

import (
	"net/netip"
	"slices"

	"weft/frame"
)

// A Host is what the kernel knew at one moment. It is never changed once it was told.
type Host struct {
	Addresses []Address // those of one link in the kernel's order
	// Routes are without those the kernel makes for its own use (local, broadcast,
	// multicast, anycast), link-local IPv6 ones, and such as depend on more than the
	// destination (TOS, source). Of several with one prefix the lowest metric counts, and
	// the first of those.
	Routes []Route
	Rules  []Rule // of policy routing; nil: only the usual ones
}

// An Address is one address of a link.
type Address struct {
	Link   int // index
	Name   string
	Prefix netip.Prefix // the address itself, with the length of its subnet
	Scope  Scope
	// Deprecated ones are not for new connections, temporary ones only for a while (RFC
	// 8981), tentative ones not yet or not at all the host's (RFC 4862 5.4).
	Deprecated, Temporary, Tentative bool
}

// A Scope is how far an address is valid.
type Scope uint8

// The scopes of rtnetlink(7).
const (
	ScopeGlobal Scope = 0
	ScopeSite   Scope = 200
	ScopeLink   Scope = 253
	ScopeHost   Scope = 254
)

// A Route says where packets to a prefix go.
type Route struct {
	Prefix  netip.Prefix
	Kind    Kind
	Link    int // index; 0 where packets go nowhere
	Name    string
	Gateway netip.Addr // may be of the other family (RFC 5549); zero: the destination is on the link
	OnLink  bool       // the gateway is on the link, though its subnet is not
	Source  netip.Addr // preferred for packets of the host itself; zero: none
	Metric  int
}

// A Kind is what becomes of packets.
type Kind uint8

// What the kernel does with packets that a route is for.
const (
	Unicast     Kind = iota // sends them on
	Blackhole               // drops them in silence
	Unreachable             // answers host unreachable
	Prohibit                // answers administratively prohibited
)

func (k Kind) String() string {
	switch k {
	case Unicast:
		return "unicast"
	case Blackhole:
		return "blackhole"
	case Unreachable:
		return "unreachable"
	}
	return "prohibit"
}

// A Rule of policy routing is one beyond the look-ups in the tables local, main and
// default.
type Rule struct {
	Family   Family
	Priority int
	Text     string // as ip-rule(8) shows it: "from 10.0.0.0/8 lookup 100"
}

// A Family is a version of IP.
type Family uint8

// The families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) of(a netip.Addr) bool { return a.Is4() == (f == IPv4) && a.IsValid() }

// A Neighbor is what the kernel knows of an address on a link.
type Neighbor struct {
	Link    int // index
	Address netip.Addr
	MAC     frame.MAC // 0 where State is Gone or Failed
	State   State
}

// A State is how sure the kernel is of a neighbor (RFC 4861 7.3.2).
type State uint8

// The states, those of the kernel drawn together.
const (
	Gone      State = iota // nothing is known, or not yet
	Failed                 // it was asked for and did not answer
	Stale                  // it had this MAC, and use will confirm it: stale, delay, probe
	Reachable              // it has this MAC; permanent entries as well
)

func (s State) String() string {
	switch s {
	case Gone:
		return "gone"
	case Failed:
		return "failed"
	case Stale:
		return "stale"
	}
	return "reachable"
}

func (h *Host) equal(o *Host) bool {
	return slices.Equal(h.Addresses, o.Addresses) && slices.Equal(h.Routes, o.Routes) && slices.Equal(h.Rules, o.Rules)
}

// SourceFor returns the address that the host would use as the source of what it
// sends out of the link to far destinations: the preferred source of its default
// route there, else a global address of the link, the zero Addr if it has none.
//
// Of several the one in the gateway's subnet is best, then one that is not
// deprecated, not temporary (a NAT's address should last), not unique local (RFC
// 6724 would not send from it to a global destination), then the first.
func SourceFor(h Host, link int, f Family) netip.Addr {
	way, ok := h.defaultRoute(link, f)
	if ok && way.Source.IsValid() {
		return way.Source
	}
	var best netip.Addr
	rank := -1
	for _, a := range h.Addresses {
		if a.Link != link || !f.of(a.Prefix.Addr()) || a.Scope != ScopeGlobal || a.Tentative {
			continue
		}
		n := 0
		for i, good := range []bool{!a.Prefix.Addr().IsPrivate() || f == IPv4, !a.Temporary, !a.Deprecated, a.Prefix.Contains(way.Gateway)} {
			if good {
				n |= 1 << i
			}
		}
		if n > rank {
			best, rank = a.Prefix.Addr(), n
		}
	}
	return best
}

// defaultRoute returns the host's default route over the link.
func (h *Host) defaultRoute(link int, f Family) (best Route, ok bool) {
	for _, r := range h.Routes {
		if r.Link != link || r.Prefix.Bits() != 0 || !f.of(r.Prefix.Addr()) || r.Kind != Unicast {
			continue
		}
		if !ok || r.Metric < best.Metric {
			best, ok = r, true
		}
	}
	return best, ok
}
