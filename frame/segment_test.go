package frame_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
)

var (
	a4, b4 = frametest.Station(1), frametest.Station(2)
	a6, b6 = frametest.Station6(1), frametest.Station6(2)
)

// superframes are those that drivers make, and their edges. The kernel's answer to
// the same ones is in segment_linux_test.go.
var superframes = map[string]frametest.Superframe{
	"TCPv4":                 {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 65483, SegSize: 1448, Options: frametest.Timestamp()},
	"TCPv4 FIN PSH":         {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 3000, SegSize: 1460, Flags: frame.TCPFin | frame.TCPPsh},
	"TCPv4 CWR":             {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 5000, SegSize: 1460, Flags: frame.TCPCwr},
	"TCPv4 CWR ECN":         {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, ECN: true, Len: 5000, SegSize: 1460, Flags: frame.TCPCwr},
	"TCPv6 ECN without CWR": {Src: a6, Dst: b6, GSO: frame.GSOTCPv6, ECN: true, Len: 5000, SegSize: 1400},
	"TCPv4 odd":             {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 4001, SegSize: 777},
	"TCPv4 exact":           {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 2920, SegSize: 1460},
	"TCPv4 ID wraps":        {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 6000, SegSize: 1460, ID: 0xfffe},
	"TCPv4 seq wraps":       {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 6000, SegSize: 1460, Seq: 0xffff_ff00},
	"TCPv4 one over":        {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 1461, SegSize: 1460},
	"TCPv4 no superframe":   {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 1460, SegSize: 1460, Flags: frame.TCPPsh},
	"TCPv4 small MSS":       {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 3601, SegSize: 36, Options: frametest.Timestamp()},
	"TCPv4 tagged":          {Src: a4, Dst: b4, GSO: frame.GSOTCPv4, Len: 5000, SegSize: 1460, Tags: []frame.VID{20}},
	"TCPv6":                 {Src: a6, Dst: b6, GSO: frame.GSOTCPv6, Len: 65000, SegSize: 1428, Options: frametest.Timestamp()},
	"TCPv6 FIN CWR":         {Src: a6, Dst: b6, GSO: frame.GSOTCPv6, Len: 5001, SegSize: 1000, Flags: frame.TCPFin | frame.TCPCwr},
	"TCPv6 extension":       {Src: a6, Dst: b6, GSO: frame.GSOTCPv6, Len: 5000, SegSize: 1400, Extension: true},
	"TCPv6 tagged":          {Src: a6, Dst: b6, GSO: frame.GSOTCPv6, Len: 5000, SegSize: 1400, Tags: []frame.VID{20}},
	"UDPv4":                 {Src: a4, Dst: b4, GSO: frame.GSOUDP, Len: 60000, SegSize: 1472, ID: 7},
	"UDPv4 odd":             {Src: a4, Dst: b4, GSO: frame.GSOUDP, Len: 999, SegSize: 101},
	"UDPv4 one byte":        {Src: a4, Dst: b4, GSO: frame.GSOUDP, Len: 128, SegSize: 1},
	"UDPv6":                 {Src: a6, Dst: b6, GSO: frame.GSOUDP, Len: 60000, SegSize: 1452},
	"UDPv6 tagged":          {Src: a6, Dst: b6, GSO: frame.GSOUDP, Len: 5003, SegSize: 1203, Tags: []frame.VID{4094}},
	"partial TCP":           {Src: a4, Dst: b4, Len: 1000},
	"partial UDP":           {Src: a6, Dst: b6, UDP: true, Len: 1001},
}

// segments returns copies of what b becomes for a device with features f.
func segments(t testing.TB, b *frame.Buf, f frame.Features) [][]byte {
	t.Helper()
	var all [][]byte
	dst := frame.NewBufs(1)[0]
	for s := b.Segment(f); s.Next(dst); {
		if dst.Offload.GSO != frame.GSONone || !f.Carries(dst.Offload) {
			t.Fatalf("segment %d has %+v left, device has features %b", len(all), dst.Offload, f)
		}
		all = append(all, bytes.Clone(dst.Bytes()))
	}
	return all
}

