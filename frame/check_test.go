package frame_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// A lie is a frame and an Offload that may contradict it.
type lie struct {
	base    frametest.Superframe
	frame   func(p []byte)
	offload func(o *frame.Offload)
	want    frame.Reason
}

var (
	tcp4 = frametest.Superframe{Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 5000, SegSize: 1460}
	tcp6 = frametest.Superframe{Src: a6, Dst: b6, GSO: frame.GSOTCPv6, Len: 5000, SegSize: 1440}
	udp4 = frametest.Superframe{Src: a4, Dst: b4, GSO: frame.GSOUDP, Len: 5000, SegSize: 1472}
	csum = frametest.Superframe{Src: a4, Dst: b4, UDP: true, Len: 100}

	tcp512 = frametest.Superframe{Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 512 * 8, SegSize: 8}
	tcp513 = frametest.Superframe{Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 512*8 + 1, SegSize: 8}
)

// lies are what drivers do in error or malice, and some oddities that are none.
var lies = map[string]lie{
	"checksum ends at the end":   {csum, nil, func(o *frame.Offload) { o.CsumOffset = 8 + 100 - 2 }, 0},
	"checksum past the end":      {csum, nil, func(o *frame.Offload) { o.CsumOffset = 8 + 100 - 1 }, frame.DropBadOffload},
	"checksum start past end":    {csum, nil, func(o *frame.Offload) { o.CsumStart = 200 }, frame.DropBadOffload},
	"checksum offsets overflow":  {csum, nil, func(o *frame.Offload) { o.CsumStart, o.CsumOffset = 0xffff, 0xffff }, frame.DropBadOffload},
	"checksum of the header":     {csum, nil, func(o *frame.Offload) { o.CsumStart = 14 }, frame.DropBadOffload},
	"checksum as early as Linux": {csum, nil, func(o *frame.Offload) { o.CsumStart = 20 }, 0},
	"checksum of odd protocol":   {csum, func(p []byte) { p[23] = 132 }, nil, 0},
	"ECN on a plain frame":       {csum, nil, func(o *frame.Offload) { o.ECN = true }, frame.DropBadOffload},
	"header length nonsense":     {tcp4, nil, func(o *frame.Offload) { o.HdrLen = 0xffff }, 0},
	"header length zero":         {tcp4, nil, func(o *frame.Offload) { o.HdrLen = 0 }, 0},

	"unknown type":           {tcp4, nil, func(o *frame.Offload) { o.GSO = 2 }, frame.DropBadOffload},
	"fragmentation offload":  {udp4, nil, func(o *frame.Offload) { o.GSO = 3 }, frame.DropBadOffload},
	"segment size 0":         {tcp4, nil, func(o *frame.Offload) { o.SegSize = 0 }, frame.DropBadOffload},
	"UDP segment size 0":     {udp4, nil, func(o *frame.Offload) { o.SegSize = 0 }, frame.DropBadOffload},
	"TCP segment size 7":     {tcp4, nil, func(o *frame.Offload) { o.SegSize = 7 }, frame.DropBadOffload},
	"TCP segment size 8":     {tcp512, nil, nil, 0},
	"TCP of 513 segments":    {tcp513, nil, nil, frame.DropTinySegments},
	"TCPv6 of 556 segments":  {tcp6, nil, func(o *frame.Offload) { o.SegSize = 9 }, frame.DropTinySegments},
	"UDP of 129 segments":    {udp4, nil, func(o *frame.Offload) { o.SegSize = 39 }, frame.DropBadOffload},
	"UDP of 128 segments":    {udp4, nil, func(o *frame.Offload) { o.SegSize = 40 }, 0},
	"no checksum wanted":     {tcp4, nil, func(o *frame.Offload) { o.NeedsCsum = false }, frame.DropBadOffload},
	"UDP no checksum wanted": {udp4, nil, func(o *frame.Offload) { o.NeedsCsum, o.DataValid = false, true }, frame.DropBadOffload},
	"checksum elsewhere":     {tcp4, nil, func(o *frame.Offload) { o.CsumStart++ }, frame.DropBadOffload},
	"checksum offset of UDP": {tcp4, nil, func(o *frame.Offload) { o.CsumOffset = 6 }, frame.DropBadOffload},
	"ECN on UDP":             {udp4, nil, func(o *frame.Offload) { o.ECN = true }, frame.DropBadOffload},

	"TCPv4 that is v6":     {tcp6, nil, func(o *frame.Offload) { o.GSO = frame.GSOTCPv4 }, frame.DropBadOffload},
	"TCPv6 that is v4":     {tcp4, nil, func(o *frame.Offload) { o.GSO = frame.GSOTCPv6 }, frame.DropBadOffload},
	"TCPv4 that is UDP":    {udp4, nil, func(o *frame.Offload) { o.GSO = frame.GSOTCPv4 }, frame.DropBadOffload},
	"UDP that is TCP":      {tcp4, nil, func(o *frame.Offload) { o.GSO = frame.GSOUDP }, frame.DropBadOffload},
	"not IP":               {tcp4, func(p []byte) { p[12] = 9 }, nil, frame.DropBadOffload},
	"three tags":           {tagged3(), nil, nil, frame.DropBadOffload},
	"fragment":             {tcp4, func(p []byte) { p[20] |= 0x20 }, nil, frame.DropBadOffload},
	"IPv4 header short":    {tcp4, func(p []byte) { p[14] = 0x44 }, nil, frame.DropBadOffload},
	"TCP header short":     {tcp4, func(p []byte) { p[46] = 0x40 }, nil, frame.DropBadOffload},
	"payload is one piece": {tcp4, nil, func(o *frame.Offload) { o.SegSize = 5000 }, 0},
}

