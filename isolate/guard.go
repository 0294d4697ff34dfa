// Package isolate keeps the guests of a network from harming one another: stages
// that drop what a guest must not say. It guards as RFC 6105 and RFC 7113 advise for
// router advertisements, and likewise for DHCP and for claims to be the gateway.
package isolate

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"weft/frame"
)

// A GuardConfig says who the gateway of a network is.
type GuardConfig struct {
	Gateway []netip.Addr   // its addresses, of both families, the link-local one too
	MAC     frame.MAC      // its station
	Trusted []frame.PortID // ports that may say anything: the gateway's own
}

// A Guard is a stage of networks with a gateway. From all ports that are not trusted
// it drops what would make a guest the gateway, the router or the DHCP server of
// others:
//
//   - ARP and neighbor discovery messages that claim an address of the gateway, or
//     its MAC for another one: DropSpoofedGateway.
//   - DHCPv4 and DHCPv6 messages of a server: DropRogueDHCP.
//   - Router advertisements and redirects: DropRogueRA.
//   - Fragments that could hide one of these: DropBadFragment.
//
// It looks behind VLAN tags, LLC/SNAP headers and IPv6 extension headers. A verdict holds
// for all frames of a flow, as frame.Buf.Flow knows them by their packets; of DHCP, which
// is told by more than that, each is judged alone.
type Guard struct {
	settings atomic.Pointer[settings]
}

// settings is a GuardConfig in the form that frames are compared with.
type settings struct {
	v4      []uint32
	v6      [][16]byte
	mac     frame.MAC
	trusted []frame.PortID
}

// NewGuard returns a Guard that goes by c.
func NewGuard(c GuardConfig) *Guard {
	g := &Guard{}
	g.Set(c)
	return g
}

// Set makes the Guard go by c from the next batch on. It may be called at any time.
func (g *Guard) Set(c GuardConfig) {
	s := &settings{mac: c.MAC, trusted: slices.Clone(c.Trusted)}
	for _, a := range c.Gateway {
		if a = a.Unmap(); a.Is4() {
			v := a.As4()
			s.v4 = append(s.v4, binary.BigEndian.Uint32(v[:]))
		} else {
			s.v6 = append(s.v6, a.As16())
		}
	}
	g.settings.Store(s)
}

// Process drops what a guest must not send. All bufs came in by one port.
func (g *Guard) Process(_ time.Duration, bufs []*frame.Buf) {
	s := g.settings.Load()
	if len(bufs) == 0 || slices.Contains(s.trusted, bufs[0].In) {
		return
	}
	for _, b := range bufs {
		p := b.Bytes()
		if isPlainTCP(p) {
			continue
		}
		if r := s.inspect(p); r != 0 {
			b.Drop(r)
		}
		if mayBeDHCP(&b.Came) {
			b.Basis.Once = true
		}
	}
}

// mayBeDHCP reports whether verdicts on frames of the flow rest on more than that: on the
// message, and on whether the packet says that it is long enough to have one.
func mayBeDHCP(f *frame.Flow) bool {
	return f.Protocol == frame.ProtocolUDP && (isDHCPPort(f.SrcPort) || isDHCPPort(f.DstPort))
}

func isDHCPPort(p uint16) bool {
	return p == dhcp4Server || p == dhcp4Client || p == dhcp6Client || p == dhcp6Server
}

// isPlainTCP reports whether the frame is an untagged whole TCP packet without extension
// headers: most of all frames, and none of the guard's business.
func isPlainTCP(p []byte) bool {
	const minLen = frame.EthernetLen + 20
	if len(p) < minLen {
		return false
	}
	switch frame.Ethernet(p).Type() {
	case frame.EtherTypeIPv4:
		ip := frame.IPv4(p[frame.EthernetLen:])
		return ip.Protocol() == frame.ProtocolTCP && ip.Fragment() == frame.FragmentNone
	case frame.EtherTypeIPv6:
		return frame.Protocol(p[frame.EthernetLen+6]) == frame.ProtocolTCP
	}
	return false
}

// inspect returns why a guest must not send the frame, or zero.
func (s *settings) inspect(p []byte) frame.Reason {
	t, packet := innermost(p)
	switch t {
	case frame.EtherTypeARP:
		return s.inspectARP(packet)
	case frame.EtherTypeIPv4:
		return inspectIPv4(packet)
	case frame.EtherTypeIPv6:
		return s.inspectIPv6(packet)
	}
	return 0
}

// innermost returns what a receiver finds in the frame behind all tags and LLC/SNAP
// headers, and its EtherType. Hosts strip any number of priority tags, and some take
// IP in LLC/SNAP with whatever length (CVE-2021-27853, CVE-2021-27861): so here is no
// limit either.
func innermost(p []byte) (frame.EtherType, []byte) {
	const (
		minType = 0x600 // less is a length (IEEE 802.3 3.2.6)
		snap    = 0xaa  // IEEE 802 9.4: AA AA 03, three bytes of organization, EtherType
		snapLen = 8
	)
	for at := frame.EthernetLen - 2; at+2 <= len(p); {
		t := frame.EtherType(binary.BigEndian.Uint16(p[at:]))
		switch {
		case t.IsTag():
			at += frame.TagLen
		case t >= minType:
			return t, p[at+2:]
		case at+2 < len(p) && p[at+2] == snap:
			at += snapLen
		default:
			return t, nil
		}
	}
	return 0, nil
}

// isGateway4 reports whether the four bytes are an address of the gateway.
func (s *settings) isGateway4(a []byte) bool {
	return slices.Contains(s.v4, binary.BigEndian.Uint32(a))
}

// isGateway6 reports whether the sixteen bytes are an address of the gateway.
func (s *settings) isGateway6(a []byte) bool {
	return slices.Contains(s.v6, [16]byte(a))
}

// inspectARP returns why a guest must not send the ARP packet. Sender addresses are
// what receivers learn, from requests, replies and gratuitous ones alike (RFC 826).
// A probe for an address of the gateway has none, and is answered (RFC 5227 2.1.1).
func (s *settings) inspectARP(p frame.ARP) frame.Reason {
	// Not ARP.Valid: hosts take hardware type 6, IEEE 802, for Ethernet too.
	if len(p) >= frame.ARPLen && (s.isGateway4(p[14:18]) || p.SenderMAC() == s.mac) {
		return frame.DropSpoofedGateway
	}
	return 0
}
