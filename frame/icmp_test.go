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
