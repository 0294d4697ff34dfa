package fastpath

import (
	"net/netip"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// The ends of a conversation as it comes, and as it leaves.
type ends struct{ src, dst frametest.End }

func end(mac frame.MAC, addr string, port uint16) frametest.End {
	return frametest.End{MAC: 0x5254_0000_0000 + mac, Addr: netip.MustParseAddr(addr), Port: port}
}

// A translation is what a router or a translator does to the packets of a flow.
type translation struct {
	name    string
	was, is ends
	session bool
}

var translations = []translation{
	{"v4 routed", ends{end(1, "10.0.0.1", 1001), end(2, "10.9.0.2", 1002)}, ends{end(3, "10.0.0.1", 1001), end(4, "10.9.0.2", 1002)}, false},
	{"v4 outbound", ends{end(1, "10.0.0.1", 1001), end(2, "192.0.2.7", 443)}, ends{end(3, "203.0.113.9", 40001), end(4, "192.0.2.7", 443)}, true},
	{"v4 inbound", ends{end(4, "192.0.2.7", 443), end(3, "203.0.113.9", 40001)}, ends{end(2, "192.0.2.7", 443), end(1, "10.0.0.1", 1001)}, true},
	{"v4 hairpin", ends{end(1, "10.0.0.1", 1001), end(2, "203.0.113.9", 8080)}, ends{end(3, "203.0.113.9", 40001), end(4, "10.0.0.5", 80)}, true},
	{"v4 from another port", ends{end(1, "10.0.0.1", 1001), end(2, "10.9.0.2", 1002)}, ends{end(3, "10.0.0.1", 40001), end(4, "10.9.0.2", 1002)}, true},
	{"v4 to another port", ends{end(1, "10.0.0.1", 1001), end(2, "10.9.0.2", 8080)}, ends{end(3, "10.0.0.1", 1001), end(4, "10.9.0.2", 80)}, false},
	{"v4 session that keeps all", ends{end(1, "10.0.0.1", 1001), end(2, "10.9.0.2", 1002)}, ends{end(3, "10.0.0.1", 1001), end(4, "10.9.0.2", 1002)}, true},
	{"v6 routed", ends{end(1, "fd00::1", 1001), end(2, "fd09::2", 1002)}, ends{end(3, "fd00::1", 1001), end(4, "fd09::2", 1002)}, false},
	{"v6 outbound", ends{end(1, "fd00::1", 1001), end(2, "2001:db8::7", 443)}, ends{end(3, "2001:db8:1::9", 40001), end(4, "2001:db8::7", 443)}, true},
}

// hop takes one hop off a packet.
func hop(p []byte) []byte {
	if h := frame.Ethernet(p); h.Type() == frame.EtherTypeIPv4 {
		frame.IPv4(p[frame.EthernetLen:]).DecrementTTL()
	} else {
		p[frame.EthernetLen+7]--
	}
	return p
}

// rewriting has a rig do each translation, and tries it.
func rewriting(t *testing.T, try func(r *rig, x translation)) {
	for _, x := range translations {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, Config{})
			for _, build := range []func(e ends) []byte{
				func(e ends) []byte { return frametest.UDP(e.src, e.dst, nil) },
				func(e ends) []byte { return frametest.TCP(e.src, e.dst, nil) },
				func(e ends) []byte { return frametest.Ping(e.src, e.dst, e.src.Port, 1) },
			} {
				d := routed(t, build(x.was), hop(build(x.is)))
				if x.session {
					d.Session = 1
				}
				r.learn(d)
			}
			try(r, x)
		})
	}
}

// A packet leaves as if it had been built so.
func TestRewrites(t *testing.T) {
	rewriting(t, func(r *rig, x translation) {
		was, is := x.was, x.is
		for _, n := range []int{0, 1, 2, 7, 64, 1400} {
			for name, build := range map[string]func(e ends) []byte{
				"UDP":  func(e ends) []byte { return frametest.UDP(e.src, e.dst, frametest.Payload(n)) },
				"TCP":  func(e ends) []byte { return frametest.TCP(e.src, e.dst, frametest.Payload(n)) },
				"echo": func(e ends) []byte { return frametest.Ping(e.src, e.dst, e.src.Port, uint16(n)) },
			} {
				got, _ := r.send(build(was), frame.Offload{})
				if got == nil {
					r.Errorf("%s of %d bytes was not forwarded", name, n)
					continue
				}
				frametest.Equal(r, got, hop(build(is)))
			}
		}
	})
}

// What leaves otherwise need not have one hop less.
func TestRewritesStationsAlone(t *testing.T) {
	r := newRig(t, Config{})
	was := frametest.UDP(end(1, "10.0.0.1", 1001), end(2, "10.9.0.2", 1002), nil)
	is := frametest.UDP(end(3, "10.0.0.1", 1001), end(4, "10.9.0.2", 1002), nil)
	r.learn(routed(t, was, is))
	got, _ := r.send(was, frame.Offload{})
	frametest.Equal(t, got, is)
}

