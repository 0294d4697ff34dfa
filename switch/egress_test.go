package vswitch

import (
	"bytes"
	"errors"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

func superframe(length int, gso frame.GSO) frametest.Superframe {
	return frametest.Superframe{
		Src: frametest.Station(1), Dst: frametest.Station(2),
		GSO: gso, Len: length, SegSize: 1000, Flags: 0x18,
	}
}

// segments are those of package frame, whose tests compare them with the kernel's.
func segments(s frametest.Superframe) (list [][]byte) {
	dst := frame.NewBufs(1)[0]
	cut := s.Buf().Segment(0)
	for cut.Next(dst) {
		list = append(list, bytes.Clone(dst.Bytes()))
	}
	return list
}

func TestEgressCarriesWhatItCan(t *testing.T) {
	r := newRig(t, Config{})
	in := r.port(PortConfig{})
	all := r.port(PortConfig{Features: frame.FeatureCsum | frame.FeatureTSO4})
	csum := r.port(PortConfig{Features: frame.FeatureCsum})
	none := r.port(PortConfig{})
	s := superframe(64_000, frame.GSOTCPv4) // 64 segments: more than one Send with those before
	small := frametest.UDP(frametest.Station(1), frametest.Station(2), frametest.Payload(10))
	r.send(in, small)
	r.sendOffload(in, s.Bytes(), s.Offload())
	r.send(in, small)

	if len(all.sent) != 3 || !bytes.Equal(all.sent[1].bytes, s.Bytes()) || all.sent[1].offload.GSO != frame.GSOTCPv4 {
		t.Fatalf("a device that segments was sent %d frames, want 3, the superframe as it was", len(all.sent))
	}
	want := segments(s)
	for name, p := range map[string]*plug{"checksums": csum, "nothing": none} {
		if len(p.sent) != len(want)+2 {
			t.Fatalf("a device that does %s was sent %d frames, want %d", name, len(p.sent), len(want)+2)
		}
		if !bytes.Equal(p.sent[0].bytes, small) || !bytes.Equal(p.sent[len(want)+1].bytes, small) {
			t.Errorf("a device that does %s: order not kept", name)
		}
		for _, f := range p.sent[1 : len(want)+1] {
			if f.offload.NeedsCsum != (p == csum) || f.offload.GSO != frame.GSONone {
				t.Fatalf("a device that does %s was sent offload %+v", name, f.offload)
			}
		}
	}
	for i, f := range none.sent[1 : len(want)+1] {
		if !bytes.Equal(f.bytes, want[i]) {
			t.Fatalf("segment %d:\ngot  %x\nwant %x", i, f.bytes, want[i])
		}
	}
	c := r.counters(none)
	if n := uint64(len(want) + 2); c.TxFrames != n || c.TxSegments != n {
		t.Errorf("sent %d frames, %d segments, want %d each", c.TxFrames, c.TxSegments, n)
	}
	if c := r.counters(all); c.TxFrames != 3 || c.TxSegments != uint64(len(want)+2) {
		t.Errorf("sent %d frames, %d segments, want 3 and %d", c.TxFrames, c.TxSegments, len(want)+2)
	}
	if c := r.counters(in); c.RxFrames != 3 || c.RxSegments != uint64(len(want)+2) {
		t.Errorf("received %d frames, %d segments, want 3 and %d", c.RxFrames, c.RxSegments, len(want)+2)
	}
}

func TestEgressCompletesChecksums(t *testing.T) {
	r := newRig(t, Config{})
	in := r.port(PortConfig{})
	csum := r.port(PortConfig{Features: frame.FeatureCsum})
	none := r.port(PortConfig{Pad: true})
	s := frametest.Superframe{Src: frametest.Station(1), Dst: frametest.Station(2), UDP: true, Len: 3}
	r.sendOffload(in, s.Bytes(), s.Offload())
	if len(csum.sent) != 1 || !csum.sent[0].offload.NeedsCsum || !bytes.Equal(csum.sent[0].bytes, s.Bytes()) {
		t.Errorf("a device that completes was sent %+v", csum.sent)
	}
	if len(none.sent) != 1 || none.sent[0].offload != (frame.Offload{}) || len(none.sent[0].bytes) != frame.MinLen {
		t.Fatalf("a wire was sent %+v", none.sent)
	}
	if err := frametest.Checksums(none.sent[0].bytes); err != nil {
		t.Error(err)
	}
}

func TestEgressPadsSegments(t *testing.T) {
	r := newRig(t, Config{})
	in, wire := r.port(PortConfig{}), r.port(PortConfig{Pad: true})
	s := superframe(3001, frame.GSOTCPv4)
	r.sendOffload(in, s.Bytes(), s.Offload())
	if len(wire.sent) != 4 || len(wire.sent[3].bytes) != frame.MinLen {
		t.Fatalf("%d frames, the last of %d bytes; want 4 and %d", len(wire.sent), len(wire.sent[len(wire.sent)-1].bytes), frame.MinLen)
	}
	if last := wire.sent[3].bytes[55:]; !bytes.Equal(last, make([]byte, 5)) {
		t.Errorf("padding %x", last)
	}
}

func TestEgressQueueFull(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(3)
	p[1].room = 3
	for n := range 5 {
		r.send(p[0], ether(frame.Broadcast, mac(n+1)))
	}
	if len(p[1].sent) != 3 || len(p[2].sent) != 5 {
		t.Errorf("sent %d and %d frames, want 3 and 5", len(p[1].sent), len(p[2].sent))
	}
	r.expectDrops(p[1], drops{frame.DropQueueFull: 2})
	p[1].room = -1
	r.send(p[0], ether(frame.Broadcast, mac(1)))
	if len(p[1].sent) != 4 {
		t.Error("not used again after it was full")
	}
}

func TestEgressDeviceError(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(3)
	p[1].sendErr, p[1].room = errors.New("gone"), 0
	f := ether(frame.Broadcast, mac(1))
	r.send(p[0], f)
	p[1].sendErr, p[1].room = nil, -1
	r.send(p[0], f) // a dead queue stays dead
	r.expect(p[1])
	r.expect(p[2], f, f)
	r.expectDrops(p[1], drops{frame.DropDeviceError: 2})
	if n := len(r.failures.list); n != 1 {
		t.Errorf("%d failures to report, want 1", n)
	}
}

func TestEgressSpreadsQueuesAndKeepsFlowsTogether(t *testing.T) {
	r := newRig(t, Config{})
	out := []*device{newDevice(t), newDevice(t)}
	in := []*device{newDevice(t), newDevice(t)}
	r.port(PortConfig{Queues: []Queue{out[0], out[1]}})
	id := r.port(PortConfig{Queues: []Queue{in[0], in[1]}}).id
	for range 10 {
		for n, d := range in {
			r.send(&plug{device: d, id: id}, ether(frame.Broadcast, mac(n+1)))
		}
	}
	for _, d := range out {
		if len(d.sent) != 10 {
			t.Fatalf("queues were sent %d and %d frames, want 10 each", len(out[0].sent), len(out[1].sent))
		}
		for _, f := range d.sent[1:] {
			if !bytes.Equal(f.bytes, d.sent[0].bytes) {
				t.Error("two flows in a queue, one flow in two")
			}
		}
	}
}

func TestEgressRefusedFrameIsCountedAndOthersGetIt(t *testing.T) {
	r := newRig(t, Config{})
	in, short, long := r.port(PortConfig{}), r.port(PortConfig{}), r.port(PortConfig{})
	short.longest = 100
	var want [][]byte
	for _, n := range []int{10, 1000, 20} {
		want = append(want, frametest.UDP(frametest.Station(1), frametest.Station(2), frametest.Payload(n)))
	}
	r.send(in, want...)
	r.expect(long, want...)
	r.expect(short, want[0], want[2])
	if c := r.counters(short); c.TxFrames != 2 || c.Drops[frame.DropOversize] != 1 || c.Drops[frame.DropQueueFull] != 0 {
		t.Errorf("the port that refused one: %d sent, drops %v", c.TxFrames, c.Drops)
	}
	if c := r.counters(long); c.TxFrames != 3 || c.Drops[frame.DropOversize] != 0 {
		t.Errorf("the port that took all: %d sent, drops %v", c.TxFrames, c.Drops)
	}
}
