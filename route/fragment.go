package route

import "weft/frame"

const (
	maxPieces = 128 // of one superframe of datagrams
	// Segments that are too small cost more than they carry; the switch drops what asks
	// for them as it comes in (frame.Buf.CheckOffload).
	minSegment  = 8
	maxSegments = 512

	maxIPv4Header = 60
)

// divisible reports whether the packet, too long for the MTU, may and can be divided: an
// IPv4 one without DF. A superframe of TCP gets smaller segments, which its sender's
// stack might as well have made; of one of UDP, each datagram is fragmented.
func divisible(b *frame.Buf, mtu int) bool {
	l := &b.Layers
	if l.Version != 4 {
		return false
	}
	h := frame.IPv4(b.Bytes()[l.L3:])
	if h.DF() {
		return false
	}
	switch o := &b.Offload; o.GSO {
	case frame.GSONone:
		return true
	case frame.GSOUDP:
		each := (mtu - h.HeaderLen()) &^ 7
		return b.Segments()*((b.PacketLen()-h.HeaderLen()+each-1)/each) <= maxPieces
	default:
		size := mtu - (int(o.HdrLen) - int(l.L3))
		return size >= minSegment && b.Len()-int(o.HdrLen) <= size*maxSegments
	}
}

// fit makes the packet, from port cause, fit the MTU of the interface that it is ready to
// leave by. It returns false, with the frame ended, if nothing is left to send.
func (r *Router) fit(b *frame.Buf, mtu int, cause frame.PortID) bool {
	if b.PacketLen() <= mtu {
		return true
	}
	b.Basis.Once = true
	if !divisible(b, mtu) {
		b.Drop(frame.DropTooBig)
		return false
	}
	switch o := &b.Offload; o.GSO {
	case frame.GSONone:
		r.scratch.mu.Lock()
		defer r.scratch.mu.Unlock()
		if !r.fragment(b, r.scratch.bufs[0], mtu, cause) {
			b.Drop(frame.DropQueueFull)
			return false
		}
		return true
	case frame.GSOUDP:
		b.Drop(r.scatter(b, mtu, cause))
		return false
	default:
		o.SegSize = uint16(mtu - (int(o.HdrLen) - int(b.Layers.L3)))
		return true
	}
}

// scatter sends the fragments of all datagrams of a superframe.
func (r *Router) scatter(b *frame.Buf, mtu int, cause frame.PortID) frame.Reason {
	r.scratch.mu.Lock()
	defer r.scratch.mu.Unlock()
	datagram, piece := r.scratch.bufs[0], r.scratch.bufs[1]
	for s := b.Segment(0); s.Next(datagram); {
		datagram.Parse()
		if datagram.PacketLen() > mtu && !r.fragment(datagram, piece, mtu, cause) {
			return frame.DropQueueFull
		}
		if datagram.In = cause; !r.inject(b.In, datagram) {
			return frame.DropQueueFull
		}
	}
	return frame.Taken
}

// fragment makes b the first fragment of its packet and sends the others, built in
// piece, after it (RFC 791 3.2, RFC 1812 5.2.6). It returns false if they found no room.
func (r *Router) fragment(b, piece *frame.Buf, mtu int, cause frame.PortID) bool {
	b.Complete() // the checksum is one over all fragments
	l3 := int(b.Layers.L3)
	p := b.Bytes()
	h := frame.IPv4(p[l3:])
	header, base, more := h.HeaderLen(), h.FragmentOffset(), h.MoreFragments()
	payload := p[l3+header:]
	first := (mtu - header) &^ 7

	var later [maxIPv4Header]byte
	n := laterHeader(later[:], h)
	each := (mtu - n) &^ 7
	for at := first; at < len(payload); at += each {
		size := min(each, len(payload)-at)
		q := piece.Space(0)[:l3+n+size]
		copy(q, p[:l3])
		copy(q[l3:], later[:n])
		copy(q[l3+n:], payload[at:at+size])
		piece.Received(len(q))
		piece.In, piece.VID, piece.PCP = cause, b.VID, b.PCP
		setFragment(q[l3:], base+at, more || at+size < len(payload))
		if !r.inject(b.In, piece) {
			return false
		}
	}
	b.Resize(l3 + header + first)
	setFragment(b.Bytes()[l3:], base, true)
	b.Parse()
	return true
}

func setFragment(h frame.IPv4, offset int, more bool) {
	h.SetTotalLen(len(h))
	h.SetFragment(offset, more)
	h.UpdateChecksum()
}

const (
	optionEnd  = 0
	optionNop  = 1
	optionCopy = 0x80 // the option belongs to every fragment
)

// laterHeader writes the header of the fragments after the first to p and returns its
// length: that of the packet, and of its options those to be copied.
func laterHeader(p []byte, h frame.IPv4) int {
	options := h[:h.HeaderLen()][20:]
	n := copy(p, h[:20])
	for len(options) > 0 && options[0] != optionEnd {
		if options[0] == optionNop {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			break // malformed: the receiver has it from the first fragment
		}
		size := int(options[1])
		if options[0]&optionCopy != 0 {
			n += copy(p[n:], options[:size])
		}
		options = options[size:]
	}
	for ; n%4 != 0; n++ {
		p[n] = optionEnd
	}
	p[0] = 4<<4 | byte(n/4)
	return n
}
