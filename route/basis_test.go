package route_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// restsOn returns the neighbor that a decision rests on, which may be remembered.
func (r *rig) restsOn(b *frame.Buf) uint32 {
	r.t.Helper()
	if b.Basis.Neighbor == 0 || b.Basis != (frame.Basis{Neighbor: b.Basis.Neighbor}) || b.Reason() != 0 {
		r.t.Fatalf("it rests on %+v, %v; want a neighbor", b.Basis, b.Reason())
	}
	return b.Basis.Neighbor
}

// expectEnded checks which neighbors decisions no longer may rest on, since last asked.
func (r *rig) expectEnded(want ...uint32) {
	r.t.Helper()
	if !slices.Equal(r.ended, want) {
		r.t.Fatalf("neighbors %v changed, want %v", r.ended, want)
	}
	r.ended = nil
}

// What is forwarded rests on the next hop: all that goes over one on the same.
func TestForwardedRestsOnTheNeighbor(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		hop := r.restsOn(r.route(guestPort, w.udp(w.remote)))
		if again := r.restsOn(r.route(otherPort, frametest.UDP(w.other, towards(w.remote, macA), nil))); again != hop {
			t.Errorf("neighbors %d and %d are one", hop, again)
		}
		back := frametest.UDP(w.remote, towards(at(w.host), macU), nil)
		names := map[uint32]string{hop: "the provider's router"}
		for name, b := range map[string]func() *frame.Buf{
			"a guest of another network": func() *frame.Buf { return r.route(guestPort, w.udp(w.guestB)) },
			"a guest behind NAT":         func() *frame.Buf { return r.route(wirePort, back) },
		} {
			id := r.restsOn(b())
			if names[id] != "" {
				t.Errorf("%s is %s", name, names[id])
			}
			names[id] = name
		}
		r.expectEnded()
	})
}

// Of what is about one packet nothing holds for the next.
func TestOnePacketOnly(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		gateway := frametest.End{MAC: macA, Addr: w.gatewayA, Port: 53}
		group, link := addr("224.0.0.1"), addr("169.254.0.9")
		if w.version == 6 {
			group, link = frame.AllNodes, addr("fe80::1")
		}
		question := frametest.ARPRequest(w.guest, w.gatewayA)
		macA.Put(question)
		if w.version == 6 {
			b := frame.NewBufs(1)[0]
			b.MakeSolicitation(macA, w.guest.MAC, w.guest.Addr, w.gatewayA)
			question = b.Bytes()
		}
		toOther := func(a frametest.End) []byte { return frametest.UDP(w.guest, towards(a, macA), nil) }
		for name, c := range map[string]struct {
			known bool
			p     []byte
		}{
			"the next hop is not known":       {false, w.udp(w.guestB)},
			"who speaks is not known":         {false, frametest.UDP(w.guest, gateway, nil)},
			"for a group":                     {true, toOther(at(group))},
			"for the link":                    {true, toOther(at(link))},
			"a word to the gateway":           {true, answer(w, w.guest, portA, w.asksA)},
			"a question to the gateway":       {true, question},
			"tagged":                          {true, tagged(frametest.UDP(w.guest, gateway, nil), 1)},
			"too old":                         {true, setHops(w.udp(w.guestB), 1)},
			"for an address that nobody has":  {false, w.udp(at(w.external))},
			"for a guest that does not speak": {false, w.udp(at(w.other.Addr.Next()))},
		} {
			r := newRig(t)
			if c.known {
				r.meet()
			}
			if b := r.route(guestPort, c.p); !b.Basis.Once && b.Reason() == 0 {
				t.Errorf("%s: it rests on %+v", name, b.Basis)
			}
		}
		// What waited is a packet of its own when it goes on.
		r := newRig(t)
		b := r.route(guestPort, w.udp(w.guestB))
		if b.Reason() != frame.Taken || !b.Basis.Once {
			t.Errorf("%v, rests on %+v", b.Reason(), b.Basis)
		}
	})
	r := newRig(t, narrow(576)).meet()
	long := clearDF(frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), make([]byte, 1200)))
	if b := r.route(guestPort, long); b.Reason() != 0 || !b.Basis.Once {
		t.Errorf("fragmented: %v, rests on %+v", b.Reason(), b.Basis)
	}
	b := ipv4.superframe(ipv4.guestB, 4000, 1400)
	clearDF(b.Bytes())
	if r.routeBuf(guestPort, b); b.Reason() != 0 || !b.Basis.Once {
		t.Errorf("other segments: %v, rests on %+v", b.Reason(), b.Basis)
	}
}

