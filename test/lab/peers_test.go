package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft/test/guest"
	"weft/test/stun"
)

// kernelGateway makes of hv what weft's default network is, out of the kernel's bridge,
// nftables and dnsmasq: what these tests find broken is not weft's fault.
func kernelGateway(hv *NS, masquerade string) {
	hv.lab.Helper()
	hv.Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	hv.Run("ip link add br0 type bridge && ip link set br0 up")
	for _, f := range Families {
		hv.Addresses("br0", f.Prefix(f.Gateway))
	}
	hv.Run(`nft "add table inet nat"
nft "add chain inet nat post { type nat hook postrouting priority srcnat; }"
nft "add rule inet nat post oifname nic0 %s"`, masquerade)
	hv.Names("interface=br0", "bind-dynamic", "domain=vm.internal",
		"dhcp-range=192.168.150.100,192.168.150.250,1h", "dhcp-range=fd5a:150::,ra-stateless",
		"enable-ra", "dhcp-leasefile="+hv.lab.Dir+"/leases",
		"server="+Families[0].Server, "server="+Families[1].Server)
}

// plug puts a namespace behind the bridge.
func plug(hv *NS, name string) *NS {
	n := hv.lab.NS(name)
	hv.lab.Veth(hv, name, n, "eth0")
	hv.Run("ip link set %s master br0", name)
	return n
}

func TestClientsAndOutside(t *testing.T) {
	t.Parallel()
	l := New(t)
	hv := l.NS("hv")
	o := l.Outside(hv, "nic0")
	kernelGateway(hv, "masquerade")
	o.Server.Tells()
	o.Server.Serve()
	o.Server.Names("address=/www.example/198.51.100.2", "address=/www.example/2001:db8:2::2")
	arrived := o.Server.Wire("eth0")
	for i, c := range Clients {
		n := plug(hv, c.Name)
		stop := n.Ask(c, "eth0")
		if got := n.Nameservers(); !slices.Contains(got, Families[0].Gateway) {
			t.Errorf("%s: name servers %v, want %s among them", c.Name, got, Families[0].Gateway)
		}
		for _, f := range Families {
			l.Reaches(n, f.Server)
			for _, network := range []string{"tcp", "udp"} {
				if seen := l.Asks(n, network, f.Server); seen.Addr().String() != f.Host {
					t.Errorf("%s: %s is %s outside, want the host", c.Name, network, seen)
				}
			}
			port := uint16(5550 + i)
			from := netip.AddrPortFrom(netip.MustParseAddr(l.Holds(n, "eth0", f)[0]), port)
			if seen := l.Asks(n, "udp", f.Server, "-size 4000", "-from", from.String()); seen.Port() != port {
				t.Errorf("%s: %s became %s", c.Name, from, seen)
			}
		}
		stop()
	}
	n := plug(hv, "large")
	n.Ask(Clients[0], "eth0")
	for _, f := range Families {
		l.Transfers(n, f.Server, 4<<20)
		if got := l.Resolves(n, f.Gateway, "www.example", "AAAA"); !slices.Equal(got, []string{"2001:db8:2::2"}) {
			t.Errorf("www.example is %v", got)
		}
	}
	if len(arrived.Matching(func(f []byte) bool { return bytes.Contains(f, []byte("????")) })) == 0 {
		t.Error("the wire saw no question of an asker")
	}
	if out := n.Run("busybox traceroute -n -q 1 -w 1 %s", Families[0].Server); !strings.Contains(out, Families[0].Router) {
		t.Errorf("traceroute:\n%s", out)
	}
}

// A real guest that has nothing but its NIC.
func TestGuestConfiguresItself(t *testing.T) {
	t.Parallel()
	l := New(t)
	hv := l.NS("hv")
	o := l.Outside(hv, "nic0")
	kernelGateway(hv, "masquerade")
	o.Server.Tells()
	o.Server.Names("address=/www.example/198.51.100.2", "address=/www.example/2001:db8:2::2")
	hv.Run("ip tuntap add vm1 mode tap user nobody && ip link set vm1 master br0 up")
	g := hv.Boot("vm1", Nobody, guest.NIC{TAP: "vm1", MAC: "52:54:00:00:00:01"})
	g.Configure("eth0")
	for _, f := range Families {
		if seen := l.Asks(g, "tcp", f.Server); seen.Addr().String() != f.Host {
			t.Errorf("the guest is %s outside, want the host", seen)
		}
	}
	if out := g.Run("nslookup www.example"); !strings.Contains(out, Families[0].Server) || !strings.Contains(out, Families[1].Server) {
		t.Errorf("nslookup: %s", out)
	}
}

// The probe, with NATs whose behavior is known.
func TestProbeKnowsTheKernel(t *testing.T) {
	for _, row := range []struct {
		name, masquerade, more string
		want                   stun.Behavior
	}{
		// By conntrack's 5-tuples the port stays while the tuple is free: two hosts may
		// share one.
		{"masquerade", "masquerade", "", stun.Behavior{
			Mapping: stun.EndpointIndependent, Filtering: stun.AddressAndPortDependent,
			Preserved: "6 of 6", Parity: true, Range: true, Distinct: "not 6 of 6 times", Hairpin: stun.NoHairpin,
		}},
		{"random ports", "masquerade random,fully-random", "", stun.Behavior{
			Mapping: stun.AddressAndPortDependent, Filtering: stun.AddressAndPortDependent,
			Preserved: "0 of 6", Parity: false, Range: true, Distinct: "always", Hairpin: stun.NoHairpin,
		}},
		{"everything to one guest", "masquerade", `nft "add chain inet nat pre { type nat hook prerouting priority dstnat; }"
nft "add rule inet nat pre iifname nic0 ip daddr 192.0.2.10 dnat ip to 192.168.150.20"
nft "add rule inet nat pre iifname nic0 ip6 daddr 2001:db8:1::10 dnat ip6 to fd5a:150::20"`, stun.Behavior{
			Mapping: stun.EndpointIndependent, Filtering: stun.EndpointIndependent,
			Preserved: "6 of 6", Parity: true, Range: true, Distinct: "not 6 of 6 times", Hairpin: stun.NoHairpin,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			l := New(t)
			hv := l.NS("hv")
			o := l.Outside(hv, "nic0")
			kernelGateway(hv, row.masquerade)
			if row.more != "" {
				hv.Run("%s", row.more)
			}
			n := plug(hv, "ct1")
			n.Addresses("eth0", "192.168.150.20/24", "192.168.150.21/24", "fd5a:150::20/64", "fd5a:150::21/64")
			n.Run("ip route add default via 192.168.150.1 && ip route add default via fd5a:150::1")
			for i, f := range Families {
				o.Server.Reflects(f.Server, f.Second)
				local := [][2]string{{"192.168.150.20", "192.168.150.21"}, {"fd5a:150::20", "fd5a:150::21"}}[i]
				got := l.Probes(n, local[0], local[1], f.Server, f.Second)
				t.Logf("%s\n%s", f.Name, got)
				want := row.want
				want.External = netip.MustParseAddr(f.Host)
				for name, b := range map[string]stun.Behavior{"udp": got.UDP, "tcp": got.TCP} {
					if fmt.Sprint(b) != fmt.Sprint(want) {
						t.Errorf("%s %s:\n%+v, want\n%+v", f.Name, name, b, want)
					}
				}
			}
		})
	}
}
