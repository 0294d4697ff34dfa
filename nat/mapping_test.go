package nat

import (
	"bytes"
	"net/netip"
	"testing"

	"weft/frame"
)

// The same internal endpoint keeps one external endpoint to whomever it speaks (RFC 4787
// REQ-1, RFC 5382 REQ-1), whatever the protocol (RFC 7857 5).
func TestU01EndpointIndependentMapping(t *testing.T) { testEndpointIndependentMapping(t, overUDP) }

func TestT01EndpointIndependentMapping(t *testing.T) { testEndpointIndependentMapping(t, overTCP) }

func testEndpointIndependentMapping(t *testing.T, tr transport) {
	tr.in(t, func(t *testing.T, f family, frame func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings())
		first := r.mustOut(frame(at(f.guest, 5000), at(f.remote, 53)))
		wantEnds(t, first, at(f.external, 5000), at(f.remote, 53))
		for _, to := range []netip.AddrPort{at(f.remote, 54), at(f.remote2, 53), at(f.remote2, 5000)} {
			wantEnds(t, r.mustOut(frame(at(f.guest, 5000), to)), sourceEnd(first), to)
			wantEnds(t, r.mustIn(frame(to, sourceEnd(first))), to, at(f.guest, 5000))
		}
		r.wantSessions(4)
		if got := r.tab.Counters().Mappings; got != 1 {
			t.Errorf("%d mappings, want 1", got)
		}
	})
}

// One internal host keeps one external address (RFC 4787 REQ-2).
func TestU02PairedPooling(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, frame func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(twoAddresses))
		seen := map[netip.Addr]bool{}
		for _, guest := range []netip.Addr{f.guest, f.other} {
			external := source(r.mustOut(frame(at(guest, 5000), at(f.remote, 53))))
			seen[external] = true
			for port := uint16(5001); port < 5020; port++ {
				if got := source(r.mustOut(frame(at(guest, port), at(f.remote2, port)))); got != external {
					t.Fatalf("%v appears as %v and as %v", guest, external, got)
				}
			}
		}
		if len(seen) != 2 {
			t.Errorf("two guests share %v, with two addresses to choose from", seen)
		}
	})
}

// TCP and UDP keep the address that the host has for all (RFC 7857 4).
func TestU02PairedAcrossProtocols(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(twoAddresses))
		want := source(r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)))
		if got := source(r.mustOut(tcpFrame(at(f.guest, 5000), at(f.remote, 53), seg{flags: syn}))); got != want {
			t.Errorf("TCP appears as %v, UDP as %v", got, want)
		}
		if got := source(r.mustOut(echoFrame(f.guest, f.remote, f.echo, 9))); got != want {
			t.Errorf("ICMP appears as %v, UDP as %v", got, want)
		}
	})
}

// Two internal endpoints never share an external one (RFC 4787 REQ-3, RFC 5382 REQ-7).
func TestU03NoPortOverloading(t *testing.T) { testNoPortOverloading(t, overUDP) }

func TestT07NoPortOverloading(t *testing.T) { testNoPortOverloading(t, overTCP) }

func testNoPortOverloading(t *testing.T, tr transport) {
	tr.in(t, func(t *testing.T, f family, frame func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings())
		owner := map[netip.AddrPort]netip.AddrPort{}
		for _, guest := range []netip.Addr{f.guest, f.other, f.guest.Next().Next()} {
			for port := uint16(5000); port < 5100; port++ {
				internal := at(guest, port)
				external := sourceEnd(r.mustOut(frame(internal, at(f.remote, 53))))
				if other, taken := owner[external]; taken {
					t.Fatalf("%v is both %v's and %v's", external, other, internal)
				}
				owner[external] = internal
			}
		}
		for external, internal := range owner {
			wantEnds(t, r.mustIn(frame(at(f.remote, 53), external)), at(f.remote, 53), internal)
		}
	})
}

// TCP and UDP have ports of their own, each mapped and filtered for itself (RFC 7857 5, 6).
func TestU15ProtocolsApart(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
		wantEnds(t, r.mustOut(tcpFrame(at(f.other, 5000), at(f.remote, 53), seg{flags: syn})), at(f.external, 5000), at(f.remote, 53))
		wantEnds(t, r.mustIn(udpFrame(at(f.remote, 53), at(f.external, 5000), 1)), at(f.remote, 53), at(f.guest, 5000))
	})
}

