package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"weft/frame"
)

// Who gets through to a mapping, by each filtering (RFC 4787 REQ-8, RFC 5382 REQ-3).
func TestU08Filtering(t *testing.T) { testFiltering(t, overUDP) }

func TestT03Filtering(t *testing.T) { testFiltering(t, overTCP) }

func testFiltering(t *testing.T, tr transport) {
	for _, c := range []struct {
		name                    string
		filtering               Filtering
		otherPort, otherAddress bool
	}{
		{"address and port", AddressAndPortDependent, false, false},
		{"address", AddressDependent, true, false},
		{"endpoint-independent", EndpointIndependent, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr.in(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
				r := newRig(t, settings(filtering(c.filtering)))
				external := sourceEnd(r.mustOut(build(at(f.guest, 5000), at(f.remote, 53))))
				check := func(from netip.AddrPort, passes bool) {
					t.Helper()
					if passes {
						wantEnds(t, r.mustIn(build(from, external)), from, at(f.guest, 5000))
					} else {
						r.refuse(build(from, external), frame.DropNATFiltered)
					}
				}
				check(at(f.remote, 53), true)
				check(at(f.remote, 54), c.otherPort)
				check(at(f.remote2, 53), c.otherAddress)
				// What is not mapped is not ours whatever the filtering.
				r.leave(build(at(f.remote, 53), at(external.Addr(), external.Port()+2)))
			})
		})
	}
}

// An address is admitted while there is a session with it, and no longer.
func TestU08AddressDependentCounts(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(filtering(AddressDependent)))
		external := sourceEnd(r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)))
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 54), 1))
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote2, 53), 1))
		r.now += families5min - 1
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote2, 53), 1))
		r.pass(2 * tick)
		r.wantSessions(1)
		r.refuse(udpFrame(at(f.remote, 55), external, 1), frame.DropNATFiltered)
		r.mustIn(udpFrame(at(f.remote2, 55), external, 1))
		if r.tab.peers.used != 1 {
			t.Errorf("%d peers, want 1", r.tab.peers.used)
		}
	})
}

// A change of filtering holds for mappings that are there already.
func TestU08FilteringChanges(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		external := sourceEnd(r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)))
		for i, c := range []struct {
			filtering            Filtering
			address, otherRemote bool
		}{
			{AddressDependent, true, false},
			{EndpointIndependent, true, true},
			{AddressDependent, true, false},
			{AddressAndPortDependent, false, false},
		} {
			r.tab.Configure(r.now, settings(filtering(c.filtering)))
			for j, from := range []netip.Addr{f.remote, f.remote2} {
				q, ours, why := r.in(udpFrame(at(from, uint16(100+i)), external, 1))
				if want := []bool{c.address, c.otherRemote}[j]; (q != nil) != want {
					t.Errorf("%v from %v: ours %v, %v", c.filtering, from, ours, why)
				}
				// So that the next is not admitted for this one's sake.
				r.tab.closeWhere(func(s *session) bool { return s.remotePort == uint16(100+i) })
			}
		}
		r.wantSessions(1)
		r.tab.Flush(1, netip.Addr{})
		if r.tab.peers.used != 0 {
			t.Errorf("%d peers are left", r.tab.peers.used)
		}
	})
}

// The same whatever the load (RFC 4787 REQ-11): what a guest gets does not depend on
// what others have.
func TestU11Deterministic(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		for _, load := range []int{0, 900} {
			t.Run(fmt.Sprint(load), func(t *testing.T) {
				r := newRig(t, settings())
				for i := range load {
					r.mustOut(build(at(f.other, uint16(10000+i)), at(f.remote, 53)))
				}
				external := sourceEnd(r.mustOut(build(at(f.guest, 5000), at(f.remote, 53))))
				if external != at(f.external, 5000) {
					t.Errorf("a free port is not kept: %v", external)
				}
				wantEnds(t, r.mustOut(build(at(f.guest, 5000), at(f.remote2, 54))), external, at(f.remote2, 54))
				r.refuse(build(at(f.remote2, 53), external), frame.DropNATFiltered)
				r.mustIn(build(at(f.remote2, 54), external))
			})
		}
	})
}

