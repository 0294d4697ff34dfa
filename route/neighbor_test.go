package route_test

import (
	"net/netip"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// A scan from one port fills its own part of the table and nobody else's.
func TestNeighborsOfOnePortAreLimited(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) {
			v.Interfaces[1].Addresses = []netip.Prefix{prefix("203.0.113.65/16"), prefix("2001:db8:b::1/64")}
		})
		to := w.guestB
		for range 1000 {
			r.route(guestPort, w.udp(to))
			to.Addr = to.Addr.Next()
		}
		if n := len(r.Neighbors(r.now)); n != 256 {
			t.Errorf("%d neighbors, want 256", n)
		}
		if b := r.route(guestPort, w.udp(to)); b.Reason() != frame.DropNeighborQueue {
			t.Errorf("%v, want neighbor-queue", b.Reason())
		}
		r.injected()
		p := frametest.UDP(w.remote, towards(to, macU), nil)
		if b := r.route(wirePort, p); b.Reason() == frame.DropNeighborQueue && len(r.injected()) == 0 {
			t.Error("another port's packet is not even asked for")
		}
		r.tick(20 * time.Second)
		if n := len(r.Neighbors(r.now)); n != 0 {
			t.Errorf("%d neighbors remain", n)
		}
	})
}

// neighbor returns what the router says of a neighbor.
func (r *rig) neighbor(at frame.PortID, a netip.Addr) route.Neighbor {
	for _, n := range r.Neighbors(r.now) {
		if n.At == at && n.Addr == a {
			return n
		}
	}
	return route.Neighbor{}
}

func (r *rig) expectNeighbor(at frame.PortID, a netip.Addr, mac frame.MAC, state string) {
	r.t.Helper()
	if n := r.neighbor(at, a); n.MAC != mac || n.State != state {
		r.t.Errorf("%v is at %v, %q; want %v, %q", a, n.MAC, n.State, mac, state)
	}
}

// For a second the first word holds: two stations with one address must not take turns.
func TestNeighborsWordHoldsForASecond(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		moved := w.guest
		moved.MAC += 0x100
		r.now += 900 * time.Millisecond
		r.hear(guestPort, moved, w.gatewayA)
		if n := r.neighbor(portA, w.guest.Addr); n.MAC != w.guest.MAC {
			t.Errorf("moved to %v at once", n.MAC)
		}
		r.now += 200 * time.Millisecond
		r.hear(guestPort, moved, w.gatewayA)
		if n := r.neighbor(portA, w.guest.Addr); n.MAC != moved.MAC {
			t.Errorf("stays %v", n.MAC)
		}
	})
}

func TestNeighborInUseIsProbed(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		from := w.gatewayB
		if w.version == 6 {
			from = w.asksA
		}
		r := newRig(t)
		r.route(guestPort, w.udp(w.guestB))
		r.route(guestBPort, answer(w, w.guestB, portB, from))
		r.injected()
		use := func(d time.Duration) {
			for end := r.now + d; r.now < end; {
				r.expectForwarded(r.route(guestPort, w.udp(w.guestB)), portB, w.guestB.MAC)
				r.tick(100 * time.Millisecond)
			}
		}
		use(29900 * time.Millisecond)
		r.expectSent()
		use(200 * time.Millisecond)
		r.expectSent(ask(w, portB, from, w.guestB.Addr, w.guestB.MAC)) // to itself
		r.expectNeighbor(portB, w.guestB.Addr, w.guestB.MAC, "probe")
		r.route(guestBPort, answer(w, w.guestB, portB, from))
		r.expectNeighbor(portB, w.guestB.Addr, w.guestB.MAC, "reachable")
		use(29 * time.Second)
		r.expectSent()

		// It goes away: three probes, traffic goes on meanwhile, then all are asked.
		use(3900 * time.Millisecond)
		if n := len(r.injected()); n != 3 {
			t.Errorf("%d probes, want 3", n)
		}
		r.tick(200 * time.Millisecond)
		if b := r.route(guestPort, w.udp(w.guestB)); b.Reason() != frame.Taken {
			t.Errorf("%v, want taken", b.Reason())
		}
		r.expectSent(ask(w, portB, from, w.guestB.Addr, 0))
	})
}

func TestNeighborOutOfUseIsForgotten(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.tick(4*time.Minute + 59*time.Second)
		if n := r.neighbor(portA, w.guest.Addr); n.MAC == 0 {
			t.Error("forgotten too early")
		}
		r.tick(2 * time.Second)
		if n := r.neighbor(portA, w.guest.Addr); n.MAC != 0 {
			t.Error("not forgotten")
		}
		r.expectSent() // nor was it probed
	})
}

