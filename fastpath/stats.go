package fastpath

import (
	"time"

	"weft/frame"
)

// Stats tells how the cache fares.
type Stats struct {
	Flows, Capacity    int
	Hits               uint64            // frames that the kernel carried
	Misses             map[string]uint64 // frames that it left to the switch or dropped, by reason; none that are zero
	Installed, Evicted uint64            // decisions, and those that had to make room for others
	Refused            map[string]uint64 // frames whose decision was not remembered, by frame.Refusal; none that are zero
}

// reasonNames are those of enum reason in bpf/reason.h.
var reasonNames = [...]string{
	cacheReasonUNKNOWN: "unknown", cacheReasonSTALE: "stale", cacheReasonIDLE: "idle",
	cacheReasonOPENING: "opening", cacheReasonOVERRUN: "overrun",
	cacheReasonKIND: "kind", cacheReasonLENGTH: "length", cacheReasonSEGMENTS: "segments", cacheReasonCONTROL: "control",
	cacheReasonHOPS: "hops", cacheReasonCHECKSUM: "checksum", cacheReasonSOCKET: "socket", cacheReasonREWRITING: "rewriting",
}

// Stats returns what was counted so far.
func (c *Cache) Stats() Stats {
	c.count()
	c.mu.Lock()
	s := Stats{
		Flows: c.stats.flows, Capacity: c.flows, Hits: c.stats.hits,
		Installed: c.stats.installed, Evicted: c.stats.evicted,
		Misses: map[string]uint64{}, Refused: map[string]uint64{},
	}
	c.mu.Unlock()
	c.refusals.mu.Lock()
	for why, n := range c.refusals.count {
		if n > 0 {
			s.Refused[frame.Refusal(why).String()] = n
		}
	}
	c.refusals.mu.Unlock()
	for reason, name := range reasonNames {
		if name == "" {
			continue
		}
		var each []uint64                          // processor
		_ = c.misses.Lookup(uint32(reason), &each) // fails once closed only
		for _, n := range each {
			if n > 0 {
				s.Misses[name] += n
			}
		}
	}
	return s
}

// An Entry is a decision that the cache holds.
type Entry struct {
	In, Out   frame.PortID
	Was, Is   frame.Flow // hops are not known
	ByFlow    bool
	Basis     frame.Basis
	State     string        // fresh, queued, held, direct; stale or idle: it is used no more
	Age, Idle time.Duration // since it was installed, since the last frame
	Frames    uint64
	Bytes     uint64
}

var stateNames = [...]string{cacheStateFRESH: "fresh", cacheStateQUEUED: "queued", cacheStateHELD: "held", cacheStateDIRECT: "direct"}

// Entries yields what the cache holds, in no order.
func (c *Cache) Entries(yield func(Entry) bool) {
	var some []Entry
	ended := false
	c.scan(func(_ uint32, r *record) {
		if !ended {
			some = append(some, c.entry(r))
		}
	}, func() {
		for _, e := range some {
			ended = ended || !yield(e)
		}
		some = some[:0]
	})
}

func (c *Cache) entry(r *record) Entry {
	was, is := r.flows()
	e := Entry{
		In: frame.PortID(r.In), Out: frame.PortID(r.To), Was: was, Is: is, ByFlow: r.Version != 0, Basis: c.basis(r),
		State: stateNames[r.State%uint32(len(stateNames))], Age: c.clock.since(r.Made), Idle: c.clock.since(r.Used),
		Frames: r.Frames, Bytes: r.Bytes,
	}
	switch {
	case !c.holds(r):
		e.State = "stale"
	case !c.usable(r):
		e.State = "idle"
	}
	return e
}
