package route_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// told is type and code of what senders are told, in either IP version.
func (w family) told(typ4, code4, typ6, code6 uint8) (typ, code uint8) {
	if w.version == 4 {
		return typ4, code4
	}
	return typ6, code6
}

func TestTimeExceeded(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(11, 0, 3, 0)
		for _, hops := range []uint8{0, 1} {
			r := newRig(t).meet()
			p := setHops(w.udp(w.remote), hops)
			r.expectError(r.route(guestPort, p), frame.DropTTLExpired, p, w.gatewayA, typ, code)
			p = setHops(w.udp(w.guestB), hops)
			r.expectError(r.route(guestPort, p), frame.DropTTLExpired, p, w.gatewayA, typ, code)
			p = setHops(frametest.UDP(w.remote, towards(w.guestB, macU), nil), hops)
			r.expectError(r.route(wirePort, p), frame.DropTTLExpired, p, w.host, typ, code)
		}
		r := newRig(t).meet()
		b := r.route(guestPort, setHops(w.udp(w.guestB), 2))
		r.expectForwarded(b, portB, w.guestB.MAC)
		if n := getHops(b.Bytes()); n != 1 {
			t.Errorf("%d hops left, want 1", n)
		}
	})
}

// The error about a packet that was to be translated quotes it as its sender knows it.
func TestTimeExceededOfWhatIsTranslated(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(11, 0, 3, 0)
		r := newRig(t).meet()
		r.route(guestPort, w.udp(w.remote))
		for _, payload := range []int{4, 700, 4000} {
			p := setHops(frametest.UDP(w.remote, towards(at(w.host), macU), frametest.Payload(payload)), 1)
			r.expectError(r.route(wirePort, p), frame.DropTTLExpired, p, w.host, typ, code)
			p = setHops(frametest.UDP(w.other, towards(at(w.host), macA), frametest.Payload(payload)), 1)
			r.expectError(r.route(otherPort, p), frame.DropTTLExpired, p, w.gatewayA, typ, code)
		}
	})
}

func TestNoRoute(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) { v.Routes = nil }).meet()
		p := w.udp(w.remote)
		typ, code := w.told(3, 0, 1, 0)
		r.expectError(r.route(guestPort, p), frame.DropNoRoute, p, w.gatewayA, typ, code)
	})
}

func TestTooBigTellsTheMTU(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(3, 4, 2, 0)
		for _, mtu := range []int{1400, 1280, 900} {
			r := newRig(t, func(v *route.View) { v.Interfaces[1].MTU, v.Interfaces[2].MTU = mtu, mtu }).meet()
			want := uint32(mtu)
			if w.version == 6 {
				want = max(want, 1280) // RFC 8200 5
			}
			expect := func(m []byte) {
				t.Helper()
				if got := binary.BigEndian.Uint32(m[4:]); got != want {
					t.Errorf("MTU %d, want %d", got, want)
				}
			}
			p := frametest.UDP(w.guest, towards(w.remote, macA), frametest.Payload(1440))
			expect(r.expectError(r.route(guestPort, p), frame.DropTooBig, p, w.gatewayA, typ, code))
			p = frametest.UDP(w.guest, towards(w.guestB, macA), frametest.Payload(1440))
			expect(r.expectError(r.route(guestPort, p), frame.DropTooBig, p, w.gatewayA, typ, code))

			header := 28 + 20*int(w.version/6)
			p = frametest.UDP(w.guest, towards(w.guestB, macA), frametest.Payload(mtu-header))
			r.expectForwarded(r.route(guestPort, p), portB, w.guestB.MAC)
			p = frametest.UDP(w.guest, towards(w.guestB, macA), frametest.Payload(mtu-header+1))
			expect(r.expectError(r.route(guestPort, p), frame.DropTooBig, p, w.gatewayA, typ, code))
		}
	})
}

