package route

import (
	"net/netip"
	"slices"

	"weft/frame"
)

// hearARP reads an ARP packet at an inside interface: who it is from is updated before
// what it wants is looked at (RFC 826). The host's stack answers it. Layers must be valid.
func (t *turn) hearARP(b *frame.Buf) {
	p := frame.ARP(b.Bytes()[b.Layers.L3:])
	b.Basis.Once = true
	if t.in.Outside || !p.Valid() {
		return
	}
	t.hear(word{
		addr: p.SenderIP(), mac: p.SenderMAC(), answers: true, override: true,
		asks: p.Op() == frame.ARPRequest && t.in.has(p.TargetIP()),
	}, b)
}

// has reports whether the address is the interface's own.
func (i *iface) has(a netip.Addr) bool {
	return slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == a })
}

// asks returns the address from which the interface asks for a neighbor: of the same
// subnet, or link-local (RFC 4861 7.2.2); not valid if it has none.
func (i *iface) asks(target netip.Addr) netip.Addr {
	if target.Is6() {
		return i.linkLocal
	}
	for _, p := range i.Addresses {
		if p.Contains(target) {
			return p.Addr()
		}
	}
	return i.addr4
}
