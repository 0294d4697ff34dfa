package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/config"
	"weft/frame"
	"weft/internal/control/api"
	"weft/nat"
	"weft/route"
)

// routeLocked asks the router in front of the port at.
func (w *way) routeLocked(at member) {
	w.l3 = true
	f := w.flow
	if f.Dst != at.mac || protocolNumber(f) == 0 || f.VLAN != 0 {
		if f.VLAN != 0 {
			w.once = "it has a tag"
		}
		w.say("router", "no packet to be routed: left to the host")
		w.deliver(at)
		return
	}
	d, err := w.d.layer3.router.Explain(at.id, f.From.Addr(), f.To.Addr())
	switch {
	case err != nil:
		w.say("router", "knows nothing of %s yet: left to the host", at.name)
		w.deliver(at)
	case d.Translator:
		w.inwardLocked(at, d)
	case d.Host:
		w.toHost(at)
	case d.Reason != 0:
		w.drop("router", d.Reason)
	default:
		w.forwardLocked(at, d)
	}
}

// toHost leaves the packet to the host's stack behind a port.
func (w *way) toHost(at member) {
	why := "for the host itself"
	if at.kind == kindUplink {
		why = "for nobody behind weft"
	}
	w.say("router", "%s: left to the host", why)
	w.deliver(at)
}

// forwardLocked sends the packet on as the router decided.
func (w *way) forwardLocked(in member, d route.Decision) {
	out := w.memberLocked(d.Route.Port)
	w.say("router", "by the route %v, to %v %s, from %s", d.Route.Prefix, d.NextHop, stationText(d.MAC), out.name)
	if d.Realm != 0 && !w.outwardLocked(in, out, d.Realm) {
		return
	}
	if d.MAC == 0 {
		w.once = "its next hop is not known yet"
		w.say("exit", "waits at %s until %v has answered", out.name, d.NextHop)
		return
	}
	w.departLocked(out, d.MAC)
}

// departLocked finds the port by which a routed packet leaves the network of an
// interface.
func (w *way) departLocked(from member, mac frame.MAC) {
	s, known := w.stationLocked(from.net, mac)
	switch out := w.memberLocked(s.Port); {
	case !known:
		w.floodLocked("exit", fmt.Sprintf("%s is not known", mac), from)
	case out.id == from.id:
		w.drop("exit", frame.DropHairpin)
	default:
		w.exit(out)
	}
}

// outwardLocked tells what a packet from inside appears as, and whether it may.
func (w *way) outwardLocked(in, out member, r nat.Realm) bool {
	f := w.flow
	ours := func(s nat.Session) bool { return s.Realm == r && s.Inside == f.From }
	if s := w.findSession(func(s nat.Session) bool { return ours(s) && w.speaksTo(s, f.To) }); s != nil {
		w.say("nat", "a session of %s, %s: leaves from %v", f.Protocol, s.State, s.External)
		w.settle(s)
		return true
	}
	w.settle(nil)
	pool := w.d.poolLocked(in, out, f.To.Addr().Is4())
	addresses := slices.DeleteFunc(slices.Clone(w.d.layer3.settings.Pools[pool].Addresses), func(a netip.Addr) bool { return a.Is4() != f.To.Addr().Is4() })
	quota, opened := w.d.layer3.settings.Realms[r].Quota, 0
	for s := range w.d.layer3.table.Sessions {
		if s.Port == w.in.id {
			opened++
		}
	}
	c := w.d.layer3.table.Counters()
	switch s := w.findSession(ours); {
	case len(addresses) == 0:
		w.drop("nat", frame.DropNATNoPort)
		return false
	case quota != 0 && opened >= quota:
		w.drop("nat", frame.DropNATQuota)
		return false
	case c.Sessions >= c.Capacity:
		w.drop("nat", frame.DropNATFull)
		return false
	case s != nil:
		w.say("nat", "a new session of %s: leaves from %v", f.Protocol, s.External)
	default:
		w.say("nat", "a new session of %s: leaves from %s", f.Protocol, list(addresses))
	}
	return true
}

// inwardLocked asks NAT for whom a packet for an external address is.
func (w *way) inwardLocked(at member, d route.Decision) {
	f := w.flow
	if at.kind == kindGateway {
		w.once = "NAT translates it twice"
	}
	s := w.findSession(func(s nat.Session) bool { return f.Protocol != "icmp" && s.External == f.To && w.speaksTo(s, f.From) })
	switch {
	case s != nil:
		w.say("nat", "a session of %s, %s: for %v%s", f.Protocol, s.State, s.Inside, turnText(at))
		w.settle(s)
		w.toGuestLocked(s.Realm, s.Inside)
		return
	case f.Protocol == "icmp":
	default:
		w.settle(nil)
		if n, to := w.d.forwardOfLocked(f); n != nil {
			w.say("nat", "a forward of network %s: for %v%s", n.cfg.Name, to, turnText(at))
			w.toGuestLocked(n.gateway.realm, to)
			return
		}
		if s := w.findSession(func(s nat.Session) bool { return s.External == f.To }); s != nil {
			w.filterLocked(at, s)
			return
		}
	}
	if d.Reason != 0 {
		w.drop("nat", d.Reason)
		return
	}
	w.once = "NAT is asked each time"
	w.say("nat", "nobody inside has to do with it")
	w.toHost(at)
}

