package frame_test

import (
	"bytes"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestBufWindow(t *testing.T) {
	b := frame.NewBufs(1)[0]
	b.SetBytes([]byte("frame"))
	copy(b.Prepend(4), "tag ")
	if got := string(b.Bytes()); got != "tag frame" || b.Len() != 9 {
		t.Errorf("after Prepend: %q, %d bytes", got, b.Len())
	}
	b.TrimFront(6)
	b.Resize(3)
	if got := string(b.Bytes()); got != "ame" {
		t.Errorf("after TrimFront and Resize: %q", got)
	}
	if got := b.WithHeader(2); len(got) != 5 || !bytes.Equal(got[2:], b.Bytes()) {
		t.Errorf("with a header of 2: %q", got)
	}
}

func TestBufTakesTheLongestFrameAndHeadersBefore(t *testing.T) {
	for i, b := range frame.NewBufs(3) {
		p := bytes.Repeat([]byte{byte(i)}, frame.MaxLen)
		b.SetBytes(p)
		b.Prepend(frame.Headroom)
		b.TrimFront(frame.Headroom)
		if !bytes.Equal(b.Bytes(), p) {
			t.Errorf("buf %d differs", i)
		}
	}
}

func TestBufPanicsOutOfBounds(t *testing.T) {
	b := frame.NewBufs(1)[0]
	b.SetBytes(make([]byte, 60))
	mustPanic(t, "Prepend", func() { b.Prepend(frame.Headroom + 1) })
	mustPanic(t, "TrimFront", func() { b.TrimFront(61) })
	mustPanic(t, "Resize", func() { b.Resize(frame.MaxLen + 1000) })
}

func TestBufsDoNotOverlap(t *testing.T) {
	bufs := frame.NewBufs(2)
	for i, b := range bufs {
		b.Resize(frame.MaxLen)
		p := b.WithHeader(frame.Headroom)
		for j := range p {
			p[j] = byte(i + 1)
		}
	}
	for i, b := range bufs {
		if p := b.WithHeader(frame.Headroom); p[0] != byte(i+1) || p[len(p)-1] != byte(i+1) {
			t.Errorf("buf %d was overwritten", i)
		}
	}
}

func TestBufSpaceForgetsTheLastFrame(t *testing.T) {
	b := tcp4.Buf()
	b.In, b.Out, b.VID, b.PCP = 1, 2, 3, 4
	b.Parse()
	b.Drop(frame.DropRunt)
	p := b.Space(frame.VirtioLen)
	if len(p) != frame.VirtioLen+frame.MaxLen {
		t.Errorf("space of %d bytes", len(p))
	}
	copy(p[frame.VirtioLen:], "frame")
	b.Received(5)
	if b.In != 0 || b.Out != 0 || b.VID != 0 || b.PCP != 0 || b.Offload != (frame.Offload{}) || b.Layers != (frame.Layers{}) || b.Reason() != 0 {
		t.Error("Space left something of the last frame")
	}
	if string(b.Bytes()) != "frame" {
		t.Errorf("received %q", b.Bytes())
	}
}

func TestBufCopyIsWholeAndApart(t *testing.T) {
	src, dst := tcp4.Buf(), frame.NewBufs(1)[0]
	src.In, src.VID = 7, 8
	src.Prepend(4) // another offset
	src.Parse()
	dst.CopyFrom(src)
	frametest.Equal(t, dst.Bytes(), src.Bytes())
	if dst.In != 7 || dst.VID != 8 || dst.Offload != src.Offload || dst.Layers != src.Layers {
		t.Error("what is known of the frame was not copied")
	}
	dst.Bytes()[0] ^= 1
	if dst.Bytes()[0] == src.Bytes()[0] {
		t.Error("the copy shares its bytes")
	}
}

func TestBufKeepsTheFirstReason(t *testing.T) {
	b := frame.NewBufs(1)[0]
	if b.Reason() != 0 {
		t.Error("a new buf is dropped")
	}
	b.Drop(frame.DropRunt)
	b.Drop(frame.DropHairpin)
	if b.Reason() != frame.DropRunt {
		t.Errorf("got %v", b.Reason())
	}
}

func TestEveryReasonHasANameAndHelp(t *testing.T) {
	seen := map[string]frame.Reason{}
	for r := range frame.NumReasons {
		if r.String() == "" || r.Help() == "" {
			t.Errorf("reason %d has no name or no help", r)
		}
		if other, ok := seen[r.String()]; ok {
			t.Errorf("reasons %d and %d are both %q", r, other, r)
		}
		seen[r.String()] = r
	}
}

func TestBufString(t *testing.T) {
	b := frame.NewBufs(1)[0]
	for want, p := range map[string][]byte{
		"13 bytes, no Ethernet header": make([]byte, 13),
		"52:54:00:00:00:01 > 52:54:00:00:00:02, 43 bytes, 10.0.0.1:1001 > 10.0.0.2:1002 UDP":              frametest.UDP(a4, b4, []byte("x")),
		"52:54:00:00:00:01 > 52:54:00:00:00:02, 74 bytes, [fd00::1]:1001 > [fd00::2]:1002 TCP":            frametest.TCP(a6, b6, nil),
		"52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff, 42 bytes, ARP 10.0.0.1 asks for 10.0.0.2":                 frametest.ARPRequest(a4, b4.Addr),
		"52:54:00:00:00:01 > 52:54:00:00:00:02, 42 bytes, ARP 10.0.0.1 is at 52:54:00:00:00:01":           frametest.ARPReply(a4, b4),
		"52:54:00:00:00:01 > 52:54:00:00:00:02, 102 bytes, C-TAG 20 priority 3, 10.0.0.1 > 10.0.0.2 ICMP": frametest.Tagged(frametest.Ping(a4, b4, 1, 1), frame.EtherTypeCTag, 20, 3),
		"52:54:00:00:00:01 > 52:54:00:00:00:02, 42 bytes, 0.0.0.0 > 0.0.0.0 UDP fragment":                 ipv4(17, make([]byte, 8), func(h frame.IPv4) { h[7] = 1 }),
		"52:54:00:00:00:01 > 52:54:00:00:00:02, 60 bytes, 0x88cc":                                         frametest.Ethernet(b4.MAC, a4.MAC, 0x88cc, make([]byte, 46)),
		"52:54:00:00:00:01 > 52:54:00:00:00:02, 60 bytes, LLC":                                            frametest.Ethernet(b4.MAC, a4.MAC, 38, make([]byte, 46)),
	} {
		b.SetBytes(p)
		if got := b.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	if got, want := tcp4.Buf().String(), "52:54:00:00:00:01 > 52:54:00:00:00:02, 5054 bytes, 10.0.0.1:1001 > 10.0.0.2:1002 TCP, superframe of 1460-byte segments"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
