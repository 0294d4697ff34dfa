package vswitch

import (
	"bytes"
	"math"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// The names of these tests are those of the rules of IEEE 802.1Q that a bridge
// keeps; see docs/ARCHITECTURE.md.

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

func TestB06AgeingFromTheLastFrameAsSource(t *testing.T) {
	const sweepTime = sweeps * sweepEvery
	r := newRig(t, Config{})
	quick := r.network(NetworkConfig{Ageing: 10 * time.Second})
	p, q := r.ports(3), r.port(PortConfig{Network: quick})
	r.send(p[1], ether(frame.Broadcast, mac(2)))
	r.send(q, ether(frame.Broadcast, mac(3)))

	r.clock = 10 * time.Second
	if r.where(quick, mac(3)) != q.id {
		t.Error("gone at its ageing time, not after it")
	}
	r.clock = 11 * time.Second
	if r.where(quick, mac(3)) != 0 {
		t.Error("still there after 10 s")
	}
	r.send(p[1], ether(frame.Broadcast, mac(2))) // a source at 11 s

	for r.clock < 11*time.Second+sweepTime {
		r.clock += sweepEvery
		r.db.sweep(stamp(r.clock))
	}
	if n := r.db.dynamic.Load(); n != 1 {
		t.Errorf("%d entries a sweep later, want 1", n)
	}

	r.clock = 311 * time.Second
	for _, x := range p {
		x.sent = nil
	}
	f := ether(mac(2), mac(1))
	r.send(p[0], f) // as a destination it is not refreshed
	r.expect(p[1], f)
	r.expect(p[2])
	r.clock = 312 * time.Second
	r.send(p[0], f)
	r.expect(p[1], f)
	r.expect(p[2], f)
	if r.counters(p[1]).Learned != 1 {
		t.Error("a refresh was counted as learned")
	}

	t.Run("range", func(t *testing.T) {
		for d, ok := range map[time.Duration]bool{
			9 * time.Second: false, 10 * time.Second: true,
			1_000_000 * time.Second: true, 1_000_001 * time.Second: false, -1: false,
		} {
			if err := r.UpdateNetwork(quick, NetworkConfig{Ageing: d}); (err == nil) != ok {
				t.Errorf("ageing %v: error %v", d, err)
			}
		}
	})
}

func TestB07StationMovesAtOnce(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(3)
	r.send(p[1], ether(frame.Broadcast, mac(2)))
	r.send(p[2], ether(frame.Broadcast, mac(2)))
	for _, x := range p {
		x.sent = nil
	}
	f := ether(mac(2), mac(1))
	r.send(p[0], f)
	r.expect(p[1])
	r.expect(p[2], f)
	if c := r.counters(p[2]); c.Moved != 1 || c.Learned != 0 {
		t.Errorf("moved %d, learned %d, want 1 and 0", c.Moved, c.Learned)
	}

	t.Run("flapping", func(t *testing.T) {
		const n = 10_000
		for range n {
			r.send(p[1], ether(mac(1), mac(2)))
			r.send(p[2], ether(mac(1), mac(2)))
		}
		if got := len(p[0].sent); got != 2*n {
			t.Errorf("%d frames relayed of %d", got, 2*n)
		}
		if got := r.counters(p[1]).Moved + r.counters(p[2]).Moved; got != 2*n+1 {
			t.Errorf("moved %d times, want %d", got, 2*n+1)
		}
		if n := r.db.dynamic.Load(); n != 2 {
			t.Errorf("%d entries, want 2", n)
		}
	})
}

func TestB08StaticEntriesNeitherAgeNorMove(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	owner := r.port(PortConfig{Name: "owner", Static: []frame.MAC{mac(9)}})
	r.send(p[0], ether(frame.Broadcast, mac(9)))
	r.expect(p[1])
	r.expect(owner)
	r.expectDrops(p[0], drops{frame.DropSpoofedStatic: 1})

	r.clock = math.MaxUint32 * time.Second / 2
	for range sweeps {
		r.db.sweep(stamp(r.clock))
	}
	f := ether(mac(9), mac(1))
	r.send(p[0], f)
	r.expect(p[1])
	r.expect(owner, f)

	own := ether(mac(1), mac(9))
	r.send(owner, own)
	r.expect(p[0], own)

	t.Run("replaces a dynamic one", func(t *testing.T) {
		if err := r.AddStation(r.net, mac(1), p[1].id); err != nil {
			t.Fatal(err)
		}
		if r.where(r.net, mac(1)) != p[1].id || r.db.dynamic.Load() != 0 {
			t.Errorf("stations %v, %d dynamic", r.Stations(0), r.db.dynamic.Load())
		}
	})
	t.Run("is not taken over", func(t *testing.T) {
		if err := r.AddStation(r.net, mac(9), p[1].id); err == nil {
			t.Error("no error")
		}
		if r.where(r.net, mac(9)) != owner.id {
			t.Error("moved")
		}
	})
	t.Run("is individual", func(t *testing.T) {
		for _, m := range []frame.MAC{0, frame.Broadcast, 0x0100_5e00_0001} {
			if err := r.AddStation(r.net, m, p[1].id); err == nil {
				t.Errorf("%s: no error", m)
			}
		}
	})
	t.Run("changes with the port", func(t *testing.T) {
		if err := r.UpdatePort(owner.id, PortConfig{State: Forwarding, Static: []frame.MAC{mac(8)}}); err != nil {
			t.Fatal(err)
		}
		if r.where(r.net, mac(9)) != 0 || r.where(r.net, mac(8)) != owner.id {
			t.Errorf("stations %v", r.Stations(0))
		}
	})
}

func TestB09FullTable(t *testing.T) {
	r := newRig(t, Config{Stations: 8})
	p := r.ports(2)
	slots := 4 * len(r.db.buckets)
	if err := r.AddStation(r.net, mac(1), p[1].id); err != nil {
		t.Fatal(err)
	}
	for n := 2; n < 10*slots; n++ {
		f := ether(frame.Broadcast, mac(n))
		r.send(p[0], f)
		r.expect(p[1], f)
	}
	c := r.counters(p[0])
	if got := int(r.db.dynamic.Load()) + 1; got < 8 || got > slots {
		t.Errorf("%d entries in %d slots", got, slots)
	}
	if c.Learned+c.LearnLimit != uint64(10*slots-2) || c.Learned != uint64(r.db.dynamic.Load()) {
		t.Errorf("learned %d and not learned %d of %d sources", c.Learned, c.LearnLimit, 10*slots-2)
	}
	if r.where(r.net, mac(1)) != p[1].id {
		t.Error("static entry lost")
	}

	t.Run("static entries go before dynamic ones", func(t *testing.T) {
		full := 0
		for n := range slots + 1 {
			switch err := r.AddStation(r.net, mac(100_000+n), p[1].id); {
			case err == nil && r.where(r.net, mac(100_000+n)) != p[1].id:
				t.Fatal("static entry lost")
			case err != nil:
				full++
			}
		}
		if full == 0 {
			t.Error("more static entries than slots")
		}
	})
}

func TestB09ExpiredEntriesGiveWay(t *testing.T) {
	r := newRig(t, Config{Stations: 8})
	p := r.ports(2)
	n := 0
	for ; r.counters(p[0]).LearnLimit == 0; n++ {
		r.send(p[0], ether(frame.Broadcast, mac(n)))
	}
	full := mac(n - 1)
	r.clock = 301 * time.Second
	r.send(p[0], ether(frame.Broadcast, full))
	if r.where(r.net, full) != p[0].id {
		t.Error("not learned in the place of an expired entry")
	}
}

func TestB09Limits(t *testing.T) {
	r := newRig(t, Config{})
	small := r.network(NetworkConfig{Stations: 5})
	a := r.port(PortConfig{Network: small, Stations: 3})
	b := r.port(PortConfig{Network: small})
	for n := range 10 {
		r.send(a, ether(frame.Broadcast, mac(n)))
	}
	for n := range 10 {
		r.send(b, ether(frame.Broadcast, mac(100+n)))
	}
	if c := r.counters(a); c.Learned != 3 || c.LearnLimit != 7 {
		t.Errorf("port: learned %d, limited %d, want 3 and 7", c.Learned, c.LearnLimit)
	}
	if c := r.counters(b); c.Learned != 2 || c.LearnLimit != 8 {
		t.Errorf("network: learned %d, limited %d, want 2 and 8", c.Learned, c.LearnLimit)
	}
	if n := r.FlushStations(small, a.id); n != 3 {
		t.Errorf("flushed %d, want 3", n)
	}
	r.send(b, ether(frame.Broadcast, mac(1)))
	if r.where(small, mac(1)) != b.id {
		t.Error("not learned after others went")
	}
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

func TestB11PortDownFlushesItsEntries(t *testing.T) {
	for _, st := range []State{Down, Standby} {
		r := newRig(t, Config{})
		p := r.ports(3)
		r.send(p[1], ether(frame.Broadcast, mac(2)))
		r.send(p[2], ether(frame.Broadcast, mac(3)))
		if err := r.AddStation(r.net, mac(9), p[1].id); err != nil {
			t.Fatal(err)
		}
		if err := r.SetState(p[1].id, st); err != nil {
			t.Fatal(err)
		}
		for _, x := range p {
			x.sent = nil
		}
		if r.where(r.net, mac(2)) != 0 || r.where(r.net, mac(3)) == 0 || r.where(r.net, mac(9)) == 0 {
			t.Errorf("stations %v", r.Stations(0))
		}
		f := ether(mac(2), mac(1))
		r.send(p[0], f, ether(mac(9), mac(1)))
		r.expect(p[1])
		r.expect(p[2], f)
		r.expectDrops(p[1], drops{frame.DropEgressBlocked: 1})
		r.send(p[1], f)
		r.expect(p[0])
		r.expectDrops(p[1], drops{frame.DropEgressBlocked: 1, frame.DropIngressBlocked: 1})
		if r.where(r.net, mac(1)) != p[0].id {
			t.Error("learned on a port that is not forwarding")
		}
	}
}

func TestB11PortRemovedFlushesItsEntries(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	r.send(p[1], ether(frame.Broadcast, mac(2)))
	if err := r.AddStation(r.net, mac(9), p[1].id); err != nil {
		t.Fatal(err)
	}
	if err := r.RemovePort(p[1].id); err != nil {
		t.Fatal(err)
	}
	if got := r.Stations(0); len(got) != 0 {
		t.Errorf("stations %v", got)
	}
	if !p[1].closed {
		t.Error("queue not closed")
	}
	next := r.port(PortConfig{Name: "next"})
	if next.id == p[1].id {
		t.Error("PortID used again at once")
	}
	f := ether(mac(2), mac(1))
	r.send(p[0], f)
	r.expect(next, f)
	if c := r.counters(next); c.TxFrames != 1 {
		t.Errorf("a new port has sent %d frames, want 1", c.TxFrames)
	}
}

func TestB12NetworksLearnIndependently(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	other := r.network(NetworkConfig{Name: "other"})
	q := []*plug{r.port(PortConfig{Network: other}), r.port(PortConfig{Network: other})}
	r.send(p[0], ether(frame.Broadcast, mac(1)))
	r.send(q[1], ether(frame.Broadcast, mac(1)))
	if r.where(r.net, mac(1)) != p[0].id || r.where(other, mac(1)) != q[1].id {
		t.Errorf("stations %v", r.Stations(0))
	}
	p[0].sent, q[1].sent = nil, nil
	f := ether(mac(1), mac(2))
	r.send(p[1], f)
	r.send(q[0], f)
	r.expect(p[0], f)
	r.expect(q[1], f)
	if n := r.FlushStations(other, 0); n != 2 {
		t.Errorf("flushed %d, want 2", n)
	}
	if r.where(r.net, mac(1)) != p[0].id {
		t.Error("flushed in another network")
	}
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
