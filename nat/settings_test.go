package nat

import (
	"net/netip"
	"testing"

	"weft/frame"
)

// Configure keeps what still fits, packets and all, and ends what does not.
func TestConfigureKeepsWhatFits(t *testing.T) {
	f := families[0]
	fw := Forward{Protocol: frame.ProtocolUDP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 8080)}
	to := func(port uint16) Forward { g := fw; g.To = at(f.guest, port); return g }
	for _, c := range []struct {
		name              string
		then              Settings
		mapped, forwarded bool
	}{
		{"nothing", settings(twoAddresses, forwards(fw)), true, true},
		{"other timers, quota, filtering", settings(twoAddresses, forwards(fw), timers(Timers{UDP: 1}), filtering(EndpointIndependent),
			func(p *Policy, _ *PoolConfig) { p.Quota = 1 }), true, true},
		{"one address less", settings(forwards(fw)), true, true},
		{"one address more, and in another order", settings(func(_ *Policy, c *PoolConfig) {
			c.Addresses = []netip.Addr{addr("203.0.113.9"), f.secondExt, f.external}
		}, forwards(fw)), true, true},
		{"other ports", settings(twoAddresses, forwards(fw), func(_ *Policy, c *PoolConfig) { c.First, c.Last = 60000, 60001 }), true, true},
		{"no forward", settings(twoAddresses), true, false},
		{"another forward", settings(twoAddresses, forwards(to(8081))), true, false},
		{"a forward of a port in use", settings(twoAddresses, forwards(fw, Forward{Protocol: frame.ProtocolUDP, Pool: 1, First: 5000, Last: 5000, To: at(f.other, 5000)})), false, true},
		{"a forward of TCP's port of the same number", settings(twoAddresses, forwards(fw, Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 5000, Last: 5000, To: at(f.other, 5000)})), true, true},
		{"another address", settings(func(_ *Policy, c *PoolConfig) { c.Addresses = []netip.Addr{f.secondExt} }, forwards(fw)), false, false},
		{"the host's address", settings(twoAddresses, shared, forwards(fw)), false, true},
		{"no pool", Settings{Realms: settings(forwards(fw)).Realms}, false, false},
		{"no realm", Settings{Pools: settings(twoAddresses).Pools}, false, false},
		{"another realm", Settings{Realms: map[Realm]Policy{2: {Forwards: []Forward{fw}}}, Pools: settings(twoAddresses).Pools}, false, false},
		{"another realm's forward", Settings{
			Realms: map[Realm]Policy{1: {}, 2: {Forwards: []Forward{fw}}}, Pools: settings(twoAddresses).Pools,
		}, true, false},
		{"another pool", Settings{Realms: settings(forwards(fw)).Realms, Pools: map[Pool]PoolConfig{2: settings(twoAddresses).Pools[1]}}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, settings(twoAddresses, forwards(fw)))
			guest := f.guest
			if source(r.mustOut(udpFrame(at(guest, 5000), at(f.remote, 53), 1))) != f.external {
				r.tab.Flush(1, netip.Addr{})
				guest = f.other
				r.mustOut(udpFrame(at(guest, 5000), at(f.remote, 53), 1))
			}
			r.mustIn(udpFrame(at(f.remote, 1000), at(f.external, 80), 1))
			r.tab.Configure(r.now, c.then)
			want := 0
			for _, still := range []bool{c.mapped, c.forwarded} {
				if still {
					want++
				}
			}
			r.wantSessions(want)
			if c.mapped {
				wantEnds(t, r.mustIn(udpFrame(at(f.remote, 53), at(f.external, 5000), 1)), at(f.remote, 53), at(guest, 5000))
				wantEnds(t, r.mustOut(udpFrame(at(guest, 5000), at(f.remote, 53), 1)), at(f.external, 5000), at(f.remote, 53))
			}
			if c.forwarded {
				wantEnds(t, r.mustOut(udpFrame(at(f.guest, 8080), at(f.remote, 1000), 1)), at(f.external, 80), at(f.remote, 1000))
			}
			r.tab.Configure(r.now, Settings{})
			r.wantSessions(0)
			left := 0
			for _, e := range r.tab.externals {
				if e != nil {
					left++
				}
			}
			if left != 0 || r.tab.hosts.used != 0 || r.tab.mappings.used != 0 || len(r.host.claims) != 0 {
				t.Errorf("left: %d addresses, %d hosts, %d mappings, %d claims", left, r.tab.hosts.used, r.tab.mappings.used, len(r.host.claims))
			}
		})
	}
}

