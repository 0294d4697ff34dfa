package nat

import (
	"encoding/binary"
	"net/netip"

	"weft/frame"
)

// An address is an IPv4 or IPv6 address in two machine words, so that it compares and
// hashes without a copy. An IPv4 one is mapped (RFC 4291 2.5.5.2).
type address struct{ hi, lo uint64 }

const mappedPrefix = 0xffff_0000_0000

func addressOf(a netip.Addr) address {
	v := a.As16()
	return address6(v[:])
}

func address4(p []byte) address { return address{0, mappedPrefix | uint64(binary.BigEndian.Uint32(p))} }

func address6(p []byte) address {
	return address{binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:])}
}

func (a address) is4() bool { return a.hi == 0 && a.lo>>32 == mappedPrefix>>32 }

func (a address) put6(p []byte) {
	binary.BigEndian.PutUint64(p, a.hi)
	binary.BigEndian.PutUint64(p[8:], a.lo)
}

func (a address) addr() netip.Addr {
	var v [16]byte
	a.put6(v[:])
	return netip.AddrFrom16(v).Unmap()
}

// A proto is a protocol that can be translated.
type proto uint8

const (
	tcp proto = iota
	udp
	icmp // queries of ICMP or ICMPv6
	protos
)

// protoOf returns false for a protocol that cannot be translated.
func protoOf(p frame.Protocol) (proto, bool) {
	switch p {
	case frame.ProtocolTCP:
		return tcp, true
	case frame.ProtocolUDP:
		return udp, true
	case frame.ProtocolICMP, frame.ProtocolICMPv6:
		return icmp, true
	}
	return 0, false
}

// number returns the protocol's number in the IP version of a.
func (p proto) number(a address) frame.Protocol {
	switch {
	case p == tcp:
		return frame.ProtocolTCP
	case p == udp:
		return frame.ProtocolUDP
	case a.is4():
		return frame.ProtocolICMP
	}
	return frame.ProtocolICMPv6
}

// An endpoint is an address with a port or, of ICMP, a query's identifier.
type endpoint struct {
	address
	port uint16
}

func (e endpoint) addrPort() netip.AddrPort { return netip.AddrPortFrom(e.addr(), e.port) }

// A flow is who sends to whom. Of ICMP, the port of both is the query's identifier.
type flow struct {
	proto    proto
	src, dst endpoint
}

// reply returns the flow of the answers.
func (f flow) reply() flow { return flow{f.proto, f.dst, f.src} }

// far returns the port of the side that is not translated: of a query, which has but
// one identifier, it says nothing.
func (p proto) far(port uint16) uint16 {
	if p == icmp {
		return 0
	}
	return port
}
