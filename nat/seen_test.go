package nat

import (
	"testing"

	"pgregory.net/rapid"

	"weft/frame"
)

// pass has both sides send n bytes each that are acknowledged, which the table does not
// see. The rig's windows are of 1000 bytes, scaled by 7 or not.
func (c *conversation) pass(id, n uint32) *conversation {
	c.in += n
	c.out += n
	c.r.said[speaker{id, false}] = frame.TCPSeen{Next: c.in, Ack: c.out, Window: 1000}
	c.r.said[speaker{id, true}] = frame.TCPSeen{Next: c.out, Ack: c.in, Window: 1000}
	return c
}

// amounts are so many bytes that numbers lie far apart, go round, and look earlier.
var amounts = []uint32{0, 1, 500, 100_000, 1 << 24, half - 1, half, half + 1, 3 << 30, 1<<32 - half/8}

// However much passed by the table, it knows the connection's end.
func TestEndIsSeenAfterWhatPassedBy(t *testing.T) {
	forFamilies(t, func(_ *testing.T, f family) {
		for _, n := range amounts {
			for _, plain := range []bool{false, true} {
				begin := func() (*conversation, uint32) {
					c := newTCP(newRig(t, settings()), f)
					if plain { // RFC 7323 2.2: scaled by nobody
						c.syn().answer(seg{flags: syn | ack, seq: c.out, ack: c.in + 1})
						c.in, c.out = c.in+1, c.out+1
						c.send(seg{flags: ack, seq: c.in, ack: c.out})
					} else {
						c.establish()
					}
					id := c.r.one.Basis.Session
					return c.pass(id, n), id
				}
				c, id := begin()
				c.finInside().want("fin-sent").finOutside().want("closing").r.wantChanged(id)
				c, id = begin()
				c.finOutside().want("fin-received").finInside().want("closing").r.wantChanged(id)
				c, id = begin()
				c.rstOutside().want("reset").r.wantChanged(id)
				c, id = begin()
				c.send(seg{flags: rst, seq: c.in}).want("reset").r.wantChanged(id)
				c, _ = begin()
				c.syn().want("established").r.wantChanged()
			}
		}
	})
}

// A RST or FIN where the window was, or will be, is still nobody's (RFC 7857 2.2).
func TestWindowMovesWithWhatPassedBy(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		id := c.establish().r.one.Basis.Session
		window := uint32(1000) << 7
		for _, n := range []uint32{1, 1000, 300_000, 1 << 30, 1<<31 - 1} {
			in, out := c.in, c.out
			c.pass(id, n)
			c.answer(seg{flags: rst, seq: out}).answer(seg{flags: fin | ack, seq: out - 1, ack: in})
			c.send(seg{flags: rst, seq: in}).send(seg{flags: rst | ack, seq: c.in + window + 1, ack: c.out})
			c.answer(seg{flags: rst, seq: c.out + window + 1}).answer(seg{flags: fin | ack, seq: c.out + window + 1, ack: c.in})
			c.want("established").r.wantChanged()
		}
		c.answer(seg{flags: ack, seq: c.out, ack: c.in, payload: 500}) // and what passed by is old news
		c.out += 500
		c.send(seg{flags: ack, seq: c.in, ack: c.out})
		c.answer(seg{flags: rst, seq: c.out - 1}).want("established")
		c.answer(seg{flags: rst, seq: c.out + window}).want("reset")
	})
}

// What one side says moves the other's window nowhere: forged segments that pass by the
// table do not make a RST count, and the next true one makes good what they did.
func TestForgedSegmentsThatPassedBy(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		id := c.establish().r.one.Basis.Session
		c.pass(id, 1_000_000)
		for _, off := range []uint32{1 << 20, 1 << 31, 3 << 30} {
			c.r.said[speaker{id, true}] = frame.TCPSeen{Next: c.out + off, Ack: c.in + off, Window: 0xffff}
			c.r.tab.Touch(c.r.now, id, true, 0)
			c.answer(seg{flags: rst, seq: c.out + off}).answer(seg{flags: fin | ack, seq: c.out + off, ack: c.in + off})
			c.want("established")
			c.pass(id, 10)
		}
		c.r.tab.Touch(c.r.now, id, true, 0)
		c.r.said[speaker{id, true}] = frame.TCPSeen{Next: c.out, Ack: c.in - 1<<30, Window: 0xffff}
		c.answer(seg{flags: rst, seq: c.out - 1<<30}).want("established")
		clear(c.r.said)
		c.finInside().want("fin-sent")
	})
}

// When decisions hold no more, segments come to the table again, far from where it knew
// the connection to be; it goes on from there, also if nobody remembers any longer.
func TestConnectionComesBack(t *testing.T) {
	forFamilies(t, func(_ *testing.T, f family) {
		for _, n := range amounts {
			for _, touched := range []bool{false, true} {
				c := newTCP(newRig(t, settings()), f)
				id := c.establish().r.one.Basis.Session
				c.pass(id, n)
				if touched {
					c.r.tab.Touch(c.r.now, id, false, 0)
					clear(c.r.said)
				}
				for range 5 {
					c.in += 100_000
					c.send(seg{flags: ack, seq: c.in, ack: c.out})
					c.out += 100_000
					c.answer(seg{flags: ack, seq: c.out, ack: c.in})
				}
				if touched && n > half { // more than there should be between two calls of Touch
					continue
				}
				c.rstOutside().want("reset")
			}
		}
	})
}

