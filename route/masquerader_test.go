package route_test

import (
	"encoding/binary"
	"net/netip"
	"time"

	"weft/frame"
)

// A masquerader is a Translator that is too simple to be wrong: one inside host for
// each protocol, whose address it changes and nothing else.
type masquerader struct {
	outside map[uint8]netip.Addr // by IP version; zero: the host's in the world
	inside  map[key]netip.Addr   // who sent last
	looped  netip.Addr           // who sent the last Hairpin
	why     frame.Reason         // what all are refused for
	pool    uint16               // of the last Outbound
}

type key struct {
	proto   frame.Protocol
	version uint8
}

func (m *masquerader) address(version uint8) netip.Addr {
	if a, ok := m.outside[version]; ok {
		return a
	}
	if version == 4 {
		return ipv4.host
	}
	return ipv6.host
}

func (m *masquerader) Outbound(_ time.Duration, b *frame.Buf, _, pool uint16) frame.Reason {
	if m.why != 0 {
		return m.why
	}
	if m.inside == nil {
		m.inside = map[key]netip.Addr{}
	}
	m.pool = pool
	src, _ := ends(b.Bytes())
	if b.Layers.IsICMPError(b.Bytes()) {
		m.change(b, src, m.address(b.Layers.Version), true)
		m.quote(b, m.address(b.Layers.Version))
		return 0
	}
	m.inside[key{b.Layers.Protocol, b.Layers.Version}] = src
	m.change(b, src, m.address(b.Layers.Version), true)
	return 0
}

func (m *masquerader) Inbound(_ time.Duration, b *frame.Buf) (bool, frame.Reason) {
	_, dst := ends(b.Bytes())
	in, ok := m.inside[key{b.Layers.Protocol, b.Layers.Version}]
	if !ok || dst != m.address(b.Layers.Version) {
		return false, 0
	}
	if m.why == 0 {
		m.change(b, dst, in, false)
	}
	return true, m.why
}

func (m *masquerader) Hairpin(now time.Duration, b *frame.Buf, _ uint16) (bool, frame.Reason) {
	src, _ := ends(b.Bytes())
	if b.Layers.IsICMPError(b.Bytes()) { // about what was hairpinned
		external := m.address(b.Layers.Version)
		m.change(b, src, external, true)
		m.change(b, external, m.looped, false)
		m.quote(b, external)
		return true, 0
	}
	ours, why := m.Inbound(now, b)
	if ours && why == 0 {
		m.looped = src
		m.change(b, src, m.address(b.Layers.Version), true)
	}
	return ours, why
}

// quote gives what an ICMP error quotes another destination.
func (m *masquerader) quote(b *frame.Buf, to netip.Addr) {
	l, p := b.Layers, b.Bytes()
	if l.Quoted(p).Version != l.Version {
		return // it is cut short
	}
	sum := uint16(0)
	if l.Version == 4 {
		frame.IPv4(p[l.Quoted(p).L3:]).SetDst(to)
	} else {
		frame.IPv6(p[l.Quoted(p).L3:]).SetDst(to)
		sum = frame.IPv6(p[l.L3:]).PseudoSum(frame.ProtocolICMPv6, len(p)-int(l.L4))
	}
	h := p[l.L4:]
	h[2], h[3] = 0, 0
	binary.BigEndian.PutUint16(h[2:], ^frame.Sum(h, sum))
}

func (m *masquerader) change(b *frame.Buf, from, to netip.Addr, source bool) {
	p := b.Bytes()[b.Layers.L3:]
	switch {
	case b.Layers.Version == 4 && source:
		frame.IPv4(p).SetSrc(to)
	case b.Layers.Version == 4:
		frame.IPv4(p).SetDst(to)
	case source:
		frame.IPv6(p).SetSrc(to)
	default:
		frame.IPv6(p).SetDst(to)
	}
	var pseudo frame.Change
	f, g := from.As16(), to.As16()
	for k := 0; k < 16; k += 2 {
		pseudo = pseudo.Word(uint16(f[k])<<8|uint16(f[k+1]), uint16(g[k])<<8|uint16(g[k+1]))
	}
	if b.Layers.L4 != 0 {
		b.AdjustTransport(pseudo, 0)
	}
	b.Parse()
}
