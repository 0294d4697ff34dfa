package fastpath

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
)

// newXDPRig makes a rig where only the XDP program forwards: what tc gets goes to the queue.
func newXDPRig(t testing.TB) *rig {
	t.Helper()
	isolate(t)
	r := &rig{t, newCache(t, Config{}), newTAP(t, "a"), newTAP(t, "b"), newTAP(t, "queue")}
	if r.XDP() == nil {
		t.Skip("the kernel takes no XDP programs for frames in pieces: Linux 5.18 is needed")
	}
	attach(t, r.a.index, floor(t, r.queue.index), ebpf.AttachTCXIngress)
	attachXDP(t, r.a, r.Cache)
	must(t, r.SetPort(portA, Port{Index: r.a.index, Queue: r.queue.index}))
	must(t, r.SetPort(portB, Port{Index: r.b.index, Queue: r.queue.index, XDP: true}))
	return r
}

func attachXDP(t testing.TB, d *device, c *Cache) {
	t.Helper()
	l, err := netlink.LinkByIndex(d.index)
	must(t, err)
	const native = 1 << 2 // XDP_FLAGS_DRV_MODE
	must(t, netlink.LinkSetXdpFdWithFlags(l, c.XDP().FD(), native))
}

// hurry lets small frames go again, however long ago a large one came by.
func (r *rig) hurry() {
	for i := range r.records[:r.unused] {
		r.records[i].Next = r.clock.now() - 2
	}
}

// completed returns the frame with the checksum that its sender left to be computed.
func completed(p []byte, o frame.Offload) []byte {
	if !o.NeedsCsum {
		return p
	}
	return changed(p, func(p []byte) {
		sum := ^frametest.SlowSum(p[o.CsumStart:])
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(p[o.CsumStart+o.CsumOffset:], sum)
	})
}

// check sends a frame, which must arrive by either way as it was, and reports whether
// it took the short cut.
func (r *rig) check(t rapid.TB, p []byte, o frame.Offload) bool {
	if o.GSO == frame.GSOUDP && !r.a.uso {
		return false
	}
	r.a.write(r, p, o)
	direct, as := r.b.read(r)
	queued, left := r.queue.read(r)
	switch {
	case (direct == nil) == (queued == nil):
		t.Fatalf("%x: direct %x, queued %x", p, direct, queued)
	case direct != nil && (!bytes.Equal(direct, completed(p, o)) || as != frame.Offload{}):
		t.Fatalf("%+v %x: direct %+v %x, want %x", o, p, as, direct, completed(p, o))
	case queued != nil && (!bytes.Equal(queued, p) || left.NeedsCsum != o.NeedsCsum || left.GSO != o.GSO):
		t.Fatalf("%+v %x: queued as %+v %x", o, p, left, queued)
	}
	return direct != nil
}

