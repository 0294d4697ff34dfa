package daemon

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weft/config"
	"weft/frame"
	"weft/nat"
	"weft/route"
	"weft/route/rtnl"
	"weft/service/forward"
)

// layer3 is what all networks with a gateway share. Under Daemon.mu, but for what its
// parts guard themselves.
type layer3 struct {
	router   *route.Router
	table    *nat.Table
	claims   claims
	forwards *forward.Forwarder // the host's side of all networks' forwards
	clash    error              // of forwards with sockets of the host

	host      rtnl.Host // what the kernel was last told to know
	neighbors map[neighborKey]rtnl.Neighbor
	links     atomic.Pointer[links]
	local     atomic.Pointer[[]netip.Prefix] // see isLocal

	portNames atomic.Pointer[map[frame.PortID]string]

	numbers    map[string]uint16 // realms and pools, by what they are for; they never change
	view       route.View        // as last set
	settings   nat.Settings      // as last set
	owned      []netip.Prefix    // as last told to the kernel
	forwarded  []endpoint        // likewise
	restore    func() error      // gives the reserved ports back; nil: none are reserved
	unreserved error             // why none could be
	reserved   config.PortRange
}

type neighborKey struct {
	link int
	addr netip.Addr
}

// links are the router's outside interfaces as the kernel knows them, and back.
type links struct {
	ports   map[int]frame.PortID
	indexes map[frame.PortID]int
}

// How often time-outs are looked for: of sessions a part each time, of neighbors all.
const (
	expireEvery = 10 * time.Millisecond
	routerEvery = 100 * time.Millisecond
)

func newLayer3(d *Daemon, sessions int) (*layer3, error) {
	c, err := d.kernel.Claims()
	if err != nil {
		return nil, err
	}
	l := &layer3{claims: c, neighbors: map[neighborKey]rtnl.Neighbor{}, numbers: map[string]uint16{}}
	l.links.Store(&links{})
	l.portNames.Store(&map[frame.PortID]string{})
	l.local.Store(new([]netip.Prefix))
	l.table = nat.New(nat.Config{
		Capacity: sessions, Host: natHost{c, d.kernel.PortFree}, Emit: d.sw.Inject,
		Changed: d.flows.session, Seen: d.flows.seen,
	})
	l.router = route.New(route.Config{
		Translator: l.table, Inject: d.sw.Inject, Changed: d.flows.neighbor,
		Resolve: func(at frame.PortID, a netip.Addr) {
			if link, ok := l.links.Load().indexes[at]; ok {
				d.kernel.Resolve(link, a)
			}
		},
	})
	l.forwards, err = forward.Open(forward.Config{Local: l.isLocal})
	return l, err
}

// run sees to time-outs until ctx ends.
func (l *layer3) run(ctx context.Context, now func() time.Duration) {
	expire, router := time.NewTicker(expireEvery), time.NewTicker(routerEvery)
	defer expire.Stop()
	defer router.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-expire.C:
			l.table.Expire(now())
		case <-router.C:
			l.router.Tick(now())
			if l.table.Counters().Sessions == 0 {
				expire.Reset(routerEvery) // an idle host is left to sleep
			} else {
				expire.Reset(expireEvery)
			}
		}
	}
}

// number returns the number that stands for name for as long as the daemon runs.
func (l *layer3) number(name string) uint16 {
	n := l.numbers[name]
	if n == 0 {
		n = uint16(len(l.numbers) + 1)
		l.numbers[name] = n
	}
	return n
}

func (l *layer3) realm(network string) uint16   { return l.number("realm " + network) }
func (l *layer3) ownPool(network string) uint16 { return l.number("addresses " + network) }
func (l *layer3) nicPool(nic string) uint16     { return l.number("nic " + nic) }

// auto reports whether a network goes outside as the host itself does.
func auto(c config.Network) bool { return slices.Equal(c.Uplinks, []string{config.UplinkAuto}) }

// ways returns the NICs that a network goes outside by.
func (l *layer3) ways(c config.Network) []string {
	if !c.Mode.HasGateway() {
		return nil
	}
	if !auto(c) {
		return c.Uplinks
	}
	var nics []string
	for _, is4 := range []bool{true, false} {
		if nic := l.defaultNIC(is4); nic != "" && !slices.Contains(nics, nic) {
			nics = append(nics, nic)
		}
	}
	return nics
}

// defaultNIC returns the NIC of the host's best default route for IPv4 or IPv6; "": there
// is none.
func (l *layer3) defaultNIC(is4 bool) string {
	best := rtnl.Route{Metric: -1}
	for _, r := range l.host.Routes {
		def := r.Prefix.Bits() == 0 && r.Prefix.Addr().Is4() == is4 && r.Kind == rtnl.Unicast
		if def && !ours(r.Name) && (best.Metric < 0 || r.Metric < best.Metric) {
			best = r
		}
	}
	return best.Name
}

// waysLocked returns the NICs of all networks with a gateway that is up, each once.
func (d *Daemon) waysLocked() []string {
	var nics []string
	for _, c := range d.cfg.Networks {
		if n := d.networks[c.Name]; n != nil && n.gateway != nil {
			nics = append(nics, d.layer3.ways(n.cfg)...)
		}
	}
	slices.Sort(nics)
	return slices.Compact(nics)
}