// What is left to the host's stack by its addresses alone is so until the station that
// speaks is forgotten, or for good: of strangers the host judges by itself.
func TestLeftRestsOnWhoSpeaks(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		p := frametest.UDP(w.guest, frametest.End{MAC: macA, Addr: w.gatewayA, Port: 53}, nil)
		id := r.restsOn(r.route(guestPort, p))
		if got := r.restsOn(r.route(otherPort, frametest.UDP(w.other, towards(w.guest, macA), nil))); got != id {
			t.Errorf("the guest is neighbor %d when it speaks, %d when spoken to", id, got)
		}
		fromWire := frametest.UDP(w.remote, towards(at(w.gatewayA), macU), nil)
		if b := r.route(wirePort, fromWire); b.Reason() != 0 || b.Basis != (frame.Basis{}) {
			t.Errorf("from outside: %v, rests on %+v", b.Reason(), b.Basis)
		}
		for range 400 { // it only speaks, unseen, and answers
			r.tick(time.Second)
			r.Touch(r.now, id)
			if len(r.injected()) != 0 {
				r.route(guestPort, answer(w, w.guest, portA, w.asksA))
			}
		}
		if r.neighbor(portA, w.guest.Addr).MAC != w.guest.MAC || slices.Contains(r.ended, id) {
			t.Error("it is forgotten while it speaks")
		}
		r.tick(6 * time.Minute)
		if !slices.Contains(r.ended, id) {
			t.Error("it is not forgotten")
		}
	})
}

// Whatever makes a neighbor another, decisions that rest on it end, after it is done.
func TestChangedNeighbor(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		r.route(guestPort, w.udp(w.guestB)) // who does not answer
		r.tick(10 * time.Second)
		r.injected()
		r.meet().expectEnded()
		guest := r.restsOn(r.route(guestPort, frametest.UDP(w.guest, frametest.End{MAC: macA, Addr: w.gatewayA}, nil)))
		hop := r.restsOn(r.route(guestPort, w.udp(w.remote)))
		behind := r.restsOn(r.route(guestPort, w.udp(w.guestB)))

		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC) // once more
		r.hear(guestPort, w.guest, w.gatewayA)
		r.expectEnded()

		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC+1)
		r.expectEnded(hop)
		if again := r.restsOn(r.route(guestPort, w.udp(w.remote))); again != hop {
			t.Errorf("neighbor %d is %d with its new MAC", hop, again)
		}
		r.DeleteNeighbor(portU, w.hop.Addr)
		r.expectEnded(hop)
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
		r.expectEnded()
		if again := r.restsOn(r.route(guestPort, w.udp(w.remote))); again == hop {
			t.Error("another neighbor has the name of one that is gone")
		}

		moved := w.guest
		moved.MAC += 0x100
		r.now += 2 * time.Second
		r.hear(guestPort, moved, w.gatewayA)
		r.expectEnded(guest)

		r.view.Interfaces[1].MAC++
		r.set()
		if !slices.Contains(r.ended, behind) || len(r.ended) != 2 { // the one of the other IP version too
			t.Errorf("neighbors %v changed with the interface, want two, %d among them", r.ended, behind)
		}
	})
}

// The change is there when it is told of.
func TestChangedComesAfterTheChange(t *testing.T) {
	var r *rig
	told := 0
	r = newRig(t)
	r.Router = route.New(route.Config{
		Translator: r.nat, Inject: func(frame.PortID, *frame.Buf) bool { return true },
		Changed: func(uint32) {
			told++
			d, err := r.Explain(portB, ipv4.guestB.Addr, ipv4.remote.Addr)
			if want := []frame.MAC{7, 0}[told-1]; err != nil || d.MAC != want {
				t.Errorf("told with the MAC %v, want %v", d.MAC, want)
			}
		},
	})
	r.set()
	r.meet()
	r.SetNeighbor(portU, ipv4.hop.Addr, 7)
	r.DeleteNeighbor(portU, ipv4.hop.Addr)
	if told != 2 {
		t.Errorf("told %d times, want 2", told)
	}
}

// A neighbor to which packets go unseen is one in use: it is probed, stays while it
// answers, and is gone when it does not.
func TestTouchedNeighborIsProbed(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		r.route(guestPort, w.udp(w.guestB))
		from := w.gatewayB
		if w.version == 6 {
			from = w.asksA
		}
		r.route(guestBPort, answer(w, w.guestB, portB, from))
		r.injected()
		id := r.restsOn(r.route(guestPort, w.udp(w.guestB)))
		touch := func(d time.Duration) {
			for end := r.now + d; r.now < end; {
				r.tick(time.Second)
				r.Touch(r.now-500*time.Millisecond, id)
			}
		}
		for range 15 { // for longer than one out of use is known
			touch(28 * time.Second)
			r.expectSent()
			touch(4 * time.Second)
			if s := r.injected(); len(s) == 0 || frame.Ethernet(s[0].frame).Dst() != w.guestB.MAC {
				t.Fatalf("%d requests to %v", len(s), w.guestB.MAC)
			}
			r.route(guestBPort, answer(w, w.guestB, portB, from))
			r.expectNeighbor(portB, w.guestB.Addr, w.guestB.MAC, "reachable")
		}
		r.expectEnded()
		touch(40 * time.Second)
		r.expectEnded(id)
		r.Touch(r.now, id)
		if n := r.neighbor(portB, w.guestB.Addr); n.MAC != 0 {
			t.Errorf("it is still known: %+v", n)
		}
	})
}

