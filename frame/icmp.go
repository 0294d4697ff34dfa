package frame

import (
	"encoding/binary"
	"net/netip"
)

// ICMP types (RFC 792). Of those that tell of an error, see isError.
const (
	ICMPEchoReply    = 0
	ICMPUnreachable  = 3
	ICMPSourceQuench = 4
	ICMPRedirect     = 5
	ICMPEchoRequest  = 8
	ICMPTimeExceeded = 11
	ICMPParameter    = 12

	icmpLastQuery = 18 // address mask reply: of what came later, Linux knows none either
)

// ICMPv6 types (RFC 4443, RFC 4861). Those below 128 tell of an error.
const (
	ICMPv6Unreachable   = 1
	ICMPv6TooBig        = 2
	ICMPv6TimeExceeded  = 3
	ICMPv6Parameter     = 4
	ICMPv6EchoRequest   = 128
	ICMPv6EchoReply     = 129
	ICMPv6RouterSolicit = 133
	ICMPv6RouterAdvert  = 134
	ICMPv6Solicitation  = 135
	ICMPv6Advertisement = 136
	ICMPv6Redirect      = 137

	icmpv6FirstQuery = 128
)

// Codes of ICMPUnreachable (RFC 792, RFC 1812 5.2.7.1).
const (
	CodeNet        = 0
	CodeHost       = 1
	CodePort       = 3
	CodeTooBig     = 4 // fragmentation needed and DF set
	CodeProhibited = 13
)

// Codes of ICMPv6Unreachable (RFC 4443 3.1).
const (
	CodeNoRoute6    = 0
	CodeProhibited6 = 1
	CodeAddress6    = 3
	CodePort6       = 4
)

const (
	maxICMPError   = 576  // bytes of the whole packet (RFC 1812 4.3.2.3)
	maxICMPv6Error = 1280 // bytes of the whole packet (RFC 4443 2.4 c)
	icmpTTL        = 64
	icmpClass      = 0xc0 // precedence 6, internetwork control (RFC 1812 4.3.2.5)
)

// ICMPError makes dst the frame that tells the sender of about why its packet was
// lost: an ICMP or ICMPv6 error message, by the packet's version, of a type and
// code, with the four bytes behind the checksum (an MTU, a pointer, or zero), from
// address from, back by the port and to the station it came from. dst may be about.
//
// It returns false, and leaves dst alone, if none may be sent (RFC 1812 4.3.2.7,
// RFC 4443 2.4 e): about an ICMP error or redirect, about what may be one, about a
// later fragment, about a packet to or from more than one host. That RFC 4443 would
// allow two exceptions for multicast does not matter to who routes none.
//
// about.Layers must be valid. Nothing is limited here: that is up to the caller.
func ICMPError(dst, about *Buf, from netip.Addr, typ, code uint8, param uint32) bool {
	if !about.mayBeErrorSubject() {
		return false
	}
	l, p := about.Layers, about.Bytes()
	header, limit := ipv4Len+icmpLen, maxICMPError
	var to netip.Addr
	var n int // bytes of the original packet, padding of the frame left out
	if l.Version == 4 {
		to, n = IPv4(p[l.L3:]).Src(), packetEnd(IPv4(p[l.L3:]).TotalLen(), len(p)-int(l.L3))
	} else {
		header, limit = ipv6Len+icmpLen, maxICMPv6Error
		to, n = IPv6(p[l.L3:]).Src(), ipv6Len+packetEnd(IPv6(p[l.L3:]).PayloadLen(), len(p)-int(l.L3)-ipv6Len)
	}
	n = min(n, limit-header)
	var front [EthernetLen + maxTags*TagLen]byte
	copy(front[:], p[:l.L3])
	in, vid, pcp := about.In, about.VID, about.PCP

	q := dst.Space(0)[:int(l.L3)+header+n]
	copy(q[int(l.L3)+header:], p[l.L3:int(l.L3)+n])
	copy(q, front[:l.L3])
	copy(q, front[6:12])
	copy(q[6:], front[:6])
	dst.Received(len(q))
	dst.In, dst.VID, dst.PCP = in, vid, pcp
	putICMPError(q[l.L3:], from, to, typ, code, param)
	dst.Parse()
	return true
}

