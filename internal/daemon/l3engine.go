package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/config"
	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
	"weft/nat"
	"weft/route/rtnl"
	"weft/service/lease"
)

// NATSessions implements control.Engine.
func (d *Daemon) NATSessions(f api.NATFilter) ([]api.NATSession, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.networkLocked(f.Network); err != nil {
		return nil, err
	}
	networks, ports := map[nat.Realm]string{}, map[frame.PortID]string{}
	for _, n := range d.networks {
		if n.gateway != nil {
			networks[n.gateway.realm] = n.cfg.Name
		}
	}
	known := f.Port == ""
	for _, m := range d.membersLocked() {
		ports[m.id] = m.name
		known = known || m.name == f.Port
	}
	if !known {
		return nil, fmt.Errorf("port %s: %w", f.Port, control.ErrNotFound)
	}
	list, now := []api.NATSession{}, d.sw.Now()
	for s := range d.layer3.table.Sessions {
		a := api.NATSession{
			Network: networks[s.Realm], Protocol: strings.ToLower(s.Protocol.String()), Port: ports[s.Port],
			Inside: s.Inside, Outside: s.External, Remote: s.Remote, State: s.State.String(),
			Expires: (s.Expires - now).Seconds(),
		}
		if f.Network != "" && a.Network != f.Network || f.Port != "" && a.Port != f.Port {
			continue
		}
		list = append(list, a)
		if f.Limit > 0 && len(list) >= f.Limit {
			break
		}
	}
	return list, nil
}

// FlushNAT implements control.Engine.
func (d *Daemon) FlushNAT(network string, inside netip.Addr) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.networkLocked(network); err != nil {
		return 0, err
	}
	count := 0
	for _, n := range d.networks {
		if n.gateway != nil && (network == "" || n.cfg.Name == network) {
			count += d.layer3.table.Flush(n.gateway.realm, inside)
		}
	}
	return count, nil
}

// Leases implements control.Engine.
func (d *Daemon) Leases(network string) ([]api.Lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.networkLocked(network); err != nil {
		return nil, err
	}
	list := []api.Lease{}
	for _, c := range d.cfg.Networks {
		n := d.networks[c.Name]
		if n.gateway == nil || n.gateway.server == nil || network != "" && c.Name != network {
			continue
		}
		for _, l := range n.gateway.server.Leases() {
			list = append(list, leaseAnswer(c.Name, l))
		}
	}
	return list, nil
}

func leaseAnswer(network string, l lease.Lease) api.Lease {
	return api.Lease{
		Network: network, Address: l.Address, MAC: l.Client.MAC, Client: fmt.Sprintf("%x", l.Client.ID),
		Name: l.Client.Name, Port: l.Client.Port, State: l.State.String(),
		Reserved: l.Reserved, Expires: l.Expiry,
	}
}

// ReleaseLease implements control.Engine.
func (d *Daemon) ReleaseLease(network string, a netip.Addr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.networks[network]
	if n == nil {
		return fmt.Errorf("network %q: %w", network, control.ErrNotFound)
	}
	if n.gateway == nil || n.gateway.server == nil {
		return fmt.Errorf("network %s serves no DHCP: %w", network, control.ErrConflict)
	}
	if err := n.gateway.server.Release(a); err != nil {
		return fmt.Errorf("%s: %w: %w", a, err, control.ErrNotFound)
	}
	return nil
}

// Routes implements control.Engine.
func (d *Daemon) Routes(network string) ([]api.Route, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.networkLocked(network); err != nil {
		return nil, err
	}
	list := []api.Route{}
	for _, c := range d.cfg.Networks {
		n := d.networks[c.Name]
		if n.gateway == nil || n.gateway.att == nil || network != "" && c.Name != network {
			continue
		}
		for _, s := range c.Subnets {
			list = append(list, api.Route{Network: c.Name, To: s.Masked(), Device: n.gateway.device, Origin: "connected"})
		}
		for _, r := range c.Routes {
			list = append(list, api.Route{Network: c.Name, To: r.To, Via: r.Via, Device: n.gateway.device, Origin: "static"})
		}
	}
	ways := d.waysLocked()
	if n := d.networks[network]; n != nil && !auto(n.cfg) {
		ways = d.layer3.ways(n.cfg)
	}
	for _, r := range d.layer3.host.Routes {
		if !ours(r.Name) {
			list = append(list, api.Route{To: r.Prefix, Via: r.Gateway, Device: r.Name, Origin: origin(r, ways), Metric: r.Metric})
		}
	}
	return list, nil
}

// origin says of a route of the host whether guests' packets take it.
func origin(r rtnl.Route, ways []string) string {
	switch {
	case r.Kind != rtnl.Unicast:
		return r.Kind.String()
	case !slices.Contains(ways, r.Name):
		return "no-uplink"
	}
	return "host"
}

// gatewayAnswerLocked fills in what a network with a gateway has beyond others.
func (d *Daemon) gatewayAnswerLocked(a *api.Network, n *network) {
	if n.gateway == nil {
		return
	}
	a.Gateway = n.gateway.device
	a.Subnets = n.cfg.Subnets
	if n.cfg.DHCP.Enabled {
		a.DHCP = "ipv6"
		if n.cfg.DHCP.Range.IsValid() {
			a.DHCP = n.cfg.DHCP.Range.String()
		}
	}
	if n.cfg.DNS.Enabled {
		a.Domain = n.cfg.DNS.Domain
	}
	for _, f := range n.cfg.Forwards {
		a.Forwards = append(a.Forwards, d.layer3.forwardAnswer(n.cfg, f))
	}
	a.External = n.cfg.NAT.Addresses
	for _, nic := range d.layer3.ways(n.cfg) {
		u := d.uplinkLocked(nic)
		if u == nil {
			continue
		}
		if n.cfg.Mode == config.ModeNAT && len(n.cfg.NAT.Addresses) == 0 {
			a.External = append(a.External, d.layer3.sources(u.link.Index)...)
		}
		state, detail := u.wireStatus()
		a.Uplinks = append(a.Uplinks, uplinkAnswer(nic, state, detail))
		a.RouteHints = append(a.RouteHints, d.routeHintsLocked(n, u)...)
	}
}

// routeHintsLocked tells what routers outside need to reach a routed network.
func (d *Daemon) routeHintsLocked(n *network, u *nic) []string {
	if n.cfg.Mode != config.ModeRouted || n.cfg.Proxy {
		return nil
	}
	var hints []string
	for _, s := range n.cfg.Subnets {
		for _, via := range d.layer3.sources(u.link.Index) {
			if via.Is4() == s.Addr().Is4() {
				hints = append(hints, fmt.Sprintf("ip route add %v via %v", s.Masked(), via))
			}
		}
	}
	return hints
}
