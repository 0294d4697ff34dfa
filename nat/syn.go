package nat

import (
	"time"

	"weft/frame"
)

const (
	synSilence = 6 * time.Second // RFC 5382 REQ-4
	maxSYNs    = 256
	synFront   = 160 // bytes of the frame, for the error to quote
)

// SYNs are those from outside that nobody asked for. Outside is told so not before a
// while, as the two ends may be opening the connection at the same time: then inside's
// SYN is on its way (RFC 5382 REQ-4). For the host's own addresses its stack answers.
type syns struct {
	ring    [maxSYNs]lateSYN
	first   int
	waiting int
	scratch *frame.Buf
}

type lateSYN struct {
	flow  flow
	due   uint32 // in ticks
	out   frame.PortID
	front [synFront]byte
	len   uint8 // zero: nothing is to be said any more
}

// notice notes a packet that nobody asked for, if it is a SYN from outside.
func (t *Table) notice(k *packet) {
	q, b, f := &t.syns, k.buf, &k.was
	if f.proto != tcp || k.segment.begins() != afresh || k.inside || b.Layers.Fragment != frame.FragmentNone ||
		t.emit == nil || q.waiting == maxSYNs || q.find(f) != nil {
		return
	}
	s := &q.ring[(q.first+q.waiting)%maxSYNs]
	q.waiting++
	s.flow, s.due, s.out = *f, ticksUp(k.now+synSilence), b.Out
	s.len = uint8(copy(s.front[:], b.Bytes()))
}

func (q *syns) find(f *flow) *lateSYN {
	for i := range q.waiting {
		if s := &q.ring[(q.first+i)%maxSYNs]; s.len != 0 && s.flow == *f {
			return s
		}
	}
	return nil
}

// settle says that an internal endpoint has sent a SYN of the connection.
func (q *syns) settle(f flow) {
	if s := q.find(&f); s != nil {
		s.len = 0
	}
}

// answerSYNs tells the senders of SYNs for which nobody came.
func (t *Table) answerSYNs(now time.Duration) {
	q := &t.syns
	for q.waiting > 0 && q.ring[q.first].due <= ticks(now) {
		s := &q.ring[q.first]
		q.first = (q.first + 1) % maxSYNs
		q.waiting--
		if s.len == 0 {
			continue
		}
		if q.scratch == nil {
			q.scratch = frame.NewBufs(1)[0]
		}
		b := q.scratch
		b.SetBytes(s.front[:s.len])
		b.Parse()
		typ, code := uint8(frame.ICMPUnreachable), uint8(frame.CodePort)
		if b.Layers.Version == 6 {
			typ, code = frame.ICMPv6Unreachable, frame.CodePort6
		}
		if frame.ICMPError(b, b, s.flow.dst.addr(), typ, code, 0) {
			t.emit(s.out, b) // no room: the sender tries again
		}
	}
}
