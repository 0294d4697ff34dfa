package frame

import "encoding/binary"

// maxTags is how many VLAN tags are looked through: an S-TAG and a C-TAG.
const maxTags = 2

// Layers is what Parse found in a frame. Offsets are in bytes from the start of
// the frame; zero means that there is no such thing.
type Layers struct {
	EtherType EtherType // of what follows the tags
	L3        uint16    // of what follows the EtherType
	L4        uint16    // of the transport header: whole as far as ports and identifiers go

	Version  uint8    // 4 or 6 if a whole IP header is at L3
	Protocol Protocol // behind IP's options and extension headers, or the extension header that could not be followed
	Fragment Fragment

	SrcPort, DstPort uint16 // of an ICMP echo: both its identifier
}

// A Fragment tells fragments of IP packets apart.
type Fragment uint8

// The kinds. Only a later fragment has no transport header.
const (
	FragmentNone  Fragment = iota // a whole packet, also an atomic fragment (RFC 6946)
	FragmentFirst                 // it carries the transport header
	FragmentLater
)

func fragment(offset, more bool) Fragment {
	switch {
	case offset:
		return FragmentLater
	case more:
		return FragmentFirst
	}
	return FragmentNone
}

// Parse finds the frame's headers and fills Layers. It must be called again after
// the frame has changed.
func (b *Buf) Parse() {
	b.Layers = Layers{}
	b.Layers.parse(b.Bytes())
}

// Parse finds the headers of the frame p in one pass. What it does not know, or
// what is cut short or malformed, it leaves zero: to be carried by a bridge, a
// frame needs no more than its addresses.
func Parse(p []byte) (l Layers) {
	l.parse(p)
	return l
}

func (l *Layers) parse(p []byte) {
	if len(p) < EthernetLen {
		return
	}
	at := Ethernet(p).HeaderLen()
	l.EtherType = EtherType(binary.BigEndian.Uint16(p[at-2:]))
	if l.EtherType.IsTag() {
		return // cut short, or more tags than we look through
	}
	l.L3 = uint16(at)
	switch l.EtherType {
	case EtherTypeIPv4:
		l.parseIPv4(p)
	case EtherTypeIPv6:
		l.parseIPv6(p)
	}
}

func (l *Layers) parseIPv4(p []byte) {
	h := IPv4(p[l.L3:])
	if len(h) < ipv4Len || h[0]>>4 != 4 {
		return
	}
	header, total := h.HeaderLen(), packetEnd(h.TotalLen(), len(h))
	if header < ipv4Len || header > total {
		return
	}
	l.Version, l.Protocol, l.Fragment = 4, h.Protocol(), h.Fragment()
	l.parseTransport(p[:int(l.L3)+total], int(l.L3)+header)
}

func (l *Layers) parseIPv6(p []byte) {
	h := IPv6(p[l.L3:])
	if len(h) < ipv6Len || h[0]>>4 != 6 {
		return
	}
	l.Version, l.Protocol = 6, h.NextHeader()
	at := int(l.L3) + ipv6Len
	p = p[:at+packetEnd(h.PayloadLen(), len(h)-ipv6Len)]
	for range maxExtensions {
		size := extensionLen(l.Protocol, p[at:])
		if size == 0 {
			break
		}
		if at+size > len(p) {
			return
		}
		if l.Protocol == extFragment {
			v := binary.BigEndian.Uint16(p[at+2:])
			l.Fragment = max(l.Fragment, fragment(v&^7 != 0, v&1 != 0))
		}
		l.Protocol = Protocol(p[at])
		at += size
		if l.Fragment == FragmentLater {
			return
		}
	}
	l.parseTransport(p, at)
}

// extensionLen returns the length in bytes of the IPv6 extension header of the
// given type at the start of p, more than p has if it is cut short, and zero if the
// type is none of an extension header.
func extensionLen(t Protocol, p []byte) int {
	switch t {
	case extFragment:
		return minExtension
	case extHopByHop, extRouting, extDestination, extAuth:
	default:
		return 0
	}
	if len(p) < minExtension {
		return minExtension
	}
	if t == extAuth {
		return (int(p[1]) + 2) * 4 // RFC 4302 2.2
	}
	return (int(p[1]) + 1) * 8 // RFC 8200 4.3
}

// packetEnd returns the length of a packet that says it is said bytes long and of
// which have bytes are there. Ethernet padding lies behind the end. A superframe
// may be longer than its length field can say, and says zero.
func packetEnd(said, have int) int {
	if said == 0 || said > have {
		return have
	}
	return said
}

// parseTransport looks at what is at offset at of the packet that ends with p.
func (l *Layers) parseTransport(p []byte, at int) {
	h := p[at:]
	switch {
	case l.Fragment == FragmentLater || len(h) == 0 || extensionLen(l.Protocol, h) != 0 && l.Version == 6:
		return
	case l.Protocol.HasPorts():
		if len(h) < 4 {
			return
		}
		l.SrcPort = binary.BigEndian.Uint16(h)
		l.DstPort = binary.BigEndian.Uint16(h[2:])
	case l.isEcho(h):
		l.SrcPort = ICMP(h).ID()
		l.DstPort = l.SrcPort
	}
	l.L4 = uint16(at)
}

// isEcho reports whether h is an echo request or reply of the packet's IP version.
func (l *Layers) isEcho(h []byte) bool {
	if len(h) < icmpLen {
		return false
	}
	t := ICMP(h).Type()
	return l.Version == 4 && l.Protocol == ProtocolICMP && (t == 8 || t == 0) ||
		l.Version == 6 && l.Protocol == ProtocolICMPv6 && (t == 128 || t == 129)
}
