package service

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"weft/frame"
	"weft/service/dhcp4"
	"weft/service/dhcp6"
	"weft/service/dns"
	"weft/service/lease"
	"weft/service/radv"
)

// routerLifetime is how long guests believe to have a default router that is silent:
// three times the longest interval between advertisements (RFC 4861 6.2.1).
const routerLifetime = 1800 * time.Second

// Settings say what a network's gateway serves. The zero value: nothing.
type Settings struct {
	MAC       frame.MAC
	LinkLocal netip.Addr     // its IPv6 address fe80::1
	Subnets   []netip.Prefix // each with the gateway's address in it; DHCP gives addresses of the first of each family
	MTU       int            // of the network; zero: not told
	Outside   bool           // it is the way to others than the network's guests

	// What is served, as far as there is a subnet of the family.
	DHCPv4, DHCPv6, Advertise, DNS bool

	Ranges       []lease.Range // that DHCP gives out; without one of IPv6, a part of the subnet
	Reservations []lease.Reservation
	Quota        int           // addresses of one family for one port; zero: no limit
	Lease        time.Duration // zero: one hour

	Domain  string         // of the guests' names; empty: they have none, and DNS wants one
	Servers []netip.Addr   // resolvers for all else; none: the host's. Without DNS, guests are told them
	Clients []netip.Prefix // who may ask for names beside the subnets: guests of guests
}

// subnet returns the first subnet of a family, which is not valid if there is none.
func (v *Settings) subnet(f lease.Family) netip.Prefix {
	for _, p := range v.Subnets {
		if lease.FamilyOf(p.Addr()) == f {
			return p
		}
	}
	return netip.Prefix{}
}

func (v *Settings) serves4() bool { return v.DHCPv4 && v.subnet(lease.IPv4).IsValid() }
func (v *Settings) serves6() bool { return v.DHCPv6 && v.subnet(lease.IPv6).IsValid() }
func (v *Settings) advertises() bool {
	return v.Advertise && v.subnet(lease.IPv6).IsValid()
}

// addresses returns the gateway's addresses, the link-local one left out.
func (v *Settings) addresses() (list []netip.Addr) {
	for _, p := range v.Subnets {
		list = append(list, p.Addr())
	}
	return list
}

// resolvers returns the resolvers of a family that guests are told.
func (v *Settings) resolvers(f lease.Family) (list []netip.Addr) {
	from := v.Servers
	if v.DNS {
		from = v.addresses()
	}
	for _, a := range from {
		if lease.FamilyOf(a) == f {
			list = append(list, a)
		}
	}
	return list
}

// search returns the domains in which guests look for short names.
func (v *Settings) search() []string {
	if v.Domain == "" {
		return nil
	}
	return []string{v.Domain}
}

// Set has the server serve v from now on. Leases stay, and so do listeners and timers
// that do not differ. If something of v is wrong, it goes by the old settings still.
func (s *Server) Set(v Settings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.applyLocked(v); err != nil {
		return errors.Join(err, s.applyLocked(s.settings))
	}
	s.settings = v
	return nil
}

func (s *Server) applyLocked(v Settings) error {
	err := s.book.Set(lease.Settings{
		Ranges: v.ranges(), Exclude: v.addresses(), Reservations: v.Reservations, Quota: v.Quota,
	})
	if err == nil {
		s.names.reserve(v.Reservations)
	}
	if err == nil && v.serves4() {
		err = s.dhcp4.Set(v.dhcp4())
	}
	if err == nil && v.serves6() {
		err = s.dhcp6.Set(v.dhcp6())
	}
	if err == nil {
		err = s.advertiseLocked(v)
	}
	if err == nil {
		err = s.dns.Set(v.dns())
	}
	if err == nil {
		s.wanted.Store(newWanted(&v))
	}
	return err
}

// ranges returns the ranges of the book.
func (v *Settings) ranges() []lease.Range {
	ranges := slices.Clone(v.Ranges)
	isIPv6 := func(r lease.Range) bool { return r.First.Is6() }
	if v.serves6() && !slices.ContainsFunc(ranges, isIPv6) {
		ranges = append(ranges, defaultRange6(v.subnet(lease.IPv6)))
	}
	return ranges
}

// defaultRange6 returns the addresses of a subnet that are given out by default: 65,536
// from ::1:0 on, or the upper half of a subnet that has fewer than 131,072. What people
// give by hand lies below, what guests make up (SLAAC) far above.
func defaultRange6(subnet netip.Prefix) lease.Range {
	host := min(subnet.Addr().BitLen()-subnet.Bits(), 17) // bits that count up
	first, last := subnet.Masked().Addr().As16(), subnet.Masked().Addr().As16()
	for bit := range host {
		at, mask := 15-bit/8, byte(1)<<(bit%8)
		last[at] |= mask
		if bit == host-1 {
			first[at] |= mask
		}
	}
	return lease.Range{First: netip.AddrFrom16(first), Last: netip.AddrFrom16(last)}
}

func (v *Settings) dhcp4() dhcp4.Settings {
	return dhcp4.Settings{
		MAC: v.MAC, Server: v.subnet(lease.IPv4), DNS: v.resolvers(lease.IPv4),
		Domain: v.Domain, Search: v.search(), MTU: v.MTU, Lease: v.Lease,
	}
}

func (v *Settings) dhcp6() dhcp6.Settings {
	return dhcp6.Settings{
		MAC: v.MAC, Source: v.LinkLocal, Subnet: v.subnet(lease.IPv6).Masked(),
		DNS: v.resolvers(lease.IPv6), Search: v.search(), Lease: v.Lease,
	}
}

func (v *Settings) radv() radv.Config {
	c := radv.Config{
		MAC: v.MAC, Source: v.LinkLocal, MTU: v.MTU,
		Managed: v.serves6(), Other: v.serves6(),
		DNS: v.resolvers(lease.IPv6), Search: v.search(),
	}
	if v.Outside {
		c.Lifetime = routerLifetime
	}
	for _, p := range v.Subnets {
		if lease.FamilyOf(p.Addr()) == lease.IPv6 {
			c.Prefixes = append(c.Prefixes, radv.Prefix{Prefix: p.Masked(), OnLink: true, Autonomous: p.Bits() == 64})
		}
	}
	return c
}

func (v *Settings) dns() dns.Settings {
	if !v.DNS {
		return dns.Settings{}
	}
	d := dns.Settings{Addresses: v.addresses(), Domain: v.Domain, Clients: v.Clients}
	for _, p := range v.Subnets {
		d.Subnets = append(d.Subnets, p.Masked())
	}
	for _, a := range v.Servers {
		d.Servers = append(d.Servers, netip.AddrPortFrom(a, 53))
	}
	return d
}
