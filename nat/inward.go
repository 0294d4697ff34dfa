package nat

import "weft/frame"

// turnsBack reports whether a packet from inside for an external address is for anybody
// inside. If so the sender appears with an address of the same pool.
func (t *Table) turnsBack(k *packet) bool {
	f := &k.was
	i := t.findExternal(f.dst.address)
	if i == 0 {
		return false
	}
	e := t.externals[i]
	k.pool = e.pool
	switch k.message {
	case failure:
		return true // if it is about a session; fail will see
	case request:
		return !e.shared // else the host answers
	case response:
		return t.sessionOutward(k.realm, k.pool, f) != 0
	}
	return e.used[f.proto].has(f.dst.port) || e.forwarded[f.proto].has(f.dst.port)
}

// inward finds or opens the session of a packet for an external address, and makes its
// destination the internal endpoint.
func (t *Table) inward(k *packet) (ours bool, why frame.Reason) {
	external := t.findExternal(k.is.dst.address)
	if external == 0 || k.message == request && t.externals[external].shared {
		return false, 0
	}
	i := t.sessionInward(external, &k.is)
	if i == 0 {
		if i, ours, why = t.openInward(k, external); i == 0 {
			return ours, why
		}
	}
	s := t.sessions.at(i)
	r := t.realm(t.hosts.at(s.host).realm)
	if r == nil {
		return true, frame.DropNATNoSession // and is about to end
	}
	t.touch(i, s, k, r, outside)
	t.internalEnd(s, &k.is)
	return true, 0
}

// openInward opens a session for a packet for an external endpoint, if that is
// forwarded, or has a mapping whose filter admits the sender.
func (t *Table) openInward(k *packet, external uint16) (i uint32, ours bool, why frame.Reason) {
	f := &k.is
	if f.proto == icmp {
		return 0, false, 0 // only who asked has an answer to come
	}
	m := t.mappingAt(external, f.proto, f.dst.port)
	fw, to := t.forwardAt(external, f.proto, f.dst.port)
	if m == 0 && fw == nil || m != 0 && !t.admits(m, f.src.address) {
		if !t.externals[external].shared {
			t.notice(k)
		}
		if m == 0 {
			return 0, false, 0
		}
		return 0, true, frame.DropNATFiltered
	}
	// What is under way already can have been forwarded only.
	if start := k.segment.begins(); f.proto == tcp && (start == nothing || start == midway && fw == nil) {
		return 0, true, frame.DropNATInvalid
	}
	quota, fair := t.capacity/2, false // however much comes from outside: inside has room for its own
	if k.inside {
		r := t.realm(k.realm)
		quota, fair = r.quota, r.fair
	}
	if why := t.mayOpen(k.buf.In, quota, fair); why != 0 {
		return 0, true, why
	}
	var h host
	if m != 0 {
		h = *t.hosts.at(t.mappings.at(m).host)
		to = endpoint{h.address, t.mappings.at(m).internalPort}
	} else {
		h = host{realm: fw.realm, pool: t.externals[external].pool}
	}
	if t.sessionOutward(h.realm, h.pool, &flow{f.proto, to, f.src}) != 0 {
		// The client speaks to the same internal endpoint from the same port already, by
		// another external one: there would be no telling the answers apart.
		return 0, true, frame.DropNATInvalid
	}
	if m == 0 {
		m = t.mapInward(fw, external, f, to)
	}
	return t.open(m, f.src, k, outside), true, 0
}

// mapInward makes the mapping of a forwarded endpoint.
func (t *Table) mapInward(fw *forward, external uint16, f *flow, to endpoint) uint32 {
	pool := t.externals[external].pool
	host := t.findHost(fw.realm, pool, to.address)
	if host == 0 {
		host = t.addHost(fw.realm, pool, to.address)
	}
	return t.addMapping(mapping{
		host: host, internalPort: to.port, external: external, externalPort: f.dst.port, proto: f.proto, flags: forwarding,
	})
}
