package frame

import (
	"encoding/binary"
	"net/netip"
)

const (
	solicitLen  = 24 // of a solicitation or advertisement without options (RFC 4861 4.3, 4.4)
	linkAddrLen = 8  // of a link-layer address option with an EUI-48 (RFC 2464 6)
	ndHopLimit  = 255

	optSourceLinkAddr = 1
	optTargetLinkAddr = 2
)

// AllNodes is ff02::1, the group of all nodes of a link.
var AllNodes = netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 1})

// The flags of a neighbor advertisement (RFC 4861 4.4).
const (
	AdvertRouter    uint8 = 0x80
	AdvertSolicited uint8 = 0x40
	AdvertOverride  uint8 = 0x20
)

// Neighbor is a neighbor solicitation or advertisement seen from its ICMPv6 header on
// (RFC 4861 4.3, 4.4). Buf.Neighbor returns valid ones.
type Neighbor []byte

// Type returns ICMPv6Solicitation or ICMPv6Advertisement.
func (h Neighbor) Type() uint8 { return h[0] }

// Flags returns the flags of an advertisement.
func (h Neighbor) Flags() uint8 { return h[4] }

// Target returns the address that is asked for or told of.
func (h Neighbor) Target() netip.Addr { return netip.AddrFrom16([16]byte(h[8:])) }

// LinkAddr returns the link-layer address that the message tells: the source's of a
// solicitation, the target's of an advertisement; zero if there is none.
func (h Neighbor) LinkAddr() MAC {
	want := byte(optSourceLinkAddr)
	if h.Type() == ICMPv6Advertisement {
		want = optTargetLinkAddr
	}
	for o := h[solicitLen:]; len(o) >= linkAddrLen; o = o[int(o[1])*8:] {
		if o[0] == want && o[1] == 1 {
			return MACFrom(o[2:])
		}
	}
	return 0
}

// Neighbor returns the neighbor solicitation or advertisement that the frame is, or
// nil if it is none or not a valid one (RFC 4861 7.1.1, 7.1.2): with extension headers
// too, which only an attacker sends (RFC 6980). Layers must be valid.
func (b *Buf) Neighbor() Neighbor {
	l, p := &b.Layers, b.Bytes()
	if l.Version != 6 || l.Protocol != ProtocolICMPv6 || l.L4 != l.L3+ipv6Len {
		return nil
	}
	ip := IPv6(p[l.L3:])
	if ip.HopLimit() != ndHopLimit || ip.PayloadLen() < solicitLen || ip.PayloadLen() > len(ip)-ipv6Len {
		return nil
	}
	m := Neighbor(ip[ipv6Len : ipv6Len+ip.PayloadLen()])
	if m.Type() != ICMPv6Solicitation && m.Type() != ICMPv6Advertisement || m[1] != 0 || m.Target().IsMulticast() {
		return nil
	}
	if !b.Offload.NeedsCsum && Sum(m, ip.PseudoSum(ProtocolICMPv6, len(m))) != 0xffff {
		return nil
	}
	if !m.optionsValid() || !m.addressesValid(ip) {
		return nil
	}
	return m
}

// optionsValid reports whether each option has a length and ends inside the message.
func (h Neighbor) optionsValid() bool {
	for o := h[solicitLen:]; len(o) > 0; o = o[int(o[1])*8:] {
		if len(o) < 2 || o[1] == 0 || int(o[1])*8 > len(o) {
			return false
		}
	}
	return true
}

func (h Neighbor) addressesValid(ip IPv6) bool {
	if h.Type() == ICMPv6Advertisement {
		return !ip.Dst().IsMulticast() || h.Flags()&AdvertSolicited == 0
	}
	if ip.Src().IsUnspecified() {
		return h.LinkAddr() == 0 && ip.Dst() == SolicitedNode(ip.Dst())
	}
	return true
}

// SolicitedNode returns the group in which the address's neighbors ask for it (RFC
// 4291 2.7.1).
func SolicitedNode(a netip.Addr) netip.Addr {
	v := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff, 13: v[13], 14: v[14], 15: v[15]})
}

// GroupMAC returns the address of frames for an IPv6 group (RFC 2464 7).
func GroupMAC(group netip.Addr) MAC {
	v := group.As16()
	return 0x3333_0000_0000 | MAC(binary.BigEndian.Uint32(v[12:]))
}

// MakeSolicitation makes b an untagged neighbor solicitation for target, from the
// station src with address from, to the station dst, or to target's group if dst is
// zero (RFC 4861 7.2.2).
func (b *Buf) MakeSolicitation(dst, src MAC, from, target netip.Addr) {
	to := target
	if dst == 0 {
		to = SolicitedNode(target)
		dst = GroupMAC(to)
	}
	b.makeNeighbor(dst, src, from, to, ICMPv6Solicitation, 0, target)
}

// MakeAdvertisement makes b an untagged neighbor advertisement that target is at the
// station src: from address from to the station dst with address to (RFC 4861 7.2.4).
func (b *Buf) MakeAdvertisement(dst, src MAC, from, to netip.Addr, flags uint8, target netip.Addr) {
	b.makeNeighbor(dst, src, from, to, ICMPv6Advertisement, flags, target)
}

func (b *Buf) makeNeighbor(dst, src MAC, from, to netip.Addr, typ, flags uint8, target netip.Addr) {
	const n = solicitLen + linkAddrLen
	p := b.make(dst, src, EtherTypeIPv6, ipv6Len+n)
	ip := IPv6(p)
	p[0], p[6], p[7] = 6<<4, byte(ProtocolICMPv6), ndHopLimit
	ip.SetPayloadLen(n)
	ip.SetSrc(from)
	ip.SetDst(to)
	m := p[ipv6Len:]
	m[0], m[4] = typ, flags
	putAddr(m[8:], target)
	m[solicitLen], m[solicitLen+1] = optSourceLinkAddr, 1
	if typ == ICMPv6Advertisement {
		m[solicitLen] = optTargetLinkAddr
	}
	src.Put(m[solicitLen+2:])
	binary.BigEndian.PutUint16(m[2:], ^Sum(m, ip.PseudoSum(ProtocolICMPv6, n)))
}
