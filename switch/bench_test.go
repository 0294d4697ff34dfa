package vswitch

import (
	"fmt"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// A source returns the same batch again and again, without copying it.
type source struct {
	*device
	offload frame.Offload
	frames  [][]byte
	first   bool // the next Recv is the first and has to write the frames
}

func (s *source) Recv(bufs []*frame.Buf) (int, error) {
	for i, f := range s.frames {
		if s.first {
			bufs[i].SetBytes(f)
		}
		bufs[i].Offload = s.offload
	}
	s.first = false
	return len(s.frames), nil
}

// A hole takes what it is sent.
type hole struct{ *device }

func (hole) Send(bufs []*frame.Buf) (int, error) { return len(bufs), nil }

// A treadmill relays one batch of frames over and over.
type treadmill struct {
	w *worker
	q *queue
}

func newTreadmill(t testing.TB, outs int, out PortConfig, frames [][]byte, o frame.Offload) *treadmill {
	t.Helper()
	r := newRig(t, Config{})
	for n := range outs {
		out.Queues = []Queue{hole{newDevice(t)}}
		p := r.port(out)
		if err := r.AddStation(r.net, mac(1000+n), p.id); err != nil {
			t.Fatal(err)
		}
	}
	in := r.port(PortConfig{Queues: []Queue{&source{newDevice(t), o, frames, true}}})
	r.w.adopt(r.snap.Load())
	for _, q := range r.w.snap.polls[0] {
		if _, ok := q.Queue.(*source); ok {
			r.w.serve(q)
			if got := r.counters(&plug{id: in.id}); got.RxFrames != uint64(len(frames)) || got.Drops != (Counters{}).Drops {
				t.Fatalf("the treadmill drops frames: %+v", got)
			}
			return &treadmill{r.w, q}
		}
	}
	t.Fatal("no source")
	return nil
}

// repeat returns a full batch from sources 1 to n to dst.
func repeat(n int, dst func(i int) frame.MAC, length int) (list [][]byte) {
	for i := range batch {
		list = append(list, etherLen(dst(i), mac(1+i%n), length))
	}
	return list
}

func to(dst ...frame.MAC) func(int) frame.MAC {
	return func(i int) frame.MAC { return dst[i%len(dst)] }
}

func BenchmarkRelay(b *testing.B) {
	run := func(name string, length, outs int, out PortConfig, frames [][]byte, o frame.Offload) {
		b.Run(name, func(b *testing.B) {
			m := newTreadmill(b, outs, out, frames, o)
			b.ReportAllocs()
			b.SetBytes(int64(length))
			b.ResetTimer()
			for n := 0; n < b.N; n += len(frames) {
				m.w.serve(m.q)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mpps")
		})
	}
	for _, length := range []int{64, 1514} {
		run(fmt.Sprintf("known-unicast/%dB", length), length, 1, PortConfig{}, repeat(1, to(mac(1000)), length), frame.Offload{})
	}
	run("known-unicast/64B-16-stations-to-4", 64, 4, PortConfig{},
		repeat(16, to(mac(1000), mac(1001), mac(1002), mac(1003)), 64), frame.Offload{})
	run("flood-to-64/64B", 64, 64, PortConfig{}, repeat(1, to(frame.Broadcast), 64), frame.Offload{})
	super := frametest.Superframe{
		Src: frametest.Station(1), Dst: frametest.Station(2), GSO: frame.GSOTCPv4, Len: 64_000, SegSize: 1448,
	}
	run("superframe-whole/64KB", 64_000, 1, PortConfig{Features: frame.FeatureCsum | frame.FeatureTSO4},
		[][]byte{super.Bytes()}, super.Offload())
	run("superframe-segmented/64KB", 64_000, 1, PortConfig{}, [][]byte{super.Bytes()}, super.Offload())
}

func TestRelayDoesNotAllocate(t *testing.T) {
	super := frametest.Superframe{
		Src: frametest.Station(1), Dst: frametest.Station(2), GSO: frame.GSOTCPv4, Len: 64_000, SegSize: 1448,
	}
	for name, m := range map[string]*treadmill{
		"unicast": newTreadmill(t, 2, PortConfig{}, repeat(16, to(mac(1000), mac(1001)), 64), frame.Offload{}),
		"flood":   newTreadmill(t, 64, PortConfig{Pad: true}, repeat(16, to(frame.Broadcast), 50), frame.Offload{}),
		"segment": newTreadmill(t, 3, PortConfig{}, [][]byte{super.Bytes()}, super.Offload()),
	} {
		if n := testing.AllocsPerRun(100, func() { m.w.serve(m.q) }); n != 0 {
			t.Errorf("%s: %v allocations a batch", name, n)
		}
	}
}
