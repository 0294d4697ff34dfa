package route_test

import (
	"net/netip"
	"strings"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

func TestSetNamesAllThatIsWrong(t *testing.T) {
	r := newRig(t)
	bad := world()
	bad.Interfaces[0].MTU = 67
	bad.Interfaces[0].MAC = frame.Broadcast
	bad.Interfaces[1].Port = portU
	bad.Interfaces[1].Addresses = []netip.Prefix{{}}
	bad.Interfaces[2].Realm = 1
	bad.Interfaces = append(bad.Interfaces, route.Interface{Name: "N", MAC: 2, MTU: 1500, Addresses: []netip.Prefix{prefix("::ffff:1.2.3.4/120")}})
	bad.Routes = append(bad.Routes, route.Route{Port: portU})
	bad.Owned = append(bad.Owned, netip.Prefix{})
	err := r.Set(bad)
	for _, want := range []string{
		"interface A: MTU 67 (want 68 or more)",
		"interface A: MAC ff:ff:ff:ff:ff:ff is not that of a station",
		"interface B: address invalid Prefix is not an address with the length of its subnet",
		"interface U: an uplink has no realm",
		"interface U: port 30 is that of interface B",
		"interface N: no port",
		"interface N: address ::ffff:1.2.3.4/120 is not an address",
		"route invalid Prefix via invalid IP: no prefix",
		"owned prefix invalid Prefix: no prefix",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	r.meet() // what was in force still is
	r.expectForwarded(r.route(guestPort, ipv4.udp(ipv4.guestB)), portB, ipv4.guestB.MAC)

	alone := route.New(route.Config{})
	if err := alone.Set(world()); err == nil || !strings.Contains(err.Error(), "interface A: realm 7, and the router has no translator") {
		t.Errorf("a realm without translator: %v", err)
	}
}

// second adds a second uplink, before the first.
func second(routes ...route.Route) func(v *route.View) {
	return func(v *route.View) {
		v.Interfaces = append([]route.Interface{{
			Port: portV, Name: "V", MAC: macV, MTU: 1500, Outside: true, Pool: 4,
			Addresses: []netip.Prefix{prefix("198.18.0.2/24"), prefix("2001:db8:2::2/64")},
		}}, v.Interfaces...)
		v.Routes = append(v.Routes, routes...)
	}
}

// What the host sends out of a device that weft does not have must not leave by
// another: a VPN's packets in the clear.
func TestRoutesByOtherDevicesLeadNowhere(t *testing.T) {
	elsewhere := route.Route{Prefix: prefix("198.51.100.0/24"), Via: addr("198.18.0.1")}
	r := newRig(t, second(elsewhere)).meet()
	p := ipv4.udp(ipv4.remote)
	r.expectError(r.route(guestPort, p), frame.DropNoRoute, p, ipv4.gatewayA, 3, 0)
}

// A network that names its uplinks leaves by no other, even if the host would.
func TestNetworkChoosesItsUplinks(t *testing.T) {
	via := addr("198.18.0.1")
	mac := frame.MAC(0x5254_0000_0ff0)
	everything := prefix("0.0.0.0/0")
	for name, c := range map[string]struct {
		uplinks []frame.PortID
		routes  []route.Route
		out     frame.PortID // 0: none
	}{
		"the worse one":              {[]frame.PortID{portV}, []route.Route{{Prefix: everything, Via: via, Port: portV, Metric: 900}}, portV},
		"both: the host decides":     {[]frame.PortID{portU, portV}, []route.Route{{Prefix: everything, Via: via, Port: portV, Metric: 900}}, portU},
		"no route by it":             {[]frame.PortID{portV}, nil, 0},
		"longer prefix by the other": {[]frame.PortID{portU}, []route.Route{{Prefix: prefix("198.51.100.0/24"), Via: via, Port: portV}}, 0},
		"none":                       {[]frame.PortID{}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, second(c.routes...), func(v *route.View) {
				for k := range v.Interfaces {
					if !v.Interfaces[k].Outside {
						v.Interfaces[k].Uplinks = c.uplinks
					}
				}
			}).meet()
			r.SetNeighbor(portV, via, mac)
			p := ipv4.udp(ipv4.remote)
			b := r.route(guestPort, p)
			switch c.out {
			case 0:
				r.expectError(b, frame.DropNoRoute, p, ipv4.gatewayA, 3, 0)
			case portU:
				r.expectForwarded(b, portU, ipv4.hop.MAC)
			default:
				r.expectForwarded(b, c.out, mac)
			}
		})
	}
}