// A full table takes no new sessions, says so for the sender to be told (RFC 5508 REQ-8),
// and breaks none that it has.
func TestI08FullTable(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRigOf(t, 50, settings())
		for port := uint16(5000); port < 5050; port++ {
			r.mustOut(build(at(f.guest, port), at(f.remote, 53)))
		}
		if _, why := r.out(build(at(f.guest, 6000), at(f.remote, 53))); why != frame.DropNATFull {
			t.Errorf("dropped for %v, want nat-full", why)
		}
		if _, why := r.out(build(at(f.guest, 5000), at(f.remote2, 53))); why != frame.DropNATFull {
			t.Errorf("dropped for %v, want nat-full", why)
		}
		for port := uint16(5000); port < 5050; port++ {
			r.mustOut(build(at(f.guest, port), at(f.remote, 53)))
			r.mustIn(build(at(f.remote, 53), at(f.external, port)))
		}
		r.wantSessions(50)
	})
}

// A port of entry has no more sessions than it may; others have theirs.
func TestI08Quota(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(func(p *Policy, _ *PoolConfig) { p.Quota = 3 }))
		for port := uint16(5000); port < 5003; port++ {
			r.mustOut(build(at(f.guest, port), at(f.remote, 53)))
		}
		if _, why := r.out(build(at(f.other, 5003), at(f.remote, 53))); why != frame.DropNATQuota {
			t.Errorf("dropped for %v, want nat-quota", why)
		}
		r.mustOut(build(at(f.guest, 5000), at(f.remote, 53)))
		b := buf(build(at(f.other, 5003), at(f.remote, 53)), guestPort+10)
		if why := r.tab.Outbound(r.now, b, 1, 1); why != 0 {
			t.Errorf("another port of entry: %v", why)
		}
		if n := r.tab.ForgetPort(guestPort); n != 3 {
			t.Errorf("forgot %d sessions of the port, want 3", n)
		}
		r.wantSessions(1)
		r.mustOut(build(at(f.guest, 5000), at(f.remote, 53)))
	})
}

// Without a quota a port leaves others as much room as it takes, and each has a small
// part of the table in any case.
func TestI08FairShares(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		const capacity = 640
		r := newRigOf(t, capacity, settings(func(p *Policy, _ *PoolConfig) { p.Fair = true }))
		opened := func(in frame.PortID) (n int) {
			for port := uint16(5000); port < 5000+capacity; port++ {
				b := buf(build(at(f.guest, port+uint16(in)*capacity), at(f.remote, 53)), in)
				if why := r.tab.Outbound(r.now, b, 1, 1); why != 0 {
					if why != frame.DropNATQuota && why != frame.DropNATFull {
						t.Fatalf("port %d: %v", in, why)
					}
					return n
				}
				n++
			}
			return n
		}
		got := []int{opened(1), opened(2), opened(3)}
		if want := []int{320, 160, 80}; !slices.Equal(got, want) {
			t.Errorf("ports got %v sessions, want %v", got, want)
		}
		for in := frame.PortID(4); in < 8; in++ {
			if n := opened(in); n < capacity/fairShare {
				t.Errorf("port %d got %d sessions, want %d or more", in, n, capacity/fairShare)
			}
		}
	})
}

// However much comes from outside, half of the table is inside's.
func TestFloodFromOutside(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRigOf(t, 100, settings(forwards(
			Forward{Protocol: frame.ProtocolUDP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 8080)},
			Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 8080)},
		)))
		for port := uint16(1000); port < 1050; port++ {
			r.mustIn(build(at(f.remote, port), at(f.external, 80)))
		}
		r.refuse(build(at(f.remote, 1050), at(f.external, 80)), frame.DropNATQuota)
		for port := uint16(1000); port < 1050; port++ {
			r.mustOut(build(at(f.guest, port), at(f.remote, 53)))
		}
	})
}
