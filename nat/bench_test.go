package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"weft/frame"
)

const million = 1_000_000

// A load is a table, and a frame that becomes the packet of one of many sessions.
type load struct {
	tab    *Table
	buf    *frame.Buf
	f      family
	guests int
	spread bool // one mapping for each session, else one for as many as remotes' ports
}

// newLoad makes a table for a million sessions of a family, with as many external
// addresses as they need ports.
func newLoad(f family, spread bool) *load {
	s := settings(func(_ *Policy, c *PoolConfig) {
		c.Addresses = nil
		for a := f.external; len(c.Addresses) < 32; a = a.Next() {
			c.Addresses = append(c.Addresses, a)
		}
	})
	l := &load{tab: New(Config{Capacity: million, Seed: 1}), f: f, guests: 256, spread: spread}
	l.tab.Configure(0, s)
	l.buf = buf(udpFrame(at(f.guest, 5000), at(f.remote, 53), 18), guestPort)
	return l
}

// become makes the frame the packet of session i, from inside: of guests by turns.
func (l *load) become(i int) {
	p, lay := l.buf.Bytes(), &l.buf.Layers
	n := i / l.guests
	sport, dport := uint16(1024+n), uint16(53)
	if !l.spread {
		sport, dport = 5000, uint16(1024+n)
	}
	src, dst := p[lay.L3+12:], p[lay.L3+16:]
	if lay.Version == 6 {
		src, dst = p[lay.L3+8:lay.L3+24], p[lay.L3+24:lay.L3+40]
		copy(src[:12], l.f.guest.AsSlice())
		src, dst = src[12:], dst[12:]
	}
	guest := l.f.guest.AsSlice()
	guest[len(guest)-1], guest[len(guest)-2] = byte(i%l.guests), 1
	copy(src, guest[len(guest)-4:])
	remote := l.f.remote.AsSlice()
	copy(dst, remote[len(remote)-4:])
	frame.Ports(p[lay.L4:]).SetSrc(sport)
	frame.Ports(p[lay.L4:]).SetDst(dport)
	lay.SrcPort, lay.DstPort = sport, dport
}

func (l *load) fill(b *testing.B, n int, now time.Duration) {
	for i := range n {
		l.become(i)
		if why := l.tab.Outbound(now, l.buf, 1, 1); why != 0 {
			b.Fatalf("session %d: %v", i, why)
		}
	}
}

// BenchmarkNewSession opens sessions in a table that grows to a million, each with a
// mapping of its own, then begins again.
func BenchmarkNewSession(b *testing.B) {
	for _, f := range families {
		b.Run(f.name, func(b *testing.B) {
			l := newLoad(f, true)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == million {
					b.StopTimer()
					l.tab.Flush(1, netip.Addr{})
					b.StartTimer()
					i = 0
				}
				l.become(i)
				if why := l.tab.Outbound(0, l.buf, 1, 1); why != 0 {
					b.Fatal(why)
				}
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sessions/s")
		})
	}
}

// BenchmarkKnownSession translates packets of sessions that are there: of one over and
// over, and of a million by turns, which mostly wait for memory.
func BenchmarkKnownSession(b *testing.B) {
	for _, f := range families {
		for _, tr := range transports {
			for _, inbound := range []bool{false, true} {
				direction := map[bool]string{false: "out", true: "in"}[inbound]
				b.Run(fmt.Sprintf("%s/%s/%s", f.name, tr.name, direction), func(b *testing.B) {
					benchOne(b, f, tr.name == "TCP", inbound)
				})
			}
		}
		b.Run(f.name+"/UDP/out/1M", func(b *testing.B) {
			l := newLoad(f, true)
			l.fill(b, million, 0)
			const stride = 610_639 // a prime, so that none comes again soon
			i := 0
			for b.Loop() {
				i = (i + stride) % million
				l.become(i)
				if l.tab.Outbound(0, l.buf, 1, 1) != 0 {
					b.Fatal("lost")
				}
			}
		})
	}
}

