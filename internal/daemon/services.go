package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"weft/frame"
	"weft/isolate"
	"weft/route"
	"weft/service"
	"weft/service/lease"
	vswitch "weft/switch"
	"weft/tap"
)

// services are what stands between the ports of a network with a gateway and the relay,
// and what is served there. Zero while the gateway is down.
type services struct {
	guard    *isolate.Guard
	listener *route.Listener
	server   *service.Server
	leases   *unwritten
	end      func() // ends server, and returns when it has
}

// stages returns what the network's frames pass before they are relayed, in this order.
// The flow cache leaves ARP, neighbor discovery and DHCP to the switch: those who ask for
// nothing else leave it free to remember by stations.
func (n *network) stages() []vswitch.Stage {
	var list []vswitch.Stage
	for _, u := range n.uplinks {
		if u.asked != nil {
			list = append(list, stage{u.asked, vswitch.ScopeL2}) // who asks the wire for addresses behind weft
		}
	}
	if n.gateway == nil || n.gateway.guard == nil {
		return list
	}
	return append(list,
		stage{n.gateway.guard, vswitch.ScopeFlow},  // nobody plays the gateway, before anything believes him
		stage{n.gateway.server, vswitch.ScopeFlow}, // takes what is for DHCP and asks for routers
		stage{n.gateway.listener, vswitch.ScopeL2}, // hears what stations tell of their addresses
	)
}

// A stage is what a room offers as one, without knowing the switch.
type stage struct {
	processor
	scope vswitch.Scope
}

type processor interface {
	Process(now time.Duration, bufs []*frame.Buf)
}

func (s stage) Scope() vswitch.Scope { return s.scope }

// serveLocked starts what is served at the gateway, or brings it to what n.cfg says.
func (d *Daemon) serveLocked(n *network) error {
	g := n.gateway
	c := isolate.GuardConfig{MAC: g.att.MAC(), Gateway: []netip.Addr{tap.GatewayLinkLocal.Addr()}, Trusted: []frame.PortID{g.id}}
	for _, s := range n.cfg.Subnets {
		c.Gateway = append(c.Gateway, s.Addr())
	}
	if g.guard == nil {
		leases := &unwritten{}
		server, err := service.New(d.serverConfig(n, leases))
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); server.Run(ctx) }()
		g.services = services{
			guard: isolate.NewGuard(c), listener: d.layer3.router.Listener(g.id), server: server, leases: leases,
			end: func() { cancel(); <-ended },
		}
	}
	g.guard.Set(c)
	return errors.Join(g.server.Set(d.served(n)), d.sw.UpdateNetwork(n.fid, n.switchConfig()))
}

// serverConfig is what stays the same as long as the gateway stands.
func (d *Daemon) serverConfig(n *network, leases *unwritten) service.Config {
	id, l := n.gateway.id, d.layer3
	var mu sync.Mutex
	buf := frame.NewBufs(1)[0]
	return service.Config{
		Network: n.cfg.Name, State: d.opts.StateDir,
		Send: func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			buf.SetBytes(p)
			d.sw.Inject(id, buf) // a full queue loses an answer, and the guest asks again
		},
		PortName: func(p frame.PortID) string { return (*l.portNames.Load())[p] },
		Probe:    func(a netip.Addr, asking frame.MAC) bool { return l.usedByOther(id, a, asking, d.sw.Now()) },
		Report:   func(e service.Event) { d.report(n.cfg.Name, e, leases) },
	}
}

// served is what the gateway serves its guests.
func (d *Daemon) served(n *network) service.Settings {
	c := n.cfg
	s := service.Settings{
		MAC: n.gateway.att.MAC(), LinkLocal: tap.GatewayLinkLocal.Addr(), Subnets: c.Subnets, MTU: c.MTU, Outside: true,
		DHCPv4: c.DHCP.Enabled && c.DHCP.Range.IsValid(), DHCPv6: c.DHCP.Enabled, Advertise: c.DHCP.Enabled, DNS: c.DNS.Enabled,
		Quota: c.DHCP.Quota, Lease: time.Duration(c.DHCP.Lease), Domain: c.DNS.Domain, Servers: c.DNS.Servers,
	}
	if c.DHCP.Range.IsValid() {
		s.Ranges = []lease.Range{{First: c.DHCP.Range.First, Last: c.DHCP.Range.Last}}
	}
	for _, r := range c.DHCP.Reservations {
		s.Reservations = append(s.Reservations, lease.Reservation(r))
	}
	for _, r := range c.Routes {
		s.Clients = append(s.Clients, r.To)
	}
	return s
}

// usedByOther reports whether the router knows the address as another station's.
func (l *layer3) usedByOther(at frame.PortID, a netip.Addr, asking frame.MAC, now time.Duration) bool {
	for _, n := range l.router.Neighbors(now) {
		if n.At == at && n.Addr == a {
			return n.MAC != 0 && n.MAC != asking && n.State == "reachable"
		}
	}
	return false
}

// unserve ends what is served at the gateway. Guests are told, unless it comes back soon.
func (d *Daemon) unserve(n *network, soon bool) error {
	s := n.gateway.services
	n.gateway.services = services{}
	if s.server == nil {
		return nil
	}
	s.end()
	if !soon {
		s.server.Farewell()
	}
	return s.server.Close()
}

// isLocal reports whether the host's side of forwards serves an address: one of the
// host's, or of a guest in a routed network, whose packets no NAT takes to where the
// forward leads. It is asked from any goroutine.
func (l *layer3) isLocal(a netip.Addr) bool {
	return slices.ContainsFunc(*l.local.Load(), func(p netip.Prefix) bool { return p.Contains(a) })
}
