package nat

import (
	"net/netip"
	"testing"
	"time"

	"weft/frame"
)

const families5min = 5 * time.Minute

// lives checks that a session that open makes lives for idle without packets, and is
// gone after it.
func lives(t *testing.T, idle time.Duration, edit func(*Policy, *PoolConfig), open func(r *rig)) {
	t.Helper()
	r := newRig(t, settings(edit))
	r.now = 12345678 * time.Microsecond // between two ticks
	open(r)
	r.wantSessions(1)
	r.pass(idle - time.Nanosecond)
	r.wantSessions(1)
	r.pass(2 * tick)
	r.wantSessions(0)
	if c := r.tab.Counters(); c.Mappings != 0 || c.Opened != 1 || c.Closed != 1 {
		t.Errorf("%+v", c)
	}
}

func timers(s Timers) func(*Policy, *PoolConfig) {
	return func(p *Policy, _ *PoolConfig) { p.Timers = s }
}

// A UDP mapping lives for five minutes by default (RFC 4787 REQ-5 c), as long as
// configured (b).
func TestU05MappingTimer(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		open := func(r *rig) { r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)) }
		lives(t, 5*time.Minute, timers(Timers{}), open)
		lives(t, 42*time.Second, timers(Timers{UDP: 42 * time.Second}), open)
	})
}

// Outbound packets keep the mapping (RFC 4787 REQ-6), inbound ones if configured (a).
func TestU06Refresh(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for _, inbound := range []bool{false, true} {
			r := newRig(t, settings(timers(Timers{InboundRefresh: inbound})))
			out, in := udpFrame(at(f.guest, 5000), at(f.remote, 53), 1), udpFrame(at(f.remote, 53), at(f.external, 5000), 1)
			r.mustOut(out)
			for range 3 {
				r.pass(4 * time.Minute)
				r.mustOut(out)
			}
			r.pass(4 * time.Minute)
			r.mustIn(in)
			r.pass(4 * time.Minute)
			if inbound {
				r.mustIn(in)
			} else {
				r.leave(in)
			}
		}
	})
}

// One session kept alive keeps the mapping for all.
func TestU06MappingLivesWithItsLastSession(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
		r.now = 3 * time.Minute
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote2, 53), 1))
		r.pass(3 * time.Minute)
		r.wantSessions(1)
		r.mustOut(udpFrame(at(f.other, 5000), at(f.remote, 53), 1)) // must not get the port
		wantEnds(t, r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)), at(f.external, 5000), at(f.remote, 53))
	})
}

// TCP's timers (RFC 5382 REQ-5), those for opening and closing apart (RFC 7857 2.1).
func TestT05Timers(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for _, c := range []struct {
			name       string
			open       func(*rig)
			byDefault  time.Duration
			configured Timers
		}{
			{"SYN from inside", func(r *rig) { newTCP(r, f).syn() }, 4 * time.Minute, Timers{TCPTransitory: 10 * time.Second}},
			{"SYN answered", func(r *rig) { newTCP(r, f).syn().synAck() }, 4 * time.Minute, Timers{TCPTransitory: 10 * time.Second}},
			{"established", func(r *rig) { newTCP(r, f).establish() }, 124 * time.Minute, Timers{TCPEstablished: 10 * time.Second}},
			{"inside closed", func(r *rig) { newTCP(r, f).establish().finInside() }, 124 * time.Minute, Timers{TCPEstablished: 10 * time.Second}},
			{"both closed", func(r *rig) { newTCP(r, f).establish().finInside().finOutside() }, 4 * time.Minute, Timers{TCPClosing: 10 * time.Second}},
			{"reset", func(r *rig) { newTCP(r, f).establish().rstOutside() }, 4 * time.Minute, Timers{TCPClosing: 10 * time.Second}},
		} {
			t.Run(c.name, func(t *testing.T) {
				lives(t, c.byDefault, timers(Timers{}), c.open)
				lives(t, 10*time.Second, timers(c.configured), c.open)
			})
		}
	})
}

// A query lives for a minute (RFC 5508 REQ-2), as long as configured (a).
func TestI02QueryTimer(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		open := func(r *rig) { r.mustOut(echoFrame(f.guest, f.remote, f.echo, 77)) }
		lives(t, time.Minute, timers(Timers{}), open)
		lives(t, 99*time.Second, timers(Timers{ICMP: 99 * time.Second}), open)
	})
}

// Another timer holds from the next packet on; sessions stay.
func TestTimerChange(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
		r.mustOut(udpFrame(at(f.guest, 5001), at(f.remote, 53), 1))
		r.tab.Configure(r.now, settings(timers(Timers{UDP: time.Minute})))
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
		r.pass(time.Minute + tick)
		r.wantSessions(1)
		r.pass(4 * time.Minute)
		r.wantSessions(0)
	})
}

// Expire goes over the whole table, however many sessions end at once, and leaves what
// is not over.
func TestExpireReachesAll(t *testing.T) {
	f := families[0]
	r := newRigOf(t, 20000, settings(func(_ *Policy, c *PoolConfig) {
		c.Addresses = append(c.Addresses, addr("203.0.113.3"))
	}))
	for i := range 20000 {
		if i == 15000 {
			r.now += time.Minute
		}
		b := buf(udpFrame(at(f.guest, uint16(1024+i)), at(f.remote, 53), 1), guestPort)
		if why := r.tab.Outbound(r.now, b, 1, 1); why != 0 {
			t.Fatal(why)
		}
	}
	r.now += 4*time.Minute + tick
	for calls := 0; r.tab.Counters().Sessions > 5000; calls++ {
		if calls > 15000/(turns*ends)+2+20000/(turns*visits) {
			t.Fatalf("%d sessions after %d calls", r.tab.Counters().Sessions, calls)
		}
		r.tab.Expire(r.now)
	}
	r.pass(0)
	r.wantSessions(5000)
	r.now += 59 * time.Second
	r.mustOut(udpFrame(at(f.guest, 1024+15000), at(f.remote, 53), 1))
	r.pass(2 * time.Second)
	r.wantSessions(1)
}

// What packets of a forward's client do for its session.
func TestForwardedTimers(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		fw := forwards(Forward{Protocol: frame.ProtocolUDP, Pool: 1, First: 80, Last: 80, To: at(f.guest, 8080)})
		lives(t, 5*time.Minute, fw, func(r *rig) {
			r.mustIn(udpFrame(at(f.remote, 1000), at(f.external, 80), 1))
		})
	})
}

// Flush ends the sessions of one host, or of all, and gives back what they had.
func TestFlush(t *testing.T) {
	forTransports(t, func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte) {
		r := newRig(t, settings(shared))
		for port := uint16(50000); port < 50200; port++ {
			r.mustOut(build(at(f.guest, port), at(f.remote, 53)))
			r.mustOut(build(at(f.other, port), at(f.remote, 53)))
		}
		if n := len(r.host.claims); n != 400 {
			t.Errorf("%d claims, want 400", n)
		}
		if n := r.tab.Flush(2, netip.Addr{}); n != 0 {
			t.Errorf("flushed %d of another realm", n)
		}
		if n := r.tab.Flush(1, f.other); n != 200 {
			t.Errorf("flushed %d, want 200", n)
		}
		r.wantSessions(200)
		r.mustOut(build(at(f.guest, 50000), at(f.remote, 53)))
		if n := r.tab.Flush(1, netip.Addr{}); n != 200 {
			t.Errorf("flushed %d, want 200", n)
		}
		if n := len(r.host.claims); n != 0 {
			t.Errorf("%d claims are left", n)
		}
	})
}
