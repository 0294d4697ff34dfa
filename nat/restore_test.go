package nat

import (
	"net/netip"
	"testing"
	"time"

	"weft/frame"
)

// moved returns the rig's successor, another process's table, and how many sessions it
// did not take.
func (r *rig) moved(s Settings) (next *rig, lost int) {
	r.t.Helper()
	next = newRig(r.t, s)
	next.now = time.Hour // another clock
	for d := range func(yield func(Saved) bool) { r.tab.Save(r.now, yield) } {
		if !next.tab.Restore(next.now, d) {
			lost++
		}
	}
	return next, lost
}

func TestRestoredSessionsGoOn(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		s := settings(shared)
		r := newRig(t, s)
		out := r.mustOut(build(at(f.guest, 40000), at(f.remote, 80))) // a port that is not kept
		external := sourceEnd(out)
		r.mustIn(build(at(f.remote, 80), external))
		next, lost := r.moved(s)
		if lost != 0 {
			t.Fatalf("%d sessions lost", lost)
		}
		next.wantSessions(1)
		if got, want := next.state(), r.state(); got != want {
			t.Errorf("state %s, want %s", got, want)
		}
		wantEnds(t, next.mustIn(build(at(f.remote, 80), external)), at(f.remote, 80), at(f.guest, 40000))
		wantEnds(t, next.mustOut(build(at(f.guest, 40000), at(f.remote, 80))), external, at(f.remote, 80))
		again := next.mustOut(build(at(f.guest, 40000), at(f.other, 80)))
		if sourceEnd(again) != external {
			t.Errorf("the mapping is %v now, and was %v", sourceEnd(again), external)
		}
		next.pass(24 * time.Hour)
		next.wantSessions(0)
	})
}

// An established TCP session keeps its windows: a reset that is out of them is still not
// believed.
func TestRestoredTCPKeepsItsWindows(t *testing.T) {
	f := families[0]
	r := newRig(t, settings())
	guest, remote, external := at(f.guest, 50000), at(f.remote, 80), at(f.external, 50000)
	r.mustOut(tcpFrame(guest, remote, seg{flags: syn, seq: 100}))
	r.mustIn(tcpFrame(remote, external, seg{flags: syn | ack, seq: 500, ack: 101}))
	r.mustOut(tcpFrame(guest, remote, seg{flags: ack, seq: 101, ack: 501}))
	next, lost := r.moved(settings())
	if lost != 0 || next.state() != "established" {
		t.Fatalf("%d lost, state %s", lost, next.state())
	}
	next.mustIn(tcpFrame(remote, external, seg{flags: frame.TCPRst, seq: 1 << 30}))
	if next.state() != "established" {
		t.Errorf("state %s after a forged reset", next.state())
	}
	next.mustIn(tcpFrame(remote, external, seg{flags: frame.TCPRst, seq: 501}))
	if next.state() != "reset" {
		t.Errorf("state %s after the reset", next.state())
	}
}

func TestRestoreRefusesWhatNoLongerFits(t *testing.T) {
	f := families[0]
	s := settings(shared)
	r := newRig(t, s)
	guest, other, remote := at(f.guest, 50000), at(f.other, 50000), at(f.remote, 80)
	r.mustOut(udpFrame(guest, remote, 30))
	var saved Saved
	r.tab.Save(r.now, func(d Saved) bool { saved = d; return true })
	for name, c := range map[string]struct {
		settings Settings
		before   func(r *rig)
		edit     func(d *Saved)
	}{
		"no such realm":                {Settings{Pools: s.Pools}, nil, nil},
		"no such address":              {Settings{Realms: s.Realms}, nil, nil},
		"the port is another's by now": {s, func(r *rig) { r.mustOut(udpFrame(other, remote, 30)) }, nil},
		"the session is there":         {s, func(r *rig) { r.mustOut(udpFrame(guest, remote, 30)) }, nil},
		"the host has the port":        {s, func(r *rig) { r.host.refuse = func(netip.AddrPort) bool { return true } }, nil},
		"the port is forwarded by now": {settings(shared, forwards(Forward{Protocol: frame.ProtocolUDP, Pool: 1, First: 50000, Last: 50000, To: other})), nil, nil},
		"a state of another protocol":  {s, nil, func(d *Saved) { d.State = established }},
		"no state":                     {s, nil, func(d *Saved) { d.State = states }},
		"a protocol without sessions":  {s, nil, func(d *Saved) { d.Protocol = frame.ProtocolSCTP }},
		"no address":                   {s, nil, func(d *Saved) { d.Inside = netip.AddrPort{} }},
	} {
		t.Run(name, func(t *testing.T) {
			next := newRig(t, c.settings)
			if c.before != nil {
				c.before(next)
			}
			d, before := saved, next.tab.Counters()
			if c.edit != nil {
				c.edit(&d)
			}
			if next.tab.Restore(0, d) {
				t.Error("restored")
			}
			if after := next.tab.Counters(); after != before {
				t.Errorf("counters %+v, were %+v", after, before)
			}
		})
	}
}