// A pair is a connection as a table sees it that is shown some of it, and as one does that
// is shown all.
type pair struct {
	some, all *conversation
	id        uint32
	acked     [2]uint32 // what a side has acknowledged
	window    [2]uint16
	scale     [2]uint8
	drift     uint32 // bytes that were sent since Touch
}

// TestSomeSeenIsAllSeen compares the two, whatever segments come, from wherever numbers
// begin. Windows are as large as can be and segments leave holes, so that numbers go round.
func TestSomeSeenIsAllSeen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPair(t, rt)
		side := func(rt *rapid.T) side { return side(rapid.IntRange(0, 1).Draw(rt, "side")) }
		rt.Repeat(map[string]func(*rapid.T){
			"data": func(rt *rapid.T) { p.data(rt, side(rt), rapid.Bool().Draw(rt, "passes by")) },
			"RST or FIN": func(rt *rapid.T) {
				d, flags := side(rt), rapid.SampledFrom([]uint8{rst, rst | ack, fin | ack}).Draw(rt, "flags")
				off := rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32(), rapid.Uint32Range(1, 3000)).Draw(rt, "off")
				p.both(d, seg{flags: flags, seq: p.next(d) + off, ack: p.acked[d], window: p.window[d]})
			},
			"time": func(*rapid.T) { p.touch() },
			"":     p.check,
		})
	})
}

func newPair(t *testing.T, rt *rapid.T) *pair {
	f := families[0]
	p := &pair{some: newTCP(newRig(t, settings()), f), all: newTCP(newRig(t, settings()), f)}
	in, out := rapid.Uint32().Draw(rt, "inside begins"), rapid.Uint32().Draw(rt, "outside begins")
	for d := range p.scale {
		p.scale[d] = rapid.SampledFrom([]uint8{0, 7, scaleMost}).Draw(rt, "scale")
		p.window[d] = uint16(rapid.IntRange(100, 0xffff).Draw(rt, "window"))
	}
	for _, c := range []*conversation{p.some, p.all} {
		c.in, c.out = in, out
		c.send(seg{flags: syn, seq: c.in, window: p.window[inside], scale: int(p.scale[inside]) + 1})
		c.answer(seg{flags: syn | ack, seq: c.out, ack: c.in + 1, window: p.window[outside], scale: int(p.scale[outside]) + 1})
		c.in, c.out = c.in+1, c.out+1
		c.send(seg{flags: ack, seq: c.in, ack: c.out, window: p.window[inside]})
		c.answer(seg{flags: ack, seq: c.out, ack: c.in, window: p.window[outside]}).want("established")
	}
	p.id, p.acked = p.some.r.one.Basis.Session, [2]uint32{out + 1, in + 1}
	return p
}

// next is the sequence number that a side comes to.
func (p *pair) next(d side) uint32 {
	if d == inside {
		return p.all.in
	}
	return p.all.out
}

// both shows a segment to both tables.
func (p *pair) both(d side, s seg) {
	for _, c := range []*conversation{p.some, p.all} {
		p.show(c, d, s)
	}
}

func (p *pair) show(c *conversation, d side, s seg) {
	if d == inside {
		c.send(s)
	} else {
		c.answer(s)
	}
}

// data has a side send a segment somewhere in the other's window that acknowledges all.
// It may pass by the one table, if that allows.
func (p *pair) data(rt *rapid.T, d side, passes bool) {
	edge := p.acked[1-d] + uint32(p.window[1-d])<<p.scale[1-d]
	room := min(edge-p.next(d), half/8-1-p.drift)
	skip := rapid.Uint32Range(0, room).Draw(rt, "skip")
	n := min(rapid.Uint32Range(0, 100).Draw(rt, "bytes"), room-skip)
	p.acked[d] = p.next(1 - d)
	s := seg{flags: ack, seq: p.next(d) + skip, ack: p.acked[d], window: p.window[d], payload: int(n)}
	p.show(p.all, d, s)
	if passes = passes && p.some.r.tab.sessions.at(p.id).offered(); passes {
		p.some.r.said[speaker{p.id, d == outside}] = frame.TCPSeen{Next: s.seq + n, Ack: s.ack, Window: s.window}
	} else {
		p.show(p.some, d, s)
	}
	for _, c := range []*conversation{p.some, p.all} {
		if d == inside {
			c.in = s.seq + n
		} else {
			c.out = s.seq + n
		}
	}
	if p.drift += skip + n; p.drift >= half/8-1 { // more there should not be between two calls of Touch
		p.touch()
	}
}

// touch tells the one table of what passed by, and has the cache forget it.
func (p *pair) touch() {
	for _, fromOutside := range []bool{false, true} {
		p.some.r.tab.Touch(p.some.r.now, p.id, fromOutside, 0)
	}
	p.drift = 0
	clear(p.some.r.said)
}

func (p *pair) check(rt *rapid.T) {
	if got, want := p.some.r.state(), p.all.r.state(); got != want {
		rt.Fatalf("state %s, want %s", got, want)
	}
}
