// Package datagram builds the Ethernet frames of UDP datagrams that weft itself sends:
// RFC 768 in RFC 791 or RFC 8200.
package datagram

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"weft/frame"
)

// An Endpoint is one end of a datagram.
type Endpoint struct {
	MAC  frame.MAC
	Addr netip.AddrPort
}

const (
	ipv4Len = 20
	ipv6Len = 40
	udpLen  = 8

	// MaxPayload is the length in bytes of the longest payload that is sent. What is
	// longer than a link's MTU would be lost on it, as nothing is fragmented here.
	MaxPayload = 1<<16 - 1 - ipv4Len - udpLen

	hops = 64 // of packets that hosts send
)

// Frame returns the complete frame, checksums computed, unpadded. It panics on a payload
// longer than MaxPayload and on addresses of two families, which are its caller's bugs.
func Frame(from, to Endpoint, payload []byte) []byte {
	src, dst := from.Addr.Addr(), to.Addr.Addr()
	if len(payload) > MaxPayload || src.BitLen() != dst.BitLen() {
		panic(fmt.Sprintf("datagram: %d bytes from %s to %s", len(payload), from.Addr, to.Addr))
	}
	length := udpLen + len(payload)
	header := ipv6Len
	if src.Is4() {
		header = ipv4Len
	}
	b := make([]byte, frame.EthernetLen+header+length)
	to.MAC.Put(b)
	from.MAC.Put(b[6:])
	ip, udp := b[frame.EthernetLen:], b[frame.EthernetLen+header:]
	binary.BigEndian.PutUint16(udp, from.Addr.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Addr.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	copy(udp[udpLen:], payload)
	var pseudo uint16
	if src.Is4() {
		binary.BigEndian.PutUint16(b[12:], uint16(frame.EtherTypeIPv4))
		pseudo = putIPv4(ip, src, dst, length)
	} else {
		binary.BigEndian.PutUint16(b[12:], uint16(frame.EtherTypeIPv6))
		pseudo = putIPv6(ip, src, dst, length)
	}
	sum := ^frame.Sum(udp, pseudo)
	if sum == 0 {
		sum = 0xffff // RFC 768: zero would say that there is none
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return b
}

// putIPv4 writes the header and returns the sum of the pseudo-header. The packet is
// atomic (RFC 6864): it may not be fragmented, so that its ID says nothing and is zero.
func putIPv4(ip frame.IPv4, src, dst netip.Addr, length int) uint16 {
	ip[0] = 4<<4 | ipv4Len/4
	ip.SetTotalLen(ipv4Len + length)
	ip[6] = 0x40
	ip[8], ip[9] = hops, byte(frame.ProtocolUDP)
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], dst.AsSlice())
	ip.UpdateChecksum()
	return ip.PseudoSum(frame.ProtocolUDP, length)
}

// putIPv6 writes the header and returns the sum of the pseudo-header.
func putIPv6(ip frame.IPv6, src, dst netip.Addr, length int) uint16 {
	ip[0] = 6 << 4
	ip.SetPayloadLen(length)
	ip[6], ip[7] = byte(frame.ProtocolUDP), hops
	copy(ip[8:], src.AsSlice())
	copy(ip[24:], dst.AsSlice())
	return ip.PseudoSum(frame.ProtocolUDP, length)
}
