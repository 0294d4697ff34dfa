package daemon

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"weft/internal/control/api"
	"weft/route/rtnl"
)

// home is a host with an address on one NIC, which its default route leads to.
func home(nic string, index int, addr string) rtnl.Host {
	p := netip.MustParsePrefix(addr)
	return rtnl.Host{
		Addresses: []rtnl.Address{{Link: index, Name: nic, Prefix: p}},
		Routes: []rtnl.Route{
			{Prefix: p.Masked(), Link: index, Name: nic},
			{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Link: index, Name: nic, Gateway: p.Masked().Addr().Next()},
		},
	}
}

// attached returns what the kernel has, without the TAPs of guests.
func attached(k *memKernel) string {
	list, _ := k.devices()
	return strings.Join(list, " ")
}

const natted = `{networks: [{name: default}]}`

func TestNATNetworkTakesTheDefaultRoutesNIC(t *testing.T) {
	k := newMemKernel(t, "eth0", "eth1")
	d := start(t, k, natted)
	want(t, "without a route", states(d), []string{"default:gateway up"})
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	want(t, "with one", states(d), []string{"default:gateway up", "eth0:wire up", "eth0:host up"})
	if k.reserved != "49152-65535" {
		t.Errorf("reserved ports %q, want those of NAT", k.reserved)
	}
	if k.open["eth0"].bridged {
		t.Error("the NIC is bridged, though no network asks for it")
	}
	d.hostChanged(home("eth1", 2, "198.51.100.2/24"))
	want(t, "after the route moved", states(d), []string{"default:gateway up", "eth1:wire up", "eth1:host up"})

	apply(t, d, "networks: []")
	if got := attached(k) + k.reserved; got != "" {
		t.Errorf("left: %s", got)
	}
}

func TestBridgedAndNATShareANIC(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, natted)
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	both := `{networks: [{name: default}, {name: lan, mode: bridged, uplinks: [eth0]}]}`
	for range 2 {
		apply(t, d, both)
		want(t, "both", states(d), []string{"default:gateway up", "eth0:wire up", "eth0:host up"})
		if u := d.networks["lan"].uplinks[0]; !u.routed || !k.open["eth0"].bridged {
			t.Errorf("routed %t, bridged %t, want both", u.routed, k.open["eth0"].bridged)
		}
		apply(t, d, natted)
		want(t, "NAT alone", states(d), []string{"default:gateway up", "eth0:wire up", "eth0:host up"})
		if k.open["eth0"].bridged {
			t.Error("the NIC is still bridged")
		}
	}
	k.fails["eth0"] = errBroken
	if _, err := d.Apply(api.Apply{Document: both, Runtime: true}); !errors.Is(err, errBroken) {
		t.Errorf("apply with a NIC that fails: %v", err)
	}
	delete(k.fails, "eth0")
	d.repair()
	want(t, "rolled back", states(d), []string{"default:gateway up", "eth0:wire up", "eth0:host up"})
}

func TestSubnetOfTheHostIsRefused(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, "")
	d.hostChanged(home("eth0", 1, "192.168.0.2/16"))
	_, err := d.Apply(api.Apply{Document: natted, Runtime: true})
	if err == nil || !strings.Contains(err.Error(), "192.168.150.0/24 of network default overlaps 192.168.0.2/16 of eth0") {
		t.Errorf("apply: %v, want it refused for the overlap", err)
	}
	want(t, "refused", states(d), nil)

	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	apply(t, d, natted)
	d.hostChanged(home("eth0", 1, "192.168.150.7/24")) // by DHCP, say
	want(t, "overlap at run time", states(d), []string{"default:gateway error", "eth0:wire up", "eth0:host up"})
	if s := d.Status(); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "overlaps") {
		t.Errorf("warnings %q, want the overlap", s.Warnings)
	}
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	want(t, "it is over", states(d), []string{"default:gateway up", "eth0:wire up", "eth0:host up"})
}

func TestClaimsFollowTheDocument(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, "")
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	apply(t, d, `{networks: [{name: dmz, mode: routed, subnets: [10.20.0.1/24, "2001:db8:20::1/64"]},
		{name: own, subnets: [10.30.0.1/24], nat: {addresses: [203.0.113.7]}}]}`)
	want(t, "owned", k.claims(), []string{"10.20.0.0/24", "2001:db8:20::/64", "203.0.113.7/32"})
	if k.reserved != "" {
		t.Errorf("ports %s are reserved, though none of the host's addresses is used", k.reserved)
	}
	if !k.open["eth0"].proxy {
		t.Error("nobody answers for 203.0.113.7 on the wire")
	}
	apply(t, d, `{networks: [{name: own, nat: {addresses: [203.0.113.7]}}]}`)
	if k.reserved != "49152-65535" {
		t.Errorf("reserved %q: IPv6 guests of a network with IPv4 addresses only appear with the host's", k.reserved)
	}
	apply(t, d, `{networks: [{name: dmz, mode: routed, subnets: [10.20.0.1/24, "2001:db8:20::1/64"]}]}`)
	n := d.Networks()[0]
	want(t, "route hints", n.RouteHints, []string{"ip route add 10.20.0.0/24 via 192.0.2.2"})
	apply(t, d, `{networks: [{name: dmz, mode: isolated}]}`)
	want(t, "given up", k.claims(), nil)
}

func TestGatewayDeletedIsMadeAgain(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, natted)
	k.remove("wf-g-default")
	d.repair()
	want(t, "states", states(d), []string{"default:gateway up"})
}

func TestGatewayDeviceNamesFitAndDiffer(t *testing.T) {
	long := "a-network-of-a-long-name"
	if got := gatewayDevice("default"); got != "wf-g-default" {
		t.Errorf("device of default: %s", got)
	}
	if a, b := gatewayDevice(long), gatewayDevice(long+"r"); a == b || len(a) != 15 || len(b) != 15 {
		t.Errorf("devices %s and %s, want two of 15 letters", a, b)
	}
	if m := gatewayMAC("default"); m == 0 || m.IsGroup() || m != gatewayMAC("default") || m == gatewayMAC(long) {
		t.Errorf("MAC %s of default, %s of the other", m, gatewayMAC(long))
	}
}
