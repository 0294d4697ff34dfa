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
		if n := len(r.Neighbors(r.now)); n != 512 {
			t.Errorf("%d neighbors, want 512", n)
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

// RFC 826: entries are updated before what the packet wants is looked at; RFC 5227:
// a probe tells nothing.
func TestARPUpdates(t *testing.T) {
	moved := ipv4.guest
	moved.MAC += 0x100
	for name, c := range map[string]struct {
		p    []byte
		want bool // the entry follows
	}{
		"gratuitous request": {frametest.ARPRequest(moved, moved.Addr), true},
		"gratuitous reply":   {frametest.ARPReply(moved, towards(moved, frame.Broadcast)), true},
		"request for us":     {frametest.ARPRequest(moved, ipv4.gatewayA), true},
		"request for others": {frametest.ARPRequest(moved, ipv4.other.Addr), true},
		"reply to us":        {frametest.ARPReply(moved, frametest.End{MAC: macA, Addr: ipv4.gatewayA}), true},
		"probe":              {frametest.ARPRequest(towards(at(netip.IPv4Unspecified()), moved.MAC), moved.Addr), false},
		"from a group":       {frametest.ARPRequest(towards(ipv4.guest, frame.Broadcast), ipv4.gatewayA), false},
		"from nobody":        {frametest.ARPRequest(towards(ipv4.guest, 0), ipv4.gatewayA), false},
		"cut short":          {frametest.ARPRequest(moved, moved.Addr)[:40], false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).meet()
			r.now += 2 * time.Second
			r.listen(guestPort, c.p)
			want := ipv4.guest.MAC
			if c.want {
				want = moved.MAC
			}
			r.expectNeighbor(portA, ipv4.guest.Addr, want, "reachable")
		})
	}
}

// listen gives a frame to what hears it: the router if it is for its MAC, else the
// listener.
func (r *rig) listen(port frame.PortID, p []byte) {
	r.t.Helper()
	b := r.bufs[0]
	b.SetBytes(p)
	b.In, b.Out = port, interfaceOf(port)
	if frame.Ethernet(p).Dst() == macOf(port) {
		r.Route(r.now, r.bufs)
	} else {
		r.Listener(interfaceOf(port)).Process(r.now, r.bufs)
	}
	if b.Reason() != 0 || len(r.injected()) != 0 {
		r.t.Errorf("reason %v, or something was sent", b.Reason())
	}
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

// Who is not known is remembered only if we are going to answer it.
func TestARPCreates(t *testing.T) {
	stranger := frametest.End{MAC: 0x5254_0000_0099, Addr: addr("192.168.1.99")}
	foreigner := stranger
	foreigner.Addr = addr("10.99.0.77")
	for name, c := range map[string]struct {
		p    []byte
		who  frametest.End
		want frame.MAC
	}{
		"request for us":          {frametest.ARPRequest(stranger, ipv4.gatewayA), stranger, stranger.MAC},
		"request for others":      {frametest.ARPRequest(stranger, ipv4.other.Addr), stranger, 0},
		"gratuitous":              {frametest.ARPRequest(stranger, stranger.Addr), stranger, 0},
		"reply nobody asked for":  {frametest.ARPReply(stranger, frametest.End{MAC: macA, Addr: ipv4.gatewayA}), stranger, 0},
		"from a foreign subnet":   {frametest.ARPRequest(foreigner, ipv4.gatewayA), foreigner, 0},
		"from our own address":    {frametest.ARPRequest(towards(at(ipv4.gatewayA), stranger.MAC), ipv4.gatewayA), at(ipv4.gatewayA), 0},
		"from all of the subnet":  {frametest.ARPRequest(towards(at(addr("192.168.1.255")), stranger.MAC), ipv4.gatewayA), at(addr("192.168.1.255")), 0},
		"from the other's subnet": {frametest.ARPRequest(towards(ipv4.guestB, stranger.MAC), ipv4.gatewayA), ipv4.guestB, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.listen(guestPort, c.p)
			if n := r.neighbor(portA, c.who.Addr); n.MAC != c.want || c.want == 0 && n.State != "" {
				t.Errorf("%v, %q; want %v", n.MAC, n.State, c.want)
			}
		})
	}
	r := newRig(t)
	r.listen(wirePort, frametest.ARPRequest(ipv4.hop, ipv4.host))
	b := frametest.ARPRequest(towards(ipv4.hop, ipv4.hop.MAC), ipv4.host)
	macU.Put(b)
	r.listen(wirePort, b)
	if len(r.Neighbors(r.now)) != 0 {
		t.Error("the router learns at an uplink, whose neighbors are the kernel's")
	}
}

// advert is a neighbor advertisement of the guest of A.
func advert(mac frame.MAC, flags uint8, to netip.Addr) []byte {
	b := frame.NewBufs(1)[0]
	dst := macA
	if to.IsMulticast() {
		dst = frame.GroupMAC(to)
	}
	b.MakeAdvertisement(dst, mac, ipv6.guest.Addr, to, flags, ipv6.guest.Addr)
	return bytes.Clone(b.Bytes())
}

