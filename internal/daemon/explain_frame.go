package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"weft/frame"
	"weft/internal/control/api"
)

// completeLocked fills in what a flow leaves out as its sender would, or says what to
// say.
func (w *way) completeLocked() error {
	f := &w.flow
	known := f.Protocol == "tcp" || f.Protocol == "udp" || f.Protocol == "icmp" || f.Protocol == "arp"
	switch {
	case f.Protocol != "" && !known:
		return fmt.Errorf("protocol %q (want tcp, udp, icmp or arp)", f.Protocol)
	case known && (!f.From.IsValid() || !f.To.IsValid() || f.From.Addr().Is4() != f.To.Addr().Is4()):
		return fmt.Errorf("%s from %v to %v (want two addresses of one family)", f.Protocol, f.From, f.To)
	case f.Protocol == "arp" && !f.From.Addr().Is4():
		return errors.New("arp is for IPv4")
	case !known && (f.From.IsValid() || f.To.IsValid()):
		return errors.New("addresses without a protocol (want tcp, udp, icmp or arp)")
	case f.VLAN > 4094:
		return fmt.Errorf("vlan %d (want 1 to 4094)", f.VLAN)
	case f.Src.IsGroup():
		return fmt.Errorf("%s sends no frames (want the address of one station)", f.Src)
	}
	if f.Src == 0 {
		f.Src = w.senderLocked()
	}
	if f.Dst == 0 {
		f.Dst = w.receiverLocked()
	}
	switch {
	case f.Src == 0:
		return fmt.Errorf("who sends it is not known at %s (say src MAC)", w.in.name)
	case f.Dst == 0:
		return fmt.Errorf("who gets it is not known at %s (say dst MAC)", w.in.name)
	}
	return nil
}

// senderLocked returns the station at the port of entry that has the flow's source
// address, or is the only one there; 0: not known.
func (w *way) senderLocked() frame.MAC {
	if f := w.flow; f.Protocol != "" {
		if mac := w.neighborLocked(f.From.Addr()); mac != 0 {
			return mac
		}
	}
	if w.in.mac != 0 {
		return w.in.mac
	}
	var mac frame.MAC
	for _, s := range w.d.sw.Stations(w.in.net.fid) {
		if s.Port == w.in.id {
			if mac != 0 {
				return 0
			}
			mac = s.MAC
		}
	}
	return mac
}

// receiverLocked returns the station that the sender would choose; 0: not known.
func (w *way) receiverLocked() frame.MAC {
	f, g := w.flow, w.in.net.gateway
	to := f.To.Addr()
	switch {
	case f.Protocol == "arp" || to == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return frame.Broadcast
	case f.Protocol == "":
		return 0
	case to.IsMulticast() && to.Is4():
		v := to.As4() // RFC 1112 6.4: the lower 23 bits
		return 0x0100_5e00_0000 | frame.MAC(binary.BigEndian.Uint32(v[:]))&0x7f_ffff
	case to.IsMulticast():
		return frame.GroupMAC(to)
	case w.in.kind == kindUplink:
		if u := w.d.uplinkLocked(w.in.device); u != nil && u.up != nil && w.in.id == u.wire && u.routed {
			return u.up.HostMAC()
		}
		return 0
	case g == nil || g.att == nil:
		return 0
	case slices.ContainsFunc(w.in.net.cfg.Subnets, func(p netip.Prefix) bool { return p.Contains(to) && p.Addr() != to }):
		return w.neighborLocked(to)
	case w.in.id == g.id:
		return 0
	}
	return g.att.MAC()
}

// neighborLocked returns the station that has an address on the segment of the port of
// entry, or leads there; 0: not known.
func (w *way) neighborLocked(a netip.Addr) frame.MAC {
	d, n := w.d, w.in.net
	at := frame.PortID(0)
	if n.gateway != nil {
		at = n.gateway.id
	} else if u := d.uplinkLocked(w.in.device); w.in.kind == kindUplink && u != nil {
		at, a = u.host, d.layer3.hop(u.link.Index, a)
	}
	for _, o := range d.layer3.router.Neighbors(d.sw.Now()) {
		if o.At == at && o.Addr == a && o.MAC != 0 {
			return o.MAC
		}
	}
	if n.gateway == nil || n.gateway.server == nil {
		return 0
	}
	for _, l := range n.gateway.server.Leases() {
		if l.Address == a {
			return l.Client.MAC
		}
	}
	return 0
}

