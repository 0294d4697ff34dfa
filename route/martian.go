package route

import "net/netip"

// A kind says what an address is to the router.
type kind uint8

const (
	routed    kind = iota // behind one of the interfaces
	local                 // the host's own
	external              // of a NAT pool
	broadcast             // all hosts of a subnet
	linkLocal             // of one link, never routed
	multicast             // a group
	elsewhere             // behind an interface of the host that is not one of ours
	martian               // nobody's: neither source nor destination of what is routed
)

// A target is what the table knows of an address.
type target struct {
	kind    kind
	gateway bool       // of local: an inside interface has the address, and no uplink
	iface   *iface     // of routed and broadcast; of elsewhere nil
	via     netip.Addr // of routed: the next hop; not valid: the address itself
	route   Route      // of routed
}

// onLink reports whether the address is that of a station at interface i.
func (t *target) onLink(i *iface) bool {
	return t != nil && t.kind == routed && t.iface == i && !t.via.IsValid()
}

// ofLink reports whether the address means something on one link only, to many hosts or
// to one.
func (t *target) ofLink() bool {
	return t != nil && (t.kind == broadcast || t.kind == linkLocal || t.kind == multicast)
}

// next returns the next hop on the way to dst.
func (t *target) next(dst netip.Addr) netip.Addr {
	if t.via.IsValid() {
		return t.via
	}
	return dst
}

// special are the addresses that no route makes others of.
var special = []struct {
	prefix netip.Prefix
	kind   kind
}{
	// RFC 1812 5.3.7, RFC 1122 3.2.1.3.
	{netip.MustParsePrefix("0.0.0.0/8"), martian},
	{netip.MustParsePrefix("127.0.0.0/8"), martian},
	{netip.MustParsePrefix("169.254.0.0/16"), linkLocal}, // RFC 3927 2.7
	{netip.MustParsePrefix("224.0.0.0/4"), multicast},
	{netip.MustParsePrefix("240.0.0.0/4"), martian},
	{netip.MustParsePrefix("255.255.255.255/32"), broadcast},
	// RFC 4291 2.5.2, 2.5.3, 2.5.5, 2.5.6, 2.7.
	{netip.MustParsePrefix("::/128"), martian},
	{netip.MustParsePrefix("::1/128"), martian},
	{netip.MustParsePrefix("::ffff:0:0/96"), martian},
	{netip.MustParsePrefix("fe80::/10"), linkLocal},
	{netip.MustParsePrefix("ff00::/8"), multicast},
}

// isSpecial reports whether all of the prefix is special.
func isSpecial(p netip.Prefix) bool {
	for _, s := range special {
		if s.prefix.Bits() <= p.Bits() && s.prefix.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// broadcasts returns the addresses of the subnet that are not one host's: of IPv4, host
// bits all ones, and at an inside interface all zeros too, as they once meant the same
// (RFC 1812 5.3.5.3). Of IPv6, the routers' anycast address (RFC 4291 2.6.1). Subnets for
// two hosts or one have none (RFC 3021, RFC 6164).
func broadcasts(p netip.Prefix, outside bool) []netip.Addr {
	if p.Addr().BitLen()-p.Bits() < 2 || p.Addr().IsLinkLocalUnicast() {
		return nil
	}
	zeros := p.Masked().Addr()
	if zeros.Is6() {
		if outside {
			return nil
		}
		return []netip.Addr{zeros}
	}
	v := zeros.As4()
	for bit := p.Bits(); bit < 32; bit++ {
		v[bit/8] |= 0x80 >> (bit % 8)
	}
	if outside {
		return []netip.Addr{netip.AddrFrom4(v)}
	}
	return []netip.Addr{zeros, netip.AddrFrom4(v)}
}
