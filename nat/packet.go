package nat

import "weft/frame"

const (
	ipv4Len = 20
	ipv6Len = 40
	tcpLen  = 20
	udpLen  = 8
	icmpLen = 8
)

// A message tells packets of ICMP apart.
type message uint8

const (
	noMessage message = iota // TCP or UDP
	request
	response
	failure // quotes another packet
)

// A packet is what translation goes by. Its flow is that of the frame as it came; of a
// failure, that of the packets that would answer the quoted one: it goes their way.
type packet struct {
	flow
	message message
	sender  address      // of a failure
	quoted  frame.Layers // by a failure
}

// read looks at a whole packet or a first fragment. It does not go by a port that is
// zero, nor by an IPv6 address that an IPv4 packet's could be taken for.
func (k *packet) read(b *frame.Buf) frame.Reason {
	l, p := &b.Layers, b.Bytes()
	k.src.address, k.dst.address = addresses(l, p)
	if l.Version == 6 && (k.src.is4() || k.dst.is4()) {
		return frame.DropMartian
	}
	var ok bool
	if k.proto, ok = protoOf(l.Protocol); !ok {
		return frame.DropNATUnsupported
	}
	if l.L4 == 0 || l.Version == 6 && l.L4-l.L3 != ipv6Len && !translatable(p[l.L3:l.L4]) {
		return frame.DropBadPacket
	}
	h := p[l.L4:end(l, p)]
	if k.proto == icmp {
		return k.readICMP(b, h)
	}
	k.src.port, k.dst.port = l.SrcPort, l.DstPort
	if k.proto == tcp && (len(h) < tcpLen || frame.TCP(h).HeaderLen() < tcpLen || frame.TCP(h).HeaderLen() > len(h)) ||
		len(h) < udpLen || k.src.port == 0 || k.dst.port == 0 {
		return frame.DropBadPacket
	}
	return 0
}

func (k *packet) readICMP(b *frame.Buf, h frame.ICMP) frame.Reason {
	l := &b.Layers
	switch {
	case len(h) < icmpLen:
		return frame.DropBadPacket
	case (l.Protocol == frame.ProtocolICMP) != (l.Version == 4):
		return frame.DropNATUnsupported
	case l.IsICMPError(b.Bytes()):
		return k.readFailure(b, h)
	}
	ask, answer := uint8(frame.ICMPEchoRequest), uint8(frame.ICMPEchoReply)
	if l.Version == 6 {
		ask, answer = frame.ICMPv6EchoRequest, frame.ICMPv6EchoReply
	}
	switch h.Type() {
	case ask:
		k.message = request
	case answer:
		k.message = response
	default:
		return frame.DropNATUnsupported
	}
	k.src.port, k.dst.port = l.SrcPort, l.SrcPort
	return 0
}

// addresses returns the source and the destination of the IP header at L3.
func addresses(l *frame.Layers, p []byte) (src, dst address) {
	if h := p[l.L3:]; l.Version == 4 {
		return address4(h[12:]), address4(h[16:])
	} else {
		return address6(h[8:]), address6(h[24:])
	}
}

// end returns where the packet at L3 ends: padding may follow. A superframe may be
// longer than it can say, and says zero.
func end(l *frame.Layers, p []byte) int {
	h := p[l.L3:]
	said := frame.IPv4(h).TotalLen()
	if l.Version == 6 {
		if said = frame.IPv6(h).PayloadLen(); said != 0 {
			said += ipv6Len
		}
	}
	if said == 0 || said > len(h) {
		return len(p)
	}
	return int(l.L3) + said
}

// translatable reports whether the addresses in the IPv6 header are those that the
// transport checksum covers, and may change: behind a routing header that is still
// under way they are not (RFC 8200 8.1), behind authentication they may not (RFC 4302).
func translatable(h []byte) bool {
	for at, next := ipv6Len, h[6]; at < len(h); {
		x := h[at:]
		switch next {
		case headerAuth:
			return false
		case headerRouting:
			if x[3] != 0 { // segments left
				return false
			}
		}
		if next == headerFragment {
			at += fragmentLen
		} else {
			at += (int(x[1]) + 1) * 8
		}
		next = x[0]
	}
	return true
}

// Next headers that are extension headers (RFC 8200 4, RFC 4302).
const (
	headerHopByHop    = 0
	headerRouting     = 43
	headerFragment    = 44
	headerAuth        = 51
	headerDestination = 60

	fragmentLen = 8 // bytes of an IPv6 fragment header
)

// A segment is what the state of a TCP session depends on.
type segment struct {
	seq, end uint32 // end: behind the payload, SYN and FIN
	ack      uint32
	window   uint32 // not scaled
	flags    uint8
	scale    uint8 // of a SYN; scaleNone if it offers none
}

func readSegment(b *frame.Buf) (g segment) {
	l, p := &b.Layers, b.Bytes()
	h := frame.TCP(p[l.L4:end(l, p)])
	g = segment{seq: h.Seq(), ack: h.Ack(), window: uint32(h.Window()), flags: h.Flags(), scale: scaleNone}
	g.end = g.seq + uint32(len(h)-h.HeaderLen())
	if g.flags&(frame.TCPSyn|frame.TCPFin) != 0 {
		if g.flags&frame.TCPSyn != 0 {
			g.end++
			g.scale = windowScale(h[tcpLen:h.HeaderLen()])
		}
		if g.flags&frame.TCPFin != 0 {
			g.end++
		}
	}
	return g
}

const (
	optionEnd    = 0
	optionNop    = 1
	optionWindow = 3

	scaleNone = 15
	scaleMost = 14 // RFC 7323 2.3
)

// windowScale finds the window scale option (RFC 7323 2.2).
func windowScale(options []byte) uint8 {
	for len(options) > 0 {
		switch kind := options[0]; {
		case kind == optionEnd:
			return scaleNone
		case kind == optionNop:
			options = options[1:]
		case len(options) < 2 || options[1] < 2 || int(options[1]) > len(options):
			return scaleNone
		case kind == optionWindow && options[1] == 3:
			return min(options[2], scaleMost)
		default:
			options = options[options[1]:]
		}
	}
	return scaleNone
}
