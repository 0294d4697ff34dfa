package nat

import (
	"net/netip"
	"testing"
	"time"

	"weft/frame"
)

// A conversation is a TCP connection through the rig, opened from inside to port 80.
type conversation struct {
	r                *rig
	f                family
	inside, external netip.AddrPort
	remote           netip.AddrPort
	in, out          uint32 // next sequence numbers of both
}

func newTCP(r *rig, f family) *conversation {
	return &conversation{
		r: r, f: f, inside: at(f.guest, 5000), external: at(f.external, 5000), remote: at(f.remote, 80),
		in: 1000, out: 0xffff_ff00,
	}
}

// send sends a segment from inside, answer one from outside.
func (c *conversation) send(s seg) *conversation {
	c.r.t.Helper()
	wantEnds(c.r.t, c.r.mustOut(tcpFrame(c.inside, c.remote, s)), c.external, c.remote)
	return c
}

func (c *conversation) answer(s seg) *conversation {
	c.r.t.Helper()
	wantEnds(c.r.t, c.r.mustIn(tcpFrame(c.remote, c.external, s)), c.remote, c.inside)
	return c
}

func (c *conversation) want(state string) *conversation {
	c.r.t.Helper()
	if got := c.r.state(); got != state {
		c.r.t.Fatalf("state %s, want %s", got, state)
	}
	return c
}

func (c *conversation) syn() *conversation { return c.send(seg{flags: syn, seq: c.in, scale: 8}) }
func (c *conversation) synAck() *conversation {
	return c.answer(seg{flags: syn | ack, seq: c.out, ack: c.in + 1, scale: 8})
}

func (c *conversation) establish() *conversation {
	c.r.t.Helper()
	c.syn().synAck()
	c.in++
	c.out++
	return c.send(seg{flags: ack, seq: c.in, ack: c.out}).want("established")
}

func (c *conversation) finInside() *conversation {
	c.r.t.Helper()
	c.send(seg{flags: fin | ack, seq: c.in, ack: c.out})
	c.in++
	return c
}

func (c *conversation) finOutside() *conversation {
	c.r.t.Helper()
	c.answer(seg{flags: fin | ack, seq: c.out, ack: c.in})
	c.out++
	return c
}

func (c *conversation) rstOutside() *conversation {
	c.r.t.Helper()
	return c.answer(seg{flags: rst, seq: c.out})
}

// forConversations runs a test for both IP versions.
func forConversations(t *testing.T, test func(t *testing.T, c *conversation)) {
	forFamilies(t, func(t *testing.T, f family) { test(t, newTCP(newRig(t, settings()), f)) })
}

// The states of RFC 9293 as RFC 5382 REQ-2 and RFC 7857 2 want them followed.
func TestT02ThreeWayHandshakeAndClose(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.syn().want("syn-sent").synAck().want("opening")
		c.in, c.out = c.in+1, c.out+1
		c.send(seg{flags: ack, seq: c.in, ack: c.out, payload: 100}).want("established")
		c.in += 100
		c.answer(seg{flags: ack, seq: c.out, ack: c.in, payload: 500})
		c.out += 500
		c.finInside().want("fin-sent")
		c.answer(seg{flags: ack, seq: c.out, ack: c.in, payload: 10}) // it may still speak
		c.out += 10
		c.finOutside().want("closing")
		c.send(seg{flags: ack, seq: c.in, ack: c.out}).want("closing")
	})
}

func TestT02CloseFromOutside(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.establish().finOutside().want("fin-received")
		c.send(seg{flags: ack, seq: c.in, ack: c.out}).finInside().want("closing")
	})
}

func TestT02SimultaneousOpen(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.syn().answer(seg{flags: syn, seq: c.out, scale: 8}).want("opening")
		c.send(seg{flags: syn | ack, seq: c.in, ack: c.out + 1}).want("opening")
		c.synAck().want("established")
	})
}

func TestT02SimultaneousClose(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.establish()
		c.send(seg{flags: fin | ack, seq: c.in, ack: c.out}).answer(seg{flags: fin | ack, seq: c.out, ack: c.in}).want("closing")
	})
}

// A SYN from outside opens what a forward allows, and the guest's answer the rest.
func TestT02OpenedFromOutside(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(forwards(Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 443, Last: 443, To: at(f.guest, 8443)})))
		c := newTCP(r, f)
		c.inside, c.external, c.remote = at(f.guest, 8443), at(f.external, 443), at(f.remote, 3333)
		c.answer(seg{flags: syn, seq: 7, scale: 3}).want("syn-received")
		c.send(seg{flags: syn | ack, seq: 50, ack: 8, scale: 3}).want("opening")
		c.answer(seg{flags: ack, seq: 8, ack: 99}).want("opening") // acknowledges what was never sent
		c.answer(seg{flags: ack, seq: 8, ack: 51}).want("established")
	})
}

