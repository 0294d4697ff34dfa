package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/internal/control/api"
	"weft/route/rtnl"
	vswitch "weft/switch"
	"weft/tap"
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

// Part of the segment's own subnet may be behind weft, which answers for it there.
func TestProxiedSubnetIsPartOfTheSegment(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, "")
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	for subnet, refused := range map[string]bool{
		"[192.0.2.129/26], proxy: true":  false,
		"[192.0.2.129/26], proxy: false": true,
		"[192.0.2.61/26], proxy: true":   true, // the host's own address is in it
		"[192.0.2.1/24], proxy: true":    true, // it is the whole segment
	} {
		doc := fmt.Sprintf("{networks: [{name: dmz, mode: routed, subnets: %s}]}", subnet)
		_, err := d.Apply(api.Apply{Document: doc, Runtime: true})
		if got := errors.Is(err, errOverlap); got != refused || err != nil && !refused {
			t.Errorf("%s: %v, want refused: %t", subnet, err, refused)
		}
	}
}

// findings returns what the doctor says beyond that all is well.
func findings(d *Daemon) []string {
	var list []string
	for _, f := range d.Doctor() {
		if f.Severity != sevOK && f.Subject != "host" {
			list = append(list, f.Subject+": "+f.Text)
		}
	}
	return list
}

func TestDoctorMissesAnUplinkOfNAT(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, `{networks: [{name: default, uplinks: [eth0, eth9]}]}`)
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	want(t, "doctor", findings(d), []string{fmt.Sprintf("uplink eth9: eth9: %v", tap.ErrNoDevice)})
	want(t, "status", d.Status().Warnings, []string{fmt.Sprintf("uplink eth9: %v", tap.ErrNoDevice)})
}

func TestDoctorMissesADefaultRouteForIPv4(t *testing.T) {
	d := start(t, newMemKernel(t, "eth0"), natted)
	h := home("eth0", 1, "192.0.2.2/24")
	d.hostChanged(h)
	want(t, "for IPv4 alone", findings(d), nil)
	h.Routes[1].Prefix = netip.MustParsePrefix("::/0")
	d.hostChanged(h)
	if got := findings(d); len(got) != 1 || !strings.Contains(got[0], "no default route for IPv4") {
		t.Errorf("for IPv6 alone: %q", got)
	}
}

func TestGatewayIsNoPortOfTheDocument(t *testing.T) {
	d := start(t, newMemKernel(t, "veth1"), `{networks: [{name: default}], ports: [{name: ct1, type: device, device: veth1}]}`)
	if s := d.Status(); s.Ports != 1 || s.PortsUp != 1 {
		t.Errorf("%d ports, %d up, want the one of the document", s.Ports, s.PortsUp)
	}
}

// Where the host goes and guests do not is listed too: it is why their packets are lost.
func TestRoutesThatGuestsMayNotTake(t *testing.T) {
	d := start(t, newMemKernel(t, "eth0", "wg0"), natted)
	h := home("eth0", 1, "192.0.2.2/24")
	h.Routes = append(h.Routes,
		rtnl.Route{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Link: 2, Name: "wg0"},
		rtnl.Route{Prefix: netip.MustParsePrefix("10.66.0.0/16"), Kind: rtnl.Blackhole},
		rtnl.Route{Prefix: netip.MustParsePrefix("192.168.150.0/24"), Link: 3, Name: "wf-g-default"})
	d.hostChanged(h)
	routes, err := d.Routes("")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		got = append(got, r.To.String()+" "+r.Origin)
	}
	want(t, "routes", got, []string{
		"192.168.150.0/24 connected", "fd5a:150::/64 connected", "192.0.2.0/24 host", "0.0.0.0/0 host",
		"10.0.0.0/8 no-uplink", "10.66.0.0/16 blackhole",
	})
	n := d.Networks()[0]
	if got := fmt.Sprint(n.External); got != "[192.0.2.2]" {
		t.Errorf("external addresses %s, want the host's", got)
	}
}

func TestSessionsEndWithTheirPort(t *testing.T) {
	d := start(t, newMemKernel(t, "eth0", "veth1", "veth2"), `{networks: [{name: default}],
		ports: [{name: ct1, type: device, device: veth1}, {name: ct2, type: device, device: veth2}]}`)
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	l, b := d.layer3, frame.NewBufs(1)[0]
	for i, port := range []string{"ct1", "ct2"} {
		from, to := frametest.Station(1), frametest.Station(2)
		from.Addr, from.Port = netip.MustParseAddr("192.168.150.100"), uint16(40000+i)
		b.SetBytes(frametest.UDP(from, to, nil))
		b.Parse()
		b.In = d.ports[port].id
		if r := l.table.Outbound(d.sw.Now(), b, l.realm("default"), l.nicPool("eth0")); r != 0 {
			t.Fatalf("session of %s: %v", port, r)
		}
	}
	apply(t, d, `{networks: [{name: default}], ports: [{name: ct2, type: device, device: veth2}]}`)
	left, err := d.NATSessions(api.NATFilter{})
	if err != nil || len(left) != 1 || left[0].Port != "ct2" {
		t.Errorf("sessions %v, %v, want that of ct2", left, err)
	}
}