func TestTooBigForTheGuestQuotesWhatWasSent(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(3, 4, 2, 0)
		r := newRig(t, func(v *route.View) { v.Interfaces[0].MTU = 1300 }).meet()
		r.route(guestPort, w.udp(w.remote))
		p := frametest.UDP(w.remote, towards(at(w.host), macU), frametest.Payload(1400))
		m := r.expectError(r.route(wirePort, p), frame.DropTooBig, p, w.host, typ, code)
		if got := binary.BigEndian.Uint32(m[4:]); got != 1300 {
			t.Errorf("MTU %d, want 1300", got)
		}
	})
}

// A superframe is as long as its segments.
func TestTooBigSuperframe(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		typ, code := w.told(3, 4, 2, 0)
		r := newRig(t, func(v *route.View) { v.Interfaces[1].MTU = 1400 }).meet()
		header := 40 + 20*uint16(w.version/6)
		b := w.superframe(w.guestB, 30000, 1400-header)
		r.expectForwarded(r.routeBuf(guestPort, b), portB, w.guestB.MAC)
		if b.Offload.SegSize != 1400-header {
			t.Errorf("segments of %d", b.Offload.SegSize)
		}
		b = w.superframe(w.guestB, 30000, 1401-header)
		was := bytes.Clone(b.Bytes())
		r.expectError(r.routeBuf(guestPort, b), frame.DropTooBig, was, w.gatewayA, typ, code)
	})
}

// RFC 1812 4.3.2.7, RFC 4443 2.4 e.
func TestNoErrorAboutWhatMayHaveNone(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		icmp := func(typ byte) []byte {
			p := frametest.Ping(w.guest, towards(w.remote, macA), 1, 1)
			l4 := frame.Parse(p).L4
			p[l4] = typ
			return p
		}
		cases := map[string][]byte{
			"cut transport header": cut(w.udp(w.remote), 2),
		}
		if w.version == 4 {
			for _, typ := range []byte{3, 4, 5, 11, 12, 19, 40, 255} {
				cases[fmt.Sprintf("ICMP %d", typ)] = icmp(typ)
			}
			later := w.udp(w.remote)
			frame.IPv4(later[14:]).SetFragment(8, false)
			frame.IPv4(later[14:]).UpdateChecksum()
			cases["later fragment"] = later
		} else {
			for _, typ := range []byte{0, 1, 2, 3, 4, 100, 127, 137} {
				cases[fmt.Sprintf("ICMPv6 %d", typ)] = icmp(typ)
			}
			cases["later fragment"] = fragment6(w.udp(w.remote), 8, false)
		}
		for name, p := range cases {
			t.Run(name, func(t *testing.T) {
				r := newRig(t).meet()
				r.expectDrop(r.route(guestPort, setHops(p, 1)), frame.DropTTLExpired)
			})
		}
		// But about a question, and about the first fragment.
		typ, code := w.told(11, 0, 3, 0)
		r := newRig(t).meet()
		p := setHops(frametest.Ping(w.guest, towards(w.remote, macA), 1, 1), 1)
		r.expectError(r.route(guestPort, p), frame.DropTTLExpired, p, w.gatewayA, typ, code)
		if w.version == 6 {
			p = setHops(fragment6(w.udp(w.remote), 0, true), 1)
			r.expectError(r.route(guestPort, p), frame.DropTTLExpired, p, w.gatewayA, typ, code)
		}
	})
}

// cut leaves n bytes of the packet's payload.
func cut(p []byte, n int) []byte {
	header := 20 + 20*int(frame.Parse(p).Version/6)
	p = p[:14+header+n]
	if header == 20 {
		setLength(p, header+n)
	} else {
		setLength(p, n)
	}
	return p
}

// fragment6 inserts a fragment header.
func fragment6(p []byte, offset uint16, more bool) []byte {
	h := []byte{p[20], 0, byte(offset >> 8), byte(offset), 1, 2, 3, 4}
	if more {
		h[3] |= 1
	}
	p = append(append(bytes.Clone(p[:54]), h...), p[54:]...)
	p[20] = 44
	setLength(p, len(p)-54)
	return p
}