func benchOne(b *testing.B, f family, isTCP, inbound bool) {
	r := newRig(b, settings())
	out := udpFrame(at(f.guest, 5000), at(f.remote, 53), 18)
	in := udpFrame(at(f.remote, 53), at(f.external, 5000), 18)
	if isTCP {
		newTCP(r, f).establish()
		out = tcpFrame(at(f.guest, 5000), at(f.remote, 80), seg{flags: ack, seq: 1001, ack: 0xffff_ff01, payload: 6})
		in = tcpFrame(at(f.remote, 80), at(f.external, 5000), seg{flags: ack, seq: 0xffff_ff01, ack: 1001, payload: 6})
	} else {
		r.mustOut(out)
	}
	p := out
	if inbound {
		p = in
	}
	fresh := buf(p, guestPort)
	layers := fresh.Layers
	headers := slices.Clone(p[layers.L3 : layers.L4+18])
	b.ReportAllocs()
	for b.Loop() {
		copy(fresh.Bytes()[layers.L3:], headers) // as it came; a few ns
		fresh.Layers = layers
		if inbound {
			if ours, why := r.tab.Inbound(0, fresh); !ours || why != 0 {
				b.Fatal(why)
			}
		} else if why := r.tab.Outbound(0, fresh, 1, 1); why != 0 {
			b.Fatal(why)
		}
	}
}

// BenchmarkExpire measures batches of ageing with a million sessions: when none is over,
// when all are at once, and when some end in each batch.
func BenchmarkExpire(b *testing.B) {
	for _, c := range []struct {
		name  string
		share int // one of so many is over; 0: none
	}{{"none", 0}, {"all", 1}, {"1 of 20", 20}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLoad(families[0], true)
			fill := func() {
				for i := range million {
					l.become(i)
					now := time.Hour
					if c.share != 0 && i%c.share == 0 {
						now = 0
					}
					l.tab.Outbound(now, l.buf, 1, 1)
				}
				runtime.GC()
			}
			fill()
			var took []time.Duration
			over := 0
			if c.share != 0 {
				over = million / c.share
			}
			ended := l.tab.Counters().Closed
			for b.Loop() {
				start := time.Now()
				l.tab.Expire(10 * time.Minute)
				took = append(took, time.Since(start))
				if over > 0 && l.tab.Counters().Closed-ended == uint64(over) {
					b.StopTimer()
					fill()
					ended = l.tab.Counters().Closed
					b.StartTimer()
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
			b.ReportMetric(float64(took[len(took)-1].Nanoseconds())/1000, "max-µs")
		})
	}
}

// BenchmarkGrow opens a million sessions and reports how long the longest of them took:
// a table that stops to grow would show here.
func BenchmarkGrow(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		l := newLoad(families[0], true)
		runtime.GC()
		took := make([]int64, million)
		b.StartTimer()
		for i := range million {
			l.become(i)
			start := time.Now()
			l.tab.Outbound(0, l.buf, 1, 1)
			took[i] = time.Since(start).Nanoseconds()
		}
		b.StopTimer()
		slices.Sort(took)
		b.ReportMetric(float64(took[million*999/1000])/1000, "p99.9-µs")
		b.ReportMetric(float64(took[million-1])/1000, "max-µs")
		b.StartTimer()
	}
}

// BenchmarkMemory reports what a million sessions take, index and all: with a mapping
// for each, with one for thousands, and with a mapping and a host for each.
func BenchmarkMemory(b *testing.B) {
	for _, f := range families {
		for _, c := range []struct {
			name   string
			spread bool
			guests int
		}{{"mapping each", true, 256}, {"shared mappings", false, 256}, {"host each", true, million}} {
			b.Run(f.name+"/"+c.name, func(b *testing.B) {
				for b.Loop() {
					var before, after runtime.MemStats
					runtime.GC()
					runtime.ReadMemStats(&before)
					l := newLoad(f, c.spread)
					l.guests = c.guests
					if c.guests == million {
						l.fillHosts(b)
					} else {
						l.fill(b, million, 0)
					}
					runtime.GC()
					runtime.ReadMemStats(&after)
					b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB")
					runtime.KeepAlive(l)
				}
			})
		}
	}
}

// fillHosts opens a session each for a million internal addresses.
func (l *load) fillHosts(b *testing.B) {
	l.guests = 256
	for i := range million {
		l.become(i)
		p, lay := l.buf.Bytes(), &l.buf.Layers
		src := p[lay.L3+12 : lay.L3+16]
		if lay.Version == 6 {
			src = p[lay.L3+20 : lay.L3+24]
		}
		binary.BigEndian.PutUint32(src, uint32(i))
		if why := l.tab.Outbound(0, l.buf, 1, 1); why != 0 {
			b.Fatalf("session %d: %v", i, why)
		}
	}
}
