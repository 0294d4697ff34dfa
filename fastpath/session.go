package fastpath

import (
	"sync/atomic"

	"weft/frame"
)

// A direction is one of the two of a session.
type direction struct {
	session uint32
	outside bool
}

// heard is what is known of a direction of a TCP session.
type heard struct {
	record uint32 // which has it; zero: seen is what is left of it
	stamp  uint64
	seen   frame.TCPSeen
}

// direction returns which one the record is for; ok is false if it is no matter.
func (r *record) direction() (d direction, ok bool) {
	return direction{r.Session, r.is(cacheFlagOUTSIDE)},
		r.is(cacheFlagSESSION) && frame.Protocol(r.Was.Protocol) == frame.ProtocolTCP
}

// seen returns what the last segment said that the programs forwarded.
func (r *record) seen() frame.TCPSeen {
	return frame.TCPSeen{Next: atomic.LoadUint32(&r.Next), Ack: atomic.LoadUint32(&r.Ack), Window: r.Window}
}

// lives reports whether the session did not change after the stamp.
func (c *Cache) lives(session uint32, stamp uint64) bool {
	return atomic.LoadUint64(&c.common.Changes[c.slot(frame.SessionSubject(session))]) <= stamp
}

// Seen returns what the last segment of one direction of a session said that the kernel
// forwarded, unless the session changed since the decision about it was taken. It takes no lock that is
// held while others are taken.
func (c *Cache) Seen(session uint32, outside bool) (s frame.TCPSeen, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.sessions[direction{session, outside}]
	switch {
	case !ok || !c.lives(session, h.stamp):
		return s, false
	case h.record == 0:
		return h.seen, true
	}
	r := &c.records[h.record]
	return r.seen(), r.Heard != 0
}

// listen takes note that a record is installed.
func (c *Cache) listen(i uint32) {
	r := &c.records[i]
	if d, ok := r.direction(); ok {
		c.sessions[d] = heard{record: i, stamp: r.Stamp}
	}
}

// inherit gives a record what was seen by the one that it takes the place of.
func (c *Cache) inherit(r, old *record) {
	d, ok := r.direction()
	if before, was := old.direction(); ok && was && d == before && c.lives(d.session, old.Stamp) {
		r.Next, r.Ack, r.Window, r.Heard = old.Next, old.Ack, old.Window, old.Heard
	}
}

// silence keeps what was seen by a record that is given up.
func (c *Cache) silence(i uint32) {
	r := &c.records[i]
	d, ok := r.direction()
	if !ok || c.sessions[d].record != i {
		return
	}
	if r.Heard == 0 || !c.lives(d.session, r.Stamp) {
		delete(c.sessions, d)
		return
	}
	c.sessions[d] = heard{stamp: r.Stamp, seen: r.seen()}
}

// forget drops what is left of sessions that are over.
func (c *Cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for d, h := range c.sessions {
		if h.record == 0 && !c.lives(d.session, h.stamp) {
			delete(c.sessions, d)
		}
	}
}