// Ports below 1024 stay below, others above (RFC 4787 REQ-3 a).
func TestU03bPortRange(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, frame func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings())
		for _, port := range []uint16{1, 123, 1023, 1024, 40000, 65535} {
			for i, guest := range []netip.Addr{f.guest, f.other} {
				got := sourceEnd(r.mustOut(frame(at(guest, port), at(f.remote, 53)))).Port()
				if i == 0 && got != port {
					t.Errorf("port %d is free and becomes %d", port, got)
				}
				if (port < 1024) != (got < 1024) || got == 0 {
					t.Errorf("port %d becomes %d", port, got)
				}
			}
		}
	})
}

// An even port stays even, an odd one odd (RFC 4787 REQ-4), for UDP (RFC 7857 8).
func TestU04PortParity(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		for port := uint16(5000); port < 5040; port++ {
			r.mustOut(udpFrame(at(f.guest, port), at(f.remote, 53), 1))
			got := sourceEnd(r.mustOut(udpFrame(at(f.other, port), at(f.remote, 53), 1))).Port()
			if got == port || got%2 != port%2 {
				t.Errorf("port %d becomes %d", port, got)
			}
		}
	})
}

// Ports that cannot be kept are not to be guessed (RFC 6056, RFC 7857 9).
func TestU16PortRandomisation(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, frame func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings())
		seen := map[uint16]bool{}
		var steps [2]int
		last := uint16(0)
		for port := uint16(5000); port < 5100; port++ {
			r.mustOut(frame(at(f.guest, port), at(f.remote, 53)))
			got := sourceEnd(r.mustOut(frame(at(f.other, port), at(f.remote, 53)))).Port()
			seen[got/4096] = true
			if got > last {
				steps[1]++
			} else {
				steps[0]++
			}
			last = got
		}
		if len(seen) < 12 || steps[0] < 30 || steps[1] < 30 {
			t.Errorf("100 ports from %d of 16 parts, up %d times and down %d", len(seen), steps[1], steps[0])
		}
	})
}

// No port overlapping, even to different remotes, as nobody enabled it (RFC 7857 3).
func TestU18NoPortOverlapping(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, frame func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings())
		a := sourceEnd(r.mustOut(frame(at(f.guest, 5000), at(f.remote, 53))))
		b := sourceEnd(r.mustOut(frame(at(f.other, 5000), at(f.remote2, 53))))
		if a == b {
			t.Errorf("two guests are both %v", a)
		}
	})
}

// No packet that is let go has an internal source (RFC 3022), nor does what it quotes.
func TestN02NoInternalAddressLeaks(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		var all [][]byte
		for _, p := range errorSubjects(f) {
			all = append(all, p)
		}
		external := sourceEnd(r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)))
		all = append(all, failureFrame(f, f.other, r.mustIn(udpFrame(at(f.remote, 53), external, 9))))
		all = append(all, cut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 100), 9, 48)...)
		for _, p := range all {
			if q := r.mustOut(p); bytes.Contains(q, f.guest.AsSlice()) || bytes.Contains(q, f.other.AsSlice()) {
				t.Errorf("an internal address goes out: %x", q)
			}
		}
	})
}

// Port exhaustion is told, and hurts nobody who has a port. What ends makes room.
func TestI08PortExhaustion(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(shared, func(_ *Policy, c *PoolConfig) { c.First, c.Last = 60000, 60009 }))
		for port := uint16(wellKnown); port < hostChosen; port++ { // the host has all that it may share
			for _, tr := range transports {
				r.host.sockets[hostKey(tr.number, at(f.external, port))] = true
			}
		}
		reached := 0
		for port := uint16(40000); port < 40020; port++ {
			q, why := r.out(build(at(f.guest, port), at(f.remote, 53)))
			if q != nil {
				reached++
				if p := sourceEnd(q).Port(); p < 60000 || p > 60009 {
					t.Errorf("port %d", p)
				}
			} else if why != frame.DropNATNoPort {
				t.Errorf("dropped for %v", why)
			}
		}
		if reached != 10 {
			t.Errorf("%d sessions on 10 ports", reached)
		}
		if n := r.tab.Flush(1, netip.Addr{}); n != 10 {
			t.Errorf("flushed %d", n)
		}
		r.mustOut(build(at(f.guest, 40000), at(f.remote, 53)))
		if r.tab.hosts.used != 1 || r.tab.mappings.used != 1 {
			t.Errorf("%d hosts, %d mappings", r.tab.hosts.used, r.tab.mappings.used)
		}
	})
}