// RFC 1812 4.3.2.5, precedence 6.
func TestErrorHasPrecedence(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		r.route(guestPort, setHops(w.udp(w.remote), 1))
		d := frametest.Decode(r.injected()[0].frame)
		var class uint8
		if ip, ok := d.NetworkLayer().(*layers.IPv4); ok {
			class = ip.TOS
			if ip.TTL < 32 {
				t.Errorf("TTL %d", ip.TTL)
			}
		} else {
			class = d.NetworkLayer().(*layers.IPv6).TrafficClass
		}
		if class>>5 != 6 {
			t.Errorf("class %#x", class)
		}
	})
}

func TestErrorSourceIsTheInterfaces(t *testing.T) {
	r := newRig(t, func(v *route.View) {
		v.Interfaces[0].Addresses = []netip.Prefix{prefix("192.168.1.1/24"), prefix("fe80::1/64"), prefix("fd00:a::1/64")}
		v.Interfaces[1].Addresses = []netip.Prefix{prefix("fe80::1/64"), prefix("203.0.113.65/26")}
		v.Routes = append(v.Routes, route.Route{Prefix: prefix("2001:db8:b::/64"), Port: portB})
	}).meet()
	p := setHops(ipv6.udp(ipv6.remote), 1)
	r.expectError(r.route(guestPort, p), frame.DropTTLExpired, p, addr("fd00:a::1"), 3, 0)
	p = setHops(frametest.UDP(ipv6.guestB, towards(ipv6.remote, macB), nil), 1)
	r.expectError(r.route(guestBPort, p), frame.DropTTLExpired, p, addr("fe80::1"), 3, 0)

	r = newRig(t, func(v *route.View) {
		v.Interfaces[2].Addresses = nil
	}).meet()
	r.expectDrop(r.route(wirePort, setHops(frametest.UDP(ipv4.remote, towards(ipv4.guestB, macU), nil), 1)), frame.DropTTLExpired)
}

func TestErrorsAreRateLimited(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		count := func(port frame.PortID, from frametest.End, n int) int {
			for range n {
				r.route(port, setHops(frametest.UDP(from, towards(w.remote, macA), nil), 1))
			}
			return len(r.injected())
		}
		if n := count(guestPort, w.guest, 1000); n != 50 {
			t.Errorf("%d at once, want 50", n)
		}
		if n := count(otherPort, w.other, 1); n != 1 {
			t.Error("one guest silences another's errors")
		}
		r.now += 100 * time.Millisecond
		if n := count(guestPort, w.guest, 1000); n != 10 {
			t.Errorf("%d after 100 ms, want 10", n)
		}
		r.now += time.Hour
		if n := count(guestPort, w.guest, 1000); n != 50 {
			t.Errorf("%d after an hour, want 50", n)
		}
	})
}

func TestErrorWithoutRoomIsLost(t *testing.T) {
	r := newRig(t).meet()
	r.full = true
	r.expectDrop(r.route(guestPort, setHops(ipv4.udp(ipv4.remote), 1)), frame.DropTTLExpired)
}

// Gopacket finds the errors whole.
func TestErrorIsWhatOthersRead(t *testing.T) {
	r := newRig(t).meet()
	r.route(guestPort, setHops(ipv4.udp(ipv4.remote), 1))
	r.route(guestPort, setHops(ipv6.udp(ipv6.remote), 1))
	for _, s := range r.injected() {
		d := frametest.Decode(s.frame)
		if e := d.ErrorLayer(); e != nil {
			t.Error(e.Error())
		}
		if d.Layer(layers.LayerTypeICMPv4) == nil && d.Layer(layers.LayerTypeICMPv6) == nil {
			t.Errorf("layers %v", gopacket.LayerString(d.Layers()[len(d.Layers())-1]))
		}
	}
}
