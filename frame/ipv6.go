package frame

import (
	"encoding/binary"
	"net/netip"
)

const ipv6Len = 40 // of the header without extension headers

// Next headers that are extension headers (RFC 8200 4, RFC 4302).
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAuth        = 51
	extDestination = 60

	minExtension = 8 // bytes of the shortest extension header

	// maxExtensions bounds the walk. RFC 8200 4.1 names six places for one each.
	maxExtensions = 8
)

// IPv6 is a packet seen from its IPv6 header on (RFC 8200). Its methods want the
// header whole: see Layers.Version.
type IPv6 []byte

// PayloadLen returns the length in bytes of all that follows the header.
// Superframes may say zero.
func (h IPv6) PayloadLen() int { return int(binary.BigEndian.Uint16(h[4:])) }

// SetPayloadLen sets the length in bytes of all that follows the header.
func (h IPv6) SetPayloadLen(n int) { binary.BigEndian.PutUint16(h[4:], uint16(n)) }

// NextHeader returns the type of what follows the header.
func (h IPv6) NextHeader() Protocol { return Protocol(h[6]) }

// Src returns the source address.
func (h IPv6) Src() netip.Addr { return netip.AddrFrom16([16]byte(h[8:])) }

// Dst returns the destination address.
func (h IPv6) Dst() netip.Addr { return netip.AddrFrom16([16]byte(h[24:])) }

// HopLimit returns the hop limit.
func (h IPv6) HopLimit() uint8 { return h[7] }

// DecrementHopLimit makes the hop limit one less.
func (h IPv6) DecrementHopLimit() { h[7]-- }

// SetSrc sets the source address. Checksums over the pseudo-header are the caller's.
func (h IPv6) SetSrc(a netip.Addr) {
	v := a.As16()
	copy(h[8:], v[:])
}

// SetDst sets the destination address as SetSrc does the source.
func (h IPv6) SetDst(a netip.Addr) {
	v := a.As16()
	copy(h[24:], v[:])
}

// PseudoSum returns the sum of the pseudo-header for an upper-layer packet of n
// bytes (RFC 8200 8.1). It does not know of routing headers.
func (h IPv6) PseudoSum(p Protocol, n int) uint16 {
	return addSums(Sum(h[8:40], uint16(p)), uint16(n))
}