// A NIC changes between NAT's alone and a bridged network's too without a moment in which
// what comes in for a session would be the host's.
func TestNICChangesHandsUnderSessions(t *testing.T) {
	k := newMemKernel(t, "eth0", "eth1")
	d := start(t, k, natted)
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	apply(t, d, `{networks: [{name: default}, {name: lan, mode: bridged, uplinks: [eth0]}]}`)
	bridged := k.open["eth0"]
	apply(t, d, natted)
	if !bridged.released {
		t.Error("the programs were removed before the segment's came")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.openSegmentLocked("eth1"); err != nil {
		t.Fatal(err)
	}
	u := d.uplinkLocked("eth1")
	if got := d.wireState(u); got != vswitch.Down {
		t.Errorf("the wire is in state %v before the router knows of it, want it down", got)
	}
	d.openUplinksLocked()
	if got := d.wireState(u); got != vswitch.Forwarding {
		t.Errorf("the wire is in state %v, want it forwarding", got)
	}
}

// Who sets a gateway's device down takes its IPv6 addresses from it.
func TestGatewayGetsItsAddressesAgain(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, natted)
	full := home("eth0", 1, "192.0.2.2/24")
	for _, p := range d.cfg.Networks[0].Subnets {
		full.Addresses = append(full.Addresses, rtnl.Address{Link: 9, Name: "wf-g-default", Prefix: p})
	}
	d.hostChanged(full)
	before := k.open["wf-g-default"].updates
	d.hostChanged(full)
	if got := k.open["wf-g-default"].updates - before; got != 0 {
		t.Errorf("%d updates of a gateway that has its addresses", got)
	}
	less := full
	less.Addresses = full.Addresses[:len(full.Addresses)-1]
	d.hostChanged(less)
	if got := k.open["wf-g-default"].updates - before; got != 1 {
		t.Errorf("%d updates of a gateway that lost an address, want 1", got)
	}
}

// A guest whose device failed and came back is known by its port's name at once.
func TestPortThatFailedKeepsItsName(t *testing.T) {
	k := newMemKernel(t, "veth1")
	d := start(t, k, `{networks: [{name: default}], ports: [{name: ct1, type: device, device: veth1}]}`)
	k.open["veth1"].released = true // the kernel has it no more
	d.queueFailed(d.ports["ct1"].id, errBroken)
	if got := (*d.layer3.portNames.Load())[d.ports["ct1"].id]; got != "ct1" {
		t.Errorf("the port is called %q", got)
	}
}

// A bridge of the host's that loses its last port loses its address with it: networks go
// by their other uplinks meanwhile.
func TestUplinkWithoutAnAddressStopsNoOther(t *testing.T) {
	k := newMemKernel(t, "br0", "eth0")
	d := start(t, k, `{networks: [{name: default, uplinks: [br0, eth0]}]}`)
	outside := func() string {
		var names []string
		for _, i := range d.layer3.view.Interfaces {
			if i.Outside {
				names = append(names, i.Name)
			}
		}
		return strings.Join(names, " ")
	}
	mac := k.open["br0"].mac
	for _, c := range []struct {
		mac  frame.MAC
		want string
	}{{mac, "br0 eth0"}, {0, "eth0"}, {mac, "br0 eth0"}} {
		k.open["br0"].mac = c.mac
		k.set("br0", true)
		if got := outside(); got != c.want {
			t.Errorf("with MAC %v of br0 the router goes by %q, want %q", c.mac, got, c.want)
		}
	}
}

// A guest that comes from a network with the same subnet has the old gateway's MAC in
// its caches.
func TestGatewayIsAnnouncedToWhoIsPluggedIn(t *testing.T) {
	k := newMemKernel(t, "veth1")
	d := start(t, k, `{networks: [{name: a}]}`)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.sw.Run(ctx) }()
	apply(t, d, `{networks: [{name: a}], ports: [{name: ct1, network: a, type: device, device: veth1}]}`)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for _, p := range k.open["veth1"].wire.sent {
		b := frame.NewBufs(1)[0]
		b.SetBytes(p)
		b.Parse()
		if h := frame.ARP(p[frame.EthernetLen:]); b.Layers.EtherType == frame.EtherTypeARP {
			told[h.SenderIP().String()] = true
		}
		if m := b.Neighbor(); m != nil && m.Type() == frame.ICMPv6Advertisement {
			told[m.Target().String()] = true
		}
	}
	want(t, "told of", slices.Sorted(maps.Keys(told)), []string{"192.168.150.1", "fd5a:150::1", "fe80::1"})
}