// withoutOption takes the last option off a neighbor discovery message.
func withoutOption(p []byte) []byte {
	p = p[:len(p)-8]
	ip := frame.IPv6(p[14:])
	ip.SetPayloadLen(len(ip) - 40)
	m := ip[40:]
	m[2], m[3] = 0, 0
	sum := ^frame.Sum(m, ip.PseudoSum(frame.ProtocolICMPv6, len(m)))
	m[2], m[3] = byte(sum>>8), byte(sum)
	return p
}

// RFC 4861 7.2.5 and 7.2.3, about a neighbor that is known and reachable.
func TestNeighborDiscoveryUpdates(t *testing.T) {
	const s, o = frame.AdvertSolicited, frame.AdvertOverride
	old, moved := ipv6.guest.MAC, ipv6.guest.MAC+0x100
	solicit := func(mac frame.MAC) []byte {
		b := frame.NewBufs(1)[0]
		b.MakeSolicitation(0, mac, ipv6.guest.Addr, ipv6.gatewayA)
		return bytes.Clone(b.Bytes())
	}
	us := addr("fe80::1")
	for name, c := range map[string]struct {
		p     []byte
		mac   frame.MAC
		state string
	}{
		"solicited, same":             {advert(old, s, us), old, "reachable"},
		"solicited, other":            {advert(moved, s, us), old, "stale"},
		"solicited, override, other":  {advert(moved, s|o, us), moved, "reachable"},
		"solicited, no address":       {withoutOption(advert(old, s, us)), old, "reachable"},
		"unsolicited, override":       {advert(moved, o, frame.AllNodes), moved, "stale"},
		"unsolicited, override, same": {advert(old, o, frame.AllNodes), old, "reachable"},
		"unsolicited, other":          {advert(moved, 0, frame.AllNodes), old, "stale"},
		"unsolicited, no address":     {withoutOption(advert(old, 0, us)), old, "reachable"},
		"group address":               {advert(frame.Broadcast, s|o, us), old, "reachable"},
		"solicitation, same":          {solicit(old), old, "reachable"},
		"solicitation, other":         {solicit(moved), moved, "stale"},
		"solicitation, no address":    {withoutOption(solicit(old)), old, "reachable"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).meet()
			r.now += 2 * time.Second
			r.listen(guestPort, advert(old, s|o, us))
			r.expectNeighbor(portA, ipv6.guest.Addr, old, "reachable")
			r.now += 2 * time.Second
			r.listen(guestPort, c.p)
			r.expectNeighbor(portA, ipv6.guest.Addr, c.mac, c.state)
		})
	}
}

func TestNeighborDiscoveryCreates(t *testing.T) {
	stranger := frametest.End{MAC: 0x5254_0000_0099, Addr: addr("fd00:a::99")}
	for name, c := range map[string]struct {
		from, target netip.Addr
		want         frame.MAC
	}{
		"for us":            {stranger.Addr, ipv6.gatewayA, stranger.MAC},
		"for our link":      {stranger.Addr, addr("fe80::1"), stranger.MAC},
		"for others":        {stranger.Addr, ipv6.other.Addr, 0},
		"from a link":       {addr("fe80::99"), ipv6.gatewayA, 0},
		"from elsewhere":    {addr("fd00:b::99"), ipv6.gatewayA, 0},
		"from our own":      {ipv6.gatewayA, ipv6.gatewayA, 0},
		"from another's":    {ipv6.guestB.Addr, ipv6.gatewayA, 0},
		"duplicate address": {netip.IPv6Unspecified(), ipv6.gatewayA, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b := frame.NewBufs(1)[0]
			b.MakeSolicitation(0, stranger.MAC, c.from, c.target)
			r.listen(guestPort, bytes.Clone(b.Bytes()))
			if n := r.neighbor(portA, c.from); n.MAC != c.want {
				t.Errorf("%v, want %v", n.MAC, c.want)
			}
		})
	}
	r := newRig(t)
	r.listen(guestPort, advert(ipv6.guest.MAC, frame.AdvertSolicited|frame.AdvertOverride, addr("fe80::1")))
	if len(r.Neighbors(r.now)) != 0 {
		t.Error("an advertisement that nobody asked for makes an entry")
	}
}

// For a second the first word holds: two stations with one address must not take turns.
func TestNeighborsWordHoldsForASecond(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		moved := w.guest
		moved.MAC += 0x100
		r.now += 900 * time.Millisecond
		r.hear(otherPort, moved, w.gatewayA)
		if n := r.neighbor(portA, w.guest.Addr); n.MAC != w.guest.MAC {
			t.Errorf("moved to %v at once", n.MAC)
		}
		r.now += 200 * time.Millisecond
		r.hear(otherPort, moved, w.gatewayA)
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
