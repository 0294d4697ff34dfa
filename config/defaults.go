package config

import (
	"net/netip"
	"slices"
	"time"
)

// Defaults of what a document leaves out.
const (
	DefaultMTU      = 1500
	DefaultAgeing   = Duration(300 * time.Second) // IEEE 802.1Q table 8-6
	DefaultQueues   = 1
	DefaultStations = 65536
	DefaultSessions = 262144
	DefaultNetwork  = "default" // of ports that name none

	DefaultLease      = Duration(time.Hour)
	DefaultLeaseQuota = 8
	DefaultDomain     = "vm.internal"

	DefaultUDP            = Duration(5 * time.Minute)   // RFC 4787 REQ-5
	DefaultTCPEstablished = Duration(124 * time.Minute) // RFC 5382 REQ-5
	DefaultTCPTransitory  = Duration(4 * time.Minute)   // RFC 5382 REQ-5
	DefaultTCPClosing     = Duration(4 * time.Minute)   // RFC 5382 REQ-5
	DefaultICMP           = Duration(time.Minute)       // RFC 5508 REQ-2
)

// External ports: those of the host's own addresses, which its sockets share, and
// those of addresses that are the NAT's alone.
var (
	DefaultSharedPorts = PortRange{49152, 65535}
	DefaultOwnPorts    = PortRange{1024, 65535}
)

// setDefaults fills in what the document leaves out. A value that is given and
// happens to be zero stays, for check to judge.
func (c *Config) setDefaults(b *binder) {
	preset(b, "switch.stations", &c.Switch.Stations, DefaultStations)
	preset(b, "switch.sessions", &c.Switch.Sessions, DefaultSessions)
	preset(b, "switch.fastpath", &c.Switch.Fastpath, FastpathOn)
	free := c.freeDefaults() // for the first NAT network that needs them
	for i := range c.Networks {
		n, at := &c.Networks[i], index("networks", i)
		preset(b, at+".mode", &n.Mode, ModeNAT)
		preset(b, at+".mtu", &n.MTU, DefaultMTU)
		preset(b, at+".ageing", &n.Ageing, DefaultAgeing)
		if n.Mode == ModeNAT && !b.given(at+".subnets") {
			n.Subnets, free = free, nil
		}
		if n.Mode.HasGateway() {
			n.setGateway(b, at)
		}
	}
	c.setNATPorts(b)
	for i := range c.Ports {
		c.Ports[i].setDefaults(b, index("ports", i), c.networkNamed(DefaultNetwork))
	}
}

// freeDefaults returns the default subnets, none if the document gives some of them to a
// network.
func (c *Config) freeDefaults() []netip.Prefix {
	for i := range c.Networks {
		for _, p := range c.Networks[i].Subnets {
			if subnetFault(p) == "" && slices.ContainsFunc(DefaultSubnets, p.Overlaps) {
				return nil
			}
		}
	}
	return slices.Clone(DefaultSubnets)
}

func (c *Config) networkNamed(name string) bool {
	for i := range c.Networks {
		if c.Networks[i].Name == name {
			return true
		}
	}
	return false
}

func (p *Port) setDefaults(b *binder, at string, hasDefault bool) {
	if hasDefault {
		preset(b, at+".network", &p.Network, DefaultNetwork)
	}
	preset(b, at+".type", &p.Type, PortTAP)
	preset(b, at+".device", &p.Device, p.Name)
	preset(b, at+".queues", &p.Queues, DefaultQueues)
	preset(b, at+".fastpath", &p.Fastpath, FastpathOn)
	if p.Offloads == nil {
		p.Offloads = new(true)
	}
}

// setGateway fills in what only networks with a gateway have.
func (n *Network) setGateway(b *binder, at string) {
	if !b.given(at+".uplinks") && !b.given(at+".uplink") {
		n.Uplinks = []string{UplinkAuto}
	}
	preset(b, at+".dhcp.enabled", &n.DHCP.Enabled, n.Mode == ModeNAT || b.given(at+".dhcp"))
	preset(b, at+".dhcp.lease", &n.DHCP.Lease, DefaultLease)
	preset(b, at+".dhcp.quota", &n.DHCP.Quota, DefaultLeaseQuota)
	for _, p := range n.Subnets {
		if p.Addr().Is4() && !b.given(at+".dhcp.range") && subnetFault(p) == "" {
			n.DHCP.Range = defaultRange(p)
			break
		}
	}
	preset(b, at+".dns.enabled", &n.DNS.Enabled, n.DHCP.Enabled)
	preset(b, at+".dns.domain", &n.DNS.Domain, DefaultDomain)
	if n.Mode == ModeNAT {
		preset(b, at+".nat.filtering", &n.NAT.Filtering, FilterAddressAndPort)
		preset(b, at+".nat.udp", &n.NAT.UDP, DefaultUDP)
		preset(b, at+".nat.tcp-established", &n.NAT.TCPEstablished, DefaultTCPEstablished)
		preset(b, at+".nat.tcp-transitory", &n.NAT.TCPTransitory, DefaultTCPTransitory)
		preset(b, at+".nat.tcp-closing", &n.NAT.TCPClosing, DefaultTCPClosing)
		preset(b, at+".nat.icmp", &n.NAT.ICMP, DefaultICMP)
	}
}

// setNATPorts fills in the external ports. What one network behind the host's
// addresses says of them holds for all.
func (c *Config) setNATPorts(b *binder) {
	_, shared := c.sharedPorts(b)
	for i := range c.Networks {
		n := &c.Networks[i]
		switch path := index("networks", i) + ".nat.ports"; {
		case n.Mode != ModeNAT:
		case len(n.NAT.Addresses) > 0:
			preset(b, path, &n.NAT.Ports, DefaultOwnPorts)
		default:
			preset(b, path, &n.NAT.Ports, shared)
		}
	}
}

// sharedPorts returns the first network behind the host's addresses that says which
// external ports it uses, and the ports.
func (c *Config) sharedPorts(b *binder) (network int, ports PortRange) {
	for i := range c.Networks {
		n := &c.Networks[i]
		if path := index("networks", i) + ".nat.ports"; n.Mode == ModeNAT && len(n.NAT.Addresses) == 0 && b.given(path) && !b.failed[path] {
			return i, n.NAT.Ports
		}
	}
	return 0, DefaultSharedPorts
}

func preset[T any](b *binder, path string, v *T, def T) {
	if !b.given(path) {
		*v = def
	}
}
