package nat

import (
	"time"

	"weft/frame"
)

const (
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

// A packet is one on its way through the table.
type packet struct {
	now    time.Duration
	buf    *frame.Buf
	inside bool  // it comes from inside
	back   bool  // it is for an external address
	realm  Realm // from inside of which it comes
	pool   Pool  // with an address of which it goes outside

	// Of an ICMP error, the flow is that of the packets that would answer what it
	// quotes: it goes their way.
	was, is flow
	message message
	sender  address      // of an ICMP error
	quoted  frame.Layers // by an ICMP error
	segment segment      // of TCP
}

// lost says of a packet that cannot be translated that it is lost for a reason, or the
// host's to judge, if it may be for the host.
func (k *packet) lost(why frame.Reason) (ours bool, _ frame.Reason) {
	if k.back {
		return false, 0
	}
	return true, why
}

// read looks at a whole packet or a first fragment. It does not go by a port that is
// zero, nor by an IPv6 address that an IPv4 packet's could be taken for.
func (k *packet) read() frame.Reason {
	l, p := &k.buf.Layers, k.buf.Bytes()
	src, dst := addresses(l, p)
	if l.Version == 6 && (src.is4() || dst.is4()) {
		return frame.DropMartian
	}
	number, ok := protoOf(l.Protocol)
	if !ok {
		return frame.DropNATUnsupported
	}
	if l.L4 == 0 || l.Version == 6 && l.L4-l.L3 != ipv6Len && !translatable(p[l.L3:l.L4]) {
		return frame.DropBadPacket
	}
	k.was = flow{number, endpoint{src, l.SrcPort}, endpoint{dst, l.DstPort}}
	k.is = k.was
	h := p[l.L4:end(l, p)]
	switch {
	case number == icmp:
		return k.readICMP(h)
	case len(h) < udpLen || l.SrcPort == 0 || l.DstPort == 0 || number == tcp && !k.segment.read(h):
		return frame.DropBadPacket
	}
	return 0
}

func (k *packet) readICMP(h frame.ICMP) frame.Reason {
	l := &k.buf.Layers
	switch {
	case len(h) < icmpLen:
		return frame.DropBadPacket
	case (l.Protocol == frame.ProtocolICMP) != (l.Version == 4):
		return frame.DropNATUnsupported
	case l.IsICMPError(k.buf.Bytes()):
		return k.readFailure(h)
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
	return 0
}

// addresses returns the source and the destination of the IP header at L3.
func addresses(l *frame.Layers, p []byte) (src, dst address) {
	h := p[l.L3:]
	if l.Version == 4 {
		return address4(h[12:]), address4(h[16:])
	}
	return address6(h[8:]), address6(h[24:])
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
// A fragment of a fragment is nobody's honest packet.
func translatable(h []byte) bool {
	fragments := 0
	for at, next := ipv6Len, h[6]; at < len(h); {
		x := h[at:]
		size := (int(x[1]) + 1) * 8
		switch next {
		case headerAuth:
			return false
		case headerRouting:
			if x[3] != 0 { // segments left
				return false
			}
		case headerFragment:
			fragments++
			size = fragmentLen
		}
		next, at = x[0], at+size
	}
	return fragments < 2
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

// read returns false if the header is not whole.
func (g *segment) read(h frame.TCP) bool {
	if len(h) < tcpLen || h.HeaderLen() < tcpLen || h.HeaderLen() > len(h) {
		return false
	}
	g.seq, g.ack, g.window, g.flags, g.scale = h.Seq(), h.Ack(), uint32(h.Window()), h.Flags(), scaleNone
	g.end = g.seq + uint32(len(h)-h.HeaderLen())
	if g.flags&frame.TCPSyn != 0 {
		g.end++
		g.scale = windowScale(h[tcpLen:h.HeaderLen()])
	}
	if g.flags&frame.TCPFin != 0 {
		g.end++
	}
	return true
}

// control are the flags of what begins or ends something.
const control = frame.TCPSyn | frame.TCPFin | frame.TCPRst

// plain reports whether the segment is one from the middle of a connection.
func (g *segment) plain() bool { return g.flags&(control|frame.TCPAck) == frame.TCPAck }

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