// One at an uplink is the kernel's, which is asked to look after it.
func TestTouchedNeighborOfTheKernel(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		id := r.restsOn(r.route(guestPort, w.udp(w.remote)))
		r.tick(30 * time.Second)
		r.questions()
		for range 60 {
			r.tick(time.Second)
			r.Touch(r.now, id)
		}
		if q := r.questions(); len(q) < 2 || len(q) > 4 || q[0] != (question{portU, w.hop.Addr}) {
			t.Errorf("%d questions in a minute: %v", len(q), q)
		}
		r.tick(time.Minute)
		r.questions()
		r.Touch(r.now-time.Minute, id) // long ago
		r.Touch(r.now, id+1000)
		r.Touch(r.now, 0)
		r.tick(time.Minute)
		if q := r.questions(); len(q) != 0 {
			t.Errorf("asked for who is not in use: %v", q)
		}
		r.Touch(r.now, id)
		r.Touch(r.now-time.Minute, id) // was told late
		r.tick(time.Second)
		if q := r.questions(); len(q) != 1 {
			t.Errorf("%d questions, want one", len(q))
		}
	})
}

// Packets of one flow fare the same, unless they are known to be about themselves: too
// long, at the end of their hops, or SYNs, which a cache leaves to the router.
func TestDecisionHoldsForTheFlow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := rapid.SampledFrom([]family{ipv4, ipv6}).Draw(rt, "version")
		r := newRig(rt).meet()
		ends := []frametest.End{w.guest, w.other, w.guestB, w.remote, w.hop, at(w.gatewayA), at(w.gatewayB), at(w.host), at(w.external), at(w.behind)}
		src, dst := rapid.SampledFrom(ends).Draw(rt, "from"), rapid.SampledFrom(ends).Draw(rt, "to")
		port := rapid.SampledFrom([]frame.PortID{guestPort, guestBPort, wirePort}).Draw(rt, "port")
		tags := rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "tags")
		isTCP := rapid.Bool().Draw(rt, "TCP")
		one := func() (came, is frame.Flow, b *frame.Buf) {
			data := frametest.Payload(rapid.IntRange(0, 1400).Draw(rt, "payload"))
			p := frametest.UDP(src, towards(dst, macOf(port)), data)
			if isTCP {
				p = frametest.TCP(src, towards(dst, macOf(port)), data)
			}
			p = setHops(p, uint8(rapid.IntRange(2, 255).Draw(rt, "hops")))
			if w.version == 4 && rapid.Bool().Draw(rt, "DF clear") {
				clearDF(p)
			}
			b = frame.NewBufs(1)[0]
			b.SetBytes(tagged(p, tags))
			came, _ = b.Flow()
			r.routeBuf(port, b)
			is, _ = b.Flow()
			came.Hops, is.Hops = 0, came.Hops-is.Hops
			return came, is, b
		}
		came, is, first := one()
		came2, is2, second := one()
		if came != came2 {
			rt.Fatalf("flows %+v and %+v", came, came2)
		}
		if first.Basis.Once || first.Reason() != 0 || came.Version == 0 {
			return
		}
		if is != is2 || first.In != second.In || first.Basis != second.Basis || second.Reason() != 0 {
			rt.Fatalf("%+v became %+v by %d on %+v, then %+v by %d on %+v, %v", came, is, first.In, first.Basis, is2, second.In, second.Basis, second.Reason())
		}
	})
}

// The stages look at no frame of a flow that is known by its packets, the listener at
// none for a single station.
func TestStagesLeaveFlowsAlone(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.full = false
		for name, p := range map[string][]byte{
			"UDP":       w.udp(at(w.external)),
			"TCP":       frametest.TCP(w.hop, towards(at(w.external), macU), nil),
			"ping":      frametest.Ping(w.hop, towards(at(w.external), macU), 1, 1),
			"to a host": w.asking(w.guestB.Addr, w.guestB.MAC),
		} {
			b := frame.NewBufs(1)[0]
			b.SetBytes(p)
			b.In = wirePort
			f, _ := b.Flow()
			if f.Version != 0 {
				r.Proxy(portU).Process(r.now, []*frame.Buf{b})
			}
			r.Listener(portA).Process(r.now, []*frame.Buf{b})
			if s := r.injected(); b.Reason() != 0 || len(s) != 0 || b.Basis != (frame.Basis{}) {
				t.Errorf("%s: %v, %+v, %d frames sent", name, b.Reason(), b.Basis, len(s))
			}
		}
	})
}
