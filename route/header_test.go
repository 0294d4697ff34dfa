package route_test

import (
	"bytes"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// The list of RFC 1812 5.2.2, and its like for RFC 8200.
func TestMalformedHeaderIsDiscardedSilently(t *testing.T) {
	const ip = frame.EthernetLen
	rehash := func(p []byte) { frame.IPv4(p[ip:]).UpdateChecksum() }
	for name, c := range map[string]struct {
		w    family
		edit func(p []byte) []byte
	}{
		"v4 cut in the header":         {ipv4, func(p []byte) []byte { return p[:ip+19] }},
		"v4 version 5":                 {ipv4, func(p []byte) []byte { p[ip] = 0x55; rehash(p); return p }},
		"v4 header length 4":           {ipv4, func(p []byte) []byte { p[ip] = 0x44; return p }},
		"v4 header longer than packet": {ipv4, func(p []byte) []byte { p[ip] = 0x4f; return p }},
		"v4 checksum":                  {ipv4, func(p []byte) []byte { p[ip+10]++; return p }},
		"v4 total length 19":           {ipv4, func(p []byte) []byte { p[ip+3] = 19; rehash(p); return p }},
		"v4 total length 0":            {ipv4, func(p []byte) []byte { p[ip+3] = 0; rehash(p); return p }},
		"v4 longer than received":      {ipv4, func(p []byte) []byte { p[ip+3]++; rehash(p); return p }},
		"v4 last byte behind 65,535": {ipv4, func(p []byte) []byte {
			frame.IPv4(p[ip:]).SetFragment(65528, false)
			rehash(p)
			return p
		}},
		"v6 cut in the header":    {ipv6, func(p []byte) []byte { return p[:ip+39] }},
		"v6 version 4":            {ipv6, func(p []byte) []byte { p[ip] = 0x45; return p }},
		"v6 payload length 0":     {ipv6, func(p []byte) []byte { p[ip+5] = 0; return p }},
		"v6 jumbogram":            {ipv6, func(p []byte) []byte { p[ip+5], p[ip+6] = 0, 0; return p }},
		"v6 longer than received": {ipv6, func(p []byte) []byte { p[ip+5]++; return p }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).meet()
			r.expectDrop(r.route(guestPort, c.edit(c.w.udp(c.w.remote))), frame.DropBadPacket)
		})
	}
}

func TestPaddingIsNotForwarded(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		p := w.udp(w.guestB)
		b := r.route(guestPort, append(bytes.Clone(p), make([]byte, 18)...))
		r.expectForwarded(b, portB, w.guestB.MAC)
		if b.Len() != len(p) {
			t.Errorf("%d bytes, want %d", b.Len(), len(p))
		}
	})
}

func TestPacketWithoutPayload(t *testing.T) {
	r := newRig(t).meet()
	p := ipv6.udp(ipv6.guestB)[:frame.EthernetLen+40]
	p[14+5], p[14+6] = 0, 59 // no next header
	b := r.route(guestPort, append(p, 1, 2, 3, 4, 5, 6))
	if b.Reason() != 0 || b.In != portB || b.Len() != 54 {
		t.Errorf("%v: reason %v, port %d", b, b.Reason(), b.In)
	}
}

// TestOptionsAreKept: RFC 1812 5.3.13, RFC 8200 4.
func TestOptionsAreKept(t *testing.T) {
	r := newRig(t).meet()
	p := withOptions(ipv4.udp(ipv4.guestB), []byte{7, 7, 4, 0, 0, 0, 0, 0}) // record route
	b := r.route(guestPort, p)
	r.expectForwarded(b, portB, ipv4.guestB.MAC)
	if !bytes.Equal(b.Bytes()[34:42], p[34:42]) {
		t.Errorf("options %x", b.Bytes()[34:42])
	}
	v6 := frametest.Superframe{Src: ipv6.guest, Dst: towards(ipv6.guestB, macA), UDP: true, Len: 40, Extension: true}.Buf()
	v6.Complete()
	want := bytes.Clone(v6.Bytes()[54:])
	b = r.routeBuf(guestPort, v6)
	r.expectForwarded(b, portB, ipv6.guestB.MAC)
	if !bytes.Equal(b.Bytes()[54:], want) {
		t.Error("extension header changed")
	}
}

