package nat

import (
	"time"

	"weft/frame"
)

// A Saved is a session on its way to the table of a later process.
type Saved struct {
	Session           // Expires: from now on
	Windows [4]uint32 // of TCP: what inside, then outside, said last that it takes
	Scales  uint8     // of TCP
}

// Save yields the sessions that Restore makes again, as Sessions does.
func (t *Table) Save(now time.Duration, yield func(Saved) bool) {
	each(t, func(s *session) Saved {
		d := Saved{Session: t.describe(s), Scales: s.scales}
		d.Expires -= now
		for i, w := range s.windows {
			d.Windows[2*i], d.Windows[2*i+1] = w.ack, w.edge
		}
		return d
	}, yield)
}

// Held completes a session of which nothing is known but what remembered decisions say: its
// protocol, realm, port of entry and endpoints. Those translated packets until now, and what
// its two sides said last in segments of TCP they know; zero if a side said nothing. It also
// brings a session that was saved up to what was said since.
func (d Saved) Held(in, out frame.TCPSeen) Saved {
	d.Expires = forever
	p, _ := protoOf(d.Protocol)
	switch {
	case d.State != 0:
	case p == udp:
		d.State = active
	case p == icmp:
		d.State = queried
	default:
		d.State, d.Scales = established, scaleMost<<4|scaleMost
	}
	if nothing := (frame.TCPSeen{}); in != nothing || out != nothing {
		w, v := widest(in, out), widest(out, in)
		d.Windows = [4]uint32{w.ack, w.edge, v.ack, v.edge}
	}
	return d
}

// forever is longer than any session lives without packets.
const forever = 1 << 31 * tick

// widest returns a side's window, as wide as can be: who is restored may have said more.
func widest(own, other frame.TCPSeen) window {
	from := own.Ack
	if own == (frame.TCPSeen{}) {
		from = other.Next
	}
	return window{from, from + ahead}
}

// Restore makes a session as it was saved; a connection that is there already, and the same,
// learns where its windows are. It returns false if that no longer fits: what it needs is
// not configured any more, or is somebody else's by now.
func (t *Table) Restore(now time.Duration, d Saved) bool {
	p, ok := protoOf(d.Protocol)
	if !ok || d.State == 0 || d.State >= states || d.State.proto() != p || !d.Inside.IsValid() || !d.External.IsValid() || !d.Remote.IsValid() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	internal := endpoint{addressOf(d.Inside.Addr()), d.Inside.Port()}
	remote := endpoint{addressOf(d.Remote.Addr()), d.Remote.Port()}
	i, port := t.findExternal(addressOf(d.External.Addr())), d.External.Port()
	r := t.realm(d.Realm)
	if internal.is4() != remote.is4() || internal.is4() != d.External.Addr().Unmap().Is4() {
		return false
	}
	if r == nil || i == 0 || !t.externals[i].configured || t.mayOpen(d.Port, r.quota, false) != 0 {
		return false
	}
	windows := [2]window{{d.Windows[0], d.Windows[1]}, {d.Windows[2], d.Windows[3]}}
	if there := t.sessionOutward(d.Realm, t.externals[i].pool, &flow{p, internal, remote}); there != 0 {
		s := t.sessions.at(there)
		if s.external != i || s.externalPort != port || s.state != established || d.State != established {
			return false
		}
		if windows != ([2]window{}) { // a cache may have heard nothing
			s.windows = windows
		}
		return true
	}
	m := t.mappingAgain(d.Realm, p, internal, i, port)
	if m == 0 {
		return false
	}
	s := t.sessions.at(t.open(m, remote, &packet{buf: &frame.Buf{In: d.Port}}, inside))
	s.state, s.scales = d.State, d.Scales
	s.windows = windows
	// What was over already, and not yet swept, ends with the next sweep; nothing lives
	// longer than it would with a packet now.
	s.deadline = ticksUp(now) + min(ticksUp(max(d.Expires, 0)), r.idle[s.state])
	return true
}

// mappingAgain finds or makes the mapping of an internal endpoint to a certain external
// one. It returns 0 if that is not to be had.
func (t *Table) mappingAgain(r Realm, p proto, internal endpoint, i, port uint16) uint32 {
	e := t.externals[i]
	if m := t.mappingAt(i, p, port); m != 0 {
		mp := t.mappings.at(m)
		if h := t.hosts.at(mp.host); h.realm == r && h.address == internal.address && mp.internalPort == internal.port {
			return m
		}
		return 0
	}
	mp := mapping{internalPort: internal.port, external: i, externalPort: port, proto: p}
	fw, to := t.forwardAt(i, p, port)
	switch {
	case fw != nil && (fw.realm != r || to != internal):
		return 0
	case fw != nil:
		mp.flags = forwarding
	case e.used[p].has(port) || !t.grab(e, p, port):
		return 0
	case t.claims(e):
		mp.flags = claimed
	}
	if mp.host = t.findHost(r, e.pool, internal.address); mp.host == 0 {
		mp.host = t.addHost(r, e.pool, internal.address)
	}
	if h := t.hosts.at(mp.host); fw == nil && h.external == 0 {
		h.external = i
	}
	return t.addMapping(mp)
}
