package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"weft/config"
	"weft/frame"
	"weft/nat"
	"weft/route/rtnl"
	"weft/tap"
)

// claims is what the kernel must know of the addresses and ports that are not, or not
// only, the host's.
type claims interface {
	Claim(p frame.Protocol, at netip.AddrPort, k tap.ClaimKind) error
	Release(p frame.Protocol, at netip.AddrPort, k tap.ClaimKind) error
	Own(netip.Prefix) error
	Disown(netip.Prefix) error
}

// natHost is the host's kernel as the table of sessions asks and tells it.
type natHost struct {
	claims
	free func(p frame.Protocol, at netip.AddrPort) bool
}

func (h natHost) Free(p frame.Protocol, at netip.AddrPort) bool { return h.free(p, at) }

func (h natHost) Claim(p frame.Protocol, at netip.AddrPort) error {
	return h.claims.Claim(p, at, tap.ClaimSession)
}

func (h natHost) Release(p frame.Protocol, at netip.AddrPort) {
	_ = h.claims.Release(p, at, tap.ClaimSession) // a frame too many to the table is no matter
}

// translationLocked is what the table of sessions goes by.
func (d *Daemon) translationLocked() nat.Settings {
	l := d.layer3
	s := nat.Settings{Realms: map[nat.Realm]nat.Policy{}, Pools: map[nat.Pool]nat.PoolConfig{}}
	ports := d.sharedPortsLocked()
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			if u.up != nil && u.routed {
				s.Pools[l.nicPool(u.name)] = nat.PoolConfig{
					Addresses: l.sources(u.link.Index), Shared: true, First: ports.First, Last: ports.Last,
				}
			}
		}
		c := n.cfg
		if n.gateway == nil || n.gateway.att == nil || c.Mode != config.ModeNAT {
			continue
		}
		if len(c.NAT.Addresses) > 0 {
			s.Pools[l.ownPool(c.Name)] = nat.PoolConfig{Addresses: c.NAT.Addresses, First: c.NAT.Ports.First, Last: c.NAT.Ports.Last}
		}
		s.Realms[n.gateway.realm] = d.policyLocked(n)
	}
	return s
}

func (d *Daemon) policyLocked(n *network) nat.Policy {
	c := n.cfg.NAT
	p := nat.Policy{
		Filtering: map[config.Filtering]nat.Filtering{
			config.FilterAddress:             nat.AddressDependent,
			config.FilterEndpointIndependent: nat.EndpointIndependent,
		}[c.Filtering],
		Quota: c.Quota, Fair: c.Quota == 0,
		Timers: nat.Timers{
			UDP: time.Duration(c.UDP), ICMP: time.Duration(c.ICMP), TCPEstablished: time.Duration(c.TCPEstablished),
			TCPTransitory: time.Duration(c.TCPTransitory), TCPClosing: time.Duration(c.TCPClosing),
		},
	}
	for _, f := range d.layer3.inForce(n.cfg) {
		for _, pool := range d.poolsLocked(n) {
			p.Forwards = append(p.Forwards, nat.Forward{
				Protocol: protocolOf(f.Proto), Pool: pool, Address: f.Address,
				First: f.Port.First, Last: f.Port.Last, To: f.To,
			})
		}
	}
	return p
}

// poolsLocked returns the pools that a network's guests appear with.
func (d *Daemon) poolsLocked(n *network) []nat.Pool {
	if len(n.cfg.NAT.Addresses) > 0 {
		return []nat.Pool{d.layer3.ownPool(n.cfg.Name)}
	}
	var pools []nat.Pool
	for _, nic := range d.layer3.ways(n.cfg) {
		if u := d.uplinkLocked(nic); u != nil && u.up != nil && u.routed {
			pools = append(pools, d.layer3.nicPool(nic))
		}
	}
	return pools
}

// sources returns the addresses of a link that guests appear with.
func (l *layer3) sources(link int) []netip.Addr {
	var list []netip.Addr
	for _, f := range []rtnl.Family{rtnl.IPv4, rtnl.IPv6} {
		if a := rtnl.SourceFor(l.host, link, f); a.IsValid() {
			list = append(list, a)
		}
	}
	return list
}

func protocolOf(p config.Protocol) frame.Protocol {
	if p == config.UDP {
		return frame.ProtocolUDP
	}
	return frame.ProtocolTCP
}

