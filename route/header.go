package route

import "weft/frame"

const (
	maxPacket = 65535 // bytes of an IPv4 packet when its fragments are put together
	noNext    = 59    // IPv6: nothing follows (RFC 8200 4.7)
	ipv6Len   = 40
)

// sound reports whether the packet's header is what a router must find it to be (RFC
// 1812 5.2.2, RFC 8200 3), and the frame's offload of this packet. It cuts off what
// lies behind the packet's end, the padding of short frames.
func sound(b *frame.Buf) bool {
	l, p := &b.Layers, b.Bytes()
	have, said, unsaid := len(p)-int(l.L3), 0, false
	switch l.Version { // Parse has compared version and header length
	case 4:
		h := frame.IPv4(p[l.L3:])
		said = h.TotalLen()
		unsaid = said == 0
		if !h.ChecksumValid() || h.FragmentOffset()+said > maxPacket {
			return false
		}
	case 6:
		h := frame.IPv6(p[l.L3:])
		said = ipv6Len + h.PayloadLen()
		unsaid = h.PayloadLen() == 0 && h.NextHeader() != noNext
	default:
		return false
	}
	if b.Offload.GSO != frame.GSONone {
		return said == have || unsaid
	}
	if unsaid || said > have {
		return false
	}
	if said < have {
		b.Resize(int(l.L3) + said)
	}
	return !b.Offload.NeedsCsum || checksumInside(b)
}

// checksumInside reports whether the checksum that the device is to complete is one of
// the packet's payload. Elsewhere it would change addresses that have been judged.
func checksumInside(b *frame.Buf) bool {
	o, l := &b.Offload, &b.Layers
	return l.L4 != 0 && l.Fragment == frame.FragmentNone && o.CsumStart >= l.L4 &&
		int(o.CsumStart)+int(o.CsumOffset)+2 <= b.Len()
}