// A SYN may be sent again, with another number if its sender began anew.
func TestT02SYNAgain(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.syn().syn().want("syn-sent")
		c.in = 77
		c.establish()
	})
}

// Only a SYN opens a session from outside; from inside a segment from the middle of a
// connection does so too, as its session may have been lost with a restart of weft.
func TestT02MidStream(t *testing.T) {
	forConversations(t, func(t *testing.T, c *conversation) {
		for _, flags := range []uint8{rst, rst | ack, syn | ack, 0, fin} {
			if _, why := c.r.out(tcpFrame(c.inside, c.remote, seg{flags: flags, seq: 1, ack: 1})); why != frame.DropNATInvalid {
				t.Errorf("flags %#x: %v, want nat-invalid", flags, why)
			}
		}
		c.r.wantSessions(0)
		c.send(seg{flags: ack, seq: c.in, ack: c.out, payload: 100}).want("opening")
		c.in += 100
		c.answer(seg{flags: ack, seq: c.out, ack: c.in, payload: 1000}).want("established")
		c.out += 1000
		c.finInside().finOutside().want("closing")
	})
}

// Of a mid-stream session that nobody confirms not much is made.
func TestT02MidStreamUnconfirmed(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		lives(t, 4*time.Minute, timers(Timers{}), func(r *rig) {
			c := newTCP(r, f)
			c.send(seg{flags: ack, seq: c.in, ack: c.out}).answer(seg{flags: ack, seq: c.out, ack: c.in - 1000})
		})
	})
}

// The connection of a guest's server goes on after a restart, whoever speaks first.
func TestT02MidStreamForwarded(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for _, guestFirst := range []bool{true, false} {
			r := newRig(t, settings(forwards(Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 443, Last: 443, To: at(f.guest, 8443)})))
			c := newTCP(r, f)
			c.inside, c.external, c.remote = at(f.guest, 8443), at(f.external, 443), at(f.remote, 3333)
			send, answer := seg{flags: ack, seq: c.in, ack: c.out}, seg{flags: ack, seq: c.out, ack: c.in}
			if guestFirst {
				c.send(send).answer(answer)
			} else {
				c.answer(answer).send(send)
			}
			c.want("established")
		}
	})
}

// A RST or FIN that its receiver would not take changes nothing, wherever it is from.
func TestWindowIsCheckedBeforeRSTAndFIN(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.establish()
		window := uint32(1000) << 7 // the option that scale 8 makes
		for _, off := range []uint32{1, 1000, 1 << 31, window - 1} {
			c.answer(seg{flags: rst, seq: c.out - off - 1}).answer(seg{flags: rst | ack, seq: c.out + window + 1 + off, ack: c.in})
			c.answer(seg{flags: fin | ack, seq: c.out + window + 1 + off, ack: c.in})
			c.answer(seg{flags: fin | ack, seq: c.out + window, ack: c.in, payload: 1})
			c.send(seg{flags: rst, seq: c.in - off - 1}).send(seg{flags: fin | ack, seq: c.in + window + 1 + off, ack: c.out})
		}
		c.want("established")
		c.answer(seg{flags: rst, seq: c.out + window}).want("reset")
	})
}

// In SYN-SENT a RST has to acknowledge the SYN (RFC 9293 3.10.7.3).
func TestRSTOfASYN(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.syn().answer(seg{flags: rst, seq: 0}).answer(seg{flags: rst | ack, seq: 0, ack: c.in + 2}).want("syn-sent")
		c.answer(seg{flags: rst | ack, seq: 0, ack: c.in + 1}).want("reset")
		c.syn().want("syn-sent") // and tries again
	})
}

// A window is scaled only if both sides offer it (RFC 7323 2.2).
func TestWindowScale(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.syn().answer(seg{flags: syn | ack, seq: c.out, ack: c.in + 1})
		c.in, c.out = c.in+1, c.out+1
		c.send(seg{flags: ack, seq: c.in, ack: c.out}).want("established")
		c.answer(seg{flags: rst, seq: c.out + 1001}).want("established")
		c.answer(seg{flags: rst, seq: c.out + 1000}).want("reset")
	})
}

// A SYN opens the session anew that is closed (RFC 9293 3.6.1) or reset, but not one
// that is established.
func TestT02SYNInTimeWait(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.establish().syn().want("established")
		c.finInside().finOutside().want("closing")
		c.in, c.out = 0x8000_0000, 5
		c.establish()
		c.rstOutside().want("reset")
		c.in, c.out = 0x1000_0000, 50
		c.establish()
	})
}