func tagged3() frametest.Superframe {
	s := tcp4
	s.Tags = []frame.VID{1, 2, 3}
	return s
}

func (l lie) buf() *frame.Buf {
	b := l.base.Buf()
	if l.frame != nil {
		l.frame(b.Bytes())
	}
	if l.offload != nil {
		l.offload(&b.Offload)
	}
	return b
}

func TestCheckOffload(t *testing.T) {
	for name, l := range lies {
		t.Run(name, func(t *testing.T) {
			b := l.buf()
			if got := b.CheckOffload(); got != l.want {
				t.Errorf("got %v, want %v", got, l.want)
			}
		})
	}
}

func TestCheckOffloadOfATCPHeaderCutShort(t *testing.T) {
	b := tcp4.Buf()
	b.Resize(34 + 19)
	if got := b.CheckOffload(); got != frame.DropBadOffload {
		t.Errorf("got %v", got)
	}
	b = tcp4.Buf()
	b.Bytes()[46] = 0xf0 // header of 60 bytes
	b.Resize(34 + 59)
	if got := b.CheckOffload(); got != frame.DropBadOffload {
		t.Errorf("options cut: got %v", got)
	}
}

func TestCheckOffloadLeavesOnlyWhatIsToDo(t *testing.T) {
	for name, c := range map[string]struct {
		base    frametest.Superframe
		offload func(o *frame.Offload)
		want    frame.Offload
	}{
		"superframe":     {tcp4, func(o *frame.Offload) { o.DataValid, o.HdrLen = true, 1 }, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4, HdrLen: 54, SegSize: 1460, CsumStart: 34, CsumOffset: 16}},
		"one piece":      {tcp4, func(o *frame.Offload) { o.SegSize = 5000 }, frame.Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 16}},
		"checksum":       {csum, func(o *frame.Offload) { o.DataValid, o.HdrLen, o.SegSize = true, 42, 9 }, frame.Offload{NeedsCsum: true, CsumStart: 34, CsumOffset: 6}},
		"verified":       {csum, func(o *frame.Offload) { *o = frame.Offload{DataValid: true} }, frame.Offload{}},
		"hints only":     {csum, func(o *frame.Offload) { *o = frame.Offload{HdrLen: 42, SegSize: 1, CsumOffset: 9} }, frame.Offload{}},
		"merged by NIC":  {tcp4, func(o *frame.Offload) { *o = frame.Offload{DataValid: true, GSO: frame.GSOTCPv4, SegSize: 1460} }, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4, HdrLen: 54, SegSize: 1460, CsumStart: 34, CsumOffset: 16}},
		"merged by NIC6": {tcp6, func(o *frame.Offload) { *o = frame.Offload{DataValid: true, GSO: frame.GSOTCPv6, SegSize: 1440} }, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv6, HdrLen: 74, SegSize: 1440, CsumStart: 54, CsumOffset: 16}},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.base.Buf()
			c.offload(&b.Offload)
			if r := b.CheckOffload(); r != 0 {
				t.Fatalf("dropped: %v", r)
			}
			if b.Offload != c.want {
				t.Errorf("got  %+v\nwant %+v", b.Offload, c.want)
			}
		})
	}
}

