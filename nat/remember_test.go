package nat

import (
	"slices"
	"testing"
	"time"
	"unsafe"

	"weft/frame"
)

func TestSessionIsOneCacheLine(t *testing.T) {
	if n := unsafe.Sizeof(session{}); n != 64 {
		t.Errorf("%d bytes, want 64", n)
	}
}

// wantBasis checks what the last frame's translation rests on, and returns the session.
func (r *rig) wantBasis(fromOutside, once bool, idle time.Duration) uint32 {
	r.t.Helper()
	got := r.one.Basis
	want := frame.Basis{Once: once, Session: got.Session, Outside: fromOutside, Idle: idle}
	if got != want || got.Session == 0 {
		r.t.Fatalf("%+v, want %+v of a session", got, want)
	}
	return got.Session
}

// wantChanged checks which sessions were said to be over, since it was last called.
func (r *rig) wantChanged(want ...uint32) {
	r.t.Helper()
	if !slices.Equal(r.changed, want) {
		r.t.Fatalf("sessions %v changed, want %v", r.changed, want)
	}
	r.changed = nil
}

// Packets of a session may be translated without the table until a little before it ends,
// but those that begin or end something.
func TestBasis(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(filtering(EndpointIndependent)))
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 9))
		id := r.wantBasis(false, false, 295*time.Second)
		r.mustIn(udpFrame(at(f.remote, 53), at(f.external, 5000), 9))
		if again := r.wantBasis(true, false, 295*time.Second); again != id {
			t.Errorf("session %d from inside, %d from outside", id, again)
		}
		r.mustOut(echoFrame(f.guest, f.remote, f.echo, 7))
		if other := r.wantBasis(false, false, 55*time.Second); other == id {
			t.Errorf("two sessions %d", id)
		}
		r.mustIn(echoFrame(f.remote, f.external, f.echoReply, 7))
		r.wantBasis(true, false, 55*time.Second)

		c := newTCP(newRig(t, settings()), f)
		opening, open := 235*time.Second, 124*time.Minute-5*time.Second
		c.syn().r.wantBasis(false, true, opening)
		c.synAck().r.wantBasis(true, true, opening)
		c.in, c.out = c.in+1, c.out+1
		c.send(seg{flags: ack, seq: c.in, ack: c.out}).r.wantBasis(false, false, open)
		c.answer(seg{flags: ack, seq: c.out, ack: c.in, payload: 9}).r.wantBasis(true, false, open)
		c.send(seg{flags: rst, seq: c.in - 5000}).r.wantBasis(false, true, open)
		c.syn().r.wantBasis(false, true, open)
		c.finInside().r.wantBasis(false, true, open)
		c.answer(seg{flags: ack, seq: c.out, ack: c.in}).r.wantBasis(true, true, open)
		c.finOutside().r.wantBasis(true, true, opening)
	})
}

// What later packets of the flow may not share is about one packet alone.
func TestBasisOfOnePacket(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(filtering(EndpointIndependent)))
		out := udpFrame(at(f.guest, 5000), at(f.remote, 53), 400)
		translated := r.mustOut(slices.Clone(out))
		r.mustOut(udpFrame(at(f.other, 5001), at(f.remote, 53), 9))
		once := func(what string) {
			t.Helper()
			if r.one.Basis != (frame.Basis{Once: true}) {
				t.Errorf("%s: %+v", what, r.one.Basis)
			}
		}
		r.mustHairpin(udpFrame(at(f.guest, 5000), at(f.external, 5001), 9))
		once("a hairpin")
		r.mustIn(failureFrame(f, f.hop, translated))
		once("an error")
		r.leave(udpFrame(at(f.remote, 53), at(f.external, 1234), 9))
		once("of no session")
		if _, why := r.out(tcpFrame(at(f.guest, 1), at(f.remote, 1), seg{flags: rst})); why == 0 {
			t.Error("a RST of no session is translated")
		}
		once("lost")
		for _, p := range cut(out, 9, 64) {
			r.mustOut(p)
			if !r.one.Basis.Once {
				t.Error("a fragment may be remembered")
			}
		}
		r.wantChanged()
	})
}

