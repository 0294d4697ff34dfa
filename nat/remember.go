package nat

import (
	"time"

	"weft/frame"
)

// What the table decides on a packet may be remembered, and hold for later packets of the
// same flow without the table, which is told of them by Touch.

// touchDelay is how much later than the packet Touch may come.
const touchDelay = 5 * time.Second

// offer notes what the translation of a packet rests on. It returns false if that is about
// this very packet: it is of none or of two sessions, or the state of one depends on it.
func (t *Table) offer(k *packet) bool {
	if k.session == 0 || k.inside == k.back {
		return false
	}
	s, b := t.sessions.at(k.session), k.buf
	b.Basis.Session, b.Basis.Outside = k.session, k.back
	b.Basis.Idle = time.Duration(k.rules.idle[s.state])*tick - touchDelay
	if b.Basis.Idle <= 0 || b.Layers.Fragment != frame.FragmentNone || !s.state.settled() || k.segment.controls() {
		return false
	}
	s.mapping |= offered
	return true
}

// settled reports whether packets that tell of no beginning and no end leave the state.
func (s State) settled() bool { return s == active || s == queried || s == established }

// revoke ends the decisions that rest on a session.
func (t *Table) revoke(i uint32) {
	if s := t.sessions.at(i); s.offered() {
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
		t.hearWords(handle, half)
	case fromOutside && !r.inboundRefresh:
		return
	}
	s.deadline = max(s.deadline, ticksUp(max(now-ago, 0))+r.idle[s.state])
}

// catchUp brings the windows of a TCP session up to date with what passed by the table, if
// a segment from a side, which comes by, calls for it.
func (t *Table) catchUp(i uint32, from side, g *segment) {
	s := t.sessions.at(i)
	if !g.controls() && s.fits(from, g) {
		return
	}
	t.hearWords(i, half)
	if s.fits(from, g) {
		return
	}
	// So much may have passed by that what is later looks earlier. If the segment does not fit
	// there either, it is none of the connection.
	was := s.windows
	t.hearWords(i, half/8)
	if !s.fits(from, g) {
		s.windows = was
	}
}

// hearWords takes in what the sides of a TCP session said last, but for what is old news by
// less than old bytes. A window is the word of the side that has it: nobody gets a RST or
// FIN believed by what he says himself.
func (t *Table) hearWords(i, old uint32) {
	s := t.sessions.at(i)
	for d := range s.windows {
		if w, ok := t.word(i, side(d)); ok {
			s.windows[d].advance(w, old)
		}
	}
}

// word returns the window that a side of a TCP session announced last in a segment that
// passed by the table.
func (t *Table) word(i uint32, of side) (w window, ok bool) {
	said, ok := t.seen(i, of == outside)
	return window{said.Ack, said.Ack + uint32(said.Window)<<t.sessions.at(i).scale(of)}, ok
}