// A checksum can be made to be whatever its sender likes: those who judge the frame see
// what it turns into.
func TestCheckOffloadCompletesWhatIsNoChecksumOfTransport(t *testing.T) {
	const tcpAt, udpAt, ip4, ip6 = 16, 6, 34, 54
	tcp := frametest.Superframe{Src: a4, Dst: b4, Len: 100}
	for name, c := range map[string]struct {
		base          frametest.Superframe
		frame         func(p []byte)
		start, offset uint16
		left          bool
	}{
		"TCP":                    {tcp, nil, ip4, tcpAt, true},
		"TCP over IPv6":          {frametest.Superframe{Src: a6, Dst: b6, Len: 100}, nil, ip6, tcpAt, true},
		"UDP":                    {csum, nil, ip4, udpAt, true},
		"a port":                 {csum, nil, ip4, 0, false},
		"an address":             {csum, nil, 26, 0, false},
		"before the header":      {csum, nil, ip4 - 4, udpAt + 4, false},
		"TCP's place in UDP":     {csum, nil, ip4, tcpAt, false},
		"of what UDP carries":    {csum, nil, ip4 + 8, tcpAt, false},
		"a protocol":             {tcp, nil, 20, 3, false},
		"a type of message":      {csum, func(p []byte) { p[23] = 1 }, ip4, 0, false},
		"a fragment":             {csum, func(p []byte) { p[20] |= 0x20 }, ip4, udpAt, false},
		"ARP's sender, of IPv4":  {csum, func(p []byte) { p[12], p[13] = 8, 6 }, 28, 0, false},
		"another EtherType":      {csum, func(p []byte) { p[12] = 0x99 }, ip4, udpAt, false},
		"another protocol's own": {csum, func(p []byte) { p[23] = 132 }, ip4, 8, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := lie{c.base, c.frame, func(o *frame.Offload) { o.CsumStart, o.CsumOffset = c.start, c.offset }, 0}.buf()
			want := frame.NewBufs(1)[0]
			want.CopyFrom(b)
			if r := b.CheckOffload(); r != 0 {
				t.Fatalf("dropped: %v", r)
			}
			if !c.left {
				want.Complete()
			}
			if b.Offload != want.Offload || !bytes.Equal(b.Bytes(), want.Bytes()) {
				t.Errorf("got  %+v %x\nwant %+v %x", b.Offload, b.Bytes(), want.Offload, want.Bytes())
			}
		})
	}
}

// A NIC's LRO leaves a whole checksum that it has verified.
func TestCheckOffloadStartsTheChecksumOfAMergedFrame(t *testing.T) {
	for _, s := range []frametest.Superframe{tcp4, tcp6} {
		want := s.Buf()
		b := frame.NewBufs(1)[0]
		b.CopyFrom(want)
		b.Offload.GSO = frame.GSONone
		b.Complete()
		b.Offload = frame.Offload{DataValid: true, GSO: s.GSO, SegSize: s.SegSize}
		if r := b.CheckOffload(); r != 0 {
			t.Fatalf("%v: dropped: %v", s, r)
		}
		frametest.Equal(t, b.Bytes(), want.Bytes())
		checkSegments(t, b.Bytes(), segments(t, b, 0))
	}
}

func TestOffloadEncodesWhatItDecodes(t *testing.T) {
	s := tcp6
	s.ECN = true
	for _, o := range []frame.Offload{{}, csum.Offload(), tcp4.Offload(), s.Offload(), udp4.Offload(), {DataValid: true}} {
		var h [frame.VirtioLen]byte
		var got frame.Offload
		o.Encode(h[:])
		got.Decode(h[:])
		if got != o {
			t.Errorf("got %+v, want %+v", got, o)
		}
		if h[10] != 1 || h[11] != 0 {
			t.Errorf("num_buffers %x, want 1 (virtio 1.2, 5.1.6.4)", h[10:])
		}
	}
}

func TestOffloadEncodeLayout(t *testing.T) {
	s := tcp4
	s.ECN = true
	var h [frame.VirtioLen]byte
	s.Offload().Encode(h[:])
	want := []byte{1, 0x81, 54, 0, 0xb4, 5, 34, 0, 16, 0, 1, 0}
	if !bytes.Equal(h[:], want) {
		t.Errorf("got %x, want %x", h, want)
	}
}

func TestFeaturesCarries(t *testing.T) {
	const csum, tso4, tso6, ecn, uso = frame.FeatureCsum, frame.FeatureTSO4, frame.FeatureTSO6, frame.FeatureTSOECN, frame.FeatureUSO
	for _, c := range []struct {
		f    frame.Features
		o    frame.Offload
		want bool
	}{
		{0, frame.Offload{}, true},
		{0, frame.Offload{DataValid: true}, true},
		{0, frame.Offload{NeedsCsum: true}, false},
		{csum, frame.Offload{NeedsCsum: true}, true},
		{csum, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4}, false},
		{tso4, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4}, false},
		{csum | tso4, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4}, true},
		{csum | tso4, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4, ECN: true}, false},
		{csum | tso4 | ecn, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4, ECN: true}, true},
		{csum | tso4, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv6}, false},
		{csum | tso6, frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv6}, true},
		{csum | tso6, frame.Offload{NeedsCsum: true, GSO: frame.GSOUDP}, false},
		{csum | uso, frame.Offload{NeedsCsum: true, GSO: frame.GSOUDP}, true},
		{0xff, frame.Offload{NeedsCsum: true, GSO: 3}, false},
	} {
		if got := c.f.Carries(c.o); got != c.want {
			t.Errorf("features %b, %+v: got %v", c.f, c.o, got)
		}
	}
}

