package route_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// ask returns the request that the router of the tests sends for a neighbor at an
// interface: to all if mac is zero, else to that station.
func ask(w family, at frame.PortID, from, target netip.Addr, mac frame.MAC) sent {
	b := frame.NewBufs(1)[0]
	switch {
	case w.version == 6:
		b.MakeSolicitation(mac, macOf(at), from, target)
	case mac == 0:
		b.SetBytes(frametest.ARPRequest(frametest.End{MAC: macOf(at), Addr: from}, target))
	default:
		b.MakeARP(mac, frame.ARPRequest, macOf(at), from, target)
	}
	return sent{at, bytes.Clone(b.Bytes())}
}

// answer returns a station's answer to a request of the router at an interface.
func answer(w family, who frametest.End, at frame.PortID, from netip.Addr) []byte {
	if w.version == 4 {
		return frametest.ARPReply(who, frametest.End{MAC: macOf(at), Addr: from})
	}
	b := frame.NewBufs(1)[0]
	b.MakeAdvertisement(macOf(at), who.MAC, who.Addr, from, frame.AdvertSolicited|frame.AdvertOverride, who.Addr)
	return bytes.Clone(b.Bytes())
}

func (r *rig) expectSent(want ...sent) {
	r.t.Helper()
	got := r.injected()
	if len(got) != len(want) {
		r.t.Fatalf("%d frames sent, want %d", len(got), len(want))
	}
	for k := range want {
		if got[k].in != want[k].in {
			r.t.Errorf("frame %d by port %d, want %d", k, got[k].in, want[k].in)
		}
		same(r.t, got[k].frame, want[k].frame)
	}
}

func TestNeighborIsAskedForAndThePacketWaits(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		p := w.udp(w.guestB)
		from := w.gatewayB
		if w.version == 6 {
			from = w.asksA
		}
		if b := r.route(guestPort, p); b.Reason() != frame.Taken {
			t.Fatalf("reason %v, want taken", b.Reason())
		}
		r.expectSent(ask(w, portB, from, w.guestB.Addr, 0))

		a := answer(w, w.guestB, portB, from)
		b := r.route(guestBPort, bytes.Clone(a))
		if b.Reason() != 0 {
			t.Errorf("the answer: %v", b.Reason())
		}
		// What waited comes anew, as it came first.
		r.expectSent(sent{guestPort, p})
		r.expectForwarded(r.route(guestPort, p), portB, w.guestB.MAC)
	})
}

// Who is asked answers an address of its own subnet.
func TestNeighborIsAskedForFromItsSubnet(t *testing.T) {
	r := newRig(t, func(v *route.View) {
		v.Interfaces[1].Addresses = append([]netip.Prefix{prefix("172.16.0.1/24")}, v.Interfaces[1].Addresses...)
		v.Routes = append(v.Routes, route.Route{Prefix: prefix("172.17.0.0/24"), Port: portB})
	})
	r.route(guestPort, ipv4.udp(ipv4.guestB))
	r.route(guestPort, ipv4.udp(at(addr("172.17.0.9")))) // on the link by a static route only
	r.expectSent(
		ask(ipv4, portB, ipv4.gatewayB, ipv4.guestB.Addr, 0),
		ask(ipv4, portB, addr("172.16.0.1"), addr("172.17.0.9"), 0),
	)
}

// An interface without an address of the family has nobody to ask in whose name.
func TestNeighborThatNobodyCanAskFor(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) {
			v.Interfaces[1].Addresses = nil
			v.Routes = append(v.Routes, route.Route{Prefix: prefix("203.0.113.64/26"), Port: portB}, route.Route{Prefix: prefix("2001:db8:b::/64"), Port: portB})
		})
		p := w.udp(w.guestB)
		if b := r.route(guestPort, p); b.Reason() != frame.Taken {
			t.Fatalf("%v, want taken", b.Reason())
		}
		r.expectSent()
		r.tick(3100 * time.Millisecond)
		typ, code := w.told(3, 1, 1, 3)
		s := r.injected()
		if len(s) != 1 {
			t.Fatalf("%d frames sent, want one error", len(s))
		}
		checkError(t, s[0], p, w.gatewayA, typ, code)
	})
}

