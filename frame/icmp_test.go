package frame_test

import (
	"bytes"
	"net/netip"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

var (
	host4, peer4 = frametest.Station(1), frametest.Station(2)
	host6, peer6 = frametest.Station6(1), frametest.Station6(2)
	router4      = netip.MustParseAddr("192.0.2.254")
	router6      = netip.MustParseAddr("fe80::1")
)

func parsed(p []byte) *frame.Buf {
	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	b.Parse()
	return b
}

func TestICMPErrorGoesBackWithTheOriginal(t *testing.T) {
	long := frametest.Payload(3000)
	for name, c := range map[string]struct {
		about []byte
		from  netip.Addr
		typ   uint8
		size  int // of the whole packet
	}{
		"short v4": {frametest.UDP(host4, peer4, []byte("data")), router4, frame.ICMPUnreachable, 28 + 32},
		"long v4":  {frametest.UDP(host4, peer4, long), router4, frame.ICMPUnreachable, 576},
		"short v6": {frametest.UDP(host6, peer6, []byte("data")), router6, frame.ICMPv6TooBig, 48 + 52},
		"long v6":  {frametest.UDP(host6, peer6, long), router6, frame.ICMPv6TooBig, 1280},
		"tagged":   {frametest.Tagged(frametest.Ping(host4, peer4, 1, 1), frame.EtherTypeCTag, 5, 3), router4, frame.ICMPTimeExceeded, 28 + 84},
	} {
		t.Run(name, func(t *testing.T) {
			about := parsed(append(bytes.Clone(c.about), make([]byte, 10)...)) // padding is not quoted
			about.In = 7
			dst := frame.NewBufs(1)[0]
			if !frame.ICMPError(dst, about, c.from, c.typ, 1, 0x5dc) {
				t.Fatal("none sent")
			}
			p, l := dst.Bytes(), dst.Layers
			if err := frametest.Checksums(p); err != nil {
				t.Error(err)
			}
			if len(p)-int(l.L3) != c.size {
				t.Errorf("a packet of %d bytes, want %d", len(p)-int(l.L3), c.size)
			}
			if m := p[l.L4:]; m[0] != c.typ || m[1] != 1 || !bytes.Equal(m[4:8], []byte{0, 0, 5, 0xdc}) {
				t.Errorf("message begins %x", m[:8])
			}
			if quoted := p[l.L4+8:]; !bytes.HasPrefix(c.about[about.Layers.L3:], quoted) {
				t.Errorf("quotes %x", quoted)
			}
			eth, was := frame.Ethernet(p), frame.Ethernet(c.about)
			if eth.Dst() != was.Src() || eth.Src() != was.Dst() || dst.In != 7 {
				t.Errorf("from %v to %v, port %d", eth.Src(), eth.Dst(), dst.In)
			}
			q := l.Quoted(p)
			if q.Version != l.Version || q.Protocol != about.Layers.Protocol || q.SrcPort != about.Layers.SrcPort {
				t.Errorf("quoted %+v", q)
			}
			if !frame.ICMPError(about, about, c.from, c.typ, 1, 0x5dc) || !bytes.Equal(about.Bytes(), p) {
				t.Error("made in place it differs")
			}
			if frame.ICMPError(dst, about, c.from, c.typ, 1, 0) {
				t.Error("an error about an error")
			}
		})
	}
}

// RFC 1812 4.3.2.7, RFC 4443 2.4 e: not about packets from or to more than one host, or
// from none.
func TestNoICMPErrorAboutGroups(t *testing.T) {
	at := func(e frametest.End, a string) frametest.End { e.Addr = netip.MustParseAddr(a); return e }
	group := func(e frametest.End) frametest.End { e.MAC = 0x3333_0000_0001; return e }
	for name, p := range map[string][]byte{
		"link broadcast":     frametest.UDP(host4, group(peer4), nil),
		"link multicast":     frametest.UDP(host6, group(peer6), nil),
		"to multicast":       frametest.UDP(host4, at(peer4, "224.0.0.9"), nil),
		"to broadcast":       frametest.UDP(host4, at(peer4, "255.255.255.255"), nil),
		"to IPv6 multicast":  frametest.UDP(host6, at(peer6, "ff02::9"), nil),
		"from multicast":     frametest.UDP(at(host4, "224.0.0.9"), peer4, nil),
		"from class E":       frametest.UDP(at(host4, "240.0.0.9"), peer4, nil),
		"from zero":          frametest.UDP(at(host4, "0.0.0.0"), peer4, nil),
		"from loopback":      frametest.UDP(at(host4, "127.0.0.1"), peer4, nil),
		"from no address":    frametest.UDP(at(host6, "::"), peer6, nil),
		"from IPv6 loopback": frametest.UDP(at(host6, "::1"), peer6, nil),
		"from IPv6 group":    frametest.UDP(at(host6, "ff02::9"), peer6, nil),
		"ARP":                frametest.ARPReply(host4, peer4),
	} {
		b := parsed(p)
		from := router4
		if b.Layers.Version == 6 {
			from = router6
		}
		if frame.ICMPError(frame.NewBufs(1)[0], b, from, frame.ICMPUnreachable, 0, 0) {
			t.Errorf("%s: an error is sent", name)
		}
	}
}

// FuzzICMP gives what looks for ICMP and neighbor discovery any frame.
func FuzzICMP(f *testing.F) {
	for _, p := range [][]byte{
		frametest.Ping(host4, peer4, 1, 2), frametest.Ping(host6, peer6, 1, 2),
		frametest.UDP(host4, peer4, []byte("data")), frametest.UDP(host6, peer6, []byte("data")),
	} {
		f.Add(p)
		b := parsed(p)
		from := router4
		if b.Layers.Version == 6 {
			from = router6
		}
		if frame.ICMPError(b, b, from, frame.ICMPUnreachable, 0, 0) {
			f.Add(bytes.Clone(b.Bytes()))
		}
	}
	b := frame.NewBufs(1)[0]
	b.MakeAdvertisement(host6.MAC, peer6.MAC, peer6.Addr, host6.Addr, frame.AdvertSolicited, peer6.Addr)
	f.Add(bytes.Clone(b.Bytes()))
	dst := frame.NewBufs(1)[0]
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > frame.MaxLen {
			return
		}
		b.SetBytes(p)
		b.Parse()
		if n := b.Neighbor(); n != nil {
			n.LinkAddr()
			n.Flags()
			if n.Target().IsMulticast() || frame.IPv6(p[b.Layers.L3:]).HopLimit() != 255 {
				t.Errorf("neighbor discovery %x", p)
			}
		}
		q := b.Layers.Quoted(p)
		if q.Version != 0 && (q.L3 <= b.Layers.L4 || !b.Layers.IsICMPError(p)) || int(q.L4) > len(p) {
			t.Errorf("quotes %+v of %+v", q, b.Layers)
		}
		from := router4
		if b.Layers.Version == 6 {
			from = router6
		}
		if !frame.ICMPError(dst, b, from, frame.ICMPUnreachable, 1, 0) {
			return
		}
		if b.Layers.IsICMPError(p) || b.Layers.Fragment == frame.FragmentLater || frame.Ethernet(p).Dst().IsGroup() {
			t.Errorf("an error about %x", p)
		}
		if l := dst.Layers; !l.IsICMPError(dst.Bytes()) || dst.PacketLen() > 1280 || l.Version == 4 && dst.PacketLen() > 576 {
			t.Errorf("error %x", dst.Bytes())
		}
		if err := frametest.Checksums(dst.Bytes()); err != nil {
			t.Error(err)
		}
	})
}

