package daemon

import (
	"net/netip"
	"slices"

	"go.uber.org/zap"

	"weft/fastpath"
	"weft/frame"
	"weft/nat"
)

// openFlows puts the flow cache in place. That of an earlier process goes on forwarding
// until then. When its programs are replaced its frames come to the switch, which must know
// by then what it knew: it would flood them, and the translator refuse them.
func (d *Daemon) openFlows() {
	d.mu.Lock()
	defer d.mu.Unlock()
	left, err := d.kernel.LeftFlows()
	d.warn(err, "learning from the flow cache of an earlier start failed in part", "host")
	d.learnFlowsLocked(left)
	d.flows.ready = true
	d.rememberLocked()
	// Nor are its decisions to be in force where weft has no port now, or serves none.
	ours := map[int]bool{}
	for _, s := range d.seatsLocked() {
		ours[s.port.Index] = true
	}
	d.warn(d.kernel.EndLeftFlows(func(index int) bool { return ours[index] }), "removing the flow cache of an earlier start failed in part", "host")
}

// A spot is a place in the kernel as an earlier process knew it.
type spot struct {
	index int
	stack bool // the host's stack is there
}

func spotOf(p fastpath.Port) spot {
	return spot{p.Index, p.Side == fastpath.HostSide || p.Side == fastpath.HostTAP}
}

// learnFlowsLocked has the switch know the stations, and the translator the sessions,
// whose frames went on while there was no weft.
func (d *Daemon) learnFlowsLocked(left []fastpath.LeftEntry) {
	ports := map[spot]frame.PortID{}
	for id, s := range d.seatsLocked() {
		ports[spotOf(s.port)] = id
	}
	networks := d.networksByPortLocked()
	stations, sessions := 0, map[uint32]*leftSession{}
	for _, e := range left {
		in, out := ports[spotOf(e.In)], ports[spotOf(e.Out)]
		if in == 0 || out == 0 {
			continue
		}
		stations++
		d.sw.Learn(in, e.Was.Src)
		d.sw.Learn(out, e.Is.Dst)
		d.learnHopLocked(e, in, out, networks)
		if e.Basis.Session == 0 {
			continue
		}
		s := sessions[e.Basis.Session]
		if s == nil {
			s = &leftSession{}
			sessions[e.Basis.Session] = s
		}
		s.add(e, in, out)
	}
	restored := 0
	for _, s := range sessions {
		if n := networks[s.Port]; n != nil && n.gateway != nil {
			s.Realm = n.gateway.realm
			if d.layer3.table.Restore(d.sw.Now(), s.Held(s.said[0], s.said[1])) {
				restored++
			}
		}
	}
	if len(left) > 0 {
		d.log.Info("flow cache taken over", zap.Int("decisions", stations), zap.Int("sessions", restored))
	}
}

// learnHopLocked has the router know the next hop of a flow that was routed.
func (d *Daemon) learnHopLocked(e fastpath.LeftEntry, in, out frame.PortID, networks map[frame.PortID]*network) {
	if !e.Basis.Routed {
		return
	}
	router, now := d.layer3.router, d.sw.Now()
	from, to := endpointOf(e.Was.SrcAddr, 0).Addr(), endpointOf(e.Is.DstAddr, 0).Addr()
	if e.Was.DstAddr == e.Is.DstAddr {
		if way, err := router.Explain(d.interfaceLocked(in, networks[in]), from, to); err == nil && way.NextHop.IsValid() {
			router.Learn(now, way.Route.Port, way.NextHop, e.Is.Dst, in)
		}
		return
	}
	// Where an address leads that the translator gave it, its subnet says.
	if n := networks[out]; n != nil && n.gateway != nil {
		if slices.ContainsFunc(n.cfg.Subnets, func(s netip.Prefix) bool { return s.Contains(to) }) {
			router.Learn(now, n.gateway.id, to, e.Is.Dst, in)
		}
	}
}

// interfaceLocked returns the interface of the router that frames of a port of network n
// come to; zero: there is none.
func (d *Daemon) interfaceLocked(id frame.PortID, n *network) frame.PortID {
	if n != nil && n.gateway != nil {
		return n.gateway.id
	}
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			if u.wire == id {
				return u.host
			}
		}
	}
	return 0
}

// networksByPortLocked returns the network that each port is in.
func (d *Daemon) networksByPortLocked() map[frame.PortID]*network {
	networks := map[frame.PortID]*network{}
	for _, m := range d.membersLocked() {
		networks[m.id] = m.net
	}
	return networks
}

// A leftSession is a session of the translator's as the entries of its two directions
// tell of it.
type leftSession struct {
	nat.Saved
	said [2]frame.TCPSeen // by inside, and by outside
}

func (s *leftSession) add(e fastpath.LeftEntry, in, out frame.PortID) {
	was, is := &e.Was, &e.Is
	s.Protocol = was.Protocol
	if e.Basis.Outside {
		s.said[1], s.Port = e.Seen, out
		s.Remote, s.External = endpointOf(was.SrcAddr, was.SrcPort), endpointOf(was.DstAddr, was.DstPort)
		s.Inside = endpointOf(is.DstAddr, is.DstPort)
	} else {
		s.said[0], s.Port = e.Seen, in
		s.Inside, s.Remote = endpointOf(was.SrcAddr, was.SrcPort), endpointOf(was.DstAddr, was.DstPort)
		s.External = endpointOf(is.SrcAddr, is.SrcPort)
	}
	if was.Protocol == frame.ProtocolICMP || was.Protocol == frame.ProtocolICMPv6 {
		s.identify(was.SrcPort, is.SrcPort, e.Basis.Outside)
	}
}

// identify fills in the identifiers of a session of echoes, which stand for ports.
func (s *leftSession) identify(was, is uint16, outside bool) {
	internal, external := was, is
	if outside {
		internal, external = is, was
	}
	s.Inside = netip.AddrPortFrom(s.Inside.Addr(), internal)
	s.External = netip.AddrPortFrom(s.External.Addr(), external)
	s.Remote = netip.AddrPortFrom(s.Remote.Addr(), external)
}

func endpointOf(a [16]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port)
}