func TestOutsideNeighborIsTheKernels(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		p := frametest.UDP(w.guestB, towards(w.remote, macB), nil)
		if b := r.route(guestBPort, p); b.Reason() != frame.Taken {
			t.Fatalf("%v, want taken", b.Reason())
		}
		want := []question{{portU, w.hop.Addr}}
		if q := r.questions(); len(q) != 1 || q[0] != want[0] {
			t.Fatalf("asked %v, want %v", q, want)
		}
		r.route(guestBPort, p)
		r.tick(1500 * time.Millisecond)
		if q := r.questions(); len(q) != 1 {
			t.Errorf("asked %v more in 1.5 s", q)
		}
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
		r.expectSent(sent{guestBPort, p}, sent{guestBPort, p})
		r.expectForwarded(r.route(guestBPort, p), portU, w.hop.MAC)
		r.expectNeighbor(portU, w.hop.Addr, w.hop.MAC, "kernel")

		// While it is in use, the kernel is asked to keep it fresh.
		asked := 0
		for range 600 {
			r.route(guestBPort, p)
			r.tick(100 * time.Millisecond)
			asked += len(r.questions())
		}
		if asked != 3 {
			t.Errorf("asked %d times in a minute, want 3", asked)
		}
		r.tick(30 * time.Second)
		r.questions()
		r.tick(time.Hour)
		if q := r.questions(); len(q) != 0 {
			t.Errorf("asked %v though nothing is sent", q)
		}
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC+1)
		r.expectForwarded(r.route(guestBPort, p), portU, w.hop.MAC+1)
		r.DeleteNeighbor(portU, w.hop.Addr)
		if b := r.route(guestBPort, p); b.Reason() != frame.Taken {
			t.Errorf("%v, want taken", b.Reason())
		}
		r.DeleteNeighbor(portU, w.hop.Addr) // of an old one; it is asked for
		r.expectNeighbor(portU, w.hop.Addr, 0, "incomplete")
	})
}

func TestOutsideNeighborThatIsNotThere(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(3, 1, 1, 3)
		r := newRig(t)
		p := w.udp(w.remote)
		r.route(guestPort, p)
		r.tick(3100 * time.Millisecond)
		s := r.injected()
		if len(s) != 1 || len(r.questions()) != 3 {
			t.Fatalf("%d frames sent", len(s))
		}
		checkError(t, s[0], p, w.gatewayA, typ, code) // as it was before translation
	})
}

func TestNeighborsOfAnInterfaceThatGoes(t *testing.T) {
	r := newRig(t).meet()
	r.SetNeighbor(portV, ipv4.hop.Addr, 5) // told before the interface is
	all := len(r.Neighbors(r.now))
	r.set()
	if n := len(r.Neighbors(r.now)); n != all {
		t.Errorf("%d of %d neighbors are left of the same view", n, all)
	}
	r.view.Interfaces[1].MAC++ // B is another
	r.set()
	r.view.Interfaces = r.view.Interfaces[1:] // A is gone
	r.set()
	for _, n := range r.Neighbors(r.now) {
		if n.At == portA || n.At == portB {
			t.Errorf("%v is left", n)
		}
	}
	if r.neighbor(portV, ipv4.hop.Addr).MAC != 5 || r.neighbor(portU, ipv4.hop.Addr).MAC != ipv4.hop.MAC {
		t.Error("another interface's neighbors are gone")
	}
}

func TestNeighborWithAZone(t *testing.T) {
	via := addr("fe80::99%eth0")
	r := newRig(t, func(v *route.View) { v.Routes[2].Via = via })
	r.SetNeighbor(portU, via, ipv6.hop.MAC)
	r.hear(guestBPort, ipv6.guestB, ipv6.gatewayB)
	p := frametest.UDP(ipv6.guestB, towards(ipv6.remote, macB), nil)
	r.expectForwarded(r.route(guestBPort, p), portU, ipv6.hop.MAC)
	r.DeleteNeighbor(portU, via)
	if r.neighbor(portU, via.WithZone("")).MAC != 0 {
		t.Error("not deleted")
	}
	r.SetNeighbor(portU, via, 0)
	r.SetNeighbor(portU, via, frame.Broadcast)
	if n := len(r.Neighbors(r.now)); n != 1 {
		t.Errorf("%d neighbors, want the guest alone", n)
	}
}

// What an earlier process knew is used at once, and asked whether it still is so.
func TestNeighborLearnedIsUsedAndProbed(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		r.Learn(r.now, portB, w.guestB.Addr, w.guestB.MAC, guestPort)
		r.Learn(r.now, portB, w.guestB.Addr, w.guestB.MAC+1, guestPort) // it is known
		r.Learn(r.now, 99, w.guestB.Addr, w.guestB.MAC, guestPort)      // no interface
		r.expectForwarded(r.route(guestPort, w.udp(w.guestB)), portB, w.guestB.MAC)
		if n := len(r.Neighbors(r.now)); n != 1 {
			t.Errorf("%d neighbors, want one", n)
		}
		r.injected()
		r.Tick(r.now)
		if asked := r.injected(); len(asked) != 1 || frame.Ethernet(asked[0].frame).Dst() != w.guestB.MAC {
			t.Errorf("asked %d times, want the station itself once", len(asked))
		}
		for range 4 {
			r.now += time.Second
			r.Tick(r.now)
		}
		if n := r.neighbor(portB, w.guestB.Addr); n.MAC != 0 {
			t.Errorf("it never answered, and is %v still", n.MAC)
		}
	})
}
