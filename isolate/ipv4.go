package isolate

import (
	"encoding/binary"

	"weft/frame"
)

const (
	minIPv4   = 20 // bytes of a header without options
	udpLen    = 8
	tcpLen    = 20
	icmpLen   = 8
	bootReply = 2 // op of all messages of a DHCPv4 server (RFC 2131 2)

	dhcp4Server, dhcp4Client = 67, 68   // UDP ports (RFC 2131 4.1)
	dhcp6Client, dhcp6Server = 546, 547 // UDP ports (RFC 8415 7.2)

	icmpRouterAdvert = 9 // RFC 1256
)

// inspectIPv4 returns why a guest must not send the packet.
func inspectIPv4(h frame.IPv4) frame.Reason {
	if len(h) < minIPv4 || h.Fragment() == frame.FragmentLater {
		return 0
	}
	header, end := h.HeaderLen(), packetEnd(h.TotalLen(), len(h))
	if header < minIPv4 || header > end {
		return 0 // no host takes it
	}
	m := h[header:end]
	protocol := h.Protocol()
	if h.Fragment() == frame.FragmentFirst && len(m) < headerLen(protocol) {
		return frame.DropBadFragment
	}
	switch {
	case protocol == frame.ProtocolUDP && len(m) >= udpLen && isDHCPv4Server(m):
		return frame.DropRogueDHCP
	case protocol == frame.ProtocolICMP && len(m) > 0 && (m[0] == frame.ICMPRedirect || m[0] == icmpRouterAdvert):
		return frame.DropRogueRA
	}
	return 0
}

// packetEnd returns where the packet ends that says it is said bytes long, of have.
// Padding must not be taken for a part of it: a receiver does not either. Only of
// superframes, which say zero, the whole is meant.
func packetEnd(said, have int) int {
	if said == 0 || said > have {
		return have
	}
	return said
}

// headerLen returns how many bytes of its transport header a first fragment must
// have, so that a later one cannot supply what a guard looks at (RFC 7112).
func headerLen(p frame.Protocol) int {
	switch p {
	case frame.ProtocolTCP:
		return tcpLen
	case frame.ProtocolUDP:
		return udpLen
	case frame.ProtocolICMP, frame.ProtocolICMPv6:
		return icmpLen
	}
	return 0
}

// isDHCPv4Server reports whether the UDP datagram is of a DHCPv4 server. What goes to
// the client's port is none of a client, whatever it says and wherever it comes from.
func isDHCPv4Server(m []byte) bool {
	src, dst := binary.BigEndian.Uint16(m), binary.BigEndian.Uint16(m[2:])
	if dst == dhcp4Client {
		return true
	}
	return (src == dhcp4Server || dst == dhcp4Server) && len(m) > udpLen && m[udpLen] == bootReply
}

// isDHCPv6Server reports whether the UDP datagram is of a DHCPv6 server.
func isDHCPv6Server(m []byte) bool {
	src, dst := binary.BigEndian.Uint16(m), binary.BigEndian.Uint16(m[2:])
	if dst == dhcp6Client {
		return true
	}
	if src != dhcp6Server && dst != dhcp6Server || len(m) == udpLen {
		return false
	}
	switch m[udpLen] { // RFC 8415 7.3
	case 2, 7, 10, 13: // ADVERTISE, REPLY, RECONFIGURE, RELAY-REPL
		return true
	}
	return false
}
