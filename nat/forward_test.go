package nat

import (
	"net/netip"
	"testing"

	"weft/frame"
)

// bothProtocols returns a forward for TCP and one for UDP.
func bothProtocols(f Forward) []Forward {
	a, b := f, f
	a.Protocol, b.Protocol = frame.ProtocolTCP, frame.ProtocolUDP
	return []Forward{a, b}
}

// From outside to a guest and back, whoever the client is, whose address stays.
func TestForward(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		for _, edit := range []func(*Policy, *PoolConfig){shared, filtering(AddressAndPortDependent)} {
			r := newRig(t, settings(edit, forwards(bothProtocols(Forward{Pool: 1, First: 2222, Last: 2222, To: at(f.guest, 22)})...)))
			for _, client := range []netip.AddrPort{at(f.remote, 1000), at(f.remote, 1001), at(f.remote2, 1000)} {
				wantEnds(t, r.mustIn(build(client, at(f.external, 2222))), client, at(f.guest, 22))
				wantEnds(t, r.mustOut(build(at(f.guest, 22), client)), at(f.external, 2222), client)
			}
			r.leave(build(at(f.remote, 1000), at(f.external, 2223)))
			if len(r.host.claims) != 0 {
				t.Errorf("a forward's port is claimed anew: %v", r.host.claims)
			}
		}
	})
}

// A range of ports, of which the first goes to the first.
func TestForwardRange(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(forwards(bothProtocols(Forward{Pool: 1, First: 8000, Last: 8010, To: at(f.guest, 9000)})...)))
		for i := range uint16(11) {
			wantEnds(t, r.mustIn(build(at(f.remote, 1000), at(f.external, 8000+i))), at(f.remote, 1000), at(f.guest, 9000+i))
		}
		r.leave(build(at(f.remote, 1000), at(f.external, 7999)))
		r.leave(build(at(f.remote, 1000), at(f.external, 8011)))
	})
}

// With an address a forward is at that one only; without, at all of the pool.
func TestForwardAddress(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		for _, everywhere := range []bool{true, false} {
			c := Forward{Pool: 1, First: 80, Last: 80, To: at(f.guest, 80)}
			if !everywhere {
				c.Address = f.secondExt
			}
			r := newRig(t, settings(twoAddresses, forwards(bothProtocols(c)...)))
			r.mustIn(build(at(f.remote, 1000), at(f.secondExt, 80)))
			if everywhere {
				r.mustIn(build(at(f.remote, 1001), at(f.external, 80)))
			} else {
				r.leave(build(at(f.remote, 1001), at(f.external, 80)))
			}
		}
	})
}

// What the server itself opens appears with the forwarded port, so that its peers find
// it there again.
func TestForwardedEndpointSendsFirst(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(twoAddresses, forwards(bothProtocols(Forward{Pool: 1, Address: f.secondExt, First: 51820, Last: 51829, To: at(f.guest, 100)})...)))
		wantEnds(t, r.mustOut(build(at(f.guest, 103), at(f.remote, 53))), at(f.secondExt, 51823), at(f.remote, 53))
		wantEnds(t, r.mustIn(build(at(f.remote2, 1), at(f.secondExt, 51823))), at(f.remote2, 1), at(f.guest, 103))
		wantEnds(t, r.mustOut(build(at(f.guest, 103), at(f.remote2, 2))), at(f.secondExt, 51823), at(f.remote2, 2))
	})
}

// Of a server with two forwards that which is in use stays its endpoint.
func TestForwardedEndpointKeepsItsPort(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		fs := []Forward{
			{Protocol: frame.ProtocolUDP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 5000)},
			{Protocol: frame.ProtocolUDP, Pool: 1, First: 83, Last: 83, To: at(f.guest, 5000)},
		}
		r := newRig(t, settings(forwards(fs...)))
		r.mustIn(udpFrame(at(f.remote, 1), at(f.external, 83), 1))
		wantEnds(t, r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 2), 1)), at(f.external, 83), at(f.remote, 2))
		r.mustIn(udpFrame(at(f.remote, 3), at(f.external, 80), 1))
		r.tab.closeWhere(func(s *session) bool { return s.externalPort == 83 })
		wantEnds(t, r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 2), 1)), at(f.external, 80), at(f.remote, 2))
		if got := r.tab.Counters().Mappings; got != 1 {
			t.Errorf("%d mappings, want 1", got)
		}
	})
}

