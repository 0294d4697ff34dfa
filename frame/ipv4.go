package frame

import (
	"encoding/binary"
	"net/netip"
)

const ipv4Len = 20 // of a header without options

const (
	ipv4MoreFragments  = 0x2000
	ipv4FragmentOffset = 0x1fff
)

// IPv4 is a packet seen from its IPv4 header on (RFC 791). Its methods want the
// header whole: see Layers.Version.
type IPv4 []byte

// HeaderLen returns the length of the header with its options, in bytes.
func (h IPv4) HeaderLen() int { return int(h[0]&0xf) * 4 }

// TotalLen returns the length of the packet in bytes. Superframes may say zero.
func (h IPv4) TotalLen() int { return int(binary.BigEndian.Uint16(h[2:])) }

// SetTotalLen sets the length of the packet in bytes.
func (h IPv4) SetTotalLen(n int) { binary.BigEndian.PutUint16(h[2:], uint16(n)) }

// ID returns the identification field.
func (h IPv4) ID() uint16 { return binary.BigEndian.Uint16(h[4:]) }

// SetID sets the identification field.
func (h IPv4) SetID(id uint16) { binary.BigEndian.PutUint16(h[4:], id) }

// Fragment tells whether the packet is a fragment, and of which kind.
func (h IPv4) Fragment() Fragment {
	v := binary.BigEndian.Uint16(h[6:])
	return fragment(v&ipv4FragmentOffset != 0, v&ipv4MoreFragments != 0)
}

// Protocol returns the protocol of the payload.
func (h IPv4) Protocol() Protocol { return Protocol(h[9]) }

// Src returns the source address.
func (h IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(h[12:])) }

// Dst returns the destination address.
func (h IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(h[16:])) }

// UpdateChecksum computes the header checksum anew.
func (h IPv4) UpdateChecksum() {
	binary.BigEndian.PutUint16(h[10:], 0)
	binary.BigEndian.PutUint16(h[10:], ^Sum(h[:h.HeaderLen()], 0))
}

// PseudoSum returns the sum of the pseudo-header for a payload of n bytes (RFC
// 9293 3.1, RFC 768).
func (h IPv4) PseudoSum(p Protocol, n int) uint16 {
	return addSums(Sum(h[12:20], uint16(p)), uint16(n))
}