// What was over when it was saved does not live for ever, nor what says so longer than
// it may.
func TestRestoredSessionsEndInTime(t *testing.T) {
	f := families[0]
	r := newRig(t, settings())
	r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
	for _, expires := range []time.Duration{-time.Hour, -time.Nanosecond, 0, 5 * time.Minute, 1000 * time.Hour} {
		r.tab.Save(0, func(d Saved) bool {
			next := newRig(t, settings())
			d.Expires = expires
			if !next.tab.Restore(0, d) {
				t.Fatal("not restored")
			}
			if expires > 0 {
				next.pass(5*time.Minute - tick)
				next.wantSessions(1)
			}
			next.pass(2 * tick)
			next.wantSessions(0)
			return true
		})
	}
}

// An endpoint of the other IP version cannot have been saved.
func TestRestoreRefusesMixedVersions(t *testing.T) {
	v4, v6 := families[0], families[1]
	r := newRig(t, settings())
	r.mustOut(udpFrame(at(v4.guest, 5000), at(v4.remote, 53), 1))
	r.tab.Save(0, func(d Saved) bool {
		for _, edit := range []func(*Saved){
			func(d *Saved) { d.Inside = at(v6.guest, 5000) },
			func(d *Saved) { d.Remote = at(v6.remote, 53) },
			func(d *Saved) { d.External = at(v6.external, 5000) },
		} {
			d := d
			edit(&d)
			if newRig(t, settings()).tab.Restore(0, d) {
				t.Errorf("restored %+v", d)
			}
		}
		return true
	})
}

// heldSession returns what remembered decisions say of a session that its table forgot.
func heldSession(f family, p frame.Protocol) Saved {
	return Saved{Session: Session{
		Protocol: p, Realm: 1, Port: guestPort,
		Inside: at(f.guest, 5000), External: at(f.external, 5000), Remote: at(f.remote, 80),
	}}
}

// A connection of which only a cache knows goes on where it was, and ends as all do.
func TestHeldConnectionGoesOn(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		window := uint16(1000)
		for name, known := range map[string]struct{ in, out bool }{"both sides": {true, true}, "inside": {true, false}, "outside": {false, true}} {
			t.Run(name, func(t *testing.T) {
				begin := func() *conversation {
					c := newTCP(newRig(t, settings()), f)
					c.r.now = time.Hour
					var in, out frame.TCPSeen
					if known.in {
						in = frame.TCPSeen{Next: c.in, Ack: c.out, Window: window}
					}
					if known.out {
						out = frame.TCPSeen{Next: c.out, Ack: c.in, Window: window}
					}
					if !c.r.tab.Restore(c.r.now, heldSession(f, frame.ProtocolTCP).Held(in, out)) {
						t.Fatal("not restored")
					}
					c.want("established")
					for range 20 { // many a window, and not all comes in order
						c.in += 1 << 22
						c.send(seg{flags: ack, seq: c.in, ack: c.out})
						c.out += 1 << 20
						c.answer(seg{flags: ack, seq: c.out, ack: c.in})
					}
					return c
				}
				begin().finInside().want("fin-sent").finOutside().want("closing")
				begin().finOutside().want("fin-received").finInside().want("closing")
				begin().rstOutside().want("reset")
				c := begin()
				c.answer(seg{flags: rst, seq: c.out - 1<<21}).send(seg{flags: rst, seq: c.in + half}).want("established")
				c.r.pass(124*time.Minute - tick)
				c.r.wantSessions(1)
				c.r.pass(2 * tick)
				c.r.wantSessions(0)
			})
		}
	})
}

// A session that was saved is brought up to what the cache forwarded since.
func TestHeldBringsSavedUpToDate(t *testing.T) {
	forConversations(t, func(t *testing.T, c *conversation) {
		c.establish()
		began := *c
		c.r.tab.Save(c.r.now, func(d Saved) bool {
			for _, again := range []bool{false, true} { // or it is restored as it was saved first
				*c = began
				const passed = 3 << 30
				c.in, c.out, c.r = c.in+passed, c.out+passed, newRig(t, settings())
				if again && !c.r.tab.Restore(0, d) {
					t.Fatal("not restored")
				}
				if !c.r.tab.Restore(0, d.Held(frame.TCPSeen{Next: c.in, Ack: c.out, Window: 9}, frame.TCPSeen{Next: c.out, Ack: c.in, Window: 9})) {
					t.Fatal("does not learn what was said since")
				}
				if !c.r.tab.Restore(0, heldSession(c.f, frame.ProtocolTCP).Held(frame.TCPSeen{}, frame.TCPSeen{})) {
					t.Fatal("refuses what it has")
				}
				c.answer(seg{flags: rst, seq: c.out - 10}).want("established")
				c.rstOutside().want("reset")
				if c.r.tab.Restore(0, d) {
					t.Error("restored what is reset")
				}
				checkBooks(t, c.r.tab)
			}
			return true
		})
	})
}

// One of UDP or of a query needs no more than its ends.
func TestHeldSessionsWithoutConnection(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		query := heldSession(f, f.icmp)
		for _, d := range []Saved{heldSession(f, frame.ProtocolUDP), query} {
			if !r.tab.Restore(r.now, d.Held(frame.TCPSeen{}, frame.TCPSeen{})) {
				t.Fatalf("%v is not restored", d.Protocol)
			}
		}
		r.mustIn(udpFrame(at(f.remote, 80), at(f.external, 5000), 9))
		r.mustIn(echoFrame(f.remote, f.external, f.echoReply, 5000))
		r.pass(time.Minute)
		r.wantSessions(1)
		r.pass(4 * time.Minute)
		r.wantSessions(0)
	})
}