func TestNeighborIsAskedForOnceASecond(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		asked := 0
		for range 25 { // 2.5 s
			for range 10 {
				r.route(guestPort, w.udp(w.guestB))
			}
			r.tick(100 * time.Millisecond)
			asked += len(r.injected())
		}
		if asked != 3 {
			t.Errorf("asked %d times in 2.5 s, want 3", asked)
		}
	})
}

func TestNeighborThatDoesNotAnswer(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(3, 1, 1, 3)
		r := newRig(t)
		p := w.udp(w.guestB)
		r.route(guestPort, p)
		r.tick(2900 * time.Millisecond)
		if n := len(r.injected()); n != 3 {
			t.Fatalf("asked %d times, want 3", n)
		}
		r.tick(200 * time.Millisecond)
		s := r.injected()
		if len(s) != 1 {
			t.Fatalf("%d frames after the last try, want one error", len(s))
		}
		checkError(t, s[0], p, w.gatewayA, typ, code)

		// For a while it is not asked for again, and senders are told at once.
		r.expectError(r.route(guestPort, p), frame.DropNoNeighbor, p, w.gatewayA, typ, code)
		r.tick(2500 * time.Millisecond)
		r.expectError(r.route(guestPort, p), frame.DropNoNeighbor, p, w.gatewayA, typ, code)
		r.tick(time.Second)
		if b := r.route(guestPort, p); b.Reason() != frame.Taken || len(r.injected()) != 1 {
			t.Errorf("%v, want it asked for again", b.Reason())
		}
	})
}

// What was translated waits as it is to leave.
func TestTranslatedPacketWaits(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
		r.expectForwarded(r.route(guestPort, w.udp(w.remote)), portU, w.hop.MAC)
		if b := r.route(wirePort, w.comesBack()); b.Reason() != frame.Taken {
			t.Fatalf("reason %v, want taken", b.Reason())
		}
		r.expectSent(ask(w, portA, w.asksA, w.guest.Addr, 0))
		r.route(guestPort, answer(w, w.guest, portA, w.asksA))
		s := r.injected()
		if len(s) != 1 || s[0].in != portA {
			t.Fatalf("%d frames sent", len(s))
		}
		b := frame.NewBufs(1)[0]
		b.SetBytes(s[0].frame)
		b.In = s[0].in
		r.expectForwarded(b, portA, w.guest.MAC)
		if src, dst := ends(s[0].frame); src != w.remote.Addr || dst != w.guest.Addr || getHops(s[0].frame) != 63 {
			t.Errorf("%v > %v, %d hops", src, dst, getHops(s[0].frame))
		}
	})
}

// comesBack returns a datagram from remote to the host's address, behind which the guest
// of A may be.
func (w family) comesBack() []byte {
	return frametest.UDP(w.remote, towards(at(w.host), macU), []byte("data"))
}

// The error about a packet that was translated goes back as the packet came.
func TestTranslatedPacketsNeighborDoesNotAnswer(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(3, 1, 1, 3)
		r := newRig(t)
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
		r.route(guestPort, w.udp(w.remote))
		expectTold := func(by frame.PortID, to netip.Addr, station frame.MAC) {
			t.Helper()
			s := r.injected()
			if len(s) != 1 || s[0].in != by {
				t.Fatalf("%d frames sent, want one error", len(s))
			}
			p, l := s[0].frame, frame.Parse(s[0].frame)
			if err := frametest.Checksums(p); err != nil || p[l.L4] != typ || p[l.L4+1] != code {
				t.Errorf("type %d code %d: %v", p[l.L4], p[l.L4+1], err)
			}
			if eth := frame.Ethernet(p); eth.Dst() != station || eth.Src() != macOf(by) {
				t.Errorf("%v > %v", eth.Src(), eth.Dst())
			}
			src, dst := ends(p)
			_, quoted := endsOf(p[l.Quoted(p).L3:])
			if src != w.host || dst != to || quoted != w.host {
				t.Errorf("%v > %v about a packet to %v", src, dst, quoted)
			}
		}
		r.route(wirePort, w.comesBack())
		r.tick(2900 * time.Millisecond)
		r.injected() // requests
		r.tick(200 * time.Millisecond)
		expectTold(portU, w.remote.Addr, w.hop.MAC)
		if b := r.route(wirePort, w.comesBack()); b.Reason() != frame.DropNoNeighbor {
			t.Errorf("%v, want no-neighbor", b.Reason())
		}
		expectTold(portU, w.remote.Addr, w.hop.MAC)

		r.hear(otherPort, w.other, w.gatewayA)
		p := frametest.UDP(w.other, towards(at(w.host), macA), []byte("data"))
		if b := r.route(otherPort, p); b.Reason() != frame.DropNoNeighbor {
			t.Errorf("%v, want no-neighbor", b.Reason())
		}
		expectTold(portA, w.other.Addr, w.other.MAC)
		for range 100 {
			r.route(wirePort, w.comesBack())
		}
		if n := len(r.injected()); n != 48 { // of 50, two have been told just now
			t.Errorf("%d errors at once, want 48", n)
		}
	})
}