func TestSegmentsAreWholeAndCarryThePayload(t *testing.T) {
	for name, s := range superframes {
		t.Run(name, func(t *testing.T) {
			b := s.Buf()
			if r := b.CheckOffload(); r != 0 {
				t.Fatalf("dropped: %v", r)
			}
			all := segments(t, b, 0)
			if len(all) != b.Segments() {
				t.Errorf("%d segments, Segments says %d", len(all), b.Segments())
			}
			checkSegments(t, b.Bytes(), all)
			longest := 0
			for _, p := range all {
				longest = max(longest, len(p)-frame.EthernetLen-len(s.Tags)*frame.TagLen)
			}
			if longest != b.PacketLen() {
				t.Errorf("longest packet is %d bytes, PacketLen says %d", longest, b.PacketLen())
			}
		})
	}
}

// checkSegments has gopacket decode the segments: every checksum is right, and
// their payloads joined are the superframe's.
func checkSegments(t testing.TB, superframe []byte, segments [][]byte) {
	t.Helper()
	var joined []byte
	for i, p := range segments {
		if err := frametest.Checksums(p); err != nil {
			t.Fatalf("segment %d: %v", i, err)
		}
		app := frametest.Decode(p).TransportLayer().LayerPayload()
		joined = append(joined, app...)
	}
	if !bytes.HasSuffix(superframe, joined) || len(joined) == 0 {
		t.Error("the segments' payloads are not the superframe's")
	}
}

func TestSegmentSetsWhatDiffers(t *testing.T) {
	s := frametest.Superframe{
		Src: a4, Dst: b4, GSO: frame.GSOTCPv4, ECN: true, Len: 2500, SegSize: 1000, ID: 0xffff, Seq: 0xffff_ffff,
		Flags: frame.TCPFin | frame.TCPPsh | frame.TCPCwr,
	}
	b := s.Buf()
	if r := b.CheckOffload(); r != 0 {
		t.Fatal(r)
	}
	want := []struct {
		id            uint16
		seq           uint32
		len           uint16
		fin, psh, cwr bool
	}{
		{0xffff, 0xffff_ffff, 1040, false, false, true},
		{0, 999, 1040, false, false, false},
		{1, 1999, 540, true, true, false},
	}
	all := segments(t, b, 0)
	if len(all) != len(want) {
		t.Fatalf("%d segments, want %d", len(all), len(want))
	}
	for i, w := range want {
		d := frametest.Decode(all[i])
		ip, tcp := d.Layer(layers.LayerTypeIPv4).(*layers.IPv4), d.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if ip.Id != w.id || ip.Length != w.len || tcp.Seq != w.seq || tcp.FIN != w.fin || tcp.PSH != w.psh || tcp.CWR != w.cwr || !tcp.ACK {
			t.Errorf("segment %d: ID %#x length %d seq %#x FIN %v PSH %v CWR %v, want %+v", i, ip.Id, ip.Length, tcp.Seq, tcp.FIN, tcp.PSH, tcp.CWR, w)
		}
	}
}

func TestSegmentLeavesTheChecksumToADeviceThatCan(t *testing.T) {
	for name, s := range superframes {
		t.Run(name, func(t *testing.T) {
			b := s.Buf()
			if r := b.CheckOffload(); r != 0 {
				t.Fatal(r)
			}
			whole, dst := segments(t, b, 0), frame.NewBufs(1)[0]
			i := 0
			for it := b.Segment(frame.FeatureCsum); it.Next(dst); i++ {
				if !dst.Offload.NeedsCsum {
					t.Fatalf("segment %d: checksum not left to the device", i)
				}
				dst.Complete()
				if dst.Offload != (frame.Offload{}) {
					t.Errorf("offload after Complete: %+v", dst.Offload)
				}
				frametest.Equal(t, dst.Bytes(), whole[i])
			}
			if i != len(whole) {
				t.Errorf("%d segments, want %d", i, len(whole))
			}
		})
	}
}

