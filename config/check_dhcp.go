package config

import (
	"net/netip"
	"strings"
	"time"

	"weft/frame"
)

const (
	minLease = Duration(2 * time.Minute) // shorter ones keep guests busy renewing
	maxLease = Duration(365 * 24 * time.Hour)
	maxQuota = maxRange
)

func (k *checker) duration(path string, d, least, most Duration) {
	if d < least || d > most {
		k.complain(path, d.String(), "%v is out of range (want %v to %v)", d, least, most)
	}
}

func (k *checker) dhcp(at string, n *Network) {
	if k.given(at + ".range") {
		k.addressRange(at+".range", n)
	}
	k.duration(at+".lease", n.DHCP.Lease, minLease, maxLease)
	k.within(at+".quota", n.DHCP.Quota, 0, maxQuota)
	macs, addrs, names := map[frame.MAC]string{}, map[netip.Addr]string{}, map[string]string{}
	for i := range n.DHCP.Reservations {
		r, path := &n.DHCP.Reservations[i], index(at+".reservations", i)
		k.reservation(path, n, r)
		once(k, path+".mac", macs, r.MAC)
		once(k, path+".address", addrs, r.Address)
		once(k, path+".address6", addrs, r.Address6)
		once(k, path+".name", names, strings.ToLower(r.Name)) // RFC 1035 2.3.3
	}
}

// once complains of a value that stands at another path already.
func once[T comparable](k *checker, path string, known map[T]string, v T) {
	if !k.given(path) || !k.sound(path) {
		return
	}
	if was, twice := known[v]; twice {
		k.complain(path, "", "%v is also %s", v, was)
		return
	}
	known[v] = path
}

func (k *checker) addressRange(path string, n *Network) {
	r := n.DHCP.Range
	if !k.sound(path) {
		return
	}
	p, ok := subnetOf(n, r.First)
	switch {
	case !r.First.Is4():
		k.complain(path, r.String(), "%v is not of IPv4 (want addresses such as 192.168.150.100-192.168.150.250; those of IPv6 come from the subnet)", r)
	case !ok || !hosts(p, r.Last):
		k.complain(path, r.String(), "%v is not inside one of the network's subnets (%s)", r, list(n.Subnets))
	case r.Contains(p.Addr()):
		k.complain(path, r.String(), "%v has the gateway's own address %v in it", r, p.Addr())
	case number(r.Last)-number(r.First) >= maxRange:
		k.complain(path, r.String(), "%v has more than %d addresses", r, maxRange)
	}
}

func (k *checker) reservation(at string, n *Network, r *Reservation) {
	k.required(at+".mac", "the guest's address such as 52:54:00:00:00:01")
	if r.MAC == 0 || r.MAC.IsGroup() {
		k.complain(at+".mac", r.MAC.String(), "%v is no guest's address (want an even first byte such as 52)", r.MAC)
	}
	v4, v6 := k.given(at+".address"), k.given(at+".address6")
	switch {
	case !v4 && !v6:
		k.complain(at+".address", "", "missing (want the guest's address of IPv4, or address6, or both)")
	case v4 && k.sound(at+".address") && !r.Address.Is4():
		k.complain(at+".address", r.Address.String(), "%v is not of IPv4 (want it as address6)", r.Address)
	case v6 && k.sound(at+".address6") && r.Address6.Is4():
		k.complain(at+".address6", r.Address6.String(), "%v is not of IPv6 (want it as address)", r.Address6)
	}
	if v4 {
		k.guest(at+".address", n, r.Address)
	}
	if v6 {
		k.guest(at+".address6", n, r.Address6)
	}
	if path := at + ".name"; k.given(path) {
		k.named(path, r.Name, labelFault(r.Name))
		if strings.EqualFold(r.Name, "gateway") || strings.EqualFold(r.Name, "host") {
			k.complain(path, r.Name, "%q stands for the gateway in DNS (want another name)", r.Name)
		}
	}
}

func (k *checker) dns(at string, n *Network) {
	k.named(at+".domain", n.DNS.Domain, domainFault(n.DNS.Domain))
	for i, a := range n.DNS.Servers {
		path := index(at+".servers", i)
		p, _ := subnetOf(n, a)
		switch {
		case !k.sound(path):
		case a.IsUnspecified() || a.IsMulticast() || a.Is4In6():
			k.complain(path, a.String(), "%v is no server's address", a)
		case a.IsLinkLocalUnicast() && a.Zone() == "":
			k.complain(path, a.String(), "%v is on every link (want the NIC too: %v%%eth0)", a, a)
		case p.Addr() == a:
			k.complain(path, a.String(), "%v is the gateway, which would ask itself (want another server, or the key left out for the host's)", a)
		}
	}
}
