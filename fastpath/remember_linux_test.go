package fastpath

import (
	"testing"

	"weft/frame"
)

// BenchmarkRemember is what a worker pays for each frame that it decides on.
func BenchmarkRemember(b *testing.B) {
	r := newRig(b, Config{})
	was := ends{end(1, "10.0.0.1", 1001), end(2, "192.0.2.7", 443)}
	is := ends{end(3, "203.0.113.9", 40001), end(4, "192.0.2.7", 443)}
	session := routed(b, builds[1](was, 0), hop(builds[1](is, 0)))
	session.Session = 7
	for name, d := range map[string]frame.Decision{"stations": bridged(b, plainFrame), "session": session} {
		b.Run(name+"/known", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Remember(&d, r.Mark())
			}
		})
		b.Run(name+"/changed", func(b *testing.B) {
			n := 0
			for b.Loop() {
				r.Changed(frame.PortSubject(portA))
				r.Remember(&d, r.Mark())
				if n++; n%10000 == 0 {
					r.settle()
				}
			}
		})
	}
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		d := bridged(b, plainFrame)
		d.Once = true
		for b.Loop() {
			r.Remember(&d, r.Mark())
		}
	})
	b.Run("harvest of 100000", func(b *testing.B) {
		r.Flush()
		r.Harvest()
		for n := range 100000 {
			d := bridged(b, stationsOf(n))
			r.Remember(&d, r.Mark())
		}
		for b.Loop() {
			r.Harvest()
		}
	})
}