func FuzzOffload(f *testing.F) {
	f.Add(make([]byte, 10))
	f.Add([]byte{1, 0x81, 54, 0, 0xb4, 5, 34, 0, 16, 0, 1, 0})
	f.Fuzz(func(t *testing.T, h []byte) {
		if len(h) < 10 {
			return
		}
		var o, again frame.Offload
		o.Decode(h)
		var out [frame.VirtioLen]byte
		o.Encode(out[:])
		again.Decode(out[:])
		if again != o {
			t.Errorf("%x: %+v becomes %+v", h, o, again)
		}
	})
}

// FuzzSegment is what a hostile guest may do: any header, any bytes. What passes
// the check can be measured, segmented and completed, and what comes out is sound.
func FuzzSegment(f *testing.F) {
	add := func(b *frame.Buf) {
		h := make([]byte, frame.VirtioLen)
		b.Offload.Encode(h)
		f.Add(append(h, b.Bytes()...), uint8(0))
	}
	for _, s := range superframes {
		s.Len = min(s.Len, 300)
		s.SegSize = min(s.SegSize, 128)
		add(s.Buf())
	}
	for _, l := range lies {
		add(l.buf())
	}
	bufs := frame.NewBufs(2)
	f.Fuzz(func(t *testing.T, p []byte, features uint8) {
		if len(p) < frame.VirtioLen || len(p)-frame.VirtioLen > frame.MaxLen {
			return
		}
		b, dst := bufs[0], bufs[1]
		var o frame.Offload
		o.Decode(p)
		b.SetBytes(p[frame.VirtioLen:])
		b.Offload = o
		if b.CheckOffload() != 0 || b.Len() < frame.EthernetLen {
			return
		}
		if b.Offload.NeedsCsum && binary.LittleEndian.Uint16(p[6:]) != b.Offload.CsumStart && p[0]&2 == 0 {
			t.Fatalf("checksum moved: %+v, was %+v", b.Offload, o)
		}
		src := slices.Clone(b.Bytes())
		var payload []byte
		n, longest := 0, 0
		for s := b.Segment(frame.Features(features)); s.Next(dst); n++ {
			if !frame.Features(features).Carries(dst.Offload) {
				t.Fatalf("features %b do not carry %+v", features, dst.Offload)
			}
			longest = max(longest, dst.PacketLen())
			dst.Complete()
			if b.Offload.GSO != frame.GSONone {
				payload = append(payload, dst.Bytes()[b.Offload.HdrLen:]...)
				checkHeaders(t, b, dst.Bytes())
			}
		}
		if n != b.Segments() || longest != b.PacketLen() {
			t.Fatalf("%d segments of up to %d bytes, foretold %d of %d", n, longest, b.Segments(), b.PacketLen())
		}
		if !bytes.Equal(src, b.Bytes()) {
			t.Fatal("the superframe changed")
		}
		if b.Offload.GSO != frame.GSONone && (n < 2 || !bytes.Equal(payload, src[b.Offload.HdrLen:])) {
			t.Fatalf("%d segments, payload the same: %v", n, bytes.Equal(payload, src[b.Offload.HdrLen:]))
		}
	})
}

// checkHeaders compares what is certain of a segment of b: lengths, and the IPv4
// header checksum. The transport checksum is only as good as the sender's share.
func checkHeaders(t *testing.T, b *frame.Buf, p []byte) {
	t.Helper()
	l := frame.Parse(p)
	if l.L4 != b.Offload.CsumStart {
		t.Fatalf("segment parses as %+v", l)
	}
	if ip := p[l.L3:]; l.Version == 4 {
		if int(binary.BigEndian.Uint16(ip[2:])) != len(ip) || frametest.SlowSum(ip[:int(ip[0]&15)*4]) != 0xffff {
			t.Fatalf("IPv4 header %x of %d bytes", ip[:20], len(ip))
		}
	} else if int(binary.BigEndian.Uint16(ip[4:])) != len(ip)-40 {
		t.Fatalf("IPv6 header %x of %d bytes", ip[:40], len(ip))
	}
}

func BenchmarkCheckOffload(bench *testing.B) {
	for _, c := range []struct {
		name string
		s    frametest.Superframe
		o    frame.Offload
	}{{"none", csum, frame.Offload{}}, {"checksum", csum, csum.Offload()}, {"superframe", tcp4, tcp4.Offload()}} {
		bench.Run(c.name, func(bench *testing.B) {
			b := c.s.Buf()
			for bench.Loop() {
				b.Offload = c.o
				if b.CheckOffload() != 0 {
					bench.Fatal("dropped")
				}
			}
		})
	}
}
