package route_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// The world of the tests. A and B are inside networks, A behind NAT; U is the uplink,
// and V, which few tests add, a second one.
//
//	guest (port 11) ─┐                            ┌─ wire (port 31) ─ remote
//	other (port 12) ─┴─ A (port 10) ─ router ─ U (port 30)
//	guestB (port 21) ── B (port 20) ─┘
const (
	portA, guestPort, otherPort = 10, 11, 12
	portB, guestBPort           = 20, 21
	portU, wirePort             = 30, 31
	portV                       = 40

	realmA, poolU = 7, 3
)

var (
	macA = frame.MAC(0x0200_0000_000a)
	macB = frame.MAC(0x0200_0000_000b)
	macU = frame.MAC(0x0200_0000_000c)
	macV = frame.MAC(0x0200_0000_000d)
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// A family is the world's addresses in one IP version.
type family struct {
	name                              string
	version                           uint8
	guest, other, guestB, remote, hop frametest.End // hop: the provider's router, over which remote is reached
	gatewayA, gatewayB, host          netip.Addr    // of the interfaces
	asksA                             netip.Addr    // A's source of neighbor requests
	external                          netip.Addr    // a NAT address that is not the host's
	behind                            netip.Addr    // behind guestB, by a static route
}

var ipv4 = family{
	name: "v4", version: 4,
	guest:    frametest.End{MAC: 0x5254_0000_0001, Addr: addr("192.168.1.5"), Port: 4000},
	other:    frametest.End{MAC: 0x5254_0000_0002, Addr: addr("192.168.1.6"), Port: 4001},
	guestB:   frametest.End{MAC: 0x5254_0000_0003, Addr: addr("203.0.113.70"), Port: 4002},
	remote:   frametest.End{MAC: 0x5254_0000_00ff, Addr: addr("198.51.100.99"), Port: 443},
	hop:      frametest.End{MAC: 0x5254_0000_00ff, Addr: addr("192.0.2.1")},
	gatewayA: addr("192.168.1.1"), gatewayB: addr("203.0.113.65"), host: addr("192.0.2.2"),
	asksA:    addr("192.168.1.1"),
	external: addr("192.0.2.200"), behind: addr("10.7.1.1"),
}

var ipv6 = family{
	name: "v6", version: 6,
	guest:    frametest.End{MAC: 0x5254_0000_0001, Addr: addr("fd00:a::5"), Port: 4000},
	other:    frametest.End{MAC: 0x5254_0000_0002, Addr: addr("fd00:a::6"), Port: 4001},
	guestB:   frametest.End{MAC: 0x5254_0000_0003, Addr: addr("2001:db8:b::70"), Port: 4002},
	remote:   frametest.End{MAC: 0x5254_0000_00ff, Addr: addr("2001:db8:ffff::99"), Port: 443},
	hop:      frametest.End{MAC: 0x5254_0000_00ff, Addr: addr("2001:db8:1::1")},
	gatewayA: addr("fd00:a::1"), gatewayB: addr("2001:db8:b::1"), host: addr("2001:db8:1::2"),
	asksA:    addr("fe80::1"),
	external: addr("2001:db8:1::200"), behind: addr("2001:db8:7::1"),
}

// both runs a test in each IP version.
func both(t *testing.T, f func(t *testing.T, w family)) {
	for _, w := range []family{ipv4, ipv6} {
		t.Run(w.name, func(t *testing.T) { f(t, w) })
	}
}

// world returns the View of the tests.
func world() route.View {
	return route.View{
		Interfaces: []route.Interface{
			{
				Port: portA, Name: "A", MAC: macA, MTU: 1500, Realm: realmA, Reach: []frame.PortID{portB},
				Addresses: []netip.Prefix{prefix("192.168.1.1/24"), prefix("fd00:a::1/64"), prefix("fe80::1/64")},
			},
			{
				Port: portB, Name: "B", MAC: macB, MTU: 1500,
				Addresses: []netip.Prefix{prefix("203.0.113.65/26"), prefix("2001:db8:b::1/64"), prefix("fe80::1/64")},
			},
			{
				Port: portU, Name: "U", MAC: macU, MTU: 1500, Outside: true, Pool: poolU, Proxy: true,
				Addresses: []netip.Prefix{prefix("192.0.2.2/24"), prefix("2001:db8:1::2/64"), prefix("fe80::c/64")},
			},
		},
		Routes: []route.Route{
			{Prefix: prefix("0.0.0.0/0"), Via: ipv4.hop.Addr, Port: portU, Metric: 100},
			{Prefix: prefix("192.0.2.0/24"), Port: portU},
			{Prefix: prefix("::/0"), Via: ipv6.hop.Addr, Port: portU, Metric: 100},
			{Prefix: prefix("2001:db8:1::/64"), Port: portU},
			{Prefix: prefix("10.7.0.0/16"), Via: ipv4.guestB.Addr, Port: portB},
			{Prefix: prefix("2001:db8:7::/48"), Via: ipv6.guestB.Addr, Port: portB},
		},
		Local:    []netip.Addr{ipv4.host, ipv6.host, addr("10.99.0.1"), addr("fd99::1")},
		External: []netip.Addr{ipv4.external, ipv6.external},
		Owned:    []netip.Prefix{prefix("203.0.113.64/26"), prefix("2001:db8:b::/64")},
	}
}

// A sent frame was handed to Inject, for port in.
type sent struct {
	in    frame.PortID
	frame []byte
}

type question struct {
	at   frame.PortID
	addr netip.Addr
}

// A rig is a Router in the tests' world, with a clock that stands still.
type rig struct {
	*route.Router
	t     rapid.TB
	now   time.Duration
	view  route.View
	sent  []sent       // by Inject, since last asked
	cause frame.PortID // of what was last sent
	asked []question   // by Resolve, since last asked
	ended []uint32     // neighbors, by Changed, since last asked
	full  bool         // Inject finds no room
	nat   *masquerader // the Translator
	bufs  []*frame.Buf
}

func newRig(t rapid.TB, change ...func(v *route.View)) *rig {
	t.Helper()
	r := &rig{t: t, now: time.Hour, nat: &masquerader{}, bufs: frame.NewBufs(1)}
	r.Router = route.New(route.Config{
		Translator: r.nat,
		Inject: func(in frame.PortID, b *frame.Buf) bool {
			if r.full {
				return false
			}
			r.sent = append(r.sent, sent{in, append([]byte{}, b.Bytes()...)})
			r.cause = b.In
			return true
		},
		Resolve: func(at frame.PortID, a netip.Addr) { r.asked = append(r.asked, question{at, a}) },
		Changed: func(neighbor uint32) { r.ended = append(r.ended, neighbor) },
	})
	r.view = world()
	for _, f := range change {
		f(&r.view)
	}
	r.set()
	return r
}

func (r *rig) set() {
	r.t.Helper()
	if err := r.Set(r.view); err != nil {
		r.t.Fatal(err)
	}
}

// meet makes all stations of the world known to the router.
func (r *rig) meet() *rig {
	r.t.Helper()
	for _, w := range []family{ipv4, ipv6} {
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
		r.hear(guestPort, w.guest, w.gatewayA)
		r.hear(otherPort, w.other, w.gatewayA)
		r.hear(guestBPort, w.guestB, w.gatewayB)
	}
	if len(r.sent) != 0 {
		r.t.Fatalf("to make friends the router sent %d frames", len(r.sent))
	}
	return r
}

// hear lets the router hear a station ask for its gateway.
func (r *rig) hear(port frame.PortID, who frametest.End, gateway netip.Addr) {
	at := interfaceOf(port)
	b := r.bufs[0]
	if who.Addr.Is4() {
		b.SetBytes(frametest.ARPRequest(who, gateway))
	} else {
		b.MakeSolicitation(0, who.MAC, who.Addr, gateway)
	}
	b.In = port
	r.Listener(at).Process(r.now, r.bufs)
}

// interfaceOf returns the interface of the network that a port is in.
func interfaceOf(port frame.PortID) frame.PortID { return port / 10 * 10 }

// macOf returns the MAC of the interface of the network that a port is in.
func macOf(port frame.PortID) frame.MAC {
	return map[frame.PortID]frame.MAC{portA: macA, portB: macB, portU: macU, portV: macV}[interfaceOf(port)]
}

// route has the router decide on a frame from a port, and returns it.
func (r *rig) route(port frame.PortID, p []byte) *frame.Buf {
	b := r.bufs[0]
	b.SetBytes(p)
	return r.routeBuf(port, b)
}

func (r *rig) routeBuf(port frame.PortID, b *frame.Buf) *frame.Buf {
	b.In, b.Out = port, interfaceOf(port)
	r.Route(r.now, []*frame.Buf{b})
	return b
}

// tick lets time pass.
func (r *rig) tick(d time.Duration) {
	for end := r.now + d; r.now < end; {
		r.now += 100 * time.Millisecond
		r.Tick(r.now)
	}
}

// injected returns the frames sent since it was last called.
func (r *rig) injected() []sent {
	s := r.sent
	r.sent = nil
	return s
}

// questions returns what the kernel was asked since it was last called.
func (r *rig) questions() []question {
	q := r.asked
	r.asked = nil
	return q
}

// expectForwarded checks that a frame leaves by an interface, to a station.
func (r *rig) expectForwarded(b *frame.Buf, out frame.PortID, to frame.MAC) {
	r.t.Helper()
	if b.Reason() != 0 || b.In != out {
		r.t.Fatalf("%v: reason %v, port %d; want it to leave by %d", b, b.Reason(), b.In, out)
	}
	if eth := frame.Ethernet(b.Bytes()); eth.Dst() != to || eth.Src() != macOf(out) {
		r.t.Errorf("%v > %v, want %v > %v", eth.Src(), eth.Dst(), macOf(out), to)
	}
	if err := frametest.Checksums(b.Bytes()); err != nil && !b.Offload.NeedsCsum {
		r.t.Error(err)
	}
}

// expectDrop checks that a frame was dropped for a reason and nobody was told.
func (r *rig) expectDrop(b *frame.Buf, want frame.Reason) {
	r.t.Helper()
	if b.Reason() != want {
		r.t.Errorf("reason %v, want %v", b.Reason(), want)
	}
	if s := r.injected(); len(s) != 0 {
		r.t.Errorf("the router sent %d frames", len(s))
	}
}

// expectLeft checks that a frame is as it was and left to the host's stack.
func (r *rig) expectLeft(b *frame.Buf, was []byte) {
	r.t.Helper()
	if b.Reason() != 0 || b.In == interfaceOf(b.In) {
		r.t.Errorf("reason %v, port %d; want it left alone", b.Reason(), b.In)
	}
	same(r.t, b.Bytes(), was)
	if s := r.injected(); len(s) != 0 {
		r.t.Errorf("the router sent %d frames", len(s))
	}
}

// expectError checks that a frame was dropped for a reason and its sender told, and
// returns the error message from its ICMP header on.
func (r *rig) expectError(b *frame.Buf, why frame.Reason, about []byte, from netip.Addr, typ, code uint8) []byte {
	r.t.Helper()
	if b.Reason() != why {
		r.t.Fatalf("reason %v, want %v", b.Reason(), why)
	}
	s := r.injected()
	if len(s) != 1 {
		r.t.Fatalf("%d frames sent, want one error", len(s))
	}
	return checkError(r.t, s[0], about, from, typ, code)
}

func checkError(t rapid.TB, s sent, about []byte, from netip.Addr, typ, code uint8) []byte {
	t.Helper()
	eth, was := frame.Ethernet(s.frame), frame.Ethernet(about)
	if eth.Src() != was.Dst() || eth.Dst() != was.Src() || macOf(s.in) != was.Dst() {
		t.Errorf("error of %v to %v by port %d", eth.Src(), eth.Dst(), s.in)
	}
	if err := frametest.Checksums(s.frame); err != nil {
		t.Error(err)
	}
	l := frame.Parse(s.frame)
	if l.L4 == 0 || !l.IsICMPError(s.frame) {
		t.Fatalf("no ICMP error: %x", s.frame)
	}
	src, dst := ends(s.frame)
	if asker, _ := ends(about); src != from || dst != asker {
		t.Errorf("error from %v to %v, want from %v to %v", src, dst, from, asker)
	}
	m := s.frame[l.L4:]
	if m[0] != typ || m[1] != code {
		t.Errorf("type %d code %d, want %d %d", m[0], m[1], typ, code)
	}
	original := about[14:]
	if len(original) > len(m[8:]) {
		original = original[:len(m[8:])]
	}
	if !bytes.Equal(m[8:], original) {
		t.Errorf("quotes %x, want %x", m[8:], original)
	}
	return m
}

// same is frametest.Equal, also for rapid.
func same(t rapid.TB, got, want []byte) {
	t.Helper()
	if d := frametest.Diff(got, want); d != "" {
		t.Errorf("frame differs (got, want):\n%s", d)
	}
}

// ends returns source and destination address of the packet in a frame.
func ends(p []byte) (src, dst netip.Addr) { return endsOf(p[14:]) }

// endsOf returns source and destination address of a packet.
func endsOf(p []byte) (src, dst netip.Addr) {
	if p[0]>>4 == 4 {
		return frame.IPv4(p).Src(), frame.IPv4(p).Dst()
	}
	return frame.IPv6(p).Src(), frame.IPv6(p).Dst()
}

// towards returns an end that stands at a MAC: the gateway's, for a frame to be routed.
func towards(e frametest.End, mac frame.MAC) frametest.End {
	e.MAC = mac
	return e
}

// udp returns a datagram from a guest of A to be routed to another end.
func (w family) udp(to frametest.End) []byte {
	return frametest.UDP(w.guest, towards(to, macA), []byte("data"))
}

// from returns a datagram from the guest of A, as if its address was another.
func (w family) from(a netip.Addr, to frametest.End) []byte {
	e := w.guest
	e.Addr = a
	return frametest.UDP(e, towards(to, macA), []byte("data"))
}

// at is an end with an address only.
func at(a netip.Addr) frametest.End { return frametest.End{Addr: a, Port: 9} }

// setHops sets TTL or hop limit of the packet in a frame.
func setHops(p []byte, n uint8) []byte {
	if frame.Parse(p).Version == 4 {
		p[14+8] = n
		frame.IPv4(p[14:]).UpdateChecksum()
	} else {
		p[14+7] = n
	}
	return p
}

func getHops(p []byte) uint8 {
	if frame.Parse(p).Version == 4 {
		return p[14+8]
	}
	return p[14+7]
}

// clearDF clears the bit that frametest sets.
func clearDF(p []byte) []byte {
	frame.IPv4(p[14:]).SetFragment(0, false)
	frame.IPv4(p[14:]).UpdateChecksum()
	return p
}
