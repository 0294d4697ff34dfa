package frame

import "encoding/binary"

// A Flow is what tells the frames of one conversation, in one direction, from others:
// what a remembered decision is found by, and what it changes.
type Flow struct {
	Dst, Src MAC
	Tag      uint16 // TCI of the one C-TAG, with the bit that says there is one: TagPresent; the DEI is left out

	// Of a packet that is whole, has neither IPv4 options nor IPv6 extension headers, and
	// is TCP, UDP or an ICMP echo. Else all are zero.
	Protocol         Protocol
	Hops             uint8 // time to live or hop limit; no part of what a decision is found by
	Version          uint8 // 4 or 6
	SrcAddr, DstAddr [16]byte
	SrcPort, DstPort uint16 // of an ICMP echo: its identifier and its type
}

// TagPresent is the bit of Flow.Tag that tells VID 0 with priority 0 from no tag: that
// of the DEI in a TCI (IEEE 802.1Q 9.6).
const TagPresent = 0x1000

// Flow returns the flow of the frame, which need not be parsed. ok is false if no
// decision about it may be remembered at all: it is for a group, is ARP, has more tags
// than one, or is a slow protocol's.
func (b *Buf) Flow() (f Flow, ok bool) {
	p := b.Bytes()
	if len(p) < EthernetLen {
		return f, false
	}
	h := Ethernet(p)
	f.Dst, f.Src = h.Dst(), h.Src()
	t := h.Type()
	at := EthernetLen
	if t == EtherTypeCTag && len(p) >= EthernetLen+TagLen {
		f.Tag = binary.BigEndian.Uint16(p[14:]) | TagPresent
		t = EtherType(binary.BigEndian.Uint16(p[16:]))
		at += TagLen
	}
	if f.Dst.IsGroup() || t == EtherTypeARP || t.IsTag() || t == etherTypeSlow {
		return f, false
	}
	switch l := p[at:]; {
	case t == EtherTypeIPv4:
		f.setIPv4(l)
	case t == EtherTypeIPv6:
		f.setIPv6(l)
	}
	return f, true
}

// etherTypeSlow is that of LACP and its like (IEEE 802.3 57A.4), also when sent to a
// single station.
const etherTypeSlow EtherType = 0x8809

func (f *Flow) setIPv4(p IPv4) {
	const flagsAt, moreAndOffset = 6, 0x3fff
	if len(p) < ipv4Len+icmpLen || p[0] != 0x45 || binary.BigEndian.Uint16(p[flagsAt:])&moreAndOffset != 0 {
		return
	}
	if !f.setPorts(p[ipv4Len:], p.Protocol(), ProtocolICMP, 8, 0) {
		return
	}
	f.Version, f.Hops = 4, p.TTL()
	f.SrcAddr, f.DstAddr = p.Src().As16(), p.Dst().As16()
}

func (f *Flow) setIPv6(p IPv6) {
	if len(p) < ipv6Len+icmpLen || p[0]>>4 != 6 || !f.setPorts(p[ipv6Len:], p.NextHeader(), ProtocolICMPv6, 128, 129) {
		return
	}
	f.Version, f.Hops = 6, p.HopLimit()
	copy(f.SrcAddr[:], p[8:24])
	copy(f.DstAddr[:], p[24:40])
}

// setPorts takes in the transport header h, of at least icmpLen bytes, and reports
// whether it is one by which a flow is known.
func (f *Flow) setPorts(h []byte, protocol, echo Protocol, request, reply uint8) bool {
	switch {
	case protocol == ProtocolTCP, protocol == ProtocolUDP:
		f.SrcPort, f.DstPort = Ports(h).Src(), Ports(h).Dst()
	case protocol == echo && (h[0] == request || h[0] == reply) && h[1] == 0:
		f.SrcPort, f.DstPort = ICMP(h).ID(), uint16(h[0])
	default:
		return false
	}
	f.Protocol = protocol
	return true
}
