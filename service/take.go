package service

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"weft/frame"
	"weft/service/dhcp4"
	"weft/service/dhcp6"
	"weft/service/lease"
)

// A kind is a service that a frame is for.
type kind uint8

const (
	ofDHCPv4 kind = 1 + iota
	ofDHCPv6
	ofRouter
)

// wanted says which frames are for the services.
type wanted struct {
	dhcp4, dhcp6, router bool
	v4                   [][4]byte  // where DHCPv4 messages for us go: broadcast, and the gateway's
	v6                   [][16]byte // the gateway's addresses
}

var (
	limitedBroadcast = [4]byte{255, 255, 255, 255}
	allServers       = dhcp6.AllServers.As16()
	allRouters       = netip.MustParseAddr("ff02::2").As16()
)

func newWanted(v *Settings) *wanted {
	w := &wanted{dhcp4: v.serves4(), dhcp6: v.serves6(), router: v.advertises(), v4: [][4]byte{limitedBroadcast}}
	if v.LinkLocal.IsValid() {
		w.v6 = append(w.v6, v.LinkLocal.As16())
	}
	for _, p := range v.Subnets {
		if lease.FamilyOf(p.Addr()) == lease.IPv6 {
			w.v6 = append(w.v6, p.Addr().As16())
			continue
		}
		w.v4 = append(w.v4, p.Addr().As4(), broadcastOf(p))
	}
	return w
}

// broadcastOf returns the directed broadcast address of an IPv4 subnet (RFC 919 7).
func broadcastOf(p netip.Prefix) [4]byte {
	a := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])|uint32(uint64(1)<<(32-p.Bits())-1))
	return a
}

// Process takes the frames of the batch that are for the services: DHCP messages of
// clients and router solicitations. They are answered by Run, or dropped if too many
// wait. All bufs came in by one port. Which they are is the same for all frames of a flow,
// as frame.Buf.Flow knows them by their packets.
func (s *Server) Process(_ time.Duration, bufs []*frame.Buf) {
	w := s.wanted.Load()
	for _, b := range bufs {
		k := w.kind(b.Bytes())
		if k == 0 {
			continue
		}
		b.Basis.Once = true // another of its flow may be a message
		if b.Offload.GSO != frame.GSONone || b.Len() > maxMessage {
			continue // no client sends such; whoever else it is for may have it
		}
		b.Complete()
		if s.inbox.put(k, b) {
			b.Drop(frame.Taken)
		} else {
			b.Drop(frame.DropServiceBusy)
		}
	}
}

const (
	ipAt        = frame.EthernetLen
	minIPv4     = 20
	ipv6Len     = 40
	udpLen      = 8
	notWhole    = 0x3fff // more fragments, and the fragment's offset
	solicitType = frame.ICMPv6RouterSolicit
)

// kind returns the service that the frame is for, or zero. Tagged frames, fragments and
// what is behind extension headers is for none: no client's first message is such.
func (w *wanted) kind(p []byte) kind {
	if len(p) < ipAt+minIPv4+udpLen {
		return 0
	}
	switch h := p[ipAt:]; frame.Ethernet(p).Type() {
	case frame.EtherTypeIPv4:
		if frame.Protocol(h[9]) == frame.ProtocolUDP {
			return w.kind4(h)
		}
	case frame.EtherTypeIPv6:
		if next := frame.Protocol(h[6]); next == frame.ProtocolUDP || next == frame.ProtocolICMPv6 {
			return w.kind6(h, next)
		}
	}
	return 0
}

// kind4 returns the service that a UDP datagram by IPv4 is for.
func (w *wanted) kind4(h frame.IPv4) kind {
	header := h.HeaderLen()
	if !w.dhcp4 || header < minIPv4 || header+udpLen > len(h) || binary.BigEndian.Uint16(h[6:])&notWhole != 0 {
		return 0
	}
	if binary.BigEndian.Uint16(h[header+2:]) != dhcp4.ServerPort || !slices.Contains(w.v4, [4]byte(h[16:20])) {
		return 0
	}
	return ofDHCPv4
}

// kind6 returns the service that a UDP datagram or ICMPv6 message is for.
func (w *wanted) kind6(h frame.IPv6, next frame.Protocol) kind {
	if len(h) < ipv6Len+udpLen {
		return 0
	}
	dst := [16]byte(h[24:40])
	switch {
	case next == frame.ProtocolICMPv6:
		if w.router && h[ipv6Len] == solicitType && (dst == allRouters || slices.Contains(w.v6, dst)) {
			return ofRouter
		}
	case w.dhcp6 && binary.BigEndian.Uint16(h[ipv6Len+2:]) == dhcp6.ServerPort && (dst == allServers || slices.Contains(w.v6, dst)):
		return ofDHCPv6
	}
	return 0
}
