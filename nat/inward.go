package nat

import (
	"time"

	"weft/frame"
)

// turnsBack reports whether a packet from inside for an external address is for anybody
// inside. If so the sender appears with an address of the same pool.
func (t *Table) turnsBack(k *packet, w *way) bool {
	i := t.findExternal(k.dst.address)
	if i == 0 {
		return false
	}
	e := t.externals[i]
	w.pool = e.pool
	switch {
	case k.message == failure:
		return true // if it is about a session; fail will see
	case k.message == request:
		return !e.shared // else the host answers
	case k.message == response:
		return t.sessionOutward(t.findHost(w.realm, w.pool, k.src.address), &k.flow) != nil
	}
	return e.used[k.proto].has(k.dst.port) || e.forwarded[k.proto].has(k.dst.port)
}

// inward finds or opens the session of a packet for an external address, and makes is
// what the packet becomes by it.
func (t *Table) inward(now time.Duration, b *frame.Buf, k *packet, g *segment, w way, is *flow) (ours bool, why frame.Reason) {
	i := t.findExternal(is.dst.address)
	if i == 0 || k.message == request && t.externals[i].shared {
		return false, 0
	}
	s := t.sessionInward(i, is)
	if s == nil {
		if s, ours, why = t.openInward(now, b, g, w, i, is); s == nil {
			return ours, why
		}
	}
	r := t.realm(t.hosts.at(s.host).realm)
	if r == nil {
		return true, frame.DropNATNoSession // and is about to end
	}
	t.touch(now, s, r, outside, g)
	t.internalEnd(s, is)
	return true, 0
}

// openInward opens a session for a packet for an external endpoint, if that is
// forwarded, or has a mapping whose filter admits the sender.
func (t *Table) openInward(now time.Duration, b *frame.Buf, g *segment, w way, external uint16, f *flow) (s *session, ours bool, why frame.Reason) {
	if f.proto == icmp {
		return nil, false, 0 // only who asked has an answer to come
	}
	start := g.begins()
	m := t.mappingAt(external, f.proto, f.dst.port)
	fw, to := t.forwardAt(external, f.proto, f.dst.port)
	if m == 0 && fw == nil || m != 0 && !t.admits(m, f.src.address) {
		if f.proto == tcp && start == afresh && !w.inside() && !t.externals[external].shared {
			t.notice(now, b, f)
		}
		if m == 0 {
			return nil, false, 0
		}
		return nil, true, frame.DropNATFiltered
	}
	// What is under way already can have been forwarded only.
	if f.proto == tcp && (start == nothing || start == midway && fw == nil) {
		return nil, true, frame.DropNATInvalid
	}
	quota := t.capacity / 2 // however much comes from outside: inside has room for its own
	if w.inside() {
		quota = t.realm(w.realm).quota
	}
	if why := t.mayOpen(b.In, quota); why != 0 {
		return nil, true, why
	}
	if m == 0 {
		if m = t.mapInward(fw, external, f, to); m == 0 {
			return nil, true, frame.DropNATInvalid
		}
	}
	return t.start(m, f.src, b.In, outside, start, g), true, 0
}

// mapInward makes the mapping of a forwarded endpoint. It returns 0 if the client speaks
// to the same internal endpoint from the same port already, by another external one:
// there would be no telling the answers apart.
func (t *Table) mapInward(fw *forward, external uint16, f *flow, to endpoint) uint32 {
	pool := t.externals[external].pool
	host := t.findHost(fw.realm, pool, to.address)
	if t.sessionOutward(host, &flow{f.proto, to, f.src}) != nil {
		return 0
	}
	if host == 0 {
		host = t.addHost(fw.realm, pool, to.address)
	}
	return t.addMapping(mapping{
		host: host, internalPort: to.port, external: external, externalPort: f.dst.port, proto: f.proto, flags: forwarding,
	})
}
