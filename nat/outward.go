package nat

import (
	"time"

	"weft/frame"
)

// externalEnd makes the source of a flow the external endpoint of its session.
func (t *Table) externalEnd(s *session, f *flow) {
	f.src = endpoint{t.externals[s.external].address, s.externalPort}
	if f.proto == icmp {
		f.dst.port = s.externalPort
	}
}

// internalEnd makes the destination of a flow the internal endpoint of its session.
func (t *Table) internalEnd(s *session, f *flow) {
	f.dst = endpoint{t.hosts.at(s.host).address, s.internalPort}
	if f.proto == icmp {
		f.src.port = s.internalPort
	}
}

// outward finds or opens the session of a packet from inside, and makes is what the
// packet becomes by it.
func (t *Table) outward(now time.Duration, b *frame.Buf, k *packet, g *segment, w way, is *flow) frame.Reason {
	r := t.realm(w.realm)
	if r == nil || t.pool(w.pool) == nil {
		return frame.DropNATNoPort // none is configured
	}
	host := t.findHost(w.realm, w.pool, is.src.address)
	s := t.sessionOutward(host, is)
	if s == nil {
		var why frame.Reason
		if s, why = t.openOutward(b, k, g, w, r, host, is); why != 0 {
			return why
		}
	}
	t.touch(now, s, r, inside, g)
	t.externalEnd(s, is)
	if g.flags&frame.TCPSyn != 0 && t.syns.waiting > 0 {
		t.syns.settle(is.reply())
	}
	return 0
}

// touch brings a session up to date with a packet, and starts its timer anew.
func (t *Table) touch(now time.Duration, s *session, r *realm, from side, g *segment) {
	switch s.state {
	case active, queried:
		if from == outside && !r.inboundRefresh && s.deadline != 0 {
			return // RFC 4787 REQ-6
		}
	default:
		if !s.follow(from, g) && s.deadline != 0 {
			return
		}
	}
	s.deadline = ticksUp(now) + r.idle[s.state]
}

// openOutward opens a session for a packet from inside.
func (t *Table) openOutward(b *frame.Buf, k *packet, g *segment, w way, r *realm, host uint32, f *flow) (*session, frame.Reason) {
	start := g.begins()
	if k.proto == tcp && start == nothing || k.message == response {
		return nil, frame.DropNATInvalid
	}
	if why := t.mayOpen(b.In, r.quota); why != 0 {
		return nil, why
	}
	if host == 0 {
		host = t.addHost(w.realm, w.pool, f.src.address)
	}
	m := t.mappingOf(host, f.proto, f.src.port)
	if m == 0 {
		if m = t.mapOutward(host, f.proto, f.src.port); m == 0 {
			t.dropHost(host)
			return nil, frame.DropNATNoPort
		}
	}
	return t.start(m, f.dst, b.In, inside, start, g), 0
}

// mapOutward makes the mapping of an internal endpoint that is about to send: to the
// external endpoint that is forwarded to it, else to a port of the external address
// that its host is paired with. It returns 0 if there is none.
func (t *Table) mapOutward(host uint32, p proto, port uint16) uint32 {
	h := t.hosts.at(host)
	if e := t.externals[h.external]; e == nil || !e.configured || e.pool != h.pool {
		h.external = t.pair(t.pools[h.pool], h.address)
	}
	if external, externalPort, ok := t.forwardOf(h, p, port); ok && t.mappingAt(external, p, externalPort) == 0 {
		return t.addMapping(mapping{
			host: host, internalPort: port, external: external, externalPort: externalPort, proto: p, flags: forwarding,
		})
	}
	if h.external == 0 {
		return 0
	}
	externalPort, ok := t.takePort(h.external, p, port)
	if !ok {
		return 0
	}
	m := mapping{host: host, internalPort: port, external: h.external, externalPort: externalPort, proto: p}
	if t.claims(t.externals[h.external]) {
		m.flags = claimed
	}
	return t.addMapping(m)
}

// start opens a session of a mapping in the state that its first packet makes.
func (t *Table) start(m uint32, remote endpoint, in frame.PortID, from side, begins beginning, g *segment) *session {
	switch p := t.mappings.at(m).proto; {
	case p == udp:
		return t.open(m, remote, in, active)
	case p == icmp:
		return t.open(m, remote, in, queried)
	case begins == midway:
		s := t.open(m, remote, in, internalACK)
		s.adopt(from, g)
		return s
	case from == outside:
		return t.open(m, remote, in, externalSYN)
	}
	return t.open(m, remote, in, internalSYN)
}
