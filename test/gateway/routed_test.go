package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft/frame"
	"weft/internal/control/api"
	"weft/test/lab"
)

// Guests of a routed network are seen outside with their own addresses, and reached
// there, once the world knows the way: by the routes that weft prints.
func TestRoutedByRoutes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(`
networks:
  - {name: dmz, mode: routed, subnets: [10.20.0.1/24, "fd10:20::1/64"], dhcp: {}}
ports:
  - {name: ct1, network: dmz, type: device}
`)
	a := s.container("ct1")
	a.Tells()
	for _, f := range lab.Families {
		s.NotReaches(s.Server, a.addr[f.Version])
	}
	hints := w.Network("dmz").RouteHints
	if len(hints) != len(lab.Families) {
		t.Fatalf("route hints: %q, want one for each family", hints)
	}
	if text := w.MustWeft("network", "show", "dmz"); !strings.Contains(text, hints[0]) || !strings.Contains(text, hints[1]) {
		t.Errorf("weft network show:\n%s\nwant %q in it", text, hints)
	}
	for _, hint := range hints {
		s.Router.Run("%s", hint)
	}
	s.routed(a)
	for _, want := range []api.Route{
		{To: netip.MustParsePrefix("10.20.0.0/24"), Network: "dmz", Device: "wf-g-dmz", Origin: "connected"},
		{To: netip.MustParsePrefix("0.0.0.0/0"), Via: parse(lab.Families[0].Router), Device: "nic0", Origin: "host"},
		{To: netip.MustParsePrefix("::/0"), Via: parse(lab.Families[1].Router), Device: "nic0", Origin: "host"},
	} {
		if !slices.ContainsFunc(w.Routes(), func(r api.Route) bool { r.Metric = 0; return r == want }) {
			t.Errorf("weft route show: %+v, want %+v", w.Routes(), want)
		}
	}
	if sessions := w.Sessions(); len(sessions) > 0 {
		t.Errorf("weft nat show: %v, want none for a routed network", sessions)
	}
}

// Where the world outside takes the network for a part of its own segment, weft answers
// there for the guests' addresses.
func TestRoutedByProxy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(`
networks:
  - {name: dmz, mode: routed, proxy: true, subnets: [10.20.0.1/24, "fd10:20::1/64"], dhcp: {}}
ports:
  - {name: ct1, network: dmz, type: device}
`)
	a := s.container("ct1")
	a.Tells()
	s.Router.Run("ip route add 10.20.0.0/24 dev wan && ip route add fd10:20::/64 dev wan")
	s.routed(a)
	t.Log("not for others' addresses")
	for _, stranger := range []string{"192.0.2.77", "2001:db8:1::77"} {
		s.NotReaches(s.Router, stranger)
		if out := s.Router.Run("ip neigh show %s", stranger); strings.Contains(out, "lladdr") {
			t.Errorf("somebody answers for %s: %s", stranger, out)
		}
	}
	w.MustWeft("network", "set", "dmz", "proxy=false")
	s.Router.Run("ip neigh flush all")
	for _, f := range lab.Families {
		s.NotReaches(s.Server, a.addr[f.Version])
	}
}

// routed checks both directions, and who is seen.
func (s *site) routed(a *container) {
	s.Helper()
	for _, f := range lab.Families {
		s.Reaches(a, f.Server)
		s.looks(a, f, a.addr[f.Version])
		s.seen(s.Server, "tcp", at(a.addr[f.Version], 7001), f.Server)
		s.seen(s.Server, "udp", at(a.addr[f.Version], 7001), f.Server)
		s.seen(s.hv, "tcp", at(a.addr[f.Version], 7001), "")
	}
}

// Networks of one host do not reach each other, unless both say so.
func TestNetworksReachEachOtherIfTheyShould(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(`
networks:
  - {name: default}
  - {name: dmz, mode: routed, subnets: [10.20.0.1/24, "fd10:20::1/64"], dhcp: {}}
ports:
  - {name: ct1, type: device}
  - {name: ct2, network: dmz, type: device}
`)
	a, b := s.containers("ct1", "ct2")
	a.Tells()
	b.Tells()
	for _, f := range lab.Families {
		before := dropped(w, "ct1", frame.DropForbidden)
		out, err := a.Sh(t.Context(), fmt.Sprintf("ping %s -c 2 -i 0.3 -W 1 %s", f.Version, b.addr[f.Version]))
		if err == nil || !strings.Contains(out, "Packet filtered") && !strings.Contains(out, "prohibited") {
			t.Errorf("%s: %v: want an answer that it is prohibited:\n%s", f.Name, err, out)
		}
		s.drops(w, "ct1", frame.DropForbidden, before, 2)
		s.NotReaches(b, a.addr[f.Version])
	}
	w.MustWeft("network", "set", "default", "reach=[dmz]")
	w.MustWeft("network", "set", "dmz", "reach=[default]")
	for _, f := range lab.Families {
		s.seen(a, "tcp", at(b.addr[f.Version], 7001), a.addr[f.Version])
		s.seen(b, "udp", at(a.addr[f.Version], 7001), b.addr[f.Version])
		s.looks(a, f, f.Host)
	}
	w.MustWeft("network", "set", "dmz", "reach=")
	for _, f := range lab.Families {
		s.NotReaches(b, a.addr[f.Version])
	}
}

// A guest may be a router itself: what the document says lies behind it is reached by
// it, and goes out through NAT as well.
func TestRoutesBehindAGuest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(`
networks:
  - {name: default, routes: [{to: 10.7.0.0/16, via: 192.168.150.10}, {to: "fd10:7::/64", via: "fd5a:150::10"}]}
ports:
  - {name: ct1, type: device}
  - {name: ct2, type: device}
`)
	a, b := s.static("ct1", 10), s.static("ct2", 11)
	behind := map[string]string{"-4": "10.7.0.1", "-6": "fd10:7::1"}
	for _, f := range lab.Families {
		a.Addresses("lo", behind[f.Version]+map[string]string{"-4": "/32", "-6": "/128"}[f.Version])
	}
	a.Tells()
	w.Up("ct1", "ct2")
	for _, f := range lab.Families {
		s.seen(b, "udp", at(behind[f.Version], 7001), b.addr[f.Version])
		seen, err := s.TriesAsking(a, "udp", at(f.Server, 7001), "-from", at(behind[f.Version], 5000))
		if err != nil || seen.Addr() != parse(f.Host) {
			t.Errorf("%s: what is behind the guest is %v outside: %v", f.Name, seen, err)
		}
	}
}