// One that waits, is too long for the link by the time it may leave, and may be
// fragmented.
func TestTranslatedPacketWaitsAndIsFragmented(t *testing.T) {
	w := ipv4
	r := newRig(t, func(v *route.View) { v.Interfaces[0].MTU = 1000 })
	r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
	r.route(guestPort, w.udp(w.remote))
	r.route(wirePort, clearDF(frametest.UDP(w.remote, towards(at(w.host), macU), frametest.Payload(1400))))
	r.injected()
	r.route(guestPort, answer(w, w.guest, portA, w.asksA))
	var list [][]byte
	for _, s := range r.injected() {
		if eth := frame.Ethernet(s.frame); s.in != portA || eth.Dst() != w.guest.MAC || eth.Src() != macA {
			t.Errorf("a piece by %d to %v", s.in, eth.Dst())
		}
		list = append(list, s.frame)
	}
	if _, payload := reassemble(t, list, 1000); len(payload) != 1408 {
		t.Errorf("%d bytes arrive", len(payload))
	}
}

func TestFewPacketsWait(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) {
			v.Interfaces[0].MTU, v.Interfaces[1].MTU = 65535, 65535
		})
		for k := range 5 {
			want := frame.Taken
			if k >= 3 {
				want = frame.DropNeighborQueue
			}
			if b := r.route(guestPort, w.udp(w.guestB)); b.Reason() != want {
				t.Errorf("packet %d: %v, want %v", k, b.Reason(), want)
			}
		}
		to := w.guestB
		to.Addr = to.Addr.Next()
		large := frametest.UDP(w.guest, towards(to, macA), frametest.Payload(50000))
		for k, want := range []frame.Reason{frame.Taken, frame.Taken, frame.DropNeighborQueue} { // 128 KiB
			if b := r.route(guestPort, large); b.Reason() != want {
				t.Errorf("large packet %d: %v, want %v", k, b.Reason(), want)
			}
		}
	})
}

func TestFewPacketsWaitInAll(t *testing.T) {
	r := newRig(t, func(v *route.View) { v.Interfaces[1].Addresses = []netip.Prefix{prefix("203.0.112.1/22")} })
	to := ipv4.guestB
	to.Addr = addr("203.0.113.1")
	scan := func(port frame.PortID, n int) (taken int) {
		for range n {
			if b := r.route(port, frametest.UDP(ipv4.guest, towards(to, macA), nil)); b.Reason() == frame.Taken {
				taken++
			}
			to.Addr = to.Addr.Next()
		}
		return taken
	}
	for k, want := range []int{64, 64, 64, 64, 0} { // 256 in all, and 64 of one port
		if n := scan(frame.PortID(guestPort+k), 100); n != want {
			t.Errorf("%d packets of port %d wait, want %d", n, k, want)
		}
	}
	r.injected()
	r.tick(4 * time.Second) // all fail; their memory is free again
	if n := scan(guestPort, 1); n != 1 {
		t.Error("nothing can wait any more")
	}
}
