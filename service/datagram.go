package service

import (
	"encoding/binary"
	"net/netip"

	"weft/frame"
)

// A received is what a UDP datagram says, and who sent it.
type received struct {
	mac      frame.MAC
	from, to netip.Addr
	payload  []byte
}

// parseDatagram reads the frame of a UDP datagram; !ok: it is malformed, or its checksum
// is wrong. By IPv4 it may have none (RFC 768), by IPv6 not (RFC 8200 8.1).
func parseDatagram(p []byte) (d received, ok bool) {
	l := frame.Parse(p)
	if l.Protocol != frame.ProtocolUDP || l.L4 == 0 || l.Fragment != frame.FragmentNone {
		return d, false
	}
	var sum func(frame.Protocol, int) uint16
	end := int(l.L3)
	if h := p[l.L3:]; l.Version == 4 {
		h := frame.IPv4(h)
		d.from, d.to, sum, end = h.Src(), h.Dst(), h.PseudoSum, end+h.TotalLen()
	} else {
		h := frame.IPv6(h)
		d.from, d.to, sum, end = h.Src(), h.Dst(), h.PseudoSum, end+ipv6Len+h.PayloadLen()
	}
	if end > len(p) || end < int(l.L4)+udpLen {
		return d, false
	}
	u := p[l.L4:end]
	n := int(binary.BigEndian.Uint16(u[4:]))
	if n < udpLen || n > len(u) {
		return d, false
	}
	d.mac, d.payload = frame.Ethernet(p).Src(), u[udpLen:n]
	if absent := u[6] == 0 && u[7] == 0; absent {
		return d, l.Version == 4
	}
	return d, frame.Sum(u[:n], sum(frame.ProtocolUDP, n)) == 0xffff
}
