package daemon

import (
	"net/netip"
	"slices"

	"weft/config"
	"weft/frame"
	"weft/route"
	"weft/route/rtnl"
	"weft/tap"
)

// viewLocked is what the router goes by.
func (d *Daemon) viewLocked() route.View {
	l := d.layer3
	v := route.View{}
	for _, a := range l.host.Addresses {
		if !a.Prefix.Addr().IsLoopback() && !slices.Contains(v.Local, a.Prefix.Addr()) {
			v.Local = append(v.Local, a.Prefix.Addr())
		}
	}
	for _, n := range d.segmentsLocked() {
		if n.gateway != nil && n.gateway.att != nil {
			v.Interfaces = append(v.Interfaces, d.insideLocked(n))
			for _, r := range n.cfg.Routes {
				v.Routes = append(v.Routes, route.Route{Prefix: r.To, Via: r.Via, Port: n.gateway.id})
			}
			v.External = append(v.External, n.cfg.NAT.Addresses...)
			if n.cfg.Proxy {
				v.Owned = append(v.Owned, masked(n.cfg.Subnets)...)
			}
		}
		for _, u := range n.uplinks {
			if u.up != nil && u.routed && u.up.HostMAC() != 0 {
				v.Interfaces = append(v.Interfaces, d.outsideLocked(u))
			}
		}
	}
	for _, r := range l.host.Routes {
		if ours(r.Name) {
			continue
		}
		// What the host sends by other devices, or nowhere, has no port, and guests neither.
		out := route.Route{Prefix: r.Prefix, Via: r.Gateway, Metric: r.Metric}
		if u := d.uplinkLocked(r.Name); u != nil && u.up != nil && u.routed && u.link.Up && r.Kind == rtnl.Unicast {
			out.Port = u.host
		}
		v.Routes = append(v.Routes, out)
	}
	return v
}

func (d *Daemon) insideLocked(n *network) route.Interface {
	g := n.gateway
	i := route.Interface{
		Port: g.id, Name: n.cfg.Name, MAC: g.att.MAC(), MTU: n.cfg.MTU,
		Addresses: append(slices.Clone(n.cfg.Subnets), tap.GatewayLinkLocal),
	}
	if n.cfg.Mode == config.ModeNAT {
		i.Realm = g.realm
		for _, a := range n.cfg.NAT.Addresses {
			if a.Is4() {
				i.Pool = d.layer3.ownPool(n.cfg.Name)
			} else {
				i.Pool6 = d.layer3.ownPool(n.cfg.Name)
			}
		}
	}
	for _, name := range n.cfg.Reach {
		if o := d.networks[name]; o != nil && o.gateway != nil && o.gateway.att != nil {
			i.Reach = append(i.Reach, o.gateway.id)
		}
	}
	if !auto(n.cfg) { // else as the host itself goes
		i.Uplinks = []frame.PortID{}
		for _, nic := range n.cfg.Uplinks {
			if u := d.uplinkLocked(nic); u != nil && u.up != nil {
				i.Uplinks = append(i.Uplinks, u.host)
			}
		}
	}
	return i
}

func (d *Daemon) outsideLocked(u *nic) route.Interface {
	i := route.Interface{
		Port: u.host, Name: u.name, MAC: u.up.HostMAC(), MTU: portMTU(u.net, u.link),
		Outside: true, Pool: d.layer3.nicPool(u.name), Proxy: u.proxy,
	}
	for _, a := range d.layer3.host.Addresses {
		if a.Link == u.link.Index && !a.Tentative {
			i.Addresses = append(i.Addresses, a.Prefix)
		}
	}
	return i
}

func masked(list []netip.Prefix) []netip.Prefix {
	m := make([]netip.Prefix, len(list))
	for i, p := range list {
		m[i] = p.Masked()
	}
	return m
}
