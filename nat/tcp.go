package nat

import "weft/frame"

// A side is one of the two that a session lies between.
type side uint8

const (
	inside side = iota
	outside
)

// of returns the state that a side has reached, of the two that differ by the side, and
// the other side's.
func (d side) of(in, out State) (own, other State) {
	if d == outside {
		return out, in
	}
	return in, out
}

// A window is what a side has said that it will take of the other's sequence numbers:
// from ack up to edge (RFC 9293 3.3.1). Until it has spoken, it is what it may
// acknowledge: the other's SYN.
type window struct{ ack, edge uint32 }

// ahead is as much as a window can be, for one whose scale was not seen.
const ahead = 0xffff << scaleMost

// scalesNone says that neither side offered to scale its window.
const scalesNone = scaleNone<<4 | scaleNone

// half of all sequence numbers come after one, half before it (RFC 9293 3.4).
const half = 1 << 31

// notAfter compares sequence numbers.
func notAfter(a, b uint32) bool { return int32(b-a) >= 0 }

// has reports whether a sequence number lies in the window.
func (w window) has(n uint32) bool { return notAfter(w.ack, n) && notAfter(n, w.edge) }

// holds reports whether some of a segment lies in the window.
func (w window) holds(g *segment) bool { return notAfter(g.seq, w.edge) && notAfter(w.ack, g.end) }

// advance makes the window what another word of its side says, unless that is old news: by
// less than old bytes. The edge stays if it is farther, as what is under way goes by that.
func (w *window) advance(to window, old uint32) {
	switch behind := w.ack - to.ack; {
	case 0 < behind && behind < old:
	case w.has(to.ack) && notAfter(to.edge, w.edge):
		w.ack = to.ack
	default:
		*w = to
	}
}

// follow brings the state of a TCP session up to date with a segment from a side, which
// passes in any case. It returns false if the segment is none to keep the session alive
// for.
func (s *session) follow(from side, g *segment) bool {
	switch {
	case g.flags&frame.TCPRst != 0:
		if !s.takesRST(from, g) {
			return false // RFC 7857 2.2, 7.1: forged, or an answer to what is not part of it
		}
		s.state = resetSeen
		return true
	case g.flags&frame.TCPSyn != 0:
		s.synchronize(from, g)
	}
	if g.flags&frame.TCPAck != 0 {
		s.acknowledge(from, g)
	}
	if g.flags&frame.TCPFin != 0 {
		s.finish(from, g)
	}
	return true
}

// synchronize takes in a SYN. One on a session that is over begins a new one, as it may
// in TIME-WAIT (RFC 9293 3.6.1); one on an established session changes nothing.
func (s *session) synchronize(from side, g *segment) {
	own, other := from.of(internalSYN, externalSYN)
	switch s.state {
	case closed, resetSeen:
		if g.flags&frame.TCPAck != 0 {
			return
		}
		s.state, s.scales = own, scalesNone
	case own:
	case other:
		s.state = bothSYN
	default:
		return
	}
	s.windows[1-from] = window{g.seq + 1, g.end}
	s.scales = s.scales&^(0xf<<(4*from)) | g.scale<<(4*from)
}

// adopt takes a session to be under way (RFC 9293 3.10.7.1 would reset it): weft was
// started anew, or has forgotten it. The other side has yet to confirm.
func (s *session) adopt(from side, g *segment) {
	s.state, _ = from.of(internalACK, externalACK)
	s.scales = scaleMost<<4 | scaleMost
	s.windows[1-from] = window{g.seq, g.end + ahead}
	s.windows[from] = window{g.ack, g.ack + g.window<<scaleMost}
}

// fits reports whether a segment from a side lies in the windows, and a RST where the other
// side takes it.
func (s *session) fits(from side, g *segment) bool {
	if g.flags&frame.TCPRst != 0 {
		return s.takesRST(from, g)
	}
	return s.windows[1-from].holds(g) && (g.flags&frame.TCPAck == 0 || s.windows[from].has(g.ack))
}

// acknowledge takes in what a side says of its window, unless the segment does not fit.
func (s *session) acknowledge(from side, g *segment) (fits bool) {
	if s.state == internalSYN || s.state == externalSYN || !s.fits(from, g) {
		return false
	}
	size := g.window
	if g.flags&frame.TCPSyn == 0 { // RFC 7323 2.2
		size <<= s.scale(from)
	}
	s.windows[from].advance(window{g.ack, g.ack + size}, half)
	own, other := from.of(internalACK, externalACK)
	switch s.state {
	case bothSYN:
		s.state = own
	case other, resetSeen: // RFC 7857 2: data after a RST shows that it was not taken
		s.state = established
	}
	return true
}

// finish takes in a FIN, if it lies in the window.
func (s *session) finish(from side, g *segment) {
	// One beyond the edge: a FIN may come with a window of zero.
	if w := s.windows[1-from]; !w.holds(g) || !notAfter(g.end, w.edge+1) {
		return
	}
	own, other := from.of(internalFIN, externalFIN)
	switch s.state {
	case established:
		s.state = own
	case other:
		s.state = closed
	}
}

// takesRST reports whether the other side will take a RST for one of the session
// (RFC 9293 3.5.3).
func (s *session) takesRST(from side, g *segment) bool {
	if s.state == internalSYN && from == outside || s.state == externalSYN && from == inside {
		return g.flags&frame.TCPAck != 0 && s.windows[from].has(g.ack) // in SYN-SENT it has to acknowledge the SYN
	}
	return s.windows[1-from].has(g.seq)
}

// scale returns how far a side's windows are shifted: not at all unless both offered it.
func (s *session) scale(from side) uint8 {
	in, out := s.scales&0xf, s.scales>>4
	switch {
	case in == scaleNone || out == scaleNone:
		return 0
	case from == inside:
		return in
	}
	return out
}

// beginning tells what a segment that belongs to no session is.
type beginning uint8

const (
	nothing beginning = iota
	afresh
	midway
)

// begins tells whether a segment may open a session: a SYN, or one from the middle of a
// connection. A RST or SYN+ACK has none to be part of.
func (g *segment) begins() beginning {
	switch g.flags & (frame.TCPSyn | frame.TCPRst | frame.TCPAck) {
	case frame.TCPSyn:
		return afresh
	case frame.TCPAck:
		return midway
	}
	return nothing
}
