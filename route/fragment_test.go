package route_test

import (
	"bytes"
	"fmt"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// narrow makes B a link with an MTU.
func narrow(mtu int) func(v *route.View) {
	return func(v *route.View) { v.Interfaces[1].MTU = mtu }
}

// reassemble puts the fragments of one IPv4 packet together, the slow obvious way. They
// may come in any order, each byte once, and all but the last a multiple of 8.
func reassemble(t *testing.T, fragments [][]byte, mtu int) (header, payload []byte) {
	t.Helper()
	have := map[int]byte{}
	end := -1
	for _, p := range fragments {
		h := frame.IPv4(p[14:])
		if len(h) != h.TotalLen() || len(h) > mtu || !h.ChecksumValid() || h.DF() {
			t.Fatalf("fragment of %d bytes that says %d, DF %v", len(h), h.TotalLen(), h.DF())
		}
		data := h[h.HeaderLen():]
		if h.FragmentOffset() == 0 {
			header = h[:h.HeaderLen()]
		}
		if !h.MoreFragments() {
			end = h.FragmentOffset() + len(data)
		} else if len(data)%8 != 0 {
			t.Fatalf("a fragment of %d bytes in the middle", len(data))
		}
		for k, c := range data {
			if _, twice := have[h.FragmentOffset()+k]; twice {
				t.Fatalf("byte %d comes twice", h.FragmentOffset()+k)
			}
			have[h.FragmentOffset()+k] = c
		}
	}
	if len(have) != end {
		t.Fatalf("%d bytes of %d", len(have), end)
	}
	payload = make([]byte, end)
	for k, c := range have {
		payload[k] = c
	}
	return header, payload
}

// pieces returns the frame and those that were sent after it.
func (r *rig) pieces(b *frame.Buf, out frame.PortID) [][]byte {
	r.t.Helper()
	r.expectPiece(b, out)
	list := [][]byte{bytes.Clone(b.Bytes())}
	for _, s := range r.injected() {
		if s.in != out || !bytes.Equal(s.frame[:14], list[0][:14]) {
			r.t.Fatalf("a piece by port %d to %x", s.in, s.frame[:14])
		}
		list = append(list, s.frame)
	}
	return list
}

// expectPiece is expectForwarded for a piece, whose checksum is one over all.
func (r *rig) expectPiece(b *frame.Buf, out frame.PortID) {
	r.t.Helper()
	if b.Reason() != 0 || b.In != out || b.Offload != (frame.Offload{}) {
		r.t.Fatalf("reason %v, port %d, %+v", b.Reason(), b.In, b.Offload)
	}
}

func TestFragmentsMakeThePacket(t *testing.T) {
	for _, mtu := range []int{68, 576, 1000, 1001, 1007, 1492} {
		for _, n := range []int{mtu - 27, 1200, 1472, 3000, 8000} {
			t.Run(fmt.Sprintf("%d over %d", n, mtu), func(t *testing.T) {
				r := newRig(t, narrow(mtu), func(v *route.View) { v.Interfaces[0].MTU = 9000 }).meet()
				if n <= mtu-28 {
					return // it fits
				}
				p := clearDF(frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), frametest.Payload(n)))
				frame.IPv4(p[14:]).SetID(0xbeef)
				frame.IPv4(p[14:]).UpdateChecksum()
				list := r.pieces(r.route(guestPort, p), portB)
				header, payload := reassemble(t, list, mtu)
				if !bytes.Equal(payload, p[34:]) {
					t.Error("the payload differs")
				}
				for _, q := range list {
					if h := frame.IPv4(q[14:]); h.ID() != 0xbeef || h.TTL() != 63 || !bytes.Equal(h[12:20], header[12:20]) {
						t.Errorf("header %x", h[:20])
					}
				}
			})
		}
	}
}

// RFC 791 3.1: only options with the copy bit are in every fragment.
func TestFragmentsCopyOptions(t *testing.T) {
	r := newRig(t, narrow(576)).meet()
	options := []byte{
		0x07, 7, 4, 0, 0, 0, 0, // record route: in the first only
		0x01,          // no operation
		0x94, 4, 0, 0, // router alert: copied
		0x01,
		0x88, 4, 1, 2, // stream ID: copied
		0x00, 0, 0,
	}
	p := withOptions(clearDF(frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), frametest.Payload(1400))), options)
	list := r.pieces(r.route(guestPort, p), portB)
	if _, payload := reassemble(t, list, 576); !bytes.Equal(payload, p[14+40:]) {
		t.Error("the payload differs")
	}
	for k, q := range list {
		h := frame.IPv4(q[14:])
		want := []byte{0x94, 4, 0, 0, 0x88, 4, 1, 2}
		if k == 0 {
			want = options
		}
		if got := h[20:h.HeaderLen()]; !bytes.Equal(got, want) {
			t.Errorf("piece %d has options %x, want %x", k, got, want)
		}
	}
}