func TestSeveralUplinks(t *testing.T) {
	via := addr("198.18.0.1")
	mac := frame.MAC(0x5254_0000_0ff0)
	for name, c := range map[string]struct {
		routes []route.Route
		out    frame.PortID
	}{
		"none by the second":   {nil, portU},
		"higher metric":        {[]route.Route{{Prefix: prefix("0.0.0.0/0"), Via: via, Port: portV, Metric: 200}}, portU},
		"lower metric":         {[]route.Route{{Prefix: prefix("0.0.0.0/0"), Via: via, Port: portV, Metric: 50}}, portV},
		"tie: the first named": {[]route.Route{{Prefix: prefix("0.0.0.0/0"), Via: via, Port: portV, Metric: 100}}, portV},
		"longer prefix":        {[]route.Route{{Prefix: prefix("198.51.100.0/24"), Via: via, Port: portV, Metric: 900}}, portV},
		"longest prefix": {[]route.Route{
			{Prefix: prefix("198.51.100.0/24"), Via: via, Port: portV},
			{Prefix: prefix("198.51.100.96/29"), Via: ipv4.hop.Addr, Port: portU},
		}, portU},
		"tie of next hops: the lower": {[]route.Route{
			{Prefix: prefix("198.51.100.0/24"), Via: addr("198.18.0.9"), Port: portV},
			{Prefix: prefix("198.51.100.0/24"), Via: via, Port: portV},
		}, portV},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, second(c.routes...)).meet()
			r.SetNeighbor(portV, via, mac)
			to, pool := mac, uint16(4)
			if c.out == portU {
				to, pool = ipv4.hop.MAC, poolU
			}
			r.expectForwarded(r.route(guestPort, ipv4.udp(ipv4.remote)), c.out, to)
			if r.nat.pool != pool {
				t.Errorf("pool %d, want %d", r.nat.pool, pool)
			}
			// The same whatever order they were found in.
			n := len(r.view.Routes)
			r.view.Routes[0], r.view.Routes[n-1] = r.view.Routes[n-1], r.view.Routes[0]
			r.set()
			r.expectForwarded(r.route(guestPort, ipv4.udp(ipv4.remote)), c.out, to)
		})
	}
}

// An uplink that comes to have the subnet of an inside network does not take it over.
func TestInsideSubnetBeatsTheHostsRoute(t *testing.T) {
	r := newRig(t, func(v *route.View) {
		v.Routes = append(v.Routes, route.Route{Prefix: prefix("203.0.113.64/26"), Port: portU}, route.Route{Prefix: prefix("2001:db8:b::/64"), Port: portU})
	}).meet()
	for _, w := range []family{ipv4, ipv6} {
		r.expectForwarded(r.route(guestPort, w.udp(w.guestB)), portB, w.guestB.MAC)
	}
}

func TestHostsRoutesToSpecialAddressesAreIgnored(t *testing.T) {
	r := newRig(t, func(v *route.View) {
		for _, p := range []string{"169.254.0.0/16", "224.0.0.0/4", "127.1.0.0/16", "fe80::/64", "ff00::/8"} {
			v.Routes = append(v.Routes, route.Route{Prefix: prefix(p), Port: portU})
		}
	})
	for _, a := range []string{"169.254.1.1", "224.0.0.5", "fe80::5", "ff02::5"} {
		w := familyOf(addr(a))
		if d, err := r.Explain(portA, w.guest.Addr, addr(a)); err != nil || !d.Host {
			t.Errorf("%s: %+v, %v", a, d, err)
		}
	}
	if d, _ := r.Explain(portA, ipv4.guest.Addr, addr("127.1.0.1")); d.Reason != frame.DropMartian {
		t.Errorf("%+v", d)
	}
}