func TestXDPTakesSmallFramesOnly(t *testing.T) {
	r := newXDPRig(t)
	one, two := frametest.Station(1), frametest.Station(2)
	udp, tcp := frametest.UDP(one, two, frametest.Payload(30)), frametest.TCP(one, two, frametest.Payload(30))
	d := bridged(t, udp)
	d.MTU, d.Least = 1500, 60
	r.learn(d)
	partial := func(n int, isUDP bool) trial {
		s := frametest.Superframe{Src: one, Dst: two, Len: n, UDP: isUDP}
		return trial{frame: s.Bytes(), as: s.Offload()}
	}
	blank := partial(30, true)
	zero, zeroAs := blank.frame, blank.as // its sum is made 0xffff, of which the complement is zero
	clear(zero[42:44])
	binary.BigEndian.PutUint16(zero[42:], ^frametest.SlowSum(zero[zeroAs.CsumStart:]))
	super := frametest.Superframe{Src: one, Dst: two, Len: 100, GSO: frame.GSOTCPv4, SegSize: 60}
	with := func(x trial, name string, direct bool) trial {
		x.name, x.direct = name, direct
		return x
	}
	for _, x := range []trial{
		{name: "UDP", frame: udp, direct: true},
		{name: "TCP", frame: tcp, direct: true},
		{name: "an echo", frame: frametest.Ping(one, two, 1, 2), direct: true},
		{name: "shorter than least", frame: frametest.UDP(one, two, frametest.Payload(17))},
		{name: "IPv6", frame: frametest.UDP(frametest.Station6(1), frametest.Station6(2), frametest.Payload(30)), direct: true},
		with(partial(30, true), "UDP, partial", true),
		with(partial(31, false), "TCP, partial", true),
		{name: "as long as may be", frame: frametest.UDP(one, two, frametest.Payload(256-42)), direct: true},
		{name: "too long", frame: frametest.UDP(one, two, frametest.Payload(256-41))},
		with(partial(256-41, true), "too long, partial", false),
		with(trial{frame: super.Bytes(), as: super.Offload()}, "a short superframe", false),
		{name: "no checksum", frame: changed(udp, func(p []byte) { clear(p[40:42]) })},
		{name: "a wrong checksum", frame: changed(udp, func(p []byte) { p[40]++ })},
		{name: "another protocol", frame: changed(udp, func(p []byte) { p[23] = 47 })},
		{name: "a fragment", frame: changed(tcp, func(p []byte) { p[20] = 0x20 })},
		{name: "padding", frame: append(slices.Clone(udp), 0)},
		{name: "DHCP", frame: frametest.UDP(one, frametest.End{MAC: two.MAC, Addr: two.Addr, Port: 67}, frametest.Payload(30))},
		with(trial{frame: zero, as: zeroAs}, "a checksum of zero", true),
		{name: "another type", frame: typed(udp, 0x88b5)},
		{name: "tagged", frame: frametest.Tagged(udp, frame.EtherTypeCTag, 5, 3)},
	} {
		r.open()
		r.hurry()
		if direct := r.check(t, x.frame, x.as); direct != x.direct {
			t.Errorf("%s: took the short cut %t, want %t", x.name, direct, x.direct)
		}
	}
}

// Whatever a sender may say, frames arrive as they were meant.
func TestXDPKeepsFramesRight(t *testing.T) {
	r := newXDPRig(t)
	one, two := frametest.Station(1), frametest.Station(2)
	r.learn(bridged(t, frametest.UDP(one, two, nil)))
	directly := 0
	rapid.Check(t, func(t *rapid.T) {
		if rapid.Bool().Draw(t, "IPv6") {
			one, two = frametest.Station6(1), frametest.Station6(2)
		} else {
			one, two = frametest.Station(1), frametest.Station(2)
		}
		s := frametest.Superframe{Src: one, Dst: two, Len: rapid.IntRange(0, 300).Draw(t, "payload"), UDP: rapid.Bool().Draw(t, "UDP")}
		p, o := s.Bytes(), s.Offload()
		for i := int(o.CsumStart) + 20; i < len(p); i++ {
			p[i] = rapid.Byte().Draw(t, "byte")
		}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0: // complete
			p, o = completed(p, o), frame.Offload{}
		case 1: // wrong
			p, o = completed(p, o), frame.Offload{}
			p[len(p)-1]++
		case 2: // of a tunnel: right once the checksum inside is completed (lco_csum in Linux)
			if s.Len > 60 && s.UDP {
				inside := frame.Offload{NeedsCsum: true, CsumStart: o.CsumStart + 30, CsumOffset: 16}
				at := p[inside.CsumStart+inside.CsumOffset:]
				clear(at[:2])
				sum := ^frametest.SlowSum(p[inside.CsumStart:])
				left := []byte{byte(sum >> 8), byte(sum) ^ 1} // not right by chance
				copy(at, left)
				p = completed(completed(p, inside), o)
				copy(p[inside.CsumStart+inside.CsumOffset:], left)
				o = inside
			}
		case 3: // a superframe of two or more segments
			if s.Len > 41 {
				s.SegSize = uint16(rapid.IntRange(20, s.Len-21).Draw(t, "segment"))
				s.GSO = frame.GSOTCPv4
				if s.UDP {
					s.GSO = frame.GSOUDP
				} else if one.Addr.Is6() {
					s.GSO = frame.GSOTCPv6
				}
				o = s.Offload()
			}
		}
		r.open()
		r.hurry()
		direct := r.check(t, p, o)
		if direct {
			directly++
		}
		if direct && o.GSO != frame.GSONone {
			t.Fatalf("a superframe took the short cut: %+v %x", o, p)
		}
	})
	if directly == 0 {
		t.Error("no frame took the short cut")
	}
}

