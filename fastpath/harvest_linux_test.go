package fastpath

import (
	"math"
	"sync"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// stationsOf returns a frame of the nth of many pairs of stations.
func stationsOf(n int) []byte {
	one, two := frametest.Station(1), frametest.Station(2)
	one.MAC = 0x0200_0000_0000 | frame.MAC(n)
	return frametest.UDP(one, two, nil)
}

// With more decisions than it is to keep, the cache forgets those that were longest unused.
func TestEviction(t *testing.T) {
	const flows = 64
	r := newRig(t, Config{Flows: flows})
	remember := func(n int) {
		d := bridged(t, stationsOf(n))
		r.Remember(&d, r.Mark())
	}
	for n := range flows {
		remember(n)
	}
	if s := r.Stats(); s.Flows+int(s.Evicted) != flows {
		t.Fatalf("%+v, want %d decisions", s, flows)
	}
	for i := range r.records[:r.unused] {
		r.records[i].Used -= 10
	}
	for n := range flows / 4 {
		remember(flows + n)
	}
	if s := r.Stats(); s.Refused[frame.RefusedFull.String()] == 0 {
		t.Errorf("%+v: there was room for all", s)
	}
	r.Harvest()
	for n := range flows / 16 {
		remember(flows + n)
	}
	r.open()
	if s := r.Stats(); s.Flows > flows || s.Evicted == 0 {
		t.Errorf("%+v", s)
	}
	for n := range flows / 16 {
		if got, _ := r.send(stationsOf(flows+n), frame.Offload{}); got == nil {
			t.Errorf("the decision for pair %d was forgotten, which was used later than others", n)
		}
	}
}

// Whoever makes up flows as fast as he can takes no room from others: neither is what they
// have forgotten, nor what is new of theirs refused.
func TestPortsShare(t *testing.T) {
	const flows, few = 1024, 20
	r := newRig(t, Config{Flows: flows})
	remember := func(in, out frame.PortID, n int) {
		d := bridged(t, stationsOf(n))
		d.In, d.Out = in, out
		r.Remember(&d, r.Mark())
	}
	has := func(in frame.PortID) (n int) {
		for e := range r.Entries {
			if e.In == in {
				n++
			}
		}
		return n
	}
	for n := range few {
		remember(portB, portA, n)
	}
	for i := range r.records[:r.unused] {
		r.records[i].Used -= 10 // silent for a while, but no longer than it may be
	}
	next := 0
	flood := func() {
		for range 2 * flows {
			remember(portA, portB, next)
			next++
		}
	}
	for round := 1; round < 6; round++ {
		flood()
		for n := range few {
			remember(portB, portA, round*few+n)
		}
		r.Harvest()
		// A bucket is the one thing that all share.
		if got, want := has(portB), (round+1)*few-few/4; got < want {
			t.Errorf("round %d: %d decisions, want %d; %+v", round, got, want, r.Stats())
		}
		if got := has(portA); got < flows/2 {
			t.Errorf("round %d: %d decisions of the port with many", round, got)
		}
	}
	// Nor by having one decision made again and again.
	for range 2 * flows {
		r.Changed(frame.PortSubject(portA))
		remember(portA, portB, 0)
	}
	before := has(portB)
	for n := range few / 4 {
		r.Changed(frame.PortSubject(portB))
		remember(portB, portA, flows+n)
	}
	if got, want := has(portB), before+few/4; got < want-1 {
		t.Errorf("%d decisions, want %d; %+v", got, want, r.Stats())
	}
}

func TestLevel(t *testing.T) {
	for _, c := range []struct {
		wanted []int
		places int
		most   int
	}{
		{[]int{10}, 8, 8},
		{[]int{1, 2, 3}, 6, math.MaxInt},
		{[]int{100, 3, 100}, 63, 30},
		{[]int{100, 3, 20}, 63, 40},
		{[]int{5, 5, 5}, 9, 3},
	} {
		wanted := map[frame.PortID]int{}
		for i, n := range c.wanted {
			wanted[frame.PortID(i)] = n
		}
		if got := level(wanted, c.places); got != c.most {
			t.Errorf("%v of %d: at most %d each, want %d", c.wanted, c.places, got, c.most)
		}
	}
}

// A table that is too small for all keys that hash alike forgets the one that was longest
// unused, and confuses none.
func TestCrowdedBuckets(t *testing.T) {
	const pairs = 40
	r := newRig(t, Config{Flows: pairs})
	r.buckets[0], r.buckets[len(r.buckets)-1] = cacheBucket{}, cacheBucket{}
	for n := range pairs {
		d := bridged(t, stationsOf(n))
		r.Remember(&d, r.Mark())
		r.open()
	}
	known := 0
	for e := range r.Entries {
		known++
		if e.In != portA || e.Out != portB {
			t.Errorf("%+v", e)
		}
	}
	direct := 0
	for n := range pairs {
		if got, _ := r.send(stationsOf(n), frame.Offload{}); got != nil {
			direct++
		}
	}
	s := r.Stats()
	if direct != known || s.Flows != known || int(s.Installed-s.Evicted) != known {
		t.Errorf("%d entries, %d of them forward; %+v", known, direct, s)
	}
}

// Every frame is counted once, whatever becomes of its record meanwhile.
func TestCounters(t *testing.T) {
	r := newRig(t, Config{})
	d := bridged(t, plainFrame)
	var want Counters
	count := func(p []byte, o frame.Offload, segments int) {
		t.Helper()
		got, _ := r.send(p, o)
		if got == nil {
			t.Fatal("not forwarded")
		}
		want.RxFrames++
		want.RxBytes += uint64(len(p))
		want.RxSegments += uint64(segments)
	}
	check := func(what string) {
		t.Helper()
		all := r.Counters()
		in, out := all[portA], all[portB]
		if in != want {
			t.Errorf("%s: received %+v, want %+v", what, in, want)
		}
		if out != (Counters{TxFrames: want.RxFrames, TxBytes: want.RxBytes, TxSegments: want.RxSegments}) {
			t.Errorf("%s: sent %+v, want %+v", what, out, want)
		}
		if n := r.Stats().Hits; n != want.RxFrames {
			t.Errorf("%s: %d hits, want %d", what, n, want.RxFrames)
		}
	}
	tagged := frametest.Tagged(plainFrame, frame.EtherTypeCTag, 5, 3)
	super := frametest.Superframe{Src: frametest.Station(1), Dst: frametest.Station(2), GSO: frame.GSOTCPv4, Len: 14001, SegSize: 1400}
	for _, away := range []struct {
		name string
		do   func()
	}{
		{"in use", func() {}},
		{"replaced", func() { r.Changed(frame.PortSubject(portA)) }},
		{"flushed", r.Flush},
		{"stale", func() { r.Changed(frame.Everything); r.Harvest(); r.Harvest() }},
		{"harvested", r.Harvest},
	} {
		r.learn(d)
		r.learn(bridged(t, tagged))
		for range 3 {
			count(plainFrame, frame.Offload{}, 1)
			count(super.Bytes(), super.Offload(), 11)
			count(tagged, frame.Offload{}, 1)
		}
		away.do()
		r.Harvest()
		check(away.name)
	}
	r.RemovePort(portA)
	r.Harvest()
	check("removed")
	r.Forget(portA)
	if n, ok := r.Counters()[portA]; ok {
		t.Errorf("the counters of a port that is no more are %+v", n)
	}
}

// Those who decided hear what was used since the last harvest, and of nothing else.
func TestUsed(t *testing.T) {
	var uses []Use
	r := newRig(t, Config{Used: func(u Use) { uses = append(uses, u) }})
	was := ends{end(1, "10.0.0.1", 1001), end(2, "192.0.2.7", 443)}
	is := ends{end(3, "203.0.113.9", 40001), end(4, "192.0.2.7", 443)}
	p := builds[1](was, 10)
	d := routed(t, p, hop(builds[1](is, 10)))
	d.RestsOn[4] = frame.SessionSubject(7)
	d.Basis = frame.Basis{Routed: true, Session: 7, Neighbor: 8, Idle: 100 * r.clock.tick}
	r.learn(d)
	r.learn(bridged(t, stationsOf(1)))
	past := func(ticks uint32) {
		for i := range r.records[:r.unused] {
			r.records[i].Used -= ticks
		}
		r.harvested.Add(1 - ticks)
	}
	r.Harvest()
	past(5)
	uses = nil
	r.Harvest()
	if len(uses) != 0 {
		t.Errorf("nothing was used, but %+v", uses)
	}
	past(5)
	if got, _ := r.send(p, frame.Offload{}); got == nil {
		t.Fatal("not forwarded")
	}
	r.Harvest()
	if len(uses) != 1 {
		t.Fatalf("used: %+v, want one", uses)
	}
	u := uses[0]
	d.Was.Hops, d.Is.Hops = 0, 0
	if u.In != portA || u.Out != portB || u.Was != d.Was || u.Is != d.Is || u.Basis != d.Basis || u.At < 0 || u.At > patience {
		t.Errorf("used: %+v, want %+v", u, d)
	}
	if got, _ := r.send(p, frame.Offload{}); got == nil {
		t.Fatal("not forwarded")
	}
	r.Changed(frame.SessionSubject(7))
	uses = nil
	past(1)
	r.Harvest()
	if len(uses) != 0 {
		t.Errorf("a session that changed is said to be used: %+v", uses)
	}
}

// Everything may be done at once.
func TestConcurrent(t *testing.T) {
	r := newRig(t, Config{Flows: 256, Used: func(Use) {}})
	var frames [512][]byte
	var decisions [len(frames)]frame.Decision
	for n := range frames {
		frames[n] = stationsOf(n)
		decisions[n] = bridged(t, frames[n])
	}
	const rounds = 300
	var all sync.WaitGroup
	for worker := range 2 {
		all.Go(func() {
			for n := range rounds * 100 {
				r.Remember(&decisions[(n*7+worker*13)%len(frames)], r.Mark())
			}
		})
	}
	all.Go(func() {
		for n := range rounds {
			r.Changed(frame.PortSubject(portB))
			r.Changed(decisions[n%len(frames)].RestsOn[2])
			arrived, _ := r.Arrived(portA)
			r.Drained(portA, arrived)
			_, _ = r.Seen(uint32(n), false)
		}
	})
	all.Go(func() {
		for range rounds / 20 {
			r.Harvest()
			for e := range r.Entries {
				if e.In != portA {
					t.Errorf("%+v", e)
				}
			}
			r.RemovePort(3)
			must(t, r.SetPort(3, Port{Index: r.b.index + 1, Queue: 1}))
			r.Refuse(portA, &decisions[0].Was, frame.RefusedFlooded)
		}
	})
	for n := range rounds * 10 {
		r.a.write(t, frames[n%len(frames)], frame.Offload{})
		r.b.read(t)
		r.queue.read(t)
	}
	all.Wait()
	r.Flush()
	r.Harvest()
	s := r.Stats()
	sum := r.Counters()[portA].RxFrames
	if s.Flows != 0 || sum != s.Hits || len(r.retired) != 0 || len(r.free) != int(r.unused)-1 {
		t.Errorf("%+v, %d frames counted, %d records retired, %d of %d free", s, sum, len(r.retired), len(r.free), r.unused-1)
	}
	for i := range r.buckets {
		if r.buckets[i] != (cacheBucket{}) {
			t.Errorf("bucket %d is left: %v", i, r.buckets[i])
		}
	}
	for place, kinds := range r.common.Kinds {
		if kinds != 0 {
			t.Errorf("kinds %d are left at place %d", kinds, place)
		}
	}
}
