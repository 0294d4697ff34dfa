package dhcp4

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"weft/service/lease"
)

// An option is one that a client may be told.
type option struct {
	code  dhcpv4.OptionCode
	value []byte
}

// told returns what the client is told of the network, the most needed first: what finds
// no room is left out from the end.
func (v *Settings) told(m *message, l lease.Lease) []option {
	all := []option{
		{dhcpv4.OptionSubnetMask, net.CIDRMask(v.Server.Bits(), 32)},
		{dhcpv4.OptionClasslessStaticRoute, v.classless()},
		{dhcpv4.OptionRouter, concat(v.Routers)},
		{dhcpv4.OptionDomainNameServer, concat(v.DNS)},
		{dhcpv4.OptionInterfaceMTU, v.mtu()},
		{dhcpv4.OptionDomainName, []byte(v.Domain)},
		{dhcpv4.OptionBroadcastAddress, v.broadcast()},
		{dhcpv4.OptionDNSDomainSearchList, v.search()},
		{dhcpv4.OptionNTPServers, concat(v.NTP)},
	}
	if l.Reserved {
		all = append(all, option{dhcpv4.OptionHostName, []byte(l.Client.Name)})
	}
	var told []option
	for _, o := range all {
		if len(o.value) > 0 && (m.wants(o.code) || o.code == dhcpv4.OptionSubnetMask) {
			told = append(told, o)
		}
	}
	return told
}

// classless returns the value of option 121. A client that goes by it ignores option 3
// (RFC 3442), so the default route is among its routes.
func (v *Settings) classless() []byte {
	if len(v.Routes) == 0 {
		return nil
	}
	var routes dhcpv4.Routes
	for _, r := range append([]Route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), v.Routers[0]}}, v.Routes...) {
		routes = append(routes, &dhcpv4.Route{
			Dest:   &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)},
			Router: r.Via.AsSlice(),
		})
	}
	return routes.ToBytes()
}

// search returns the value of option 119 (RFC 3397).
func (v *Settings) search() []byte {
	if len(v.Search) == 0 {
		return nil
	}
	labels := rfc1035label.NewLabels()
	for _, d := range v.Search {
		labels.Labels = append(labels.Labels, strings.TrimSuffix(d, "."))
	}
	return labels.ToBytes()
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
	return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(a[:])|^uint32(0)>>v.Server.Bits())
}

func concat(list []netip.Addr) (b []byte) {
	for _, a := range list {
		b = append(b, a.AsSlice()...)
	}
	return b
}