// filterLocked tells whether one whom the guest did not address may send to the
// external end of its session s.
func (w *way) filterLocked(at member, s *nat.Session) {
	f := w.flow
	filtering := w.d.layer3.settings.Realms[s.Realm].Filtering
	known := w.findSession(func(o nat.Session) bool { return o.External == f.To && o.Remote.Addr() == f.From.Addr() }) != nil
	if filtering == nat.EndpointIndependent || filtering == nat.AddressDependent && known {
		w.say("nat", "a new session of %s: for %v, to which others may send%s", f.Protocol, s.Inside, turnText(at))
		w.toGuestLocked(s.Realm, s.Inside)
		return
	}
	w.drop("nat", frame.DropNATFiltered)
}

// toGuestLocked sends a packet to the guest that NAT found.
func (w *way) toGuestLocked(r nat.Realm, to netip.AddrPort) {
	for _, n := range w.d.networks {
		if n.gateway == nil || n.gateway.realm != r {
			continue
		}
		gateway := n.gateway.member(n)
		d, err := w.d.layer3.router.Explain(gateway.id, to.Addr(), to.Addr())
		if err == nil && d.Reason == 0 && !d.Host {
			w.forwardLocked(gateway, d)
			return
		}
	}
	w.drop("router", frame.DropNoRoute)
}

// findSession returns the first session of the flow's protocol that is wanted, or nil.
func (w *way) findSession(wanted func(nat.Session) bool) *nat.Session {
	for s := range w.d.layer3.table.Sessions {
		if s.Protocol == protocolNumber(w.flow) && wanted(s) {
			return &s
		}
	}
	return nil
}

// settle notes whether the session, nil if the packet opens one, is in the state in which
// it stays.
func (w *way) settle(s *nat.Session) {
	if w.flow.Protocol == "tcp" && (s == nil || s.State.String() != "established") && w.once == "" {
		w.once = "its connection is not established"
	}
}

// speaksTo reports whether remote is the session's. Of ICMP it has no port.
func (w *way) speaksTo(s nat.Session, remote netip.AddrPort) bool {
	return s.Remote == remote || w.flow.Protocol == "icmp" && s.Remote.Addr() == remote.Addr()
}

// poolLocked returns the pool of addresses that what goes from one interface of the
// router to another appears with.
func (d *Daemon) poolLocked(in, out member, is4 bool) nat.Pool {
	var pool nat.Pool
	for _, i := range d.layer3.view.Interfaces {
		switch own := map[bool]nat.Pool{true: i.Pool, false: i.Pool6}[is4]; {
		case i.Port == in.id && own != 0:
			return own
		case i.Port == out.id:
			pool = i.Pool
		}
	}
	return pool
}

// forwardOfLocked returns the network of the forward that a packet from outside is for,
// and where it leads; nil if there is none.
func (d *Daemon) forwardOfLocked(f api.Flow) (*network, netip.AddrPort) {
	for _, n := range d.segmentsLocked() {
		if n.gateway == nil || n.gateway.att == nil {
			continue
		}
		for _, c := range d.layer3.inForce(n.cfg) {
			if d.leadsLocked(n, c, f) {
				return n, netip.AddrPortFrom(c.To.Addr(), c.To.Port()+f.To.Port()-c.Port.First)
			}
		}
	}
	return nil, netip.AddrPort{}
}

// leadsLocked reports whether the flow is for one of a forward's external endpoints.
func (d *Daemon) leadsLocked(n *network, c config.Forward, f api.Flow) bool {
	to := f.To
	if string(c.Proto) != f.Protocol || to.Port() < c.Port.First || to.Port() > c.Port.Last || to.Addr().Is4() != c.To.Addr().Is4() {
		return false
	}
	if c.Address.IsValid() {
		return c.Address == to.Addr()
	}
	return slices.ContainsFunc(d.poolsLocked(n), func(p nat.Pool) bool {
		return slices.Contains(d.layer3.settings.Pools[p].Addresses, to.Addr())
	})
}

func stationText(mac frame.MAC) string {
	if mac == 0 {
		return "whose station is to be asked for"
	}
	return "at " + mac.String()
}

// turnText adds what is special of a packet from inside for an external address.
func turnText(at member) string {
	if at.kind == kindGateway {
		return ", as if it came from outside" // RFC 4787 REQ-9
	}
	return ""
}
