package config

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// maxRange bounds how many IPv4 addresses a network's guests share.
const maxRange = 1 << 16

// DefaultSubnets are those of the one NAT network that names none.
var DefaultSubnets = []netip.Prefix{netip.MustParsePrefix("192.168.150.1/24"), netip.MustParsePrefix("fd5a:150::1/64")}

// subnetFault says why p cannot be a subnet with the gateway's address in it.
func subnetFault(p netip.Prefix) string {
	a := p.Addr()
	if text := addressFault(p); text != "" {
		return text
	}
	switch {
	case a.IsLoopback(), a.IsLinkLocalUnicast():
		return fmt.Sprintf("%v is for one host or one link only (want a private subnet such as 192.168.150.1/24, or one that is routed to this host)", p)
	case a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240): // RFC 6890
		return fmt.Sprintf("%v is in reserved space (want a private subnet such as 192.168.150.1/24)", p)
	case p.IsSingleIP():
		return fmt.Sprintf("%v has no room for guests (want a prefix length such as 24 or 64)", p)
	case !hosts(p, a) && a == p.Masked().Addr():
		return fmt.Sprintf("%v is the address of the network itself (want one inside it such as %v)", p, netip.PrefixFrom(a.Next(), p.Bits()))
	case !hosts(p, a):
		return fmt.Sprintf("%v is the broadcast address of its subnet (want one inside it such as %v)", p, netip.PrefixFrom(a.Prev(), p.Bits()))
	}
	return ""
}

// hosts reports whether a can be one host's address in p. The lowest is the network
// (RFC 1122 3.2.1.3) or any router (RFC 4291 2.6.1), the highest of IPv4 is broadcast;
// links of two have neither (RFC 3021, RFC 6164).
func hosts(p netip.Prefix, a netip.Addr) bool {
	switch {
	case !p.Contains(a):
		return false
	case a.BitLen()-p.Bits() < 2:
		return true
	case a == p.Masked().Addr():
		return false
	}
	return !a.Is4() || p.Contains(a.Next())
}

// defaultRange returns the addresses that guests of IPv4 subnet p get. A large subnet
// keeps its first hundred and its last few for those who choose themselves:
// 192.168.150.100-192.168.150.250. A smaller one than /24 keeps none but the gateway's.
func defaultRange(p netip.Prefix) AddressRange {
	gateway := number(p.Addr())
	first := number(p.Masked().Addr())
	last := first + (1<<(32-p.Bits()) - 1)
	switch {
	case p.Bits() <= 24:
		first, last = first+100, last-5
		last = min(last, first+maxRange-1)
	case p.Bits() < 31:
		first, last = first+1, last-1
	}
	if first <= gateway && gateway <= last {
		if gateway-first > last-gateway {
			last = gateway - 1
		} else {
			first = gateway + 1
		}
	}
	return AddressRange{address(first), address(last)}
}

func number(a netip.Addr) uint32 { b := a.As4(); return binary.BigEndian.Uint32(b[:]) }

func address(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
