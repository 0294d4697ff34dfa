package fastpath

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"weft/frame"
)

// chunk is how many records are looked at without letting others at the table.
const chunk = 512

// scan calls f for each record in use, under mu, and between now and then without it.
func (c *Cache) scan(f func(i uint32, r *record), between func()) {
	for from := uint32(1); ; from += chunk {
		c.mu.Lock()
		end := min(from+chunk, c.unused)
		for i := from; i < end; i++ {
			if r := &c.records[i]; r.Place != 0 {
				f(i, r)
			}
		}
		last := end == c.unused
		c.mu.Unlock()
		between()
		if last {
			return
		}
	}
}

func nothing() {}

// Harvest looks at all that is remembered: it counts what was forwarded, tells Config.Used
// what was in use since the last harvest, and makes room. It is to be called every
// few seconds: 100,000 records take some 100 ms.
func (c *Cache) Harvest() {
	c.reap()
	c.makeRoom()
	c.forget()
	c.settle()
}

// reap retires what is used no more, and tells of what is.
func (c *Cache) reap() {
	now := c.clock.now()
	since := c.harvested.Swap(now)
	var uses []Use
	c.scan(func(i uint32, r *record) {
		c.account(r)
		switch holds := c.holds(r); {
		case !holds && r.Stale == 0:
			r.Stale = 1 // most likely another takes its place at once
		case !holds, int32(now-r.Used) > int32(r.Idle):
			c.retire(i)
		case c.used != nil && int32(r.Used-since) >= 0:
			uses = append(uses, c.use(r))
		}
	}, func() {
		for _, u := range uses {
			c.used(u)
		}
		uses = uses[:0]
	})
}

// use returns the record's last use.
func (c *Cache) use(r *record) Use {
	was, is := r.flows()
	return Use{frame.PortID(r.In), frame.PortID(r.To), was, is, c.basis(r), c.clock.since(r.Used)}
}

// basis returns what the decision rests on besides ports and stations.
func (c *Cache) basis(r *record) frame.Basis {
	return frame.Basis{
		Routed: r.is(cacheFlagROUTED), Session: r.Session, Outside: r.is(cacheFlagOUTSIDE),
		Neighbor: r.Neighbor, Idle: time.Duration(r.Idle) * c.clock.tick,
	}
}

// account adds what came by since it was last called to the counters of the ports.
func (c *Cache) account(r *record) {
	frames, bytes := atomic.LoadUint64(&r.Frames), atomic.LoadUint64(&r.Bytes)
	segments, lost := uint32(atomic.LoadUint64(&r.Segments)), atomic.LoadUint32(&r.Lost)
	n := Counters{
		RxFrames: frames - r.CountedFrames, RxBytes: bytes - r.CountedBytes,
		RxSegments: frames - r.CountedFrames + uint64(segments-r.CountedSegments), Lost: uint64(lost - r.CountedLost),
	}
	if n == (Counters{}) {
		return
	}
	r.CountedFrames, r.CountedBytes, r.CountedSegments, r.CountedLost = frames, bytes, segments, lost
	c.stats.hits += n.RxFrames
	if in := c.counters[frame.PortID(r.In)]; in != nil {
		in.RxFrames += n.RxFrames
		in.RxBytes += n.RxBytes
		in.RxSegments += n.RxSegments
		in.Lost += n.Lost
	}
	if out := c.counters[frame.PortID(r.To)]; out != nil {
		out.TxFrames += n.RxFrames
		out.TxBytes += n.RxBytes
		out.TxSegments += n.RxSegments
	}
}

// count brings the counters up to date.
func (c *Cache) count() {
	c.scan(func(_ uint32, r *record) { c.account(r) }, nothing)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.retired { // what they carried last is counted when they are free
		c.account(&c.records[r.index])
	}
}

// Counters returns what the kernel has carried for each port that was ever set, since it
// was set first. It looks at all that is remembered.
func (c *Cache) Counters() map[frame.PortID]Counters {
	c.count()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[frame.PortID]Counters, len(c.counters))
	for id, n := range c.counters {
		all[id] = *n
	}
	return all
}

// Forget drops the counters of a port that is no more.
func (c *Cache) Forget(id frame.PortID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.counters, id)
}

// makeRoom retires records if there are too many: of the ports that have most, those that
// were longest unused.
func (c *Cache) makeRoom() {
	c.mu.Lock()
	full := c.stats.flows >= c.flows
	c.mu.Unlock()
	if !full {
		return
	}
	type candidate struct {
		age         int32
		index, used uint32
		in          frame.PortID
	}
	var all []candidate
	excess := map[frame.PortID]int{}
	now := c.clock.now()
	c.scan(func(i uint32, r *record) {
		all = append(all, candidate{int32(now - r.Used), i, r.Used, frame.PortID(r.In)})
		excess[frame.PortID(r.In)]++
	}, nothing)
	share := level(excess, c.flows-c.flows/16)
	for in := range excess {
		excess[in] -= share
	}
	slices.SortFunc(all, func(a, b candidate) int { return int(b.age) - int(a.age) })
	for some := range slices.Chunk(all, chunk) {
		c.mu.Lock()
		c.share = share
		for _, o := range some {
			if r := &c.records[o.index]; excess[o.in] > 0 && r.Place != 0 && r.Used == o.used {
				c.retire(o.index)
				c.stats.evicted++
				excess[o.in]--
			}
		}
		c.mu.Unlock()
	}
}

// level returns how many places of some each port may have at most, so that none has more
// while another has less than it wants.
func level(wanted map[frame.PortID]int, places int) int {
	ascending := make([]int, 0, len(wanted))
	for _, n := range wanted {
		ascending = append(ascending, n)
	}
	slices.Sort(ascending)
	for i, n := range ascending {
		share := places / (len(ascending) - i)
		if n > share {
			return share
		}
		places -= n
	}
	return math.MaxInt
}

// Flush makes the cache forget everything.
func (c *Cache) Flush() {
	c.scan(func(i uint32, _ *record) { c.retire(i) }, nothing)
}
