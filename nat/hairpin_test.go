package nat

import (
	"net/netip"
	"testing"

	"weft/frame"
)

// A guest reaches another by its external endpoint, and is seen by its own external one
// (RFC 4787 REQ-9 a, RFC 5382 REQ-8).
func TestU09Hairpinning(t *testing.T) { testHairpinning(t, overUDP) }

func TestT08Hairpinning(t *testing.T) { testHairpinning(t, overTCP) }

func testHairpinning(t *testing.T, tr transport) {
	for _, c := range []struct {
		name  string
		edits []func(*Policy, *PoolConfig)
	}{
		{"one address", nil},
		{"two addresses", []func(*Policy, *PoolConfig){twoAddresses}},
		{"shared address", []func(*Policy, *PoolConfig){shared}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr.in(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
				r := newRig(t, settings(append(c.edits, filtering(EndpointIndependent))...))
				a, b := at(f.guest, 55000), at(f.other, 56000)
				externalB := sourceEnd(r.mustOut(build(b, at(f.remote, 53))))
				got := r.mustHairpin(build(a, externalB))
				externalA := sourceEnd(got)
				if externalA.Addr() != f.external && externalA.Addr() != f.secondExt {
					t.Fatalf("the inner peer sees %v, want an external address", externalA)
				}
				wantEnds(t, got, externalA, b)
				wantEnds(t, r.mustHairpin(build(b, externalA)), externalB, a)
				// Its external endpoint is the same for all others.
				wantEnds(t, r.mustOut(build(a, at(f.remote, 53))), externalA, at(f.remote, 53))
			})
		})
	}
}

// Filtering holds for hairpins as for what comes from outside, so both may punch a hole.
func TestU09HairpinningIsFiltered(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings())
		a, b := at(f.guest, 5000), at(f.other, 6000)
		externalA := sourceEnd(r.mustOut(build(a, at(f.remote, 53))))
		externalB := sourceEnd(r.mustOut(build(b, at(f.remote, 53))))
		if _, ours, why := r.hairpin(build(a, externalB)); !ours || why != frame.DropNATFiltered {
			t.Fatalf("ours %v, %v, want nat-filtered", ours, why)
		}
		wantEnds(t, r.mustHairpin(build(b, externalA)), externalB, a)
		wantEnds(t, r.mustHairpin(build(a, externalB)), externalA, b)
	})
}

// A guest may even reach itself.
func TestU09HairpinToOneself(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(filtering(EndpointIndependent)))
		a := at(f.guest, 5000)
		external := sourceEnd(r.mustOut(udpFrame(a, at(f.remote, 53), 1)))
		wantEnds(t, r.mustHairpin(udpFrame(at(f.guest, 5001), external, 1)), at(f.external, 5001), a)
		wantEnds(t, r.mustHairpin(udpFrame(a, external, 1)), external, a)
	})
}

// What is for the host's own services stays the host's, and leaves no trace.
func TestHairpinToTheHost(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for _, edit := range []func(*Policy, *PoolConfig){shared, filtering(AddressAndPortDependent)} {
			r := newRig(t, settings(edit))
			for name, p := range map[string][]byte{
				"a service":       tcpFrame(at(f.guest, 5000), at(f.external, 22), seg{flags: syn}),
				"DNS":             udpFrame(at(f.guest, 5000), at(f.external, 53), 1),
				"an echo reply":   echoFrame(f.guest, f.external, f.echoReply, 5),
				"other address":   udpFrame(at(f.guest, 5000), at(f.hop, 53), 1),
				"another's ESP":   packetFrame(f.guest, f.external, 50, payload(30)),
				"error to nobody": failureFrame(f, f.guest, udpFrame(at(f.external, 53), at(f.guest, 5000), 1)),
			} {
				if q, ours, why := r.hairpin(p); q != nil || ours || why != 0 {
					t.Errorf("%s: ours %v, %v", name, ours, why)
				}
			}
			r.wantSessions(0)
		}
		r := newRig(t, settings(shared))
		if q, ours, _ := r.hairpin(echoFrame(f.guest, f.external, f.echo, 5)); q != nil || ours {
			t.Error("the host's own address is not the host's to answer pings at")
		}
		r.wantSessions(0)
	})
}

// ICMP errors about hairpins find their way, translated twice (RFC 5508 REQ-7).
func TestI07HairpinnedErrors(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(twoAddresses, filtering(EndpointIndependent)))
		a, b := at(f.guest, 5000), at(f.other, 6000)
		externalB := sourceEnd(r.mustOut(build(b, at(f.remote, 53))))
		sent := build(a, externalB)
		got := r.mustHairpin(sent)
		externalA := sourceEnd(got)
		back := r.mustHairpin(failureFrame(f, f.other, got))
		if source(back) != externalB.Addr() || destination(back) != f.guest {
			t.Errorf("%v > %v, want %v > %v", source(back), destination(back), externalB.Addr(), f.guest)
		}
		wantQuoted(t, back, sent)
		// The same the other way round.
		sent = build(b, externalA)
		back = r.mustHairpin(failureFrame(f, f.guest, r.mustHairpin(sent)))
		wantQuoted(t, back, sent)
	})
}

// Queries too (RFC 7857 12): a guest reaches the one that asked it, or itself.
func TestI07HairpinnedQueries(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(twoAddresses))
		externalA := source(r.mustOut(echoFrame(f.guest, f.remote, f.echo, 7)))
		externalB := source(r.mustOut(echoFrame(f.other, f.remote, f.echo, 7)))
		if externalA == externalB {
			t.Fatal("the two guests are to have an address each")
		}
		// B asks A's address: A has not asked B, so that B's own answer is all there is.
		if _, ours, why := r.hairpin(echoFrame(f.other, externalA, f.echo, 7)); ours || why != 0 {
			t.Errorf("ours %v, %v", ours, why)
		}
		// Now A asks B's, and gets through.
		got := r.mustHairpin(echoFrame(f.guest, externalB, f.echo, 7))
		wantEnds(t, got, at(externalA, 7), at(f.other, 7))
		wantEnds(t, r.mustHairpin(echoFrame(f.other, externalA, f.echoReply, 7)), at(externalB, 7), at(f.guest, 7))
		// And itself.
		wantEnds(t, r.mustHairpin(echoFrame(f.guest, externalA, f.echo, 99)), at(externalA, 99), at(f.guest, 99))
		wantEnds(t, r.mustHairpin(echoFrame(f.guest, externalA, f.echoReply, 99)), at(externalA, 99), at(f.guest, 99))
	})
}

// A guest reaches what is forwarded from outside by the same address and port.
func TestHairpinToAForward(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		for _, edit := range []func(*Policy, *PoolConfig){shared, twoAddresses} {
			r := newRig(t, settings(edit, forwards(bothProtocols(Forward{Pool: 1, First: 80, Last: 80, To: at(f.other, 8080)})...)))
			got := r.mustHairpin(build(at(f.guest, 55000), at(f.external, 80)))
			wantEnds(t, got, sourceEnd(got), at(f.other, 8080))
			if source(got) == f.guest {
				t.Error("the server sees an internal address: it would answer past the NAT")
			}
			wantEnds(t, r.mustHairpin(build(at(f.other, 8080), sourceEnd(got))), at(f.external, 80), at(f.guest, 55000))
			r.tab.Flush(1, netip.Addr{})
			r.wantSessions(0)
			if n := len(r.host.claims); n != 0 {
				t.Errorf("%d claims are left", n)
			}
		}
	})
}
