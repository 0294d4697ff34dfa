package daemon

import (
	"net/netip"
	"time"

	"weft/config"
	"weft/frame"
	"weft/isolate"
	"weft/route"
	"weft/service/forward"
	"weft/service/lease"
	vswitch "weft/switch"
	"weft/tap"
)

// services are what stands between the ports of a network with a gateway and the relay,
// and what is served there. Zero while the gateway is down.
type services struct {
	guard    *isolate.Guard
	listener *route.Listener
	book     *lease.Book // nil: no DHCP
}

// stages returns what the network's frames pass before they are relayed, in this order.
func (n *network) stages() []vswitch.Stage {
	var list []vswitch.Stage
	for _, u := range n.uplinks {
		if u.asked != nil {
			list = append(list, stage{u.asked, vswitch.ScopePacket}) // who asks the wire for addresses behind weft
		}
	}
	if n.gateway == nil || n.gateway.guard == nil {
		return list
	}
	return append(list,
		stage{n.gateway.guard, vswitch.ScopePacket},    // nobody plays the gateway, before anything believes him
		stage{n.gateway.listener, vswitch.ScopePacket}, // what stations tell of their addresses
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
		g.services = services{guard: isolate.NewGuard(c), listener: d.layer3.router.Listener(g.id)}
	} else {
		g.guard.Set(c)
	}
	return d.sw.UpdateNetwork(n.fid, n.switchConfig())
}

// unserve ends what is served at the gateway.
func (d *Daemon) unserve(n *network) {
	n.gateway.services = services{}
}

// listeners are the forwards as the host's side of them wants them.
func listeners(list []config.Forward) []forward.Forward {
	var out []forward.Forward
	for _, f := range list {
		out = append(out, forward.Forward{
			Protocol: protocolOf(f.Proto), Address: f.Address, First: f.Port.First, Last: f.Port.Last, To: f.To,
		})
	}
	return out
}

// isLocal reports whether an address is the host's. It is asked from any goroutine.
func (l *layer3) isLocal(a netip.Addr) bool {
	_, ok := (*l.local.Load())[a]
	return ok
}
