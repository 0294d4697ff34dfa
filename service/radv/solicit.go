package radv

import (
	"errors"
	"net/netip"

	"weft/frame"
)

// What is wrong with a router solicitation (RFC 4861 6.1.1).
var (
	errNoSolicitation = errors.New("not a router solicitation")
	errHopLimit       = errors.New("router solicitation: its hop limit is not 255, so it may come from afar")
	errChecksum       = errors.New("router solicitation: its checksum is wrong")
	errMalformed      = errors.New("router solicitation: malformed")
	errSource         = errors.New("router solicitation: its source address may not be one")
)

// A solicitor is who sent a router solicitation.
type solicitor struct {
	addr netip.Addr // unspecified: it has none yet
	mac  frame.MAC
}

// parseSolicitation reads the frame p of a router solicitation, its checksum complete,
// and validates it as RFC 4861 6.1.1 wants. It must not be behind extension headers:
// hosts do not send such, and fragments must be ignored (RFC 6980 5).
func parseSolicitation(p []byte) (solicitor, error) {
	const solicitationLen = 8
	l := frame.Parse(p)
	if l.Version != 6 || l.Protocol != frame.ProtocolICMPv6 || l.L4 != l.L3+ipv6Len || p[l.L4] != frame.ICMPv6RouterSolicit {
		return solicitor{}, errNoSolicitation
	}
	h := frame.IPv6(p[l.L3:])
	if h.PayloadLen() > len(h)-ipv6Len {
		return solicitor{}, errMalformed
	}
	m := h[ipv6Len : ipv6Len+h.PayloadLen()]
	from := solicitor{h.Src(), frame.Ethernet(p).Src()}
	switch {
	case h.HopLimit() != hopLimit:
		return solicitor{}, errHopLimit
	case len(m) < solicitationLen || m[1] != 0: // m[1]: code
		return solicitor{}, errMalformed
	case frame.Sum(m, h.PseudoSum(frame.ProtocolICMPv6, len(m))) != 0xffff:
		return solicitor{}, errChecksum
	case from.addr.IsMulticast() || from.addr.IsLoopback() || from.mac.IsGroup():
		return solicitor{}, errSource
	}
	for o := m[solicitationLen:]; len(o) > 0; {
		if len(o) < 8 || o[1] == 0 || int(o[1])*8 > len(o) {
			return solicitor{}, errMalformed
		}
		if o[0] == 1 && from.addr.IsUnspecified() { // source link-layer address
			return solicitor{}, errSource
		}
		o = o[int(o[1])*8:]
	}
	return from, nil
}