// A session that Touch may come too late for is looked at with each packet.
func TestBasisOfShortSessions(t *testing.T) {
	forFamilies(t, func(_ *testing.T, f family) {
		for idle, once := range map[time.Duration]bool{time.Second: true, 5 * time.Second: true, 6 * time.Second: false} {
			r := newRig(t, settings(timers(Timers{UDP: idle})))
			r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 9))
			r.wantBasis(false, once, idle-5*time.Second)
		}
	})
}

// However a session ends, decisions that rest on it end then, not before; if there are
// none, nobody is told.
func TestChangedWhenSessionsEnd(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for name, end := range map[string]func(r *rig){
			"time":          func(r *rig) { r.pass(3 * time.Hour) },
			"flushed":       func(r *rig) { r.tab.Flush(1, f.guest) },
			"port gone":     func(r *rig) { r.tab.ForgetPort(guestPort) },
			"reconfigured":  func(r *rig) { r.tab.Configure(r.now, Settings{}) },
			"other address": func(r *rig) { r.tab.Configure(r.now, settings(func(_ *Policy, c *PoolConfig) { c.Addresses = nil })) },
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, settings())
				r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 9))
				known := r.one.Basis.Session
				r.mustOut(tcpFrame(at(f.guest, 5000), at(f.remote, 80), seg{flags: syn})) // is opening
				changed := r.tab.changed
				r.tab.changed = func(session uint32) {
					if s := r.tab.sessions.at(session); s.state != 0 {
						t.Errorf("it changes with the session still %v", s.state)
					}
					changed(session)
				}
				r.tab.Configure(r.now, settings(filtering(AddressDependent)))
				r.wantChanged()
				end(r)
				r.wantSessions(0)
				r.wantChanged(known)
			})
		}
	})
}

// A connection that begins to end takes its decisions with it; if it goes on after all
// there may be new ones.
func TestChangedWhenConnectionsEnd(t *testing.T) {
	forConversations(t, func(t *testing.T, c *conversation) {
		id := c.establish().r.one.Basis.Session
		c.send(seg{flags: rst, seq: c.in - 5000}).answer(seg{flags: fin | ack, seq: c.out - 5000, ack: c.in})
		c.r.wantChanged()
		c.rstOutside().r.wantChanged(id)
		c.answer(seg{flags: rst, seq: c.out}).r.wantChanged()
		c.send(seg{flags: ack, seq: c.in, ack: c.out, payload: 10}).want("established")
		c.in += 10
		c.finInside().r.wantChanged(id)
		c.finOutside().want("closing").r.wantChanged()
		c.r.pass(time.Hour)
		c.r.wantChanged()
	})
}

// Touch does to a session's timer what the packet had done that it tells of.
func TestTouchKeepsSessionsAlive(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for _, inbound := range []bool{false, true} {
			r := newRig(t, settings(timers(Timers{InboundRefresh: inbound})))
			r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 9))
			id := r.one.Basis.Session
			for range 10 {
				r.pass(294 * time.Second)
				r.tab.Touch(r.now, id, false, time.Second)
			}
			r.wantSessions(1)
			r.pass(299*time.Second - tick)
			r.wantSessions(1)
			r.tab.Touch(r.now, id, true, 0)
			r.pass(time.Second + 2*tick)
			if got := r.tab.Counters().Sessions == 1; got != inbound {
				t.Errorf("alive %v, and packets from outside refresh: %v", got, inbound)
			}
		}
	})
}

// An earlier packet does not shorten a session's life, nor does one of a session that
// is over or of which no packet was to be remembered lengthen anything.
func TestTouchPassesOver(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		r.now = time.Minute
		r.mustOut(tcpFrame(at(f.guest, 5000), at(f.remote, 80), seg{flags: syn}))
		opening := r.one.Basis.Session
		r.now += time.Minute
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 9))
		id := r.one.Basis.Session
		want := slices.Collect(r.tab.Sessions)
		for _, handle := range []uint32{0, opening, id, id + 1, chunk, 1 << 29, 1<<32 - 1} {
			r.tab.Touch(r.now, handle, false, 2*time.Minute) // before the table was
			r.tab.Touch(r.now, handle, false, 30*time.Second)
		}
		if got := slices.Collect(r.tab.Sessions); !slices.Equal(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		r.tab.Flush(1, f.guest)
		r.tab.Touch(r.now, id, false, 0)
		r.wantSessions(0)
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 9))
		checkBooks(t, r.tab)
	})
}
