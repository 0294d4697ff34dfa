package vswitch

import (
	"math"
	"testing"
	"time"

	"weft/frame"
)

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