// hop returns the next hop to an address by a link, as the host's routes have it.
func (l *layer3) hop(link int, a netip.Addr) netip.Addr {
	hop, bits := a, -1
	for _, r := range l.host.Routes {
		if r.Link == link && r.Prefix.Contains(a) && r.Prefix.Bits() > bits {
			hop, bits = a, r.Prefix.Bits()
			if r.Gateway.IsValid() {
				hop = r.Gateway
			}
		}
	}
	return hop
}

// frameOf returns the first frame of a flow, as short as it may be.
func frameOf(f api.Flow) *frame.Buf {
	b := frame.NewBufs(1)[0]
	p := b.Space(0)[:0]
	p = binary.BigEndian.AppendUint64(p, uint64(f.Dst)<<16|uint64(f.Src)>>32)
	p = binary.BigEndian.AppendUint32(p, uint32(f.Src))
	if f.VLAN != 0 {
		p = binary.BigEndian.AppendUint16(p, uint16(frame.EtherTypeCTag))
		p = binary.BigEndian.AppendUint16(p, f.VLAN)
	}
	t, payload := packetOf(f)
	p = binary.BigEndian.AppendUint16(p, uint16(t))
	b.Received(len(append(p, payload...)))
	return b
}

// packetOf returns what the flow's first frame carries.
func packetOf(f api.Flow) (frame.EtherType, []byte) {
	const ipv4Len, ipv6Len, hops = 20, 40, 64
	from, to := f.From.Addr(), f.To.Addr()
	switch {
	case f.Protocol == "":
		const experimental = 0x88b5 // IEEE 802 9.2.4
		return experimental, make([]byte, frame.MinLen-frame.EthernetLen)
	case f.Protocol == "arp":
		b := frame.NewBufs(1)[0]
		b.MakeARP(f.Dst, frame.ARPRequest, f.Src, from, to)
		return frame.EtherTypeARP, b.Bytes()[frame.EthernetLen:]
	case from.Is4():
		t := transportOf(f)
		h := frame.IPv4(make([]byte, ipv4Len))
		h[0], h[8], h[9] = 0x45, hops, byte(protocolNumber(f))
		h.SetTotalLen(len(h) + len(t))
		h.SetSrc(from)
		h.SetDst(to)
		h.UpdateChecksum()
		return frame.EtherTypeIPv4, append(h, t...)
	}
	t := transportOf(f)
	h := frame.IPv6(make([]byte, ipv6Len))
	h[0], h[6], h[7] = 0x60, byte(protocolNumber(f)), hops
	h.SetPayloadLen(len(t))
	h.SetSrc(from)
	h.SetDst(to)
	return frame.EtherTypeIPv6, append(h, t...)
}

// transportOf returns the header of a SYN, of an empty datagram or of an echo request.
// Nobody looks at its checksum.
func transportOf(f api.Flow) []byte {
	h := binary.BigEndian.AppendUint32(nil, uint32(f.From.Port())<<16|uint32(f.To.Port()))
	switch f.Protocol {
	case "tcp":
		h = append(h, make([]byte, 16)...)
		h[12], h[13] = 5<<4, frame.TCPSyn
	case "udp":
		h = append(h, 0, 8, 0, 0)
	default:
		h = make([]byte, 8)
		h[0] = 8 // echo request: RFC 792, RFC 4443 4.1
		if f.To.Addr().Is6() {
			h[0] = 128
		}
		frame.ICMP(h).SetID(f.From.Port())
	}
	return h
}

// protocolNumber returns the protocol of a flow's packets, 0 if it has none.
func protocolNumber(f api.Flow) frame.Protocol {
	switch {
	case f.Protocol == "tcp":
		return frame.ProtocolTCP
	case f.Protocol == "udp":
		return frame.ProtocolUDP
	case f.Protocol == "icmp" && f.To.Addr().Is4():
		return frame.ProtocolICMP
	case f.Protocol == "icmp":
		return frame.ProtocolICMPv6
	}
	return 0
}
