package isolate

import (
	"encoding/binary"

	"weft/frame"
)

const (
	minIPv6      = 40 // bytes of a header without extensions
	minExtension = 8  // bytes of the shortest extension header

	optionsRS = 8  // offset of the options in a router solicitation (RFC 4861 4.1)
	optionsNS = 24 // in a neighbor solicitation or advertisement (RFC 4861 4.3, 4.4)

	certificationSolicit, certificationAdvert = 148, 149 // RFC 3971 6.4
)

// IPv6 extension headers (RFC 7045 4).
const (
	hopByHop    = 0
	routing     = 43
	fragment    = 44
	auth        = 51
	destination = 60
	mobility    = 135
	hip         = 139
	shim6       = 140
)

// inspectIPv6 returns why a guest must not send the packet. It follows the chain of
// extension headers to its end, however long, and wants a first fragment to have all
// of it (RFC 7113 3). Later fragments are worth nothing without the first.
func (s *settings) inspectIPv6(h frame.IPv6) frame.Reason {
	if len(h) < minIPv6 {
		return 0
	}
	next, rest := h.NextHeader(), h[minIPv6:]
	rest = rest[:packetEnd(h.PayloadLen(), len(rest))]
	partial := false // it is a fragment, and more follow
	for {
		size := extensionLen(next, rest)
		if size == 0 {
			break
		}
		if size > len(rest) {
			return incomplete(partial)
		}
		if next == fragment {
			v := binary.BigEndian.Uint16(rest[2:])
			if v&^7 != 0 {
				return 0
			}
			partial = partial || v&1 != 0
		}
		next, rest = frame.Protocol(rest[0]), rest[size:]
	}
	if len(rest) < headerLen(next) {
		return incomplete(partial)
	}
	switch {
	case next == frame.ProtocolUDP && isDHCPv6Server(rest):
		return frame.DropRogueDHCP
	case next == frame.ProtocolICMPv6:
		return s.inspectICMPv6(h, rest, h.NextHeader() != next)
	}
	return 0
}

// incomplete returns the verdict on a packet whose header chain is cut short: what is
// no fragment, no host takes.
func incomplete(partial bool) frame.Reason {
	if partial {
		return frame.DropBadFragment
	}
	return 0
}

// extensionLen returns the length in bytes of the extension header of type t at the
// start of p, more than p has if it is cut short, and zero if the type is none of an
// extension header.
func extensionLen(t frame.Protocol, p []byte) int {
	switch t {
	case fragment:
		return minExtension
	case hopByHop, routing, auth, destination, mobility, hip, shim6:
	default:
		return 0
	}
	if len(p) < minExtension {
		return minExtension
	}
	if t == auth {
		return (int(p[1]) + 2) * 4 // RFC 4302 2.2
	}
	return (int(p[1]) + 1) * 8 // RFC 6564 4
}

// inspectICMPv6 returns why a guest must not send the message m of packet h, wrapped in
// extension headers or not.
func (s *settings) inspectICMPv6(h frame.IPv6, m []byte, wrapped bool) frame.Reason {
	options := optionsNS
	switch m[0] {
	case frame.ICMPv6RouterAdvert, frame.ICMPv6Redirect:
		return frame.DropRogueRA
	case frame.ICMPv6RouterSolicit:
		options = optionsRS
	case frame.ICMPv6Solicitation, frame.ICMPv6Advertisement:
	case certificationSolicit, certificationAdvert:
		options = len(m)
	default:
		return 0
	}
	// Of a solicitation receivers learn the source, of an advertisement the target. One that
	// is too short no host takes, but for a fragment.
	switch {
	case len(m) >= options && (s.isGateway6(h[8:24]) || m[0] == frame.ICMPv6Advertisement && s.isGateway6(m[8:24]) || s.namesStation(m[options:])):
		return frame.DropSpoofedGateway
	case wrapped:
		// RFC 6980 5: not even an atomic fragment. Nor has any node use for another extension
		// header here, but to hide from who counts neighbors.
		return frame.DropBadFragment
	}
	return 0
}

// namesStation reports whether one of the options is a source or target link-layer
// address that is the gateway's (RFC 4861 4.6.1).
func (s *settings) namesStation(options []byte) bool {
	for len(options) >= minExtension && options[1] != 0 {
		if options[0] == 1 || options[0] == 2 {
			if frame.MACFrom(options[2:]) == s.mac {
				return true
			}
		}
		options = options[min(int(options[1])*8, len(options)):]
	}
	return false
}
