package vswitch

import (
	"sync"

	"weft/frame"
)

// maxInjected is how many injected frames wait at most.
const maxInjected = 256

// injected are frames that weft itself made or held back, for one worker to relay.
type injected struct {
	mu      sync.Mutex // held for a copy; a leaf
	worker  *worker    // nil while none runs; guarded by mu
	free    []*frame.Buf
	waiting []*frame.Buf
	causes  []uint8  // of those waiting: the low byte of the port whose frame made it necessary
	share   [256]int // how many wait, by cause
	made    bool     // of free
}

// employ names the worker that relays what is injected.
func (i *injected) employ(w *worker) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.worker = w
	if w != nil && len(i.waiting) > 0 {
		w.poller.wake()
	}
}

// Inject relays a copy of a frame, soon: as the frame of port in that it is, past the
// checks and stages, or, if in has a Router, as one that leaves by that interface. It
// reports whether there was room. Until then b.In is the port whose frame made this one
// necessary, if any: frames of one port have as much room at most as they leave to others.
// It may be called from anywhere.
func (s *Switch) Inject(in frame.PortID, b *frame.Buf) bool {
	i := &s.injected
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.made {
		i.free, i.made = frame.NewBufs(maxInjected), true
		i.waiting, i.causes = make([]*frame.Buf, 0, maxInjected), make([]uint8, 0, maxInjected)
	}
	last, cause := len(i.free)-1, uint8(b.In)
	if i.share[cause] > last {
		return false
	}
	i.share[cause]++
	i.causes = append(i.causes, cause)
	c := i.free[last]
	i.free = i.free[:last]
	c.CopyFrom(b)
	c.Revive()
	c.Came = frame.Flow{} // what held it back does not hold back the next
	c.In = in
	i.waiting = append(i.waiting, c)
	if i.worker != nil && len(i.waiting) == 1 {
		i.worker.poller.wake()
	}
	return true
}

// take moves up to len(bufs) of the waiting frames there and returns how many.
func (i *injected) take(bufs []*frame.Buf) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := copy(bufs, i.waiting)
	for _, cause := range i.causes[:n] {
		i.share[cause]--
	}
	i.waiting = append(i.waiting[:0], i.waiting[n:]...)
	i.causes = append(i.causes[:0], i.causes[n:]...)
	return n
}

// give returns the Bufs of frames that were relayed.
func (i *injected) give(bufs []*frame.Buf) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.free = append(i.free, bufs...)
}

// serveInjected relays what was injected, a frame at a time: each may be of another
// port. What a router injects meanwhile comes in the same round, within bounds.
func (w *worker) serveInjected() {
	if w.index != 0 {
		return
	}
	var bufs [batch]*frame.Buf
	for range maxInjected / batch {
		n := w.s.injected.take(bufs[:])
		if n == 0 {
			return
		}
		w.now = w.s.now()
		for k := range n {
			w.relayInjected(bufs[k : k+1])
		}
		w.s.injected.give(bufs[:n])
	}
	w.poller.wake() // there may be more
}

func (w *worker) relayInjected(one []*frame.Buf) {
	p := w.snap.byID(one[0].In)
	if p == nil {
		return // the port has gone, and its counters with it
	}
	c := &p.counters[w.index]
	if p.Router != nil {
		w.depart(p, c, one[0])
	} else {
		w.forward(p, c, one)
	}
	w.flush(p.queues[0])
}
