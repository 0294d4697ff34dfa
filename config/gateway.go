package config

import (
	"net/netip"

	"weft/frame"
)

// DHCP says which addresses a network's guests get. It stands for DHCPv4, DHCPv6 and
// router advertisements, as far as the network has subnets of their families.
type DHCP struct {
	Enabled      bool          `yaml:"enabled"`      // default: true for nat, for routed if dhcp is given
	Range        AddressRange  `yaml:"range"`        // IPv4; default: made from the first IPv4 subnet
	Lease        Duration      `yaml:"lease"`        // default 1h
	Quota        int           `yaml:"quota"`        // leases of one port; default 8, 0 = no limit
	Reservations []Reservation `yaml:"reservations"` // addresses that belong to one guest
}

// A Reservation is what a guest always gets. It has an address of at least one family.
type Reservation struct {
	MAC      frame.MAC  `yaml:"mac"`
	Address  netip.Addr `yaml:"address"`  // IPv4
	Address6 netip.Addr `yaml:"address6"` // IPv6
	Name     string     `yaml:"name"`     // in DNS, without the domain
}

// DNS says how names are resolved for a network's guests.
type DNS struct {
	Enabled bool         `yaml:"enabled"` // default: true where DHCP is
	Domain  string       `yaml:"domain"`  // of the guests' names; default vm.internal
	Servers []netip.Addr `yaml:"servers"` // that answer for the rest; none: the host's resolvers
}

// NAT says how a network's guests appear outside.
type NAT struct {
	Addresses []netip.Addr `yaml:"addresses"` // external ones that are not the host's; none: the host's own
	Filtering Filtering    `yaml:"filtering"` // RFC 4787 section 5; default address-and-port
	Ports     PortRange    `yaml:"ports"`     // external ports; default 49152-65535 of the host's addresses, 1024-65535 of own ones
	Quota     int          `yaml:"quota"`     // sessions of one port; 0 = as many as it leaves free for others

	// How long a session without traffic is remembered.
	UDP            Duration `yaml:"udp"`             // default 5m (RFC 4787 REQ-5)
	TCPEstablished Duration `yaml:"tcp-established"` // default 2h4m (RFC 5382 REQ-5)
	TCPTransitory  Duration `yaml:"tcp-transitory"`  // while it opens; default 4m (RFC 5382 REQ-5)
	TCPClosing     Duration `yaml:"tcp-closing"`     // default 4m (RFC 5382 REQ-5)
	ICMP           Duration `yaml:"icmp"`            // default 60s (RFC 5508 REQ-2)
}

// A Filtering says from whom outside a guest's external endpoint takes packets:
// RFC 4787 section 5.
type Filtering string

// The ways to filter.
const (
	FilterAddressAndPort      Filtering = "address-and-port"     // from endpoints that the guest has sent to
	FilterAddress             Filtering = "address"              // from addresses that the guest has sent to
	FilterEndpointIndependent Filtering = "endpoint-independent" // from everybody
)

// A Protocol is one that has ports.
type Protocol string

// The protocols.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// A Forward leads what comes to a port of the network's external addresses to a guest.
type Forward struct {
	Proto   Protocol       `yaml:"proto"`
	Port    PortRange      `yaml:"port"`    // external: 2222 or 8000-8010
	To      netip.AddrPort `yaml:"to"`      // the guest's, for the first port; those that follow go to those that follow
	Address netip.Addr     `yaml:"address"` // external address; zero: all of To's family
}

// A Route is a way to addresses behind a guest.
type Route struct {
	To  netip.Prefix `yaml:"to"`
	Via netip.Addr   `yaml:"via"` // the guest
}

// An AddressRange is all addresses from First to Last. It reads and writes as
// "192.168.150.100-192.168.150.250".
type AddressRange struct{ First, Last netip.Addr }

// A PortRange is all ports from First to Last. It reads and writes as "8000-8010", or
// "2222" for one.
type PortRange struct{ First, Last uint16 }