// putICMPError writes the headers of an error message in front of what it quotes,
// which is in p already.
func putICMPError(p []byte, from, to netip.Addr, typ, code uint8, param uint32) {
	header := ipv4Len
	seed := uint16(0)
	if from.Is4() {
		h := IPv4(p)
		clear(p[:ipv4Len])
		p[0], p[1], p[8], p[9] = 0x45, icmpClass, icmpTTL, byte(ProtocolICMP)
		h.SetTotalLen(len(p))
		binary.BigEndian.PutUint16(p[6:], ipv4DontFragment) // so that it needs no ID (RFC 6864 4.1)
		putAddr(p[12:], from)
		putAddr(p[16:], to)
		h.UpdateChecksum()
	} else {
		header = ipv6Len
		h := IPv6(p)
		binary.BigEndian.PutUint32(p, 6<<28|icmpClass<<20)
		h.SetPayloadLen(len(p) - ipv6Len)
		p[6], p[7] = byte(ProtocolICMPv6), icmpTTL
		putAddr(p[8:], from)
		putAddr(p[24:], to)
		seed = h.PseudoSum(ProtocolICMPv6, len(p)-ipv6Len)
	}
	m := p[header:]
	m[0], m[1], m[2], m[3] = typ, code, 0, 0
	binary.BigEndian.PutUint32(m[4:], param)
	binary.BigEndian.PutUint16(m[2:], ^Sum(m, seed))
}

// putAddr writes the 4 or 16 bytes of a.
func putAddr(p []byte, a netip.Addr) {
	if a.Is4() {
		v := a.As4()
		copy(p, v[:])
		return
	}
	v := a.As16()
	copy(p, v[:])
}

// mayBeErrorSubject reports whether an ICMP error about the packet may be sent.
func (b *Buf) mayBeErrorSubject() bool {
	l, p := &b.Layers, b.Bytes()
	// Without a transport header there is no telling whether it is an error itself.
	if l.L4 == 0 || Ethernet(p).Dst().IsGroup() {
		return false
	}
	if l.IsICMPError(p) || l.Protocol == l.icmp() && isRedirectOrUnknown(l.Version, p[l.L4]) {
		return false
	}
	if l.Version == 4 {
		h := IPv4(p[l.L3:])
		return isHost(h.Src()) && isHost(h.Dst())
	}
	h := IPv6(p[l.L3:])
	return isHost(h.Src()) && isHost(h.Dst())
}

func isRedirectOrUnknown(version, typ uint8) bool {
	if version == 4 {
		return typ > icmpLastQuery // redirect is an error in IPv4
	}
	return typ == ICMPv6Redirect
}

// isHost reports whether the address may be that of one host, as far as it can be
// seen without a subnet (RFC 1812 4.3.2.7).
func isHost(a netip.Addr) bool {
	if a.Is4() {
		v := a.As4()
		return v[0] != 0 && v[0] != 127 && v[0] < 224
	}
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast()
}

// icmp returns the number of ICMP of the packet's IP version.
func (l *Layers) icmp() Protocol {
	if l.Version == 6 {
		return ProtocolICMPv6
	}
	return ProtocolICMP
}

// IsICMPError reports whether the frame p, of which l was parsed, carries an ICMP
// error message, which quotes another packet: see Quoted.
func (l *Layers) IsICMPError(p []byte) bool {
	if l.L4 == 0 || l.Protocol != l.icmp() {
		return false
	}
	typ := p[l.L4]
	if l.Version == 6 {
		return typ < icmpv6FirstQuery
	}
	switch typ {
	case ICMPUnreachable, ICMPSourceQuench, ICMPRedirect, ICMPTimeExceeded, ICMPParameter:
		return true
	}
	return false
}

// IsEcho reports whether the frame p, of which l was parsed, carries an echo request or
// reply, whole as far as its header goes.
func (l *Layers) IsEcho(p []byte) bool { return l.L4 != 0 && l.isEcho(p[l.L4:]) }

// Quoted finds the headers of the packet that an ICMP error message quotes: offsets
// are from the start of the frame p, of which l was parsed. Version is zero if there
// is none, or if its IP header is not whole. Its end may be cut off.
func (l *Layers) Quoted(p []byte) (q Layers) {
	at := int(l.L4) + icmpLen
	if !l.IsICMPError(p) || at > len(p) {
		return q
	}
	q.L3 = uint16(at)
	if l.Version == 4 {
		q.EtherType = EtherTypeIPv4
		q.parseIPv4(p)
	} else {
		q.EtherType = EtherTypeIPv6
		q.parseIPv6(p)
	}
	return q
}