// withOptions inserts options, a multiple of four bytes, into the IPv4 header.
func withOptions(p, options []byte) []byte {
	const end = frame.EthernetLen + 20
	p = append(append(bytes.Clone(p[:end]), options...), p[end:]...)
	h := frame.IPv4(p[frame.EthernetLen:])
	h[0] += byte(len(options) / 4)
	h.SetTotalLen(len(h))
	h.UpdateChecksum()
	return p
}

// A guest chooses where the device is to store a checksum. Not among the addresses, after
// they were found to be good.
func TestPartialChecksumAmongTheAddresses(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		b := r.bufs[0]
		b.SetBytes(w.udp(w.guestB))
		if b.Offload = (frame.Offload{NeedsCsum: true, CsumStart: 22, CsumOffset: 4}); b.CheckOffload() != 0 {
			t.Fatal("not even a switch takes it")
		}
		want := frame.DropBadPacket // of a header with a wrong checksum
		if w.version == 6 {
			want = frame.DropMartian
		}
		r.expectDrop(r.routeBuf(guestPort, b), want)
	})
}

// Nor where the packet has ended.
func TestPartialChecksumInThePadding(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		p := w.udp(w.guestB)
		at := frame.Parse(p).L4
		if w.version == 4 {
			frame.IPv4(p[14:]).SetTotalLen(20 + 6)
			frame.IPv4(p[14:]).UpdateChecksum()
		} else {
			frame.IPv6(p[14:]).SetPayloadLen(6)
		}
		b := r.bufs[0]
		b.SetBytes(p)
		if b.Offload = (frame.Offload{NeedsCsum: true, CsumStart: at, CsumOffset: 6}); b.CheckOffload() != 0 {
			t.Fatal("not even a switch takes it")
		}
		r.expectDrop(r.routeBuf(guestPort, b), frame.DropBadPacket)
	})
}

// The device would take the first fragment's part of the checksum for all of it.
func TestPartialChecksumOfAFragment(t *testing.T) {
	r := newRig(t).meet()
	p := ipv4.udp(ipv4.guestB)
	frame.IPv4(p[14:]).SetFragment(0, true)
	frame.IPv4(p[14:]).UpdateChecksum()
	for _, p := range [][]byte{p, fragment6(ipv6.udp(ipv6.guestB), 0, true)} {
		b := r.bufs[0]
		b.SetBytes(p)
		b.Offload = frame.Offload{NeedsCsum: true, CsumStart: frame.Parse(p).L4, CsumOffset: 6}
		r.expectDrop(r.routeBuf(guestPort, b), frame.DropBadPacket)
	}
}

func TestSuperframeLengths(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t).meet()
		for name, c := range map[string]struct {
			edit func(p []byte)
			want frame.Reason
		}{
			"whole":  {func([]byte) {}, 0},
			"unsaid": {func(p []byte) { setLength(p, 0) }, 0},
			"less":   {func(p []byte) { setLength(p, 1000) }, frame.DropBadPacket},
		} {
			b := w.superframe(w.guestB, 4000, 1400)
			c.edit(b.Bytes())
			if r.routeBuf(guestPort, b); b.Reason() != c.want {
				t.Errorf("%s: %v, want %v", name, b.Reason(), c.want)
			}
		}
	})
}

// superframe returns a TCP superframe from the guest of A, to be routed.
func (w family) superframe(to frametest.End, n int, segment uint16) *frame.Buf {
	gso := frame.GSOTCPv4
	if w.version == 6 {
		gso = frame.GSOTCPv6
	}
	b := frametest.Superframe{Src: w.guest, Dst: towards(to, macA), GSO: gso, Len: n, SegSize: segment}.Buf()
	if b.CheckOffload() != 0 {
		panic("not a superframe")
	}
	return b
}

// setLength sets what the IP header says of the packet's length.
func setLength(p []byte, n int) {
	if frame.Parse(p).Version == 4 {
		frame.IPv4(p[14:]).SetTotalLen(n)
		frame.IPv4(p[14:]).UpdateChecksum()
	} else {
		frame.IPv6(p[14:]).SetPayloadLen(n)
	}
}
