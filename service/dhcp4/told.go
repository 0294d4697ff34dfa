package dhcp4

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"weft/service/lease"
)

// told returns what the client is told of the network, the most needed first: what finds
// no room is left out from the end.
func (v *Settings) told(m *message, l lease.Lease) []option {
	all := []option{
		{optSubnetMask, binary.BigEndian.AppendUint32(nil, v.mask())},
		{optRoutes, v.classless()},
		{optRouter, concat(v.Routers)},
		{optDNS, concat(v.DNS)},
		{optMTU, v.mtu()},
		{optDomain, []byte(v.Domain)},
		{optBroadcast, v.broadcast()},
		{optSearch, v.search()},
		{optNTP, concat(v.NTP)},
	}
	if l.Reserved {
		all = append(all, option{optHostName, []byte(l.Client.Name)})
	}
	var told []option
	for _, o := range all {
		if len(o.value) > 0 && (m.wants(o.code) || o.code == optSubnetMask) {
			told = append(told, o)
		}
	}
	return told
}

func (v *Settings) mask() uint32 { return ^(^uint32(0) >> v.Server.Bits()) }

// classless returns the value of option 121 (RFC 3442): for each route the bits of the
// prefix, as many of its bytes as matter, the router. A client that goes by it ignores
// option 3, so the default route is among them.
func (v *Settings) classless() (b []byte) {
	if len(v.Routes) == 0 {
		return nil
	}
	all := append([]Route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), v.Routers[0]}}, v.Routes...)
	for _, r := range all {
		b = append(b, byte(r.To.Bits()))
		b = append(b, r.To.Addr().AsSlice()[:(r.To.Bits()+7)/8]...)
		b = append(b, r.Via.AsSlice()...)
	}
	return b
}

// search returns the value of option 119: names as in DNS, not compressed (RFC 3397).
func (v *Settings) search() (b []byte) {
	for _, d := range v.Search {
		for l := range strings.SplitSeq(strings.TrimSuffix(d, "."), ".") {
			b = append(append(b, byte(len(l))), l...)
		}
		b = append(b, 0)
	}
	return b
}

func (v *Settings) mtu() []byte {
	if v.MTU == 0 {
		return nil
	}
	return binary.BigEndian.AppendUint16(nil, uint16(v.MTU))
}

// broadcast returns the subnet's broadcast address. One of two addresses has none
// (RFC 3021).
func (v *Settings) broadcast() []byte {
	if v.Server.Bits() > 30 {
		return nil
	}
	a := v.Server.Addr().As4()
	return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(a[:])|^v.mask())
}

func concat(list []netip.Addr) (b []byte) {
	for _, a := range list {
		b = append(b, a.AsSlice()...)
	}
	return b
}