// A RST is translated, and the state kept for four minutes, as its receiver may not take
// it; then what follows shows that (RFC 7857 2.2).
func TestT11RST(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.establish().rstOutside().want("reset")
		c.r.pass(4*time.Minute - 2*tick)
		c.want("reset")
		c.send(seg{flags: ack, seq: c.in, ack: c.out, payload: 10}).want("established")
		c.r.pass(2 * time.Hour)
		c.rstOutside()
		c.r.pass(4*time.Minute + 2*tick)
		c.r.wantSessions(0)
	})
}

// A RST that is none of the connection does not keep it alive (RFC 7857 7.1).
func TestT11RSTDoesNotRefresh(t *testing.T) {
	forConversations(t, func(_ *testing.T, c *conversation) {
		c.establish()
		for range 5 {
			c.r.pass(25 * time.Minute)
			if c.r.tab.Counters().Sessions == 1 {
				c.send(seg{flags: rst, seq: c.in - 5000}).answer(seg{flags: rst, seq: c.out - 5000})
			}
		}
		c.r.wantSessions(0)
	})
}

// SYNs that nobody asked for.
func TestT04UnsolicitedSYN(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		p := tcpFrame(at(f.remote, 80), at(f.external, 5000), seg{flags: syn, seq: 9})
		r.leave(p)
		r.leave(p) // again: no second answer
		r.pass(6*time.Second - time.Nanosecond)
		if len(r.emitted) != 0 {
			t.Fatal("an answer within six seconds")
		}
		r.pass(2 * tick)
		if len(r.emitted) != 1 || r.emitted[0].in != hostPort {
			t.Fatalf("%+v, want one answer by the port it left by", r.emitted)
		}
		got := r.emitted[0].buf
		l := got.Layers
		if source(got.Bytes()) != f.external || destination(got.Bytes()) != f.remote || l.Protocol != f.icmp ||
			got.Bytes()[l.L4] != f.unreachable || got.Bytes()[l.L4+1] != f.portCode {
			t.Errorf("answered %v", got)
		}
		if q := l.Quoted(got.Bytes()); q.SrcPort != 80 || q.DstPort != 5000 {
			t.Errorf("it quotes %+v", q)
		}
	})
}

// Inside opens the connection too within the time: nothing is said.
func TestT04SimultaneousOpen(t *testing.T) {
	forConversations(t, func(t *testing.T, c *conversation) {
		p := tcpFrame(c.remote, c.external, seg{flags: syn, seq: c.out})
		c.r.leave(p)
		c.r.pass(5 * time.Second)
		c.syn()
		c.r.pass(5 * time.Second)
		if len(c.r.emitted) != 0 {
			t.Errorf("an answer to a connection that both open: %v", c.r.emitted[0].buf)
		}
		c.answer(seg{flags: syn, seq: c.out})
	})
}

// The same for a mapping whose filter did not let it pass; never for the host's own
// addresses, on which its stack answers, nor for what is no SYN.
func TestT04Where(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for _, c := range []struct {
			name    string
			edit    func(*Policy, *PoolConfig)
			mapped  bool
			flags   uint8
			answers int
		}{
			{"filtered", timers(Timers{}), true, syn, 1},
			{"no mapping", timers(Timers{}), false, syn, 1},
			{"an ACK", timers(Timers{}), false, ack, 0},
			{"a SYN+ACK", timers(Timers{}), true, syn | ack, 0},
			{"shared, filtered", shared, true, syn, 0},
			{"shared", shared, false, syn, 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := newRig(t, settings(c.edit))
				if c.mapped {
					r.mustOut(tcpFrame(at(f.guest, 5000), at(f.remote, 80), seg{flags: syn}))
				}
				p := tcpFrame(at(f.remote2, 80), at(f.external, 5000), seg{flags: c.flags})
				if c.mapped {
					r.refuse(p, frame.DropNATFiltered)
				} else {
					r.leave(p)
				}
				r.pass(7 * time.Second)
				if len(r.emitted) != c.answers {
					t.Errorf("%d answers, want %d", len(r.emitted), c.answers)
				}
			})
		}
	})
}

// However many come, those that are remembered are few.
func TestT04Bounded(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		for round := range 2 {
			for port := range 1000 {
				r.leave(tcpFrame(at(f.remote, 80), at(f.external, uint16(2000+port)), seg{flags: syn}))
			}
			r.pass(7 * time.Second)
			if want := (round + 1) * maxSYNs; len(r.emitted) != want {
				t.Errorf("%d answers, want %d", len(r.emitted), want)
			}
		}
	})
}
