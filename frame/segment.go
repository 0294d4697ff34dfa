package frame

import "encoding/binary"

// Segments returns how many frames will leave for b: more than one if it is a
// superframe. CheckOffload has passed.
func (b *Buf) Segments() int {
	o := &b.Offload
	if o.GSO == GSONone {
		return 1
	}
	return (b.Len() - int(o.HdrLen) + int(o.SegSize) - 1) / int(o.SegSize)
}

// PacketLen returns the length in bytes of the longest packet that will leave for
// b: what the MTU of a port bounds. Tags do not count (IEEE 802.3 3.2.7), and of a
// superframe the segments do. CheckOffload has passed.
func (b *Buf) PacketLen() int {
	n := b.Len() - Ethernet(b.Bytes()).HeaderLen()
	if b.Offload.GSO != GSONone {
		n -= b.Len() - int(b.Offload.HdrLen) - int(b.Offload.SegSize)
	}
	return n
}

// Complete computes the checksum that the sender left to the device, if any.
// CheckOffload has passed, and b is no superframe.
func (b *Buf) Complete() {
	if !b.Offload.NeedsCsum {
		return
	}
	p := b.Bytes()[b.Offload.CsumStart:]
	binary.BigEndian.PutUint16(p[b.Offload.CsumOffset:], nonZero(^Sum(p, 0)))
	b.Offload = Offload{}
}

// nonZero returns the other form of a checksum of zero, which in UDP would mean
// that there is none (RFC 768). To all others the two are the same.
func nonZero(checksum uint16) uint16 {
	if checksum == 0 {
		return 0xffff
	}
	return checksum
}

// A Segmenter does in software what the Offload of a frame asks for: it yields the
// segments of a superframe, or the one complete copy of any other frame.
//
// The segments are those that Linux makes: the headers of the superframe with
// lengths, IPv4 identification (+1 each), sequence number and checksums set, FIN
// and PSH in the last segment only, CWR in the first only (RFC 3168 6.1.2).
type Segmenter struct {
	src    *Buf
	layers Layers
	header int  // bytes in front of the payload, repeated in each segment
	size   int  // bytes of payload of each segment but the last
	at     int  // offset of the next segment's payload in src
	device bool // the device completes checksums
	seed   uint16
}

// Segment returns a Segmenter of b for a device with features f: with FeatureCsum,
// checksums stay partial. CheckOffload has passed. b must not change before the
// last segment has been taken.
func (b *Buf) Segment(f Features) Segmenter {
	s := Segmenter{src: b, size: b.Len(), device: f&FeatureCsum != 0}
	o := &b.Offload
	if o.GSO == GSONone {
		return s
	}
	p := b.Bytes()
	s.layers = Parse(p)
	s.header, s.size, s.at = int(o.HdrLen), int(o.SegSize), int(o.HdrLen)
	// The sender's partial checksum is the sum of the pseudo-header, of which only
	// the length differs between the segments: leave that out. To sum the addresses
	// would be wrong behind a routing header (RFC 8200 8.1).
	h := p[o.CsumStart:]
	s.seed = addSums(binary.BigEndian.Uint16(h[o.CsumOffset:]), ^uint16(len(h)))
	return s
}

// Next makes dst, which is not the superframe, the next segment. It returns false,
// and leaves dst alone, after the last.
func (s *Segmenter) Next(dst *Buf) bool {
	p := s.src.Bytes()
	n := min(s.size, len(p)-s.at)
	if n <= 0 {
		return false
	}
	if s.header == 0 {
		s.at = len(p)
		dst.CopyFrom(s.src)
		if !s.device {
			dst.Complete()
		}
		return true
	}
	dst.inherit(s.src, s.header+n)
	q := dst.Bytes()
	copy(q, p[:s.header])
	copy(q[s.header:], p[s.at:s.at+n])
	s.setNetwork(q)
	s.setTransport(q)
	s.at += n
	s.setChecksum(dst)
	return true
}

// inherit makes b a frame of n bytes, yet to be written, that goes the way of src.
func (b *Buf) inherit(src *Buf, n int) {
	*b = Buf{
		store: b.store, off: Headroom, end: Headroom + n,
		In: src.In, Out: src.Out, VID: src.VID, PCP: src.PCP, Layers: src.Layers,
	}
}

// setNetwork sets the IP header's fields of the segment q.
func (s *Segmenter) setNetwork(q []byte) {
	if s.layers.Version == 6 {
		h := IPv6(q[s.layers.L3:])
		h.SetPayloadLen(len(h) - ipv6Len)
		return
	}
	h := IPv4(q[s.layers.L3:])
	h.SetTotalLen(len(h))
	h.SetID(h.ID() + uint16((s.at-s.header)/s.size))
	h.UpdateChecksum()
}

// setTransport sets the transport header's fields of the segment q but the checksum.
func (s *Segmenter) setTransport(q []byte) {
	if s.src.Offload.GSO == GSOUDP {
		h := UDP(q[s.layers.L4:])
		h.SetLen(len(h))
		return
	}
	h := TCP(q[s.layers.L4:])
	h.SetSeq(h.Seq() + uint32(s.at-s.header))
	if s.at > s.header {
		h.ClearFlags(TCPCwr)
	}
	if s.at+len(q)-s.header < s.src.Len() {
		h.ClearFlags(TCPFin | TCPPsh)
	}
}

// setChecksum sets the transport checksum of dst, as far as the device does not.
func (s *Segmenter) setChecksum(dst *Buf) {
	o := &s.src.Offload
	h := dst.Bytes()[o.CsumStart:]
	field := h[o.CsumOffset:]
	binary.BigEndian.PutUint16(field, addSums(s.seed, uint16(len(h))))
	if s.device {
		dst.Offload = Offload{NeedsCsum: true, CsumStart: o.CsumStart, CsumOffset: o.CsumOffset}
		return
	}
	sum := ^Sum(h, 0)
	if o.GSO == GSOUDP {
		sum = nonZero(sum)
	}
	binary.BigEndian.PutUint16(field, sum)
}