func TestFragmentsOfMalformedOptions(t *testing.T) {
	for _, options := range [][]byte{{0x94, 0, 0, 0}, {0x94, 5, 0, 0}, {0x94, 1, 0, 0}, {1, 1, 1, 0x94}} {
		r := newRig(t, narrow(576)).meet()
		p := withOptions(clearDF(frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), frametest.Payload(1400))), options)
		if _, payload := reassemble(t, r.pieces(r.route(guestPort, p), portB), 576); !bytes.Equal(payload, p[38:]) {
			t.Error("the payload differs")
		}
	}
}

func TestFragmentOfAFragment(t *testing.T) {
	for _, more := range []bool{false, true} {
		r := newRig(t, narrow(576)).meet()
		p := frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), frametest.Payload(1392))
		frame.IPv4(p[14:]).SetFragment(2960, more)
		frame.IPv4(p[14:]).UpdateChecksum()
		list := r.pieces(r.route(guestPort, p), portB)
		sum := 0
		for k, q := range list {
			h := frame.IPv4(q[14:])
			data := h[h.HeaderLen():]
			if at := h.FragmentOffset() - 2960; !bytes.Equal(data, p[34+at:34+at+len(data)]) {
				t.Errorf("piece %d is not what was at %d", k, at)
			}
			sum += len(data)
			// The first of the list has the least offset; the last that was sent the largest.
			if last := k == len(list)-1; h.MoreFragments() != (more || !last) {
				t.Errorf("piece %d of %d: more %v", k, len(list), h.MoreFragments())
			}
		}
		if sum != 1400 {
			t.Errorf("%d bytes, want 1400", sum)
		}
	}
}

// The device cannot complete a checksum over several frames.
func TestFragmentsOfAPartialChecksum(t *testing.T) {
	r := newRig(t, narrow(576)).meet()
	b := frametest.Superframe{Src: ipv4.guest, Dst: towards(ipv4.guestB, macA), UDP: true, Len: 1400}.Buf()
	clearDF(b.Bytes())
	whole := frame.NewBufs(1)[0]
	whole.CopyFrom(b)
	whole.Complete()
	_, payload := reassemble(t, r.pieces(r.routeBuf(guestPort, b), portB), 576)
	if !bytes.Equal(payload, whole.Bytes()[34:]) {
		t.Error("the payload differs, or its checksum")
	}
}

func TestFragmentsFindNoRoom(t *testing.T) {
	r := newRig(t, narrow(576)).meet()
	r.full = true
	r.expectDrop(r.route(guestPort, clearDF(frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), frametest.Payload(1400)))), frame.DropQueueFull)
}

// A TCP superframe that may be fragmented becomes one of smaller segments.
func TestSuperframeWithoutDFGetsSmallerSegments(t *testing.T) {
	r := newRig(t, narrow(1000)).meet()
	b := ipv4.superframe(ipv4.guestB, 30000, 1400)
	clearDF(b.Bytes())
	was := bytes.Clone(b.Bytes()[54:])
	r.expectForwarded(r.routeBuf(guestPort, b), portB, ipv4.guestB.MAC)
	segment := frame.NewBufs(1)[0]
	var got []byte
	for s := b.Segment(0); s.Next(segment); {
		if err := frametest.Checksums(segment.Bytes()); err != nil || segment.PacketLen() > 1000 {
			t.Errorf("segment of %d bytes: %v", segment.PacketLen(), err)
		}
		got = append(got, segment.Bytes()[54:]...)
	}
	if !bytes.Equal(got, was) {
		t.Error("the payload differs")
	}
}

