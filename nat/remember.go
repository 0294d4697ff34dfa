package nat

import (
	"time"

	"weft/frame"
)

// What the table decides on a packet may be remembered, and hold for later packets of the
// same flow without the table, which is told of them by Touch.

// touchDelay is how much later than the packet Touch may come.
const touchDelay = 5 * time.Second

// offer notes that the translation of a packet rests on a session. If it is about this very
// packet (of two sessions, or one on which the state of its own depends) it says so.
func (t *Table) offer(i uint32, s *session, k *packet, r *realm) {
	b := &k.buf.Basis
	if k.inside == k.back {
		return
	}
	b.Session, b.Outside = i, k.back
	b.Forward = k.back && t.mappings.at(s.mappingOf()).flags&forwarding != 0
	b.Idle = time.Duration(r.idle[s.state])*tick - touchDelay
	if b.Idle <= 0 || !s.state.settled() || k.segment.flags&control != 0 || k.buf.Layers.Fragment != frame.FragmentNone {
		b.Once = true
		return
	}
	s.mapping |= offered
}

// settled reports whether packets that begin and end nothing leave the state as it is.
func (s State) settled() bool { return s == active || s == queried || s == established }

// revoke ends the decisions that rest on a session.
func (t *Table) revoke(i uint32, s *session) {
	if s.offered() {
		s.mapping = s.mappingOf()
		t.changed(i)
	}
}

// Touch says that a packet of a session, by the handle that the Basis has, was translated
// without the table: from inside or outside, ago before now. It starts the session's timer
// anew as the packet had. A handle that means no session any more it passes over.
func (t *Table) Touch(now time.Duration, handle uint32, fromOutside bool, ago time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if handle == 0 || handle > t.sessions.made {
		return
	}
	s := t.sessions.at(handle)
	if !s.offered() {
		return
	}
	r := t.realm(t.hosts.at(s.host).realm)
	switch {
	case r == nil: // and about to end
		return
	case s.state == established:
		t.hearWords(handle, s, half)
	case fromOutside && !r.inboundRefresh:
		return
	}
	s.deadline = max(s.deadline, ticksUp(max(now-ago, 0))+r.idle[s.state])
}

// catchUp brings the windows of a TCP session up to date with what passed by the table, if
// a segment from a side, which comes by, calls for it.
func (t *Table) catchUp(i uint32, s *session, from side, g *segment) {
	t.hearWords(i, s, half)
	if s.fits(from, g) {
		return
	}
	// So much may have passed by that what is later looks earlier. If the segment does not fit
	// there either, it is none of the connection.
	was := s.windows
	t.hearWords(i, s, half/8)
	if !s.fits(from, g) {
		s.windows = was
	}
}

// hearWords takes in what the sides of a TCP session said last, but for what is old news by
// less than old bytes. A window is the word of the side that has it: nobody gets a RST or
// FIN believed by what he says himself.
func (t *Table) hearWords(i uint32, s *session, old uint32) {
	for d := range s.windows {
		if said, ok := t.seen(i, side(d) == outside); ok {
			edge := said.Ack + uint32(said.Window)<<s.scale(side(d))
			s.windows[d].advance(window{said.Ack, edge}, old)
		}
	}
}
