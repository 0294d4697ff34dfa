package lab

import (
	"net/netip"
	"strconv"
)

// An Outside is the world beyond a hypervisor's NIC: a router of the provider's, and a
// server with two addresses in a net behind it.
//
//	hv: nic ═══ wan Router lan ═══ eth0 Server
//
// The router knows the two nets on its cables and nothing else.
type Outside struct{ Router, Server *NS }

// A Family holds the scene's addresses in one IP version.
type Family struct {
	Name    string
	Version string // as an option of ip(8) and ping(8)
	Bits    int    // of the subnets' prefixes

	Host    string // the hypervisor's, at its NIC
	Router  string // the router's, on the same cable
	Server  string // the server's
	Second  string // the server's other one
	Behind  string // the router's, on the server's cable
	Gateway string // of the guests of a network with NAT

	anywhere string
}

// Families are both of them: what holds in one must hold in the other. The addresses are
// those that RFC 5737 and RFC 3849 keep free for examples.
var Families = []Family{
	{
		Name: "IPv4", Version: "-4", Bits: 24,
		Host: "192.0.2.10", Router: "192.0.2.1", Behind: "198.51.100.1", Server: "198.51.100.2", Second: "198.51.100.3",
		Gateway: "192.168.150.1", anywhere: "0.0.0.0/0",
	},
	{
		Name: "IPv6", Version: "-6", Bits: 64,
		Host: "2001:db8:1::10", Router: "2001:db8:1::1", Behind: "2001:db8:2::1", Server: "2001:db8:2::2", Second: "2001:db8:2::3",
		Gateway: "fd5a:150::1", anywhere: "::/0",
	},
}

// Prefix returns an address with the length of the scene's subnets.
func (f Family) Prefix(addr string) string { return addr + "/" + strconv.Itoa(f.Bits) }

// Net returns the subnet of an address.
func (f Family) Net(addr string) string {
	return netip.MustParsePrefix(f.Prefix(addr)).Masked().String()
}

// Outside joins the hypervisor's NIC, which it makes, to the world.
func (l *Lab) Outside(hv *NS, nic string) *Outside {
	l.Helper()
	o := &Outside{Router: l.NS("router"), Server: l.NS("server")}
	l.Veth(hv, nic, o.Router, "wan")
	l.Veth(o.Router, "lan", o.Server, "eth0")
	o.Router.Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	for _, f := range Families {
		hv.Addresses(nic, f.Prefix(f.Host))
		o.Router.Addresses("wan", f.Prefix(f.Router))
		o.Router.Addresses("lan", f.Prefix(f.Behind))
		o.Server.Addresses("eth0", f.Prefix(f.Server), f.Prefix(f.Second))
		if f.Version == "-6" { // the server asks from its first address
			o.Server.Run("ip addr change %s dev eth0 preferred_lft 0", f.Prefix(f.Second))
		}
		hv.Run("ip route add %s via %s", f.anywhere, f.Router)
		o.Server.Run("ip route add %s via %s", f.anywhere, f.Behind)
	}
	return o
}