// But not of any size: CheckOffload refuses such superframes too.
func TestSuperframeWithoutDFAndTinySegments(t *testing.T) {
	for _, mtu := range []int{68, 100} {
		r := newRig(t, narrow(mtu)).meet()
		b := ipv4.superframe(ipv4.guestB, 60000, 1400)
		clearDF(b.Bytes())
		was := bytes.Clone(b.Bytes())
		r.expectError(r.routeBuf(guestPort, b), frame.DropTooBig, was, ipv4.gatewayA, 3, 4)
	}
	// 64 of 68 bytes are headers.
	r := newRig(t, narrow(68)).meet()
	b := frametest.Superframe{
		Src: ipv4.guest, Dst: towards(ipv4.guestB, macA), GSO: frame.GSOTCPv4, Len: 1600, SegSize: 800,
		Options: append(frametest.Timestamp(), frametest.Timestamp()...),
	}.Buf()
	clearDF(b.Bytes())
	if b.CheckOffload() != 0 {
		t.Fatal("no superframe")
	}
	was := bytes.Clone(b.Bytes())
	r.expectError(r.routeBuf(guestPort, b), frame.DropTooBig, was, ipv4.gatewayA, 3, 4)
}

// Each datagram of a superframe is fragmented for itself.
func TestSuperframeOfDatagrams(t *testing.T) {
	r := newRig(t, narrow(576)).meet()
	b := frametest.Superframe{Src: ipv4.guest, Dst: towards(ipv4.guestB, macA), GSO: frame.GSOUDP, Len: 3500, SegSize: 1400, ID: 100}.Buf()
	clearDF(b.Bytes())
	if b.CheckOffload() != 0 {
		t.Fatal("no superframe")
	}
	var want [][]byte
	datagram := frame.NewBufs(1)[0]
	for s := b.Segment(0); s.Next(datagram); {
		want = append(want, bytes.Clone(datagram.Bytes()[34:]))
	}
	if r.routeBuf(guestPort, b); b.Reason() != frame.Taken {
		t.Fatalf("reason %v, want taken", b.Reason())
	}
	byID := map[uint16][][]byte{}
	for _, s := range r.injected() {
		if s.in != portB {
			t.Fatalf("a piece by port %d", s.in)
		}
		id := frame.IPv4(s.frame[14:]).ID()
		byID[id] = append(byID[id], s.frame)
	}
	if len(byID) != len(want) {
		t.Fatalf("%d datagrams, want %d", len(byID), len(want))
	}
	for k, w := range want {
		if _, payload := reassemble(t, byID[100+uint16(k)], 576); !bytes.Equal(payload, w) {
			t.Errorf("datagram %d differs", k)
		}
	}

	t.Run("of too many pieces", func(t *testing.T) {
		r := newRig(t, narrow(100)).meet()
		b := frametest.Superframe{Src: ipv4.guest, Dst: towards(ipv4.guestB, macA), GSO: frame.GSOUDP, Len: 35000, SegSize: 1400}.Buf()
		clearDF(b.Bytes())
		if b.CheckOffload() != 0 {
			t.Fatal("no superframe")
		}
		was := bytes.Clone(b.Bytes())
		r.expectError(r.routeBuf(guestPort, b), frame.DropTooBig, was, ipv4.gatewayA, 3, 4)
	})
	t.Run("without room", func(t *testing.T) {
		r := newRig(t, narrow(576)).meet()
		r.full = true
		b := frametest.Superframe{Src: ipv4.guest, Dst: towards(ipv4.guestB, macA), GSO: frame.GSOUDP, Len: 3500, SegSize: 1400}.Buf()
		clearDF(b.Bytes())
		if b.CheckOffload() != 0 {
			t.Fatal("no superframe")
		}
		r.expectDrop(r.routeBuf(guestPort, b), frame.DropQueueFull)
	})
}

// The fragments of a packet that is translated have the new addresses.
func TestFragmentsOfWhatIsMasqueraded(t *testing.T) {
	r := newRig(t, func(v *route.View) { v.Interfaces[2].MTU = 576 }).meet()
	p := clearDF(frametest.UDP(ipv4.guest, towards(ipv4.remote, macA), frametest.Payload(1400)))
	list := r.pieces(r.route(guestPort, p), portU)
	for _, q := range list {
		if src, dst := ends(q); src != ipv4.host || dst != ipv4.remote.Addr {
			t.Errorf("%v > %v", src, dst)
		}
	}
	_, payload := reassemble(t, list, 576)
	whole := append(bytes.Clone(list[0][:34]), payload...)
	h := frame.IPv4(whole[14:])
	h.SetTotalLen(len(h))
	h.SetFragment(0, false)
	h.UpdateChecksum()
	if err := frametest.Checksums(whole); err != nil {
		t.Error(err)
	}
}