func TestAddressSettersKeepTheHeaderChecksum(t *testing.T) {
	p := frametest.UDP(host4, peer4, nil)
	h := frame.IPv4(p[14:])
	for _, a := range []string{"0.0.0.0", "255.255.255.255", "192.0.2.1", "10.0.0.1", "0.0.255.255"} {
		h.SetSrc(netip.MustParseAddr(a))
		h.SetDst(netip.MustParseAddr(a))
		if !h.ChecksumValid() || h.Src().String() != a || h.Dst().String() != a {
			t.Errorf("%s: %v > %v, checksum valid %v", a, h.Src(), h.Dst(), h.ChecksumValid())
		}
	}
	for h.TTL() > 0 {
		if h.DecrementTTL(); !h.ChecksumValid() {
			t.Errorf("TTL %d: the checksum is wrong", h.TTL())
		}
	}
	h6 := frame.IPv6(frametest.UDP(host6, peer6, nil)[14:])
	h6.SetSrc(router6)
	h6.SetDst(host6.Addr)
	h6.DecrementHopLimit()
	if h6.Src() != router6 || h6.Dst() != host6.Addr || h6.HopLimit() != 63 {
		t.Errorf("%v > %v, hop limit %d", h6.Src(), h6.Dst(), h6.HopLimit())
	}
}

func TestFragmentSetters(t *testing.T) {
	h := frame.IPv4(frametest.UDP(host4, peer4, nil)[14:])
	if !h.DF() || h.MoreFragments() || h.FragmentOffset() != 0 {
		t.Errorf("DF %v, more %v, offset %d", h.DF(), h.MoreFragments(), h.FragmentOffset())
	}
	h.SetFragment(65528, true)
	h.UpdateChecksum()
	if h.DF() || !h.MoreFragments() || h.FragmentOffset() != 65528 || h.Fragment() != frame.FragmentLater {
		t.Errorf("DF %v, more %v, offset %d", h.DF(), h.MoreFragments(), h.FragmentOffset())
	}
}
