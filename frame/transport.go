package frame

import (
	"encoding/binary"
	"strconv"
)

// A Protocol is an IP protocol number.
type Protocol uint8

// The protocols whose headers the switch looks into.
const (
	ProtocolICMP    Protocol = 1
	ProtocolTCP     Protocol = 6
	ProtocolUDP     Protocol = 17
	ProtocolDCCP    Protocol = 33
	ProtocolICMPv6  Protocol = 58
	ProtocolSCTP    Protocol = 132
	ProtocolUDPLite Protocol = 136
)

// HasPorts reports whether the header begins with a source and a destination port.
func (p Protocol) HasPorts() bool {
	switch p {
	case ProtocolTCP, ProtocolUDP, ProtocolDCCP, ProtocolSCTP, ProtocolUDPLite:
		return true
	}
	return false
}

// String returns the protocol's name, or its number.
func (p Protocol) String() string {
	switch p {
	case ProtocolICMP:
		return "ICMP"
	case ProtocolTCP:
		return "TCP"
	case ProtocolUDP:
		return "UDP"
	case ProtocolDCCP:
		return "DCCP"
	case ProtocolICMPv6:
		return "ICMPv6"
	case ProtocolSCTP:
		return "SCTP"
	case ProtocolUDPLite:
		return "UDP-Lite"
	}
	return "protocol " + strconv.Itoa(int(p))
}

const (
	tcpLen        = 20 // of a header without options
	tcpChecksumAt = 16
	udpLen        = 8
	udpChecksumAt = 6
	icmpLen       = 8 // of an echo message without its data

	icmpChecksumAt = 2
)

// The TCP control bits (RFC 9293 3.1) that are treated one by one.
const (
	TCPFin uint8 = 0x01
	TCPSyn uint8 = 0x02
	TCPRst uint8 = 0x04
	TCPPsh uint8 = 0x08
	TCPAck uint8 = 0x10
	TCPCwr uint8 = 0x80
)

// Ports is a transport header that begins with ports (see Protocol.HasPorts), at
// least 4 bytes. Setters leave the checksum to Buf.AdjustTransport.
type Ports []byte

// Src returns the source port.
func (h Ports) Src() uint16 { return binary.BigEndian.Uint16(h) }

// Dst returns the destination port.
func (h Ports) Dst() uint16 { return binary.BigEndian.Uint16(h[2:]) }

// SetSrc sets the source port.
func (h Ports) SetSrc(p uint16) { binary.BigEndian.PutUint16(h, p) }

// SetDst sets the destination port.
func (h Ports) SetDst(p uint16) { binary.BigEndian.PutUint16(h[2:], p) }

// TCP is a segment seen from its header on (RFC 9293), at least 20 bytes.
type TCP []byte

// Seq returns the sequence number.
func (h TCP) Seq() uint32 { return binary.BigEndian.Uint32(h[4:]) }

// SetSeq sets the sequence number.
func (h TCP) SetSeq(n uint32) { binary.BigEndian.PutUint32(h[4:], n) }

// Ack returns the acknowledgment number, which means something with TCPAck only.
func (h TCP) Ack() uint32 { return binary.BigEndian.Uint32(h[8:]) }

// Window returns the receive window as it stands there, not scaled.
func (h TCP) Window() uint16 { return binary.BigEndian.Uint16(h[14:]) }

// Flags returns the control bits.
func (h TCP) Flags() uint8 { return h[13] }

// HeaderLen returns the length of the header with its options, in bytes.
func (h TCP) HeaderLen() int { return int(h[12]>>4) * 4 }

// ClearFlags clears control bits.
func (h TCP) ClearFlags(f uint8) { h[13] &^= f }

// UDP is a datagram seen from its header on (RFC 768), at least 8 bytes.
type UDP []byte

// SetLen sets the length of the datagram, header included, in bytes.
func (h UDP) SetLen(n int) { binary.BigEndian.PutUint16(h[4:], uint16(n)) }

// ICMP is an ICMP (RFC 792) or ICMPv6 (RFC 4443) message, at least 8 bytes.
type ICMP []byte

// Type returns the message's type.
func (h ICMP) Type() uint8 { return h[0] }

// ID returns the identifier of an echo message.
func (h ICMP) ID() uint16 { return binary.BigEndian.Uint16(h[4:]) }

// SetID sets the identifier. The checksum is left to Buf.AdjustTransport.
func (h ICMP) SetID(id uint16) { binary.BigEndian.PutUint16(h[4:], id) }