// A host whose address has gone gets another, also while a forward at a third keeps it,
// and not what took the place of its own.
func TestConfigurePairsAnew(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		fw := forwards(Forward{Protocol: frame.ProtocolUDP, Pool: 1, Address: f.secondExt, First: 80, Last: 80, To: at(f.guest, 8080)})
		pool := func(as ...netip.Addr) func(*Policy, *PoolConfig) {
			return func(_ *Policy, c *PoolConfig) { c.Addresses = as }
		}
		for _, replaced := range []bool{false, true} {
			r := newRig(t, settings(pool(f.external), fw))
			r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
			r.tab.Configure(r.now, settings(pool(f.external, f.secondExt), fw))
			r.mustIn(udpFrame(at(f.remote, 1000), at(f.secondExt, 80), 1))
			s := settings(pool(f.secondExt), fw)
			r.tab.Configure(r.now, s)
			if replaced {
				s.Pools[2] = PoolConfig{Addresses: []netip.Addr{f.hop}}
				r.tab.Configure(r.now, s)
			}
			r.wantSessions(1)
			if got := source(r.mustOut(udpFrame(at(f.guest, 5001), at(f.remote, 53), 1))); got != f.secondExt {
				t.Errorf("replaced %v: appears as %v, want %v", replaced, got, f.secondExt)
			}
		}
	})
}

// Of settings that contradict each other the first wins: an address in two pools, a port
// forwarded twice.
func TestContradictions(t *testing.T) {
	f := families[0]
	fw := func(to uint16) Forward {
		return Forward{Protocol: frame.ProtocolUDP, Pool: 1, First: 80, Last: 80, To: at(f.guest, to)}
	}
	r := newRig(t, Settings{
		Realms: map[Realm]Policy{1: {Forwards: []Forward{fw(1), fw(2)}}, 2: {Forwards: []Forward{fw(3)}}},
		Pools:  map[Pool]PoolConfig{1: {Addresses: []netip.Addr{f.external, f.external}}, 2: {Addresses: []netip.Addr{f.external}}},
	})
	wantEnds(t, r.mustIn(udpFrame(at(f.remote, 1000), at(f.external, 80), 1)), at(f.remote, 1000), at(f.guest, 1))
	r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
	if why := r.tab.Outbound(0, buf(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1), guestPort), 1, 2); why != frame.DropNATNoPort {
		t.Errorf("by the second pool: %v, want nat-no-port", why)
	}
}

// Internal addresses of two realms, and of outside, may be the same (RFC 4787 REQ-7).
func TestU07AddressesMayConflict(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		s := settings()
		s.Realms[2] = Policy{}
		r := newRig(t, s)
		guest, remote := at(f.guest, 5000), at(f.guest, 5000)
		first := sourceEnd(r.mustOut(build(guest, remote)))
		b := buf(build(guest, remote), guestPort)
		if why := r.tab.Outbound(0, b, 2, 1); why != 0 {
			t.Fatal(why)
		}
		second := sourceEnd(b.Bytes())
		if first == second {
			t.Fatalf("two realms share %v", first)
		}
		realms := map[netip.AddrPort]Realm{}
		for s := range r.tab.Sessions {
			realms[s.External] = s.Realm
		}
		if realms[first] != 1 || realms[second] != 2 {
			t.Errorf("realms %v", realms)
		}
		wantEnds(t, r.mustIn(build(remote, first)), remote, guest)
		wantEnds(t, r.mustIn(build(remote, second)), remote, guest)
	})
}

// What an operator sees of a session.
func TestSessions(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
		want := Session{
			Protocol: frame.ProtocolUDP, Realm: 1, Port: guestPort, Inside: at(f.guest, 5000), External: at(f.external, 5000),
			Remote: at(f.remote, 53), State: active, Expires: families5min,
		}
		for s := range r.tab.Sessions {
			if s != want || s.State.String() != "active" {
				t.Errorf("%+v, want %+v", s, want)
			}
		}
		r.mustOut(echoFrame(f.guest, f.remote, f.echo, 8))
		n := 0
		for s := range r.tab.Sessions {
			if n++; n == 2 {
				if s.Protocol != f.icmp || s.Inside != at(f.guest, 8) || s.Remote != at(f.remote, 8) {
					t.Errorf("%+v", s)
				}
			}
		}
		for range r.tab.Sessions {
			n++
			break
		}
		if n != 3 {
			t.Errorf("%d yielded", n)
		}
	})
}
