package frame

import (
	"encoding/binary"
	"net/netip"
)

const ipv4Len = 20 // of a header without options

const (
	ipv4DontFragment   = 0x4000
	ipv4MoreFragments  = 0x2000
	ipv4FragmentOffset = 0x1fff // in units of 8 bytes
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

// FragmentOffset returns where in its packet the fragment's payload belongs, in bytes.
func (h IPv4) FragmentOffset() int {
	return int(binary.BigEndian.Uint16(h[6:])&ipv4FragmentOffset) * 8
}

// MoreFragments returns the bit that says that the packet is not its last fragment.
func (h IPv4) MoreFragments() bool { return binary.BigEndian.Uint16(h[6:])&ipv4MoreFragments != 0 }

// DF returns the bit that forbids to fragment the packet.
func (h IPv4) DF() bool { return binary.BigEndian.Uint16(h[6:])&ipv4DontFragment != 0 }

// SetFragment makes the packet the fragment at offset, a multiple of 8 bytes, with
// DF clear. The header checksum must be computed anew.
func (h IPv4) SetFragment(offset int, more bool) {
	v := uint16(offset / 8)
	if more {
		v |= ipv4MoreFragments
	}
	binary.BigEndian.PutUint16(h[6:], v)
}

// TTL returns the time to live.
func (h IPv4) TTL() uint8 { return h[8] }

// DecrementTTL makes the time to live one less, header checksum included.
func (h IPv4) DecrementTTL() {
	h[8]--
	old := binary.BigEndian.Uint16(h[8:]) + 1<<8
	h.updateChecksum(old, old-1<<8)
}

// Protocol returns the protocol of the payload.
func (h IPv4) Protocol() Protocol { return Protocol(h[9]) }

// Src returns the source address.
func (h IPv4) Src() netip.Addr { return netip.AddrFrom4([4]byte(h[12:])) }

// Dst returns the destination address.
func (h IPv4) Dst() netip.Addr { return netip.AddrFrom4([4]byte(h[16:])) }

// SetSrc sets the source address, which is an IPv4 one, and updates the header
// checksum. Checksums over the pseudo-header are the caller's.
func (h IPv4) SetSrc(a netip.Addr) { h.setAddr(12, a.As4()) }

// SetDst sets the destination address as SetSrc does the source.
func (h IPv4) SetDst(a netip.Addr) { h.setAddr(16, a.As4()) }

func (h IPv4) setAddr(at int, a [4]byte) {
	for i := 0; i < 4; i += 2 {
		h.updateChecksum(binary.BigEndian.Uint16(h[at+i:]), binary.BigEndian.Uint16(a[i:]))
	}
	copy(h[at:], a[:])
}

// updateChecksum updates the header checksum for one word that changes.
func (h IPv4) updateChecksum(from, to uint16) {
	binary.BigEndian.PutUint16(h[10:], UpdateChecksum(binary.BigEndian.Uint16(h[10:]), from, to))
}

// ChecksumValid reports whether the header checksum is right.
func (h IPv4) ChecksumValid() bool { return Sum(h[:h.HeaderLen()], 0) == 0xffff }

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