// Small frames behind a large one go its way, for a while.
func TestXDPDoesNotOvertake(t *testing.T) {
	r := newXDPRig(t)
	one, two := frametest.Station(1), frametest.Station(2)
	small, large := frametest.UDP(one, two, frametest.Payload(30)), frametest.UDP(one, two, frametest.Payload(300))
	r.learn(bridged(t, small))
	r.hurry()
	for i, step := range []struct {
		frame  []byte
		direct bool
	}{{small, true}, {large, false}, {small, false}} {
		if direct := r.check(t, step.frame, frame.Offload{}); direct != step.direct {
			t.Errorf("frame %d took the short cut %t, want %t", i, direct, step.direct)
		}
	}
	r.hurry()
	if !r.check(t, small, frame.Offload{}) {
		t.Error("a small frame long after a large one did not take the short cut")
	}
}

// What may not go this way is not changed either.
func TestXDPLeavesTheRestAlone(t *testing.T) {
	s := frametest.Superframe{Src: frametest.Station(1), Dst: frametest.Station(2), Len: 30, UDP: true}
	p := s.Bytes()
	for name, prepare := range map[string]func(r *rig){
		"unknown":      func(*rig) {},
		"stale":        func(r *rig) { r.learn(bridged(t, p)); r.Changed(frame.PortSubject(portB)) },
		"not open yet": func(r *rig) { r.remember(bridged(t, p)) },
		"not for that port": func(r *rig) {
			must(t, r.SetPort(portB, Port{Index: r.b.index, Queue: r.queue.index}))
			r.learn(bridged(t, p))
		},
		"routed":         func(r *rig) { r.learn(routed(t, p, p)) },
		"a port removed": func(r *rig) { r.learn(bridged(t, p)); r.RemovePort(portB) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newXDPRig(t)
			prepare(r)
			r.hurry()
			if r.check(t, p, s.Offload()) {
				t.Error("it took the short cut")
			}
		})
	}
}

func TestXDPCounts(t *testing.T) {
	r := newXDPRig(t)
	p := frametest.UDP(frametest.Station(1), frametest.Station(2), frametest.Payload(30))
	r.learn(bridged(t, p))
	r.hurry()
	for range 5 {
		r.check(t, p, frame.Offload{})
	}
	want := Counters{RxFrames: 5, RxBytes: 5 * uint64(len(p)), RxSegments: 5}
	if got := r.Counters()[portA]; got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestSuitsXDP(t *testing.T) {
	for _, c := range []struct {
		name      string
		since     Counters
		had, want bool
	}{
		{"small frames", Counters{RxFrames: 1000, RxBytes: 64 * 1000}, false, true},
		{"superframes", Counters{RxFrames: 1000, RxBytes: 60000 * 1000}, true, false},
		{"frames as long as may be", Counters{RxFrames: 1000, RxBytes: 1514 * 1000}, true, false},
		{"a few superframes among small frames", Counters{RxFrames: 1000, RxBytes: 64*997 + 3*60000}, true, true},
		{"in between", Counters{RxFrames: 1000, RxBytes: 400 * 1000}, false, false},
		{"still in between", Counters{RxFrames: 1000, RxBytes: 400 * 1000}, true, true},
		{"nothing", Counters{}, true, true},
		{"nothing yet", Counters{}, false, false},
	} {
		if got := SuitsXDP(c.since, c.had); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}