// sharedPortsLocked returns the range of the host's ports that NAT uses, the zero range
// if no network appears with an address of the host. One that has addresses of its own
// of one family only appears with the host's of the other.
func (d *Daemon) sharedPortsLocked() config.PortRange {
	var ports config.PortRange
	for _, c := range d.cfg.Networks {
		switch {
		case c.Mode != config.ModeNAT:
		case len(c.NAT.Addresses) == 0:
			return c.NAT.Ports
		case slices.ContainsFunc(c.Subnets, func(s netip.Prefix) bool {
			return !slices.ContainsFunc(c.NAT.Addresses, func(a netip.Addr) bool { return a.Is4() == s.Addr().Is4() })
		}):
			ports = config.DefaultSharedPorts
		}
	}
	return ports
}

// reservePortsLocked keeps the host from choosing NAT's ports for its own connections.
func (d *Daemon) reservePortsLocked() {
	l := d.layer3
	want := d.sharedPortsLocked()
	if want == l.reserved {
		return
	}
	if l.restore != nil {
		d.warn(l.restore(), "giving back reserved ports failed", "host")
		l.restore = nil
	}
	l.reserved, l.unreserved = want, nil
	if want == (config.PortRange{}) {
		return
	}
	l.restore, l.unreserved = d.kernel.ReservePorts(want.First, want.Last)
	d.warn(l.unreserved, "reserving ports failed: connections of the host and of guests may choose the same port", "host")
}

// An endpoint is what a forward claims.
type endpoint struct {
	protocol frame.Protocol
	at       netip.AddrPort
}

// claimLocked tells the kernel what is weft's whatever sockets the host has: the
// addresses of routed subnets and NAT's own, and the forwarded ports of the host's.
func (d *Daemon) claimLocked() {
	l := d.layer3
	var prefixes []netip.Prefix
	var endpoints []endpoint
	for _, n := range d.segmentsLocked() {
		if n.gateway == nil || n.gateway.att == nil {
			continue
		}
		if n.cfg.Mode == config.ModeRouted {
			prefixes = append(prefixes, masked(n.cfg.Subnets)...)
		}
		for _, a := range n.cfg.NAT.Addresses {
			prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()))
		}
		endpoints = append(endpoints, d.forwardedLocked(n)...)
	}
	d.warn(adjust(&l.owned, prefixes, l.claims.Own, l.claims.Disown), "claiming addresses failed in part", "host")
	d.warn(adjust(&l.forwarded, endpoints,
		func(e endpoint) error { return l.claims.Claim(e.protocol, e.at, tap.ClaimForward) },
		func(e endpoint) error { return l.claims.Release(e.protocol, e.at, tap.ClaimForward) },
	), "claiming forwarded ports failed in part", "host")
}

// forwardedLocked returns the endpoints of the host's addresses that lead to guests of n.
func (d *Daemon) forwardedLocked(n *network) []endpoint {
	var list []endpoint
	for _, pool := range d.poolsLocked(n) {
		c := d.layer3.settings.Pools[pool]
		if !c.Shared {
			continue
		}
		for _, f := range d.layer3.inForce(n.cfg) {
			for _, a := range c.Addresses {
				if a.Is4() != f.To.Addr().Is4() || f.Address.IsValid() && f.Address != a {
					continue
				}
				for port := int(f.Port.First); port <= int(f.Port.Last); port++ {
					list = append(list, endpoint{protocolOf(f.Proto), netip.AddrPortFrom(a, uint16(port))})
				}
			}
		}
	}
	return list
}

// adjust makes have what want says: by take for what is new, by drop for what is not
// wanted any more. What fails is tried again the next time.
func adjust[T comparable](have *[]T, want []T, take, drop func(T) error) error {
	var errs []error
	var now []T
	was := map[T]bool{}
	for _, v := range *have {
		was[v] = true
	}
	for _, v := range want {
		var err error
		if !was[v] {
			err = take(v)
		}
		if errs = append(errs, err); err == nil {
			now = append(now, v)
		}
		delete(was, v)
	}
	for v := range was {
		err := drop(v)
		if errs = append(errs, err); err != nil {
			now = append(now, v)
		}
	}
	*have = now
	return errors.Join(errs...)
}