// Nobody else gets a forwarded port, in use or not.
func TestForwardedPortsAreKept(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(
			func(_ *Policy, c *PoolConfig) { c.First, c.Last = 1024, 1033 },
			forwards(bothProtocols(Forward{Pool: 1, First: 1024, Last: 1031, To: at(f.guest, 5000)})...),
		))
		for _, port := range []uint16{1024, 1026, 3000, 3001} {
			q, why := r.out(build(at(f.other, port), at(f.remote, 53)))
			if why == frame.DropNATNoPort {
				continue
			}
			if got := sourceEnd(q).Port(); 1024 <= got && got <= 1031 {
				t.Errorf("port %d became %d, which is forwarded", port, got)
			}
		}
		r.mustIn(build(at(f.remote, 53), at(f.external, 1024)))
	})
}

// A client that speaks to one server by two of its forwards from the same port could not
// tell the answers apart.
func TestForwardTwiceToOneServer(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		fs := bothProtocols(Forward{Pool: 1, First: 80, Last: 80, To: at(f.guest, 80)})
		r := newRig(t, settings(forwards(append(fs, bothProtocols(Forward{Pool: 1, First: 8080, Last: 8080, To: at(f.guest, 80)})...)...)))
		r.mustIn(build(at(f.remote, 1000), at(f.external, 80)))
		r.refuse(build(at(f.remote, 1000), at(f.external, 8080)), frame.DropNATInvalid)
		r.mustIn(build(at(f.remote, 1001), at(f.external, 8080)))
		r.refuse(build(at(f.remote, 1000), at(f.external, 8080)), frame.DropNATInvalid)
		wantEnds(t, r.mustOut(build(at(f.guest, 80), at(f.remote, 1001))), at(f.external, 8080), at(f.remote, 1001))
		wantEnds(t, r.mustOut(build(at(f.guest, 80), at(f.remote, 1000))), at(f.external, 80), at(f.remote, 1000))
	})
}

// ICMP errors about what is forwarded.
func TestForwardErrors(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(forwards(bothProtocols(Forward{Pool: 1, First: 2222, Last: 2222, To: at(f.guest, 22)})...)))
		came := udpFrame(at(f.remote, 1000), at(f.external, 2222), 20)
		out := r.mustOut(failureFrame(f, f.guest, r.mustIn(append([]byte{}, came...))))
		if source(out) != f.external {
			t.Errorf("the error is from %v", source(out))
		}
		wantQuoted(t, out, came)
	})
}

// Forwards that cannot be are none: to a pool that is not there, of other protocols, of
// a range the wrong way round, of ports that there are not.
func TestForwardsThatCannotBe(t *testing.T) {
	f := families[0]
	r := newRig(t, settings(forwards(
		Forward{Protocol: frame.ProtocolTCP, Pool: 9, First: 80, Last: 80, To: at(f.guest, 80)},
		Forward{Protocol: frame.ProtocolICMP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 80)},
		Forward{Protocol: frame.ProtocolSCTP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 80)},
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 80, Last: 79, To: at(f.guest, 80)},
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 0)},
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 70, Last: 80, To: at(f.guest, 65530)},
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 81, Last: 81, To: at(families[1].guest, 80)},
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, Address: families[1].external, First: 80, Last: 80, To: at(f.guest, 80)},
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 80, Last: 80},
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, Address: f.secondExt, First: 80, Last: 80, To: at(f.guest, 80)},
	)))
	r.leave(tcpFrame(at(f.remote, 1000), at(f.external, 80), seg{flags: syn}))
	r.leave(tcpFrame(at(f.remote, 1000), at(f.external, 81), seg{flags: syn}))
	r.leave(echoFrame(f.remote, f.external, f.echo, 80))
	r.mustIn(tcpFrame(at(families[1].remote, 1000), at(families[1].external, 81), seg{flags: syn}))
}
