package vswitch

import (
	"bytes"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// The numbers in the names of these tests are those of the rules of IEEE 802.1Q that
// a bridge keeps, in docs/ARCHITECTURE.md.

type drops = map[frame.Reason]uint64

func TestB01ReservedAddressesNotRelayed(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	for last := range frame.MAC(16) {
		r.send(p[0], ether(0x0180_c200_0000|last, mac(1)))
	}
	r.expect(p[1])
	r.expectDrops(p[0], drops{frame.DropReserved: 16})
	next := ether(0x0180_c200_0010, mac(1))
	r.send(p[0], next)
	r.expect(p[1], next)
}

func TestB02PauseNotRelayed(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	r.send(p[0], frametest.Ethernet(0x0180_c200_0001, mac(1), 0x8808, make([]byte, 46)))
	r.expect(p[1])
	r.expectDrops(p[0], drops{frame.DropReserved: 1})
}

func TestB03GroupSourceNotLearned(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	for _, src := range []frame.MAC{0, frame.Broadcast, 0x0100_5e00_0001, 0x3333_0000_0001} {
		r.send(p[0], ether(mac(2), src))
	}
	r.expect(p[1])
	r.expectDrops(p[0], drops{frame.DropBadSource: 4})
	if got := r.Stations(0); len(got) != 0 {
		t.Errorf("learned %v", got)
	}
}

func TestB04KnownUnicastGoesToOnePort(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(3)
	r.send(p[1], ether(frame.Broadcast, mac(2)))
	for _, x := range p {
		x.sent = nil
	}
	f := ether(mac(2), mac(1))
	r.send(p[0], f)
	r.expect(p[0])
	r.expect(p[1], f)
	r.expect(p[2])
	if c := r.counters(p[0]); c.Flooded != 0 {
		t.Errorf("%d frames flooded", c.Flooded)
	}

	t.Run("to its own port is filtered", func(t *testing.T) {
		r.send(p[1], ether(mac(2), mac(3)))
		for _, x := range p {
			r.expect(x)
		}
		r.expectDrops(p[1], drops{frame.DropHairpin: 1})
	})
	t.Run("learned within the batch", func(t *testing.T) {
		a, b, c := ether(mac(5), mac(4)), ether(mac(4), mac(5)), ether(mac(5), mac(4))
		r.send(p[0], a, b, c) // a is flooded; then both are behind p[0]
		r.expect(p[1], a)
		r.expect(p[2], a)
		r.expectDrops(p[0], drops{frame.DropHairpin: 2})
	})
}

func TestB05FloodedOncePerPortNeverBack(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(5)
	other := r.port(PortConfig{Network: r.network(NetworkConfig{Name: "other"})})
	for i, dst := range []frame.MAC{frame.Broadcast, 0x0100_5e00_0001, 0x3333_0000_0001, mac(99)} {
		f := ether(dst, mac(i+1))
		r.send(p[i], f)
		for j := range p {
			if j == i {
				r.expect(p[j])
			} else {
				r.expect(p[j], f)
			}
		}
		if c := r.counters(p[i]); c.Flooded != 1 {
			t.Errorf("%s: %d frames flooded, want 1", dst, c.Flooded)
		}
	}
	r.expect(other)

	t.Run("without a copy", func(t *testing.T) {
		r.send(p[0], ether(frame.Broadcast, mac(1)))
		for _, x := range p[2:] {
			if x.bufs[0] != p[1].bufs[0] {
				t.Errorf("port %d was sent another Buf", x.id)
			}
		}
	})
	t.Run("nowhere to go", func(t *testing.T) {
		r.send(other, ether(frame.Broadcast, mac(1)))
		r.expectDrops(other, drops{frame.DropNoMember: 1})
	})
}

func TestB10OrderKept(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(3)
	var sent [][]byte
	for n := range 500 {
		dst := mac(2) // unknown, known, forgotten, known …
		if n%5 == 0 {
			dst = frame.Broadcast
		}
		f := ether(dst, mac(1))
		f[20], f[21] = byte(n>>8), byte(n)
		sent = append(sent, f)
	}
	r.send(p[0], sent[:200]...)
	r.send(p[1], ether(frame.Broadcast, mac(2)))
	r.send(p[0], sent[200:400]...)
	r.FlushStations(r.net, 0)
	r.send(p[0], sent[400:]...)
	r.expect(p[1], sent...)
}

func TestB13LongerThanMTUDropped(t *testing.T) {
	r := newRig(t, Config{})
	in := r.port(PortConfig{})
	narrow := r.port(PortConfig{MTU: 1500})
	wide := r.port(PortConfig{MTU: 9000})
	fits, long := etherLen(frame.Broadcast, mac(1), 1514), etherLen(frame.Broadcast, mac(1), 1515)
	tagged := frametest.Tagged(fits, frame.EtherTypeCTag, 7, 0)
	r.send(in, fits, long, tagged)
	r.expect(narrow, fits, tagged)
	r.expect(wide, fits, long, tagged)
	r.expectDrops(narrow, drops{frame.DropOversize: 1})

	t.Run("superframes by their segments", func(t *testing.T) {
		for size, n := range map[uint16]int{1460: 1, 1461: 0} {
			super := frametest.Superframe{
				Src: frametest.Station(1), Dst: frametest.Station(2), GSO: frame.GSOTCPv4, Len: 30_000, SegSize: size,
			}
			features := PortConfig{State: Forwarding, MTU: 1500, Features: frame.FeatureCsum | frame.FeatureTSO4}
			if err := r.UpdatePort(narrow.id, features); err != nil {
				t.Fatal(err)
			}
			r.sendOffload(in, super.Bytes(), super.Offload())
			if got := len(narrow.sent); got != n {
				t.Errorf("segments of %d bytes: %d frames, want %d", size, got, n)
			}
			narrow.sent = nil
		}
	})
}

func TestB13PaddedForAWire(t *testing.T) {
	r := newRig(t, Config{})
	in := r.port(PortConfig{})
	wire := r.port(PortConfig{Pad: true})
	guest := r.port(PortConfig{})
	for _, length := range []int{14, 42, 59, 60, 61} {
		r.w.bufs[0].SetBytes(bytes.Repeat([]byte{0xee}, 100)) // what an earlier frame left
		f := etherLen(frame.Broadcast, mac(1), length)
		r.send(in, f)
		r.expect(wire, append(bytes.Clone(f), make([]byte, max(0, 60-length))...))
		r.expect(guest, f)
	}
}

func TestRuntDropped(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	for n := range 14 {
		r.send(p[0], make([]byte, n))
	}
	r.expect(p[1])
	r.expectDrops(p[0], drops{frame.DropRunt: 14})
}

func TestLyingOffloadDropped(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	for _, o := range []frame.Offload{
		{NeedsCsum: true, CsumStart: 99, CsumOffset: 6},
		{NeedsCsum: true, CsumStart: 34, CsumOffset: 6, GSO: frame.GSOTCPv4},
		{NeedsCsum: true, CsumStart: 34, CsumOffset: 16, GSO: 77, SegSize: 100},
	} {
		r.sendOffload(p[0], ether(frame.Broadcast, mac(1)), o)
	}
	r.expect(p[1])
	r.expectDrops(p[0], drops{frame.DropBadOffload: 3})
}

func TestDeviceDropsCounted(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	p[0].in = append(p[0].in, deviceFrame{bytes: ether(frame.Broadcast, mac(1)), reason: frame.DropBadOffload})
	r.pump(p[0])
	r.expect(p[1])
	r.expectDrops(p[0], drops{frame.DropBadOffload: 1})
	if c := r.counters(p[0]); c.RxFrames != 1 {
		t.Errorf("%d frames received, want 1", c.RxFrames)
	}
}

func TestSplitHorizon(t *testing.T) {
	r := newRig(t, Config{})
	wire, host := r.port(PortConfig{Group: 1}), r.port(PortConfig{Group: 1})
	f := ether(frame.Broadcast, mac(1))
	r.send(wire, f)
	r.expectDrops(wire, drops{frame.DropSplitHorizon: 1})

	guest, tunnel := r.port(PortConfig{}), r.port(PortConfig{Group: 2})
	r.send(wire, f)
	r.expect(host)
	r.expect(guest, f)
	r.expect(tunnel, f)
	r.send(host, ether(mac(1), mac(2)))
	r.expect(wire)
	r.expectDrops(host, drops{frame.DropSplitHorizon: 1})
	back := ether(mac(1), mac(3))
	r.send(guest, back)
	r.expect(wire, back)
}

func TestKnownUnicastTakesNoLock(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	there, back := ether(mac(2), mac(1)), ether(mac(1), mac(2))
	r.send(p[0], there)
	r.send(p[1], back)
	p[0].sent, p[1].sent = nil, nil

	for i := range r.db.groups {
		r.db.groups[i].mu.Lock()
	}
	r.send(p[0], there) // would not return
	r.send(p[1], back)
	for i := range r.db.groups {
		r.db.groups[i].mu.Unlock()
	}
	r.expect(p[1], there)
	r.expect(p[0], back)
}

// FuzzRelay has the switch carry any bytes with any offload, to ports of all kinds.
// Each frame must be accounted for.
func FuzzRelay(f *testing.F) {
	super := frametest.Superframe{
		Src: frametest.Station(1), Dst: frametest.Station(2), GSO: frame.GSOTCPv4, Len: 5000, SegSize: 1000,
	}
	header := make([]byte, frame.VirtioLen)
	super.Offload().Encode(header)
	f.Add(super.Bytes(), header)
	f.Add(ether(frame.Broadcast, mac(1)), make([]byte, frame.VirtioLen))
	r := newRig(f, Config{Stations: 16})
	in := r.port(PortConfig{})
	outs := []*plug{
		r.port(PortConfig{}), r.port(PortConfig{Pad: true, MTU: 1500}),
		r.port(PortConfig{Features: frame.FeatureCsum}), r.port(PortConfig{Features: 0xff}),
	}
	f.Fuzz(func(t *testing.T, p, header []byte) {
		if len(p) > frame.MaxLen || len(header) < frame.VirtioLen {
			t.Skip()
		}
		r.t = t
		var o frame.Offload
		o.Decode(header)
		before := r.counters(in)
		r.sendOffload(in, p, o)
		after := r.counters(in)
		dropped, flooded := sum(after.Drops[:])-sum(before.Drops[:]), after.Flooded-before.Flooded
		if dropped+flooded != 1 {
			t.Fatalf("dropped %d, flooded %d, want 1 in all", dropped, flooded)
		}
		for _, out := range outs {
			got, c := len(out.sent), r.counters(out)
			if out.sent = nil; uint64(got)+c.Drops[frame.DropOversize]-out.oversize < flooded {
				t.Errorf("port %d was sent nothing", out.id)
			}
			out.oversize = c.Drops[frame.DropOversize]
		}
	})
}

func sum(list []uint64) (n uint64) {
	for _, x := range list {
		n += x
	}
	return n
}