func TestSegmentIgnoresWhatWindowsLeavesZero(t *testing.T) {
	s := superframes["TCPv4"]
	want := segments(t, s.Buf(), 0)
	b := s.Buf()
	ip := frame.IPv4(b.Bytes()[frame.EthernetLen:])
	ip[10], ip[11] = 0, 0 // header checksum
	ip.SetTotalLen(0)
	b.Offload.HdrLen = 0xffff
	if r := b.CheckOffload(); r != 0 {
		t.Fatal(r)
	}
	for i, p := range segments(t, b, 0) {
		frametest.Equal(t, p, want[i])
	}
}

func TestCompleteSendsNoUDPChecksumOfZero(t *testing.T) {
	b := frametest.Superframe{Src: a4, Dst: b4, UDP: true, Len: 2}.Buf()
	p := b.Bytes()
	// A payload that makes the sum 0xffff, its complement zero.
	clear(p[42:44])
	binary.BigEndian.PutUint16(p[42:], ^frametest.SlowSum(p[34:44]))
	b.Complete()
	if got := binary.BigEndian.Uint16(b.Bytes()[40:]); got != 0xffff {
		t.Errorf("checksum %#04x, want 0xffff (RFC 768)", got)
	}
	if err := frametest.Checksums(b.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestSegmentKeepsTheWayOfTheFrame(t *testing.T) {
	b := superframes["TCPv4"].Buf()
	b.In, b.Out, b.VID, b.PCP = 1, 2, 3, 4
	if r := b.CheckOffload(); r != 0 {
		t.Fatal(r)
	}
	dst := frame.NewBufs(1)[0]
	dst.Drop(frame.DropRunt) // of its last life
	for s := b.Segment(0); s.Next(dst); {
		if dst.In != 1 || dst.Out != 2 || dst.VID != 3 || dst.PCP != 4 || dst.Reason() != 0 || dst.Layers.SrcPort != a4.Port {
			t.Fatalf("segment has In %d Out %d VID %d PCP %d %v %+v", dst.In, dst.Out, dst.VID, dst.PCP, dst.Reason(), dst.Layers)
		}
	}
}

func TestPacketLenOfAPlainFrameLeavesOutTheTags(t *testing.T) {
	p := frametest.UDP(a4, b4, frametest.Payload(1472))
	for _, vids := range [][]frame.VID{{}, {1}, {1, 2}} {
		q := p
		for i, v := range vids {
			q = frametest.Tagged(q, []frame.EtherType{frame.EtherTypeCTag, frame.EtherTypeSTag}[i], v, 0)
		}
		b := frame.NewBufs(1)[0]
		b.SetBytes(q)
		if got := b.PacketLen(); got != 1500 {
			t.Errorf("%d tags: %d bytes, want 1500", len(vids), got)
		}
	}
}

func TestSegmentAllocatesNothing(t *testing.T) {
	b, dst := superframes["TCPv4"].Buf(), frame.NewBufs(1)[0]
	offload := b.Offload
	n := testing.AllocsPerRun(10, func() {
		b.Offload = offload
		if b.CheckOffload() != 0 {
			t.Fatal("dropped")
		}
		for s := b.Segment(0); s.Next(dst); {
			dst.Complete()
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSegment(bench *testing.B) {
	for _, c := range []struct {
		name string
		f    frame.Features
	}{{"64K", 0}, {"64K/device-csum", frame.FeatureCsum}} {
		bench.Run(c.name, func(bench *testing.B) {
			b, dst := superframes["TCPv4"].Buf(), frame.NewBufs(64)
			bench.SetBytes(int64(b.Len()))
			for bench.Loop() {
				s := b.Segment(c.f)
				for i := 0; s.Next(dst[i]); i++ {
				}
			}
			bench.ReportMetric(float64(bench.Elapsed().Nanoseconds())/float64(bench.N*b.Segments()), "ns/segment")
		})
	}
}
