package fastpath

import (
	"testing"

	"github.com/cilium/ebpf"

	"weft/frame"
	"weft/frame/frametest"
)

// skBuff is struct __sk_buff as far as programs are run with it.
type skBuff struct {
	Len, PktType, Mark, QueueMapping, Protocol, VlanPresent, VlanTCI, VlanProto, Priority, IngressIfindex, Ifindex uint32
	_                                                                                                              [192 - 44]byte
}

// BenchmarkProgram runs the programs alone.
func BenchmarkProgram(b *testing.B) {
	p := frametest.UDP(frametest.Station(1), frametest.Station(2), make([]byte, 22))
	for name, byFlow := range map[string]bool{"stations": false, "flow": true} {
		b.Run(name, func(b *testing.B) {
			isolate(b)
			in, out := newTAP(b, "in"+name), newTAP(b, "out"+name)
			d := bridged(b, p)
			d.ByFlow = byFlow
			c := remembered(b, in, out, d)
			in.write(b, p, frame.Offload{})
			if got, _ := out.read(b); got == nil {
				b.Fatal("not forwarded")
			}
			for i := range c.records[:c.unused] { // the next run is to find the frame unmarked
				c.records[i].Flags &^= uint16(cacheFlagMARKED)
			}
			measure(b, c.ingress, in, p)
		})
	}
	b.Run("floor", func(b *testing.B) {
		isolate(b)
		in := newTAP(b, "in")
		measure(b, floor(b, in.index), in, p)
	})
}

// measure tells how long a run takes that ends with TC_ACT_REDIRECT.
func measure(b *testing.B, program *ebpf.Program, in *device, p []byte) {
	const repeat, redirect = 100_000, 7
	o := ebpf.RunOptions{Data: p, Context: skBuff{Ifindex: uint32(in.index)}, Repeat: repeat}
	for b.Loop() {
		if verdict, err := program.Run(&o); err != nil || verdict != redirect {
			b.Fatal(verdict, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/repeat, "ns/run")
}