func TestRoutesInForce(t *testing.T) {
	r := newRig(t, second(
		route.Route{Prefix: prefix("0.0.0.0/0"), Via: addr("198.18.0.1"), Port: portV, Metric: 50},
		route.Route{Prefix: prefix("10.1.2.3/8"), Port: portV},
		route.Route{Prefix: prefix("10.5.0.0/16"), Port: 99},
	))
	var got []string
	for _, x := range r.Routes() {
		if x.Prefix.Addr().Is4() {
			got = append(got, x.Prefix.String())
		}
		if x.Prefix.Bits() == 0 && x.Prefix.Addr().Is4() && x.Port != portV {
			t.Errorf("default by %d", x.Port)
		}
	}
	want := "0.0.0.0/0 10.0.0.0/8 10.7.0.0/16 192.0.2.0/24 192.168.1.0/24 203.0.113.64/26"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}

func TestExplain(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t)
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
		for name, c := range map[string]struct {
			at       frame.PortID
			src, dst netip.Addr
			want     route.Decision
		}{
			"to the gateway":      {portA, w.guest.Addr, w.gatewayA, route.Decision{Host: true}},
			"to the host":         {portA, w.guest.Addr, w.host, route.Decision{Host: true, Translator: true}},
			"to NAT":              {portA, w.guest.Addr, w.external, route.Decision{Reason: frame.DropNATNoSession, Translator: true}},
			"spoofed":             {portA, w.guestB.Addr, w.remote.Addr, route.Decision{Reason: frame.DropMartian}},
			"from B to A":         {portB, w.guestB.Addr, w.guest.Addr, route.Decision{Reason: frame.DropForbidden}},
			"from outside to A":   {portU, w.remote.Addr, w.guest.Addr, route.Decision{Reason: frame.DropNATNoSession}},
			"to one not asked":    {portU, w.remote.Addr, w.guestB.Addr, route.Decision{NextHop: w.guestB.Addr}},
			"to the outside":      {portA, w.guest.Addr, w.remote.Addr, route.Decision{NextHop: w.hop.Addr, MAC: w.hop.MAC, Realm: realmA}},
			"routed, to the same": {portB, w.guestB.Addr, w.remote.Addr, route.Decision{NextHop: w.hop.Addr, MAC: w.hop.MAC}},
		} {
			got, err := r.Explain(c.at, c.src, c.dst)
			if err != nil || (got.Route.Port != 0) != c.want.NextHop.IsValid() {
				t.Errorf("%s: by %v, %v", name, got.Route, err)
			}
			got.Route = route.Route{}
			if got != c.want {
				t.Errorf("%s: %+v, want %+v", name, got, c.want)
			}
		}
		if _, err := r.Explain(99, w.guest.Addr, w.host); err == nil {
			t.Error("a port that is no interface has an explanation")
		}
		if _, err := r.Explain(portA, ipv4.guest.Addr, ipv6.host); err == nil {
			t.Error("two families have an explanation")
		}
	})
}

// What the router is given, the caller may go on to use.
func TestSetKeepsNothingOfTheCallers(t *testing.T) {
	r := newRig(t).meet()
	r.view.Interfaces[0].Reach[0] = 0
	r.view.Interfaces[1].Addresses[0] = netip.Prefix{}
	clear(r.view.Routes)
	r.expectForwarded(r.route(guestPort, ipv4.udp(ipv4.guestB)), portB, ipv4.guestB.MAC)
	r.expectForwarded(r.route(guestPort, frametest.UDP(ipv4.guest, towards(ipv4.remote, macA), nil)), portU, ipv4.hop.MAC)
}