// routeLocked makes router, translation, services and the kernel go by the networks and
// the host as they are now. It changes only what differs, and cannot fail as a whole:
// what does not work stands in the state of its network.
func (d *Daemon) routeLocked() {
	l := d.layer3
	names := map[frame.PortID]string{}
	for _, p := range d.ports {
		if p.att != nil {
			names[p.id] = p.cfg.Name
		}
	}
	l.portNames.Store(&names)
	var local []netip.Prefix
	for _, a := range l.host.Addresses {
		local = append(local, netip.PrefixFrom(a.Prefix.Addr(), a.Prefix.Addr().BitLen()))
	}
	for _, n := range d.networks {
		if n.cfg.Mode == config.ModeRouted {
			local = append(local, masked(n.cfg.Subnets)...)
		}
	}
	l.local.Store(&local)
	ways := d.waysLocked()
	d.keepSegmentsLocked(ways)
	d.setUplinkRolesLocked(ways)
	if s := d.translationLocked(); !reflect.DeepEqual(s, l.settings) {
		l.settings = s
		l.table.Configure(d.sw.Now(), s)
		d.flows.Changed(frame.Everything)
	}
	d.reservePortsLocked()
	d.claimLocked()
	d.setViewLocked()
	d.openUplinksLocked()
	d.rememberLocked()
}

func (d *Daemon) setViewLocked() {
	l := d.layer3
	v := d.viewLocked()
	if reflect.DeepEqual(v, l.view) {
		return
	}
	if err := l.router.Set(v); err != nil {
		d.log.Error("the router refused a change: " + err.Error())
		return
	}
	l.view = v
	d.flows.Changed(frame.Everything)
	d.setLinksLocked()
}

// openUplinksLocked lets in what NICs receive that the router knows by now. Before, what is
// claimed would have been left to the host, which resets connections that it does not know.
func (d *Daemon) openUplinksLocked() {
	for _, n := range d.segmentsLocked() {
		fresh := false
		for _, u := range n.uplinks {
			fresh = fresh || u.up != nil && !u.known
			u.known = u.up != nil
		}
		if fresh {
			d.electLocked(n)
		}
	}
}

// setUplinkRolesLocked tells each NIC what it is for.
func (d *Daemon) setUplinkRolesLocked(ways []string) {
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			routed, proxy := slices.Contains(ways, u.name), d.proxiesLocked(u.name)
			if u.up == nil || u.routed == routed && u.proxy == proxy {
				continue
			}
			u.routed, u.proxy, u.asked = routed, proxy, nil
			if proxy {
				u.asked = d.layer3.router.Proxy(u.host)
			}
			d.warn(u.up.Set(u.bridged(), proxy), "changing an uplink's role failed", u.name)
			d.updateUplinkLocked(u)
			d.must(d.sw.UpdateNetwork(n.fid, n.switchConfig()), u.name)
		}
	}
}

// proxiesLocked reports whether weft answers ARP and neighbor solicitations on a NIC.
func (d *Daemon) proxiesLocked(nic string) bool {
	for _, n := range d.networks {
		if (n.cfg.Proxy || len(n.cfg.NAT.Addresses) > 0) && slices.Contains(d.layer3.ways(n.cfg), nic) {
			return true
		}
	}
	return false
}

// setLinksLocked says which interface of the router each link is, and what the kernel
// knows of its neighbors.
func (d *Daemon) setLinksLocked() {
	l := d.layer3
	next := &links{ports: map[int]frame.PortID{}, indexes: map[frame.PortID]int{}}
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			if u.up != nil && u.routed {
				next.ports[u.link.Index], next.indexes[u.host] = u.host, u.link.Index
			}
		}
	}
	l.links.Store(next)
	for _, n := range l.neighbors {
		l.tell(n)
	}
}

// neighborChanged is told of what the kernel knows of a neighbor.
func (d *Daemon) neighborChanged(n rtnl.Neighbor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.layer3
	key := neighborKey{n.Link, n.Address}
	if n.MAC == 0 {
		delete(l.neighbors, key)
	} else {
		l.neighbors[key] = n
	}
	l.tell(n)
}

func (l *layer3) tell(n rtnl.Neighbor) {
	at, ok := l.links.Load().ports[n.Link]
	switch {
	case !ok:
	case n.MAC == 0:
		l.router.DeleteNeighbor(at, n.Address)
	default:
		l.router.SetNeighbor(at, n.Address, n.MAC)
	}
}

// followHost keeps up with the host's kernel until ctx ends, or it may not. first is
// called when its state is known.
func (d *Daemon) followHost(ctx context.Context, first func()) error {
	for {
		err := d.kernel.WatchHost(ctx, func(h rtnl.Host) { d.hostChanged(h); first() }, d.neighborChanged)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, os.ErrPermission) {
			return err // which no time mends
		}
		d.log.Error("following the host's addresses and routes failed, trying again", zap.Error(err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryInterval):
		}
	}
}

// hostChanged is told of the host's addresses and routes.
func (d *Daemon) hostChanged(h rtnl.Host) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.layer3.host = h
	for _, n := range d.segmentsLocked() {
		g := n.gateway
		if g == nil {
			continue
		}
		switch overlap := d.layer3.overlap(n.cfg); {
		case overlap != nil && g.att != nil:
			d.log.Error("gateway taken down: " + overlap.Error())
			d.warn(d.closeGatewayLocked(n), "taking down a gateway failed in part", n.cfg.Name)
			g.fault = overlap
		case overlap == nil && g.att == nil:
			d.retried(d.openGatewayLocked(n), n.cfg.Name)
		case g.att != nil && !d.layer3.stands(n):
			d.warn(g.att.Update(n.gatewayConfig()), "giving a gateway its addresses again failed", n.cfg.Name)
		}
	}
	d.routeLocked()
}

// stands reports whether the host has all addresses of the network's gateway. They may be
// gone: who sets a device down takes its IPv6 addresses.
func (l *layer3) stands(n *network) bool {
	for _, s := range n.cfg.Subnets {
		if !slices.ContainsFunc(l.host.Addresses, func(a rtnl.Address) bool { return a.Name == n.gateway.device && a.Prefix == s }) {
			return false
		}
	}
	return true
}
