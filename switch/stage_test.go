package vswitch

import (
	"maps"
	"testing"
	"time"

	"weft/frame"
)

type stageFunc func(now time.Duration, bufs []*frame.Buf)

func (f stageFunc) Process(now time.Duration, bufs []*frame.Buf) { f(now, bufs) }
func (stageFunc) Scope() Scope                                   { return ScopePacket }

func TestStagesInOrderBeforeLearning(t *testing.T) {
	r := newRig(t, Config{})
	r.clock = 7 * time.Second
	var seen []int
	dropOdd := stageFunc(func(now time.Duration, bufs []*frame.Buf) {
		if now != r.clock {
			t.Errorf("now %v, want %v", now, r.clock)
		}
		seen = append(seen, len(bufs))
		for i, b := range bufs {
			if i%2 == 1 {
				b.Drop(frame.DropSpoofedStatic)
			}
		}
	})
	cut := stageFunc(func(_ time.Duration, bufs []*frame.Buf) {
		seen = append(seen, len(bufs))
		bufs[0].Resize(5)
	})
	guarded := r.network(NetworkConfig{Stages: []Stage{dropOdd, cut}})
	in, out := r.port(PortConfig{Network: guarded}), r.port(PortConfig{Network: guarded})
	var sent [][]byte
	for n := range 6 {
		sent = append(sent, ether(frame.Broadcast, mac(n+1)))
	}
	r.send(in, sent...)
	r.expect(out, sent[2], sent[4])
	r.expectDrops(in, drops{frame.DropSpoofedStatic: 3, frame.DropRunt: 1})
	if len(seen) != 2 || seen[0] != 6 || seen[1] != 3 {
		t.Errorf("stages were given %v frames, want 6 and 3", seen)
	}
	if c := r.counters(in); c.Learned != 2 {
		t.Errorf("learned %d, want 2", c.Learned)
	}

	t.Run("changed in place", func(t *testing.T) {
		if err := r.UpdateNetwork(guarded, NetworkConfig{}); err != nil {
			t.Fatal(err)
		}
		r.send(in, sent...)
		r.expect(out, sent...)
	})
}

type mirrorFunc func(dir Direction, bufs []*frame.Buf)

func (f mirrorFunc) Mirror(_ time.Duration, dir Direction, bufs []*frame.Buf) { f(dir, bufs) }

func TestMirrorSeesWhatComesAndGoes(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(2)
	got := map[Direction]int{}
	count := mirrorFunc(func(dir Direction, bufs []*frame.Buf) { got[dir] += len(bufs) })
	if err := r.SetMirror(p[0].id, count); err != nil {
		t.Fatal(err)
	}
	r.send(p[0], ether(frame.Broadcast, mac(1)), []byte{1}) // a runt too
	p[0].room = 2
	for range 3 {
		r.send(p[1], ether(mac(1), mac(2))) // one is not taken
	}
	if got[Received] != 2 || got[Transmitted] != 2 {
		t.Errorf("mirrored %v, want 2 each", got)
	}
	if err := r.SetMirror(p[0].id, nil); err != nil {
		t.Fatal(err)
	}
	r.send(p[0], ether(frame.Broadcast, mac(1)))
	if got[Received] != 2 {
		t.Error("mirrored after the mirror was taken away")
	}
}

type transition struct {
	mac      frame.MAC
	from, to frame.PortID
}

func TestStationMovedToldOncePerTransition(t *testing.T) {
	r := newRig(t, Config{})
	var got []transition
	told := func(m frame.MAC, from, to frame.PortID) {
		if from != to {
			got = append(got, transition{m, from, to})
		}
	}
	id := r.network(NetworkConfig{Ageing: 10 * time.Second, StationMoved: told})
	a, b := r.port(PortConfig{Network: id}), r.port(PortConfig{Network: id, Static: []frame.MAC{mac(9)}})
	expect := func(what string, want ...transition) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: told %v, want %v", what, got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: told %v, want %v", what, got, want)
			}
		}
		got = nil
	}
	expect("static", transition{mac(9), 0, b.id})
	r.send(a, ether(frame.Broadcast, mac(1)), ether(frame.Broadcast, mac(1)))
	expect("learned", transition{mac(1), 0, a.id})
	r.send(b, ether(frame.Broadcast, mac(1)))
	expect("moved", transition{mac(1), a.id, b.id})
	r.clock += 5 * time.Second
	r.send(b, ether(frame.Broadcast, mac(1)))
	expect("refreshed")
	r.clock += 11 * time.Second
	expect("expired, not yet noticed")
	r.send(a, ether(frame.Broadcast, mac(1)))
	expect("expired, learned", transition{mac(1), b.id, 0}, transition{mac(1), 0, a.id})
	if err := r.AddStation(id, mac(1), a.id); err != nil {
		t.Fatal(err)
	}
	expect("made static in its place")
	r.DeleteStation(id, mac(1))
	expect("deleted", transition{mac(1), a.id, 0})
	if r.DeleteStation(id, mac(1)) {
		t.Error("deleted twice")
	}
	r.send(a, ether(frame.Broadcast, mac(2)))
	expect("learned", transition{mac(2), 0, a.id})
	r.clock += 11 * time.Second
	for range sweeps {
		r.db.sweep(stamp(r.clock))
	}
	expect("swept", transition{mac(2), a.id, 0})
	r.send(a, ether(frame.Broadcast, mac(3)))
	expect("learned", transition{mac(3), 0, a.id})
	if err := r.SetState(a.id, Down); err != nil {
		t.Fatal(err)
	}
	expect("flushed", transition{mac(3), a.id, 0})
	if err := r.RemovePort(b.id); err != nil {
		t.Fatal(err)
	}
	expect("removed", transition{mac(9), b.id, 0})
}

// Who is told may forget: the kernel's table of guests is smaller than the database.
func TestStationMovedToldAgainOfStationsInUse(t *testing.T) {
	r := newRig(t, Config{})
	again := map[frame.MAC]frame.PortID{}
	id := r.network(NetworkConfig{StationMoved: func(m frame.MAC, from, to frame.PortID) {
		if from == to {
			again[m] = to
		}
	}})
	a, b := r.port(PortConfig{Network: id}), r.port(PortConfig{Network: id, Static: []frame.MAC{mac(9)}})
	r.send(a, ether(frame.Broadcast, mac(1)), ether(frame.Broadcast, mac(2)))
	r.clock += time.Minute
	r.send(a, ether(frame.Broadcast, mac(2)))
	for range sweeps {
		r.clock += sweepEvery
		r.db.sweep(stamp(r.clock))
	}
	if want := map[frame.MAC]frame.PortID{mac(2): a.id, mac(9): b.id}; !maps.Equal(again, want) {
		t.Errorf("told again of %v, want %v: not of what is silent", again, want)
	}
}

func TestStationMovedComesBeforeTheFrame(t *testing.T) {
	r := newRig(t, Config{})
	var out *plug
	told := false
	id := r.network(NetworkConfig{StationMoved: func(_ frame.MAC, _, to frame.PortID) {
		told = true
		if to != 0 && len(out.sent) != 0 {
			t.Error("the frame went first")
		}
	}})
	in := r.port(PortConfig{Network: id})
	out = r.port(PortConfig{Network: id})
	r.send(in, ether(frame.Broadcast, mac(1)))
	if !told || len(out.sent) != 1 {
		t.Errorf("told %v, %d frames sent", told, len(out.sent))
	}
}
