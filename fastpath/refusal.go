package fastpath

import (
	"sync"
	"time"

	"weft/frame"
)

// A Refused is a frame whose decision was not remembered.
type Refused struct {
	In  frame.PortID
	Was frame.Flow
	Why frame.Refusal
	Ago time.Duration
}

// refusals are the last of them, and how many there were.
type refusals struct {
	mu    sync.Mutex
	count [frame.NumRefusals]uint64
	last  [256]refused
	n     uint64 // how many were put there
}

type refused struct {
	in  frame.PortID
	was frame.Flow
	why frame.Refusal
	at  time.Duration // after the clock's start
}

// Refuse implements vswitch.Memory.
func (c *Cache) Refuse(in frame.PortID, f *frame.Flow, why frame.Refusal) {
	r := &c.refusals
	at := time.Since(c.clock.start)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[why]++
	last := &r.last[r.n%uint64(len(r.last))]
	if r.n > 0 && last.in == in && last.why == why && last.was == *f {
		last.at = at // one flow is not to drive out all others
		return
	}
	r.n++
	r.last[r.n%uint64(len(r.last))] = refused{in, *f, why, at}
}

// Refusals yields the last refusals, newest first, of a frame again and again but once.
func (c *Cache) Refusals(yield func(Refused) bool) {
	r := &c.refusals
	r.mu.Lock()
	last, n := r.last, r.n
	r.mu.Unlock()
	now := time.Since(c.clock.start)
	for i := n; i > 0 && i+uint64(len(last)) > n; i-- {
		x := &last[i%uint64(len(last))]
		if !yield(Refused{x.in, x.was, x.why, now - x.at}) {
			return
		}
	}
}
