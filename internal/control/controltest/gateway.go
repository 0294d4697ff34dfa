package controltest

import (
	"net/netip"
	"slices"
	"time"

	"weft/internal/control/api"
)

// addGateways adds networks with a gateway, and what goes on there.
func (e *Engine) addGateways() {
	addr, endpoint := netip.MustParseAddr, netip.MustParseAddrPort
	e.NetworkList = append(
		e.NetworkList,
		api.Network{
			Name: "default", Mode: "nat", MTU: 1500, Ageing: "300s", Stations: 1, Ports: []string{},
			Uplinks: []api.Uplink{{Device: "eth2", State: "active"}},
			Subnets: []netip.Prefix{netip.MustParsePrefix("192.168.150.1/24"), netip.MustParsePrefix("fd5a:150::1/64")},
			Gateway: "wf-g-default", DHCP: "192.168.150.100-192.168.150.250", Domain: "vm.internal",
			External: []netip.Addr{addr("192.0.2.5"), addr("2001:db8::5")},
			Forwards: []api.Forward{
				{Protocol: "tcp", Port: "2222", To: endpoint("192.168.150.10:22")},
				{Protocol: "udp", Port: "8000-8010", To: endpoint("192.168.150.10:8000"), Address: addr("203.0.113.7"), Detail: "port 8003 is in use by another program"},
			},
		},
		api.Network{
			Name: "dmz", Mode: "routed", MTU: 1500, Ageing: "300s", Ports: []string{},
			Uplinks: []api.Uplink{{Device: "eth2", State: "active"}},
			Subnets: []netip.Prefix{netip.MustParsePrefix("10.20.0.1/24")}, Gateway: "wf-g-dmz",
			RouteHints: []string{"ip route add 10.20.0.0/24 via 192.0.2.5"},
		},
	)
	e.SessionList = []api.NATSession{
		{Network: "default", Protocol: "tcp", Inside: endpoint("192.168.150.10:40000"), Outside: endpoint("192.0.2.5:40000"), Remote: endpoint("198.51.100.1:443"), State: "established", Port: "vm1", Expires: 7440},
		{Network: "default", Protocol: "udp", Inside: endpoint("[fd5a:150::10]:5353"), Outside: endpoint("[2001:db8::5]:49153"), Remote: endpoint("[2001:db8:1::1]:53"), State: "active", Port: "vm2", Expires: 299.6},
		{Network: "default", Protocol: "icmp", Inside: endpoint("192.168.150.10:77"), Outside: endpoint("192.0.2.5:50077"), Remote: endpoint("198.51.100.1:77"), State: "active", Port: "vm1", Expires: 60},
	}
	e.LeaseList = []api.Lease{
		{Network: "default", Address: addr("192.168.150.101"), MAC: 0x525400000002, Name: "db", Port: "vm2", State: "bound", Expires: time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC), Client: "01525400000002"},
		{Network: "default", Address: addr("192.168.150.10"), MAC: 0x525400000001, Name: "web", Port: "vm1", State: "bound", Reserved: true, Expires: time.Date(2026, 11, 23, 12, 30, 0, 0, time.UTC)},
		{Network: "default", Address: addr("fd5a:150::10"), MAC: 0x525400000001, State: "idle", Expires: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC), Client: "00030001525400000001"},
	}
	e.RouteList = []api.Route{
		{Network: "default", To: netip.MustParsePrefix("192.168.150.0/24"), Device: "wf-g-default", Origin: "connected"},
		{Network: "default", To: netip.MustParsePrefix("10.7.0.0/16"), Via: addr("192.168.150.5"), Device: "wf-g-default", Origin: "static"},
		{Network: "dmz", To: netip.MustParsePrefix("10.20.0.0/24"), Device: "wf-g-dmz", Origin: "connected"},
		{To: netip.MustParsePrefix("0.0.0.0/0"), Via: addr("192.0.2.1"), Device: "eth2", Origin: "host", Metric: 100},
		{To: netip.MustParsePrefix("10.0.0.0/8"), Device: "wg0", Origin: "no-uplink", Metric: 50},
		{To: netip.MustParsePrefix("10.66.0.0/16"), Origin: "blackhole"},
	}
}

// NATSessions returns those of SessionList that f wants.
func (e *Engine) NATSessions(f api.NATFilter) ([]api.NATSession, error) {
	all := slices.DeleteFunc(slices.Clone(e.SessionList), func(s api.NATSession) bool {
		return f.Network != "" && s.Network != f.Network || f.Port != "" && s.Port != f.Port
	})
	if f.Limit > 0 && len(all) > f.Limit {
		all = all[:f.Limit]
	}
	return all, e.failure()
}

// FlushNAT records the call and says that three sessions went.
func (e *Engine) FlushNAT(network string, inside netip.Addr) (int, error) {
	return 3, e.call("flush nat %q %v", network, inside)
}

// Leases returns those of LeaseList in network.
func (e *Engine) Leases(network string) ([]api.Lease, error) {
	return slices.DeleteFunc(slices.Clone(e.LeaseList), func(l api.Lease) bool {
		return network != "" && l.Network != network
	}), e.failure()
}

// ReleaseLease records the call.
func (e *Engine) ReleaseLease(network string, a netip.Addr) error {
	return e.call("release lease %s %v", network, a)
}

// Routes returns those of RouteList that lead into network or outside.
func (e *Engine) Routes(network string) ([]api.Route, error) {
	return slices.DeleteFunc(slices.Clone(e.RouteList), func(r api.Route) bool {
		return network != "" && r.Network != "" && r.Network != network
	}), e.failure()
}
