package frametest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

var (
	a4, b4 = frametest.Station(1), frametest.Station(2)
	a6, b6 = frametest.Station6(1), frametest.Station6(2)
)

// built are frames with at least one checksum, and the bytes of data at their ends.
var built = map[string][]byte{
	"TCPv4":  frametest.TCP(a4, b4, []byte("data")),
	"TCPv6":  frametest.TCP(a6, b6, []byte("data")),
	"UDPv4":  frametest.UDP(a4, b4, []byte("data")),
	"UDPv6":  frametest.UDP(a6, b6, []byte("data")),
	"ICMP":   frametest.Ping(a4, b4, 1, 2),
	"ICMPv6": frametest.Ping(a6, b6, 1, 2),
}

func TestBuiltFramesAreWhole(t *testing.T) {
	for name, p := range built {
		d := frametest.Decode(p)
		if e := d.ErrorLayer(); e != nil {
			t.Errorf("%s: %v", name, e.Error())
		}
		if err := frametest.Checksums(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range [][]byte{frametest.ARPRequest(a4, b4.Addr), frametest.ARPReply(b4, a4)} {
		if !frame.ARP(p[frame.EthernetLen:]).Valid() || len(p) != 42 {
			t.Errorf("ARP: %x", p)
		}
	}
}

func TestChecksumsFindsAChangedByte(t *testing.T) {
	for name, p := range built {
		p = slices.Clone(p)
		p[len(p)-1] ^= 1
		if frametest.Checksums(p) == nil {
			t.Errorf("%s: a changed payload goes unseen", name)
		}
	}
	p := slices.Clone(built["TCPv4"])
	p[22]++ // TTL
	if frametest.Checksums(p) == nil {
		t.Error("a changed IPv4 header goes unseen")
	}
	if frametest.Checksums(frametest.ARPReply(a4, b4)) == nil {
		t.Error("a frame without checksums has good ones")
	}
}

func TestDiffNamesTheField(t *testing.T) {
	want := built["UDPv4"]
	if d := frametest.Diff(want, bytes.Clone(want)); d != "" {
		t.Errorf("equal frames differ: %s", d)
	}
	for wantLine, edit := range map[string]func(p []byte) []byte{
		"IPv4.TTL: 63, 64":           func(p []byte) []byte { p[22]--; return p },
		"UDP.SrcPort: 1000":          func(p []byte) []byte { p[35]--; return p },
		"layer 2: Dot1Q, IPv4":       func(p []byte) []byte { return frametest.Tagged(p, frame.EtherTypeCTag, 1, 0) },
		"length: 45, 46 bytes":       func(p []byte) []byte { return p[:45] },
		"first at byte 45: 62, 61\n": func(p []byte) []byte { p[45]++; return p },
	} {
		if d := frametest.Diff(edit(bytes.Clone(want)), want); !strings.Contains(d, wantLine) {
			t.Errorf("want a line %q in:\n%s", wantLine, d)
		}
	}
}

func TestSuperframeOffloadAgreesWithTheBytes(t *testing.T) {
	s := frametest.Superframe{
		Src: a6, Dst: b6, GSO: frame.GSOTCPv6, Len: 3000, SegSize: 1000,
		Extension: true, Tags: []frame.VID{1, 2}, Options: frametest.Timestamp(),
	}
	o, p := s.Offload(), s.Bytes()
	if int(o.HdrLen)+3000 != len(p) || o.CsumStart != 14+8+40+8 || o.CsumOffset != 16 {
		t.Errorf("%+v of a frame of %d bytes", o, len(p))
	}
}
