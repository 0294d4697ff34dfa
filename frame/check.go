package frame

import "encoding/binary"

const (
	// minCsumStart is where the checksummed part of a frame begins at the
	// earliest. Linux refuses less, as nothing with an Internet checksum is nearer.
	minCsumStart = 20

	// minTCPSegment is the least payload in bytes for which a stack makes TCP
	// superframes: an MSS of 48, less 40 bytes of options (Linux, TCP_MIN_GSO_SIZE).
	minTCPSegment = 8

	// maxTCPSegments bounds what one superframe becomes. With segments of 128 bytes or
	// more, none exceeds it. Without a bound it is 8,190, made for each port that wants
	// segments while all other guests wait; that has stopped hosts (CVE-2012-3412).
	maxTCPSegments = 512

	// maxUDPSegments is Linux's bound (UDP_MAX_SEGMENTS).
	maxUDPSegments = 128
)

// CheckOffload compares the frame's Offload with its bytes, once, when the frame
// comes in: all of it is under the sender's control. It returns DropBadOffload if
// the two contradict each other, DropTinySegments if a TCP superframe would become
// too many, else zero. Thereafter the Offload is sound, says
// nothing but what is left to do, and may be handed to any device that carries it:
//
//   - The checksum's place lies in the frame (virtio 1.2, 5.1.6.2).
//   - What is left to complete is the checksum of a TCP segment or a UDP datagram. One of
//     any other place is completed at once: it may turn into whatever its sender likes,
//     such as an address, a port or a type of message, and those that judge the frame are
//     to see what leaves.
//   - A superframe is what its GSO says, has whole headers that HdrLen tells the
//     length of, needs its checksum, and makes two segments or more.
//   - DataValid is false. It is a hint that no other port may rely on.
func (b *Buf) CheckOffload() Reason {
	if b.Offload == (Offload{}) {
		return 0
	}
	return b.checkOffload()
}

func (b *Buf) checkOffload() Reason {
	o := b.Offload
	b.Offload = Offload{}
	if o.GSO != GSONone {
		return b.checkGSO(o)
	}
	if o.ECN {
		return DropBadOffload
	}
	if !o.NeedsCsum {
		return 0
	}
	if o.CsumStart < minCsumStart || int(o.CsumStart)+int(o.CsumOffset)+2 > b.Len() {
		return DropBadOffload
	}
	b.Offload = Offload{NeedsCsum: true, CsumStart: o.CsumStart, CsumOffset: o.CsumOffset}
	if !b.completesTransport() {
		b.Complete()
	}
	return 0
}

// completesTransport reports whether the partial checksum is that of a TCP segment or a
// UDP datagram.
func (b *Buf) completesTransport() bool {
	b.Parse()
	o, l := &b.Offload, &b.Layers
	if l.L4 == 0 || l.Fragment != FragmentNone || o.CsumStart != l.L4 {
		return false
	}
	return l.Protocol == ProtocolTCP && o.CsumOffset == tcpChecksumAt || l.Protocol == ProtocolUDP && o.CsumOffset == udpChecksumAt
}

func (b *Buf) checkGSO(o Offload) Reason {
	b.Parse()
	l := &b.Layers
	if l.L4 == 0 || l.Fragment != FragmentNone || !o.GSO.matches(l) || o.ECN && o.GSO == GSOUDP {
		return DropBadOffload
	}
	header, checksumAt := b.transportHeader(o.GSO)
	payload := b.Len() - int(l.L4) - header
	if header == 0 || payload < 0 {
		return DropBadOffload
	}
	if !o.NeedsCsum {
		if !b.startChecksum(o) {
			return DropBadOffload
		}
		o.CsumStart, o.CsumOffset = l.L4, checksumAt
	}
	if o.CsumStart != l.L4 || o.CsumOffset != checksumAt || !o.GSO.segmentable(payload, int(o.SegSize)) {
		return DropBadOffload
	}
	if o.GSO != GSOUDP && payload > int(o.SegSize)*maxTCPSegments {
		return DropTinySegments
	}
	b.Offload = Offload{NeedsCsum: true, CsumStart: o.CsumStart, CsumOffset: o.CsumOffset}
	if payload > int(o.SegSize) { // else, as in Linux, it is no superframe
		b.Offload.GSO = o.GSO
		b.Offload.ECN = o.ECN
		b.Offload.HdrLen = l.L4 + uint16(header)
		b.Offload.SegSize = o.SegSize
	}
	return 0
}

// matches reports whether the superframe's headers are those of its kind.
func (g GSO) matches(l *Layers) bool {
	switch g {
	case GSOTCPv4:
		return l.Version == 4 && l.Protocol == ProtocolTCP
	case GSOTCPv6:
		return l.Version == 6 && l.Protocol == ProtocolTCP
	case GSOUDP:
		return l.Protocol == ProtocolUDP
	}
	return false
}

// segmentable reports whether any stack makes superframes of payload bytes to be
// cut into pieces of size.
func (g GSO) segmentable(payload, size int) bool {
	if g == GSOUDP {
		return size > 0 && payload <= size*maxUDPSegments
	}
	return size >= minTCPSegment
}

// transportHeader returns the length of the transport header at Layers.L4, zero if
// it is cut short or malformed, and the offset of the checksum in it.
func (b *Buf) transportHeader(g GSO) (length int, checksumAt uint16) {
	h := b.Bytes()[b.Layers.L4:]
	if g == GSOUDP {
		if len(h) < udpLen {
			return 0, 0
		}
		return udpLen, udpChecksumAt
	}
	if len(h) < tcpLen || TCP(h).HeaderLen() < tcpLen {
		return 0, 0
	}
	return TCP(h).HeaderLen(), tcpChecksumAt
}

// startChecksum makes the whole checksum of a TCP superframe a partial one, and
// reports whether it could. A NIC that merges received segments (LRO) hands over
// such frames; it has verified the checksum and says so.
func (b *Buf) startChecksum(o Offload) bool {
	if !o.DataValid || o.GSO == GSOUDP {
		return false
	}
	p, l := b.Bytes(), &b.Layers
	n := len(p) - int(l.L4)
	sum := uint16(0)
	switch {
	case l.Version == 4:
		sum = IPv4(p[l.L3:]).PseudoSum(ProtocolTCP, n)
	case l.L4-l.L3 == ipv6Len: // a routing header would have the destination elsewhere
		sum = IPv6(p[l.L3:]).PseudoSum(ProtocolTCP, n)
	default:
		return false
	}
	binary.BigEndian.PutUint16(p[l.L4+tcpChecksumAt:], sum)
	return true
}
