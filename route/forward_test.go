package route_test

import (
	"bytes"
	"net/netip"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

func TestRoutedPacketLosesOneHopOnly(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		p := frametest.TCP(w.guestB, towards(w.remote, macB), []byte("data"))
		b := r.route(guestBPort, p)
		r.expectForwarded(b, portU, w.hop.MAC)
		want := setHops(bytes.Clone(p), getHops(p)-1)
		copy(want, b.Bytes()[:12])
		frametest.Equal(t, b.Bytes(), want)

		back := frametest.TCP(w.remote, towards(w.guestB, macU), []byte("data"))
		r.expectForwarded(r.route(wirePort, back), portB, w.guestB.MAC)
	})
}

func TestMasqueradedPacketAndItsAnswer(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		b := r.route(guestPort, w.udp(w.remote))
		r.expectForwarded(b, portU, w.hop.MAC)
		if src, dst := ends(b.Bytes()); src != w.host || dst != w.remote.Addr {
			t.Errorf("%v > %v leaves", src, dst)
		}
		if r.nat.pool != poolU {
			t.Errorf("pool %d, want the uplink's", r.nat.pool)
		}
		b = r.route(wirePort, frametest.UDP(w.remote, towards(at(w.host), macU), []byte("data")))
		r.expectForwarded(b, portA, w.guest.MAC)
		if src, dst := ends(b.Bytes()); src != w.remote.Addr || dst != w.guest.Addr {
			t.Errorf("%v > %v comes back", src, dst)
		}
	})
}

func TestNetworkWithItsOwnPool(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		for _, own := range []bool{true, false} { // the other family is without
			r := newRig(t, func(v *route.View) {
				if i := &v.Interfaces[0]; own == (w.version == 4) {
					i.Pool = 9
				} else {
					i.Pool6 = 9
				}
			}).meet()
			r.expectForwarded(r.route(guestPort, w.udp(w.remote)), portU, w.hop.MAC)
			if want := map[bool]uint16{true: 9, false: poolU}[own]; r.nat.pool != want {
				t.Errorf("pool %d, want %d", r.nat.pool, want)
			}
		}
	})
}

func TestUplinkWithoutPool(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) { v.Interfaces[2].Pool = 0 }).meet()
		p := w.udp(w.remote)
		typ, code := uint8(frame.ICMPUnreachable), uint8(frame.CodeProhibited)
		if w.version == 6 {
			typ, code = frame.ICMPv6Unreachable, frame.CodeProhibited6
		}
		r.expectError(r.route(guestPort, p), frame.DropNATNoPort, p, w.gatewayA, typ, code)
	})
}

func TestHairpinReachesTheGuest(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.route(guestPort, w.udp(w.remote)) // a mapping
		b := r.route(otherPort, frametest.UDP(w.other, towards(at(w.host), macA), []byte("data")))
		r.expectForwarded(b, portA, w.guest.MAC)
		if src, dst := ends(b.Bytes()); src != w.host || dst != w.guest.Addr {
			t.Errorf("%v > %v, want the external source", src, dst)
		}
	})
}

// What is for the host's addresses, and nobody's session, is the
// host's stack's, also with a TTL of 1 (RFC 1812 5.3.1).
func TestPacketForTheHostIsLeftAlone(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		for name, c := range map[string]struct {
			port frame.PortID
			p    []byte
		}{
			"gateway":                {guestPort, w.udp(at(w.gatewayA))},
			"other gateway":          {guestPort, w.udp(at(w.gatewayB))},
			"uplink's address":       {guestPort, w.udp(at(w.host))},
			"from a routed guest":    {guestBPort, frametest.UDP(w.guestB, towards(at(w.host), macB), nil)},
			"from outside":           {wirePort, frametest.UDP(w.remote, towards(at(w.host), macU), nil)},
			"gateway from outside":   {wirePort, frametest.UDP(w.remote, towards(at(w.gatewayB), macU), nil)},
			"outside to outside":     {wirePort, frametest.UDP(w.remote, towards(at(w.hop.Addr), macU), nil)},
			"from a guest's address": {wirePort, frametest.UDP(towards(w.guestB, w.hop.MAC), towards(at(w.host), macU), nil)},
		} {
			t.Run(name, func(t *testing.T) {
				p := setHops(c.p, 1)
				r.t = t
				r.expectLeft(r.route(c.port, p), p)
			})
		}
	})
}

func TestExternalAddressWithoutSession(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.expectDrop(r.route(wirePort, frametest.UDP(w.remote, towards(at(w.external), macU), nil)), frame.DropNATNoSession)
		r.expectDrop(r.route(guestPort, w.udp(at(w.external))), frame.DropNATNoSession)
		r.expectDrop(r.route(guestBPort, frametest.UDP(w.guestB, towards(at(w.external), macB), nil)), frame.DropNATNoSession)
	})
}

