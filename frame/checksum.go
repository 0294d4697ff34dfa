package frame

import (
	"encoding/binary"
	"math/bits"
)

// Sum adds the 16-bit words of p to a one's complement sum of an even number of
// bytes, initial (RFC 1071). Its complement is the Internet checksum. An odd last
// byte counts as if a zero followed.
func Sum(p []byte, initial uint16) uint16 {
	// The sum does not depend on the order of bytes, only its result does, nor on
	// the width of the words (RFC 1071 2). So: eight bytes at a time, in the order
	// of most machines, each carry going into the next addition.
	sum, carry := uint64(bits.ReverseBytes16(initial)), uint64(0)
	for len(p) >= 64 {
		q := p[:64]
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q[24:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q[32:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q[40:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q[48:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(q[56:]), carry)
		p = p[64:]
	}
	for len(p) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(p), carry)
		p = p[8:]
	}
	sum, carry = bits.Add64(sum, lastWord(p), carry)
	sum, carry = bits.Add64(sum, 0, carry)
	return bits.ReverseBytes16(fold(sum + carry))
}

// lastWord returns the fewer than eight bytes of p in little-endian order.
func lastWord(p []byte) (w uint64) {
	for i, c := range p {
		w |= uint64(c) << (8 * i)
	}
	return w
}

// fold adds the 16-bit words of sum with end-around carry.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffff_ffff
	sum = sum>>16&0xffff + sum&0xffff + sum>>32
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// addSums adds two one's complement sums.
func addSums(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s>>16 + s)
}

// UpdateChecksum returns what an Internet checksum becomes when one 16-bit word
// of what it covers changes from from to to (RFC 1624, equation 3). The result is
// that of a full computation, unless all that is covered has become zero; so never
// for IP. A UDP result of zero is sent as 0xffff (RFC 768).
func UpdateChecksum(checksum, from, to uint16) uint16 {
	return ^addSums(addSums(^checksum, ^from), to)
}

// A Change is what a change of some words adds to the one's complement sum of all:
// the new words and the complements of the old (RFC 1624 3). Zero is none.
type Change uint16

// Word returns the change with that of one 16-bit word.
func (c Change) Word(from, to uint16) Change {
	return Change(addSums(uint16(c), addSums(^from, to)))
}

// Words returns the change with that of four words in a row.
func (c Change) Words(from, to uint64) Change {
	sum, carry := bits.Add64(^from, to, 0)
	return Change(addSums(uint16(c), fold(sum+carry)))
}

// Update returns what an Internet checksum becomes, as UpdateChecksum does.
func (c Change) Update(checksum uint16) uint16 { return ^addSums(^checksum, uint16(c)) }

// AdjustTransport brings the packet's transport checksum up to date: pseudo is what
// changes in the pseudo-header (addresses), own what changes in the header and what
// follows. A partial checksum holds the sum of the pseudo-header only, which ports are
// no part of. UDP without a checksum stays without one (RFC 768), and so does what is
// cut off in front of it, as a packet that an ICMP error quotes may be.
//
// Layers must be valid, L4 among them.
func (b *Buf) AdjustTransport(pseudo, own Change) {
	l := &b.Layers
	at := uint16(icmpChecksumAt)
	switch l.Protocol {
	case ProtocolTCP:
		at = tcpChecksumAt
	case ProtocolUDP:
		at = udpChecksumAt
	case ProtocolICMP:
		pseudo = 0 // RFC 792: there is none
	case ProtocolICMPv6:
	default:
		return
	}
	if b.Len() < int(l.L4+at)+2 {
		return
	}
	field := b.Bytes()[l.L4+at:]
	checksum := binary.BigEndian.Uint16(field)
	switch o := &b.Offload; {
	case o.NeedsCsum && o.CsumStart == l.L4 && o.CsumOffset == at:
		checksum = addSums(checksum, uint16(pseudo))
	case l.Protocol != ProtocolUDP:
		checksum = Change(addSums(uint16(pseudo), uint16(own))).Update(checksum)
	case checksum != 0:
		checksum = nonZero(Change(addSums(uint16(pseudo), uint16(own))).Update(checksum))
	}
	binary.BigEndian.PutUint16(field, checksum)
}
