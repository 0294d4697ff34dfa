package nat

import (
	"net/netip"
	"testing"

	"weft/frame"
)

// On the host's own address a port is kept only if it cannot be a socket's: from the
// reserved range, or below those that Linux chooses from, after a look.
func TestSharedPorts(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(shared))
		for _, tr := range transports {
			r.host.sockets[hostKey(tr.number, at(f.external, 5353))] = true
		}
		for _, c := range []struct {
			port       uint16
			kept, asks bool
		}{
			{49152, true, false},
			{65535, true, false},
			{123, true, true},
			{5000, true, true},
			{32767, true, true},
			{5353, false, true},
			{32768, false, false},
			{40000, false, false},
			{49151, false, false},
		} {
			r.host.asked = 0
			got := sourceEnd(r.mustOut(build(at(f.guest, c.port), at(f.remote, 53)))).Port()
			if kept := got == c.port; kept != c.kept {
				t.Errorf("port %d becomes %d", c.port, got)
			}
			if !c.kept && got < 49152 {
				t.Errorf("port %d becomes %d, which is not of the reserved range", c.port, got)
			}
			if (r.host.asked > 0) != c.asks {
				t.Errorf("port %d: the host was asked %d times", c.port, r.host.asked)
			}
		}
		if len(r.host.claims) != 9 {
			t.Errorf("%d claims, want 9", len(r.host.claims))
		}
	})
}

// When the reserved range is used up, ports are taken that the host says are free.
func TestSharedPortsBeyondTheReservedRange(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(shared, func(_ *Policy, c *PoolConfig) { c.First, c.Last = 60000, 60001 }))
		for port := uint16(wellKnown); port < hostChosen; port += 3 {
			for _, tr := range transports {
				r.host.sockets[hostKey(tr.number, at(f.external, port))] = true
			}
		}
		for port := uint16(50000); port < 50400; port++ {
			got := sourceEnd(r.mustOut(build(at(f.guest, port), at(f.remote, 53)))).Port()
			if got < wellKnown || got >= hostChosen && got < 60000 || got < hostChosen && (got-wellKnown)%3 == 0 {
				t.Fatalf("port %d", got)
			}
		}
	})
}

// What the host's kernel refuses is not used. If it refuses everything that is told.
func TestClaimRefused(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(shared))
		r.host.refuse = func(at netip.AddrPort) bool { return at.Port()%16 != 5 && at.Port()%16 != 6 }
		for port := uint16(50000); port < 50050; port++ {
			if got := sourceEnd(r.mustOut(build(at(f.guest, port), at(f.remote, 53)))).Port(); r.host.refuse(at(f.external, got)) {
				t.Fatalf("port %d was refused", got)
			}
		}
		r.host.refuse = func(netip.AddrPort) bool { return true }
		if _, why := r.out(build(at(f.other, 5000), at(f.remote, 53))); why != frame.DropNATNoPort {
			t.Errorf("%v, want nat-no-port", why)
		}
		r.wantSessions(50)
		r.tab.Flush(1, netip.Addr{})
		if len(r.host.claims) != 0 {
			t.Errorf("%d claims are left", len(r.host.claims))
		}
	})
}

// Of a pool of its own every port is NAT's: nobody is asked.
func TestOwnPoolAsksNobody(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings())
		for _, port := range []uint16{22, 5000, 40000, 50000} {
			for _, guest := range []netip.Addr{f.guest, f.other} {
				r.mustOut(build(at(guest, port), at(f.remote, 53)))
			}
		}
		if r.host.asked != 0 || len(r.host.claims) != 0 {
			t.Errorf("%d questions, %d claims", r.host.asked, len(r.host.claims))
		}
	})
}

// Every last port of a range is found, of either parity, and no other.
func TestEveryPortIsFound(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRigOf(t, 70000, settings(func(_ *Policy, c *PoolConfig) { c.First, c.Last = 1030, 64000 }))
		e := r.tab.findExternal(addressOf(f.external))
		seen := map[uint16]bool{}
		for i := 0; ; i++ {
			port, ok := r.tab.takePort(e, udp, uint16(2000+i%2))
			if !ok {
				break
			}
			if seen[port] || port%2 != uint16(i%2) && i > 0 {
				t.Fatalf("port %d", port)
			}
			seen[port] = true
		}
		// The two that were kept are of the range too.
		if want := 64000 - 1030 + 1; len(seen) < want-1 {
			t.Errorf("%d ports, want %d", len(seen), want)
		}
		for port := range seen {
			r.tab.givePort(e, udp, port, false)
		}
		if r.tab.externals[e].used[udp] != (bitmap{}) {
			t.Error("ports are left")
		}
	})
}

// Identifiers of queries are found to the last, too.
func TestIdentifiersAreExhausted(t *testing.T) {
	r := newRig(t, settings())
	e := r.tab.findExternal(addressOf(families[0].external))
	for i := range 65536 {
		if _, ok := r.tab.takePort(e, icmp, 7); !ok {
			t.Fatalf("none is left after %d", i)
		}
	}
	if _, ok := r.tab.takePort(e, icmp, 7); ok {
		t.Error("more than there are")
	}
}

// No address of the family, no realm, no pool: said so, and no trace left.
func TestNothingToTranslateWith(t *testing.T) {
	for i, f := range families {
		s := settings(func(_ *Policy, c *PoolConfig) { c.Addresses = []netip.Addr{families[1-i].external} })
		s.Realms[0], s.Pools[0] = Policy{}, PoolConfig{Addresses: []netip.Addr{f.external}} // which mean nothing
		r := newRig(t, s)
		p := udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)
		if _, why := r.out(p); why != frame.DropNATNoPort {
			t.Errorf("no address: %v, want nat-no-port", why)
		}
		for _, w := range [][2]uint16{{2, 1}, {1, 2}, {9999, 1}, {1, 9999}, {0, 1}, {1, 0}, {0, 0}} {
			if why := r.tab.Outbound(0, buf(p, guestPort), w[0], w[1]); why != frame.DropNATNoPort {
				t.Errorf("realm %d, pool %d: %v, want nat-no-port", w[0], w[1], why)
			}
		}
		if r.tab.hosts.used+r.tab.mappings.used+r.tab.sessions.used != 0 {
			t.Error("something is left")
		}
	}
}