func TestExternalAddressWithSession(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.nat.outside = map[uint8]netip.Addr{w.version: w.external}
		r.route(guestPort, w.udp(w.remote))
		b := r.route(wirePort, frametest.UDP(w.remote, towards(at(w.external), macU), nil))
		r.expectForwarded(b, portA, w.guest.MAC)
	})
}

// Nobody outside reaches a guest behind NAT by its own address.
func TestRealmIsNotReachedFromOutside(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.expectDrop(r.route(wirePort, frametest.UDP(w.remote, towards(w.guest, macU), nil)), frame.DropNATNoSession)
	})
}

func TestReachIsOneWay(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.expectForwarded(r.route(guestPort, w.udp(w.guestB)), portB, w.guestB.MAC)
		p := frametest.UDP(w.guestB, towards(w.guest, macB), nil)
		typ, code := uint8(frame.ICMPUnreachable), uint8(frame.CodeProhibited)
		if w.version == 6 {
			typ, code = frame.ICMPv6Unreachable, frame.CodeProhibited6
		}
		r.expectError(r.route(guestBPort, p), frame.DropForbidden, p, w.gatewayB, typ, code)
	})
}

func TestSameInterface(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		b := r.route(guestPort, w.udp(w.other))
		r.expectForwarded(b, portA, w.other.MAC)
		if src, _ := ends(b.Bytes()); src != w.guest.Addr {
			t.Errorf("source %v, want it not translated", src)
		}
	})
}

func TestStaticRouteOverAGuest(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.expectForwarded(r.route(guestPort, w.udp(at(w.behind))), portB, w.guestB.MAC)
		// What the guest forwards has a source behind it.
		e := w.guestB
		e.Addr = w.behind
		r.expectForwarded(r.route(guestBPort, frametest.UDP(e, towards(w.remote, macB), nil)), portU, w.hop.MAC)
	})
}

// RFC 1812 5.3.4, unicast IP in a frame to all.
func TestGroupFrameIsNotRouted(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		for _, mac := range []frame.MAC{frame.Broadcast, 0x0100_5e00_0001, 0x3333_0000_0001, macA + 0x100} {
			p := frametest.UDP(w.guest, towards(w.remote, mac), nil)
			r.expectLeft(r.route(guestPort, p), p)
		}
	})
}

func TestForeignFramesAreLeftAlone(t *testing.T) {
	r := newRig(t).meet()
	for _, p := range [][]byte{
		frametest.Tagged(ipv4.udp(ipv4.remote), frame.EtherTypeCTag, 5, 0),
		frametest.Ethernet(macA, ipv4.guest.MAC, 0x88cc, []byte("lldp")),
		frametest.Ethernet(macA, ipv4.guest.MAC, 3, []byte("llc")),
	} {
		r.expectLeft(r.route(guestPort, p), p)
	}
	p := ipv4.udp(ipv4.remote)
	b := r.bufs[0]
	b.SetBytes(p)
	b.In, b.Out = 51, 50 // no interface
	r.Route(r.now, r.bufs)
	r.expectLeft(b, p)
	r.Route(r.now, nil)
}

func TestTranslatorRefuses(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := uint8(frame.ICMPUnreachable), uint8(frame.CodeProhibited)
		if w.version == 6 {
			typ, code = frame.ICMPv6Unreachable, frame.CodeProhibited6
		}
		r := newRig(t).meet()
		p := w.udp(w.remote)
		for _, why := range []frame.Reason{frame.DropNATNoPort, frame.DropNATFull, frame.DropNATQuota} {
			r.nat.why = why
			r.expectError(r.route(guestPort, p), why, p, w.gatewayA, typ, code) // RFC 5508 REQ-8
		}
		for _, why := range []frame.Reason{frame.Taken, frame.DropNATInvalid, frame.DropNATUnsupported} {
			r.nat.why = why
			r.expectDrop(r.route(guestPort, p), why)
		}
		r.nat.why = 0
		r.route(guestPort, p)
		r.nat.why = frame.DropNATFiltered
		r.expectDrop(r.route(wirePort, frametest.UDP(w.remote, towards(at(w.host), macU), nil)), frame.DropNATFiltered)
	})
}

func TestTranslatedToNowhere(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.route(guestPort, w.udp(w.remote))
		for k := range r.nat.inside {
			r.nat.inside[k] = w.remote.Addr
		}
		r.expectDrop(r.route(wirePort, frametest.UDP(w.remote, towards(at(w.host), macU), nil)), frame.DropNoRoute)
	})
}

func TestRouterWithoutTranslator(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		v := world()
		v.Interfaces[0].Realm = 0
		r := &rig{Router: route.New(route.Config{Inject: func(frame.PortID, *frame.Buf) bool { return true }}), t: t, bufs: frame.NewBufs(1), view: v}
		r.set()
		p := frametest.UDP(w.remote, towards(at(w.host), macU), nil)
		r.expectLeft(r.route(wirePort, p), p)
		r.expectDrop(r.route(wirePort, frametest.UDP(w.remote, towards(at(w.external), macU), nil)), frame.DropNATNoSession)
	})
}
