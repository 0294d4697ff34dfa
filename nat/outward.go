package nat

import "weft/frame"

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

// outward finds or opens the session of a packet from inside, and makes its source the
// external endpoint.
func (t *Table) outward(k *packet) frame.Reason {
	r := t.realm(k.realm)
	if r == nil || t.pool(k.pool) == nil {
		return frame.DropNATNoPort // none is configured
	}
	i := t.sessionOutward(k.realm, k.pool, &k.is)
	if i == 0 {
		var why frame.Reason
		if i, why = t.openOutward(k, r); why != 0 {
			return why
		}
	}
	s := t.sessions.at(i)
	t.touch(i, s, k, r, inside)
	t.externalEnd(s, &k.is)
	if k.segment.flags&frame.TCPSyn != 0 && t.syns.waiting > 0 {
		t.syns.settle(k.is.reply())
	}
	return 0
}

// openOutward opens a session for a packet from inside.
func (t *Table) openOutward(k *packet, r *realm) (uint32, frame.Reason) {
	f := &k.is
	if f.proto == tcp && k.segment.begins() == nothing || k.message == response {
		return 0, frame.DropNATInvalid
	}
	if why := t.mayOpen(k.buf.In, r.quota, r.fair); why != 0 {
		return 0, why
	}
	host := t.findHost(k.realm, k.pool, f.src.address)
	if host == 0 {
		host = t.addHost(k.realm, k.pool, f.src.address)
	}
	m := t.mappingOf(host, f.proto, f.src.port)
	if m == 0 {
		if m = t.mapOutward(host, f.proto, f.src.port); m == 0 {
			t.dropHost(host)
			return 0, frame.DropNATNoPort
		}
	}
	return t.open(m, f.dst, k, inside), 0
}

// mapOutward makes the mapping of an internal endpoint that is about to send: to the
// external endpoint that is forwarded to it, else to a port of the external address
// that its host is paired with. It returns 0 if there is none.
func (t *Table) mapOutward(host uint32, p proto, port uint16) uint32 {
	h := t.hosts.at(host)
	if e := t.externals[h.external]; e == nil || !e.configured || e.pool != h.pool {
		h.external = t.pools[h.pool].pair(h.address)
	}
	if external, externalPort, ok := t.forwardOf(h, p, port); ok {
		m := t.mappingAt(external, p, externalPort)
		if m == 0 {
			return t.addMapping(mapping{
				host: host, internalPort: port, external: external, externalPort: externalPort, proto: p, flags: forwarding,
			})
		}
		if t.mappings.at(m).flags&forwarding != 0 { // made from outside, while it had another
			return m
		}
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