// So does one whose checksum is to be completed, and one that is to be segmented.
func TestRewritesPartialChecksums(t *testing.T) {
	rewriting(t, func(r *rig, x translation) {
		was, is := x.was, x.is
		tcp := frame.GSOTCPv4
		if was.src.Addr.Is6() {
			tcp = frame.GSOTCPv6
		}
		for _, s := range []frametest.Superframe{
			{Len: 10, UDP: true},
			{Len: 700},
			{Len: 30000, GSO: tcp, SegSize: 1400, Options: frametest.Timestamp()},
			{Len: 65000, GSO: tcp, SegSize: 1400},
			{Len: 20000, GSO: frame.GSOUDP, SegSize: 1200},
		} {
			if s.GSO == frame.GSOUDP && !r.a.uso {
				continue
			}
			s.Src, s.Dst = was.src, was.dst
			p, o := s.Bytes(), s.Offload()
			s.Src, s.Dst = is.src, is.dst
			got, as := r.send(p, o)
			if got == nil {
				r.Errorf("%v was not forwarded", s)
				continue
			}
			frametest.Equal(r, got, hop(s.Bytes()))
			if as.NeedsCsum != o.NeedsCsum || as.CsumStart != o.CsumStart || as.CsumOffset != o.CsumOffset || as.GSO != o.GSO || as.SegSize != o.SegSize {
				r.Errorf("%v: offload %+v, want %+v", s, as, o)
			}
		}
	})
}

// UDP without a checksum stays so, and one whose sum would be zero is sent as 0xffff
// (RFC 768).
func TestRewritesUDPChecksumZero(t *testing.T) {
	rewriting(t, func(r *rig, x translation) {
		was, is := x.was, x.is
		at := frame.EthernetLen + 20 + 6
		if was.src.Addr.Is6() {
			at += 20
		}
		none := func(e ends) []byte {
			p := frametest.UDP(e.src, e.dst, frametest.Payload(9))
			p[at], p[at+1] = 0, 0
			return p
		}
		if got, _ := r.send(none(was), frame.Offload{}); got == nil {
			r.Error("not forwarded")
		} else {
			frametest.Equal(r, got, hop(none(is)))
		}
		// The sum of what leaves is a word of its payload: take it away.
		sum := frametest.UDP(is.src, is.dst, []byte{0, 0})[at:]
		zero := func(e ends) []byte { return frametest.UDP(e.src, e.dst, []byte{sum[0], sum[1]}) }
		want := zero(is)
		if want[at] != 0 || want[at+1] != 0 {
			r.Fatalf("the checksum of %x is to be zero before it is sent", want)
		}
		sent := zero(was)
		if sent[at] != 0 || sent[at+1] != 0 { // else it has none
			want[at], want[at+1] = 0xff, 0xff
		}
		if got, _ := r.send(sent, frame.Offload{}); got == nil {
			r.Error("not forwarded")
		} else {
			frametest.Equal(r, got, hop(want))
		}
	})
}

// What lies behind the end of a short packet is cut off, as by the switch.
func TestRewritesCutPadding(t *testing.T) {
	rewriting(t, func(r *rig, x translation) {
		was, is := x.was, x.is
		for n := range 8 {
			p := frametest.UDP(was.src, was.dst, frametest.Payload(n))
			if len(p) >= frame.MinLen {
				continue
			}
			padded := make([]byte, frame.MinLen)
			copy(padded, p)
			padded[frame.MinLen-1] = 0x55
			if got, _ := r.send(padded, frame.Offload{}); got == nil {
				r.Errorf("%d bytes: not forwarded", n)
			} else {
				frametest.Equal(r, got, hop(frametest.UDP(is.src, is.dst, frametest.Payload(n))))
			}
		}
	})
}

// Sessions' packets that may be fragmented have identifications of their own (RFC 6864
// 5.3.1), a superframe's as many as it has segments.
func TestIdentifications(t *testing.T) {
	rewriting(t, func(r *rig, x translation) {
		if x.was.src.Addr.Is6() {
			return
		}
		s := frametest.Superframe{Src: x.was.src, Dst: x.was.dst, GSO: frame.GSOTCPv4, Len: 14000, SegSize: 1400, ID: 7}
		may := func(p []byte) []byte {
			h := frame.IPv4(p[frame.EthernetLen:])
			h[6] = 0
			h.UpdateChecksum()
			return p
		}
		id := func(p []byte, o frame.Offload) uint16 {
			got, _ := r.send(may(p), o)
			if got == nil {
				r.Fatal("not forwarded")
			}
			h := frame.IPv4(got[frame.EthernetLen:])
			if !h.ChecksumValid() {
				r.Errorf("header checksum of %x is wrong", got)
			}
			return h.ID()
		}
		first, second := id(s.Bytes(), s.Offload()), id(s.Bytes(), s.Offload())
		switch {
		case !x.session && (first != 7 || second != 7):
			r.Errorf("identifications %d, %d are to stay 7", first, second)
		case x.session && second-first != 10:
			r.Errorf("identifications %d, %d are to be 10 apart", first, second)
		}
	})
}
