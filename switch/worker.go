package vswitch

import (
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"weft/frame"
)

// nap is how long a worker waits before it sleeps in earnest, which takes the
// scheduler to end: of a ping every 2 ms, half of the round trip.
const nap = 10 * time.Millisecond

// batch is how many frames a worker takes from a queue at a time.
const batch = 64

// A worker is an operating system thread that carries frames. A queue is read by
// one worker only, so flows stay in order. The worker owns its Bufs for its whole
// life; stages and queues borrow them.
type worker struct {
	s      *Switch
	index  int
	poller *poller
	snap   *snapshot

	stop     atomic.Bool
	followed chan struct{} // a token for each snapshot that the worker went over to
	left     chan struct{} // closed when the worker has stopped

	now      time.Duration // of the present batch
	since    uint64        // the memory's mark before it was decided on
	memory   Memory
	decision frame.Decision // what the memory is told
	bufs     []*frame.Buf
	live     [batch]*frame.Buf // those of bufs that were not dropped

	offered []*frame.Buf // for the interface of layer 3, not yet routed
	iface   *port

	lists   []list  // what is to leave, by portIndex of the port of exit
	touched []*port // ports whose list is not empty
	egress  egress

	unsettled []int // places of queues to be read again, whether they poll readable or not
	settling  []int // those of the turn before

	restless bool // the last sleep was short: to spin first is worth it
}

// A list is the frames of one batch that are to leave by one port, in order.
type list struct {
	n    int
	bufs [batch]*frame.Buf
}

func newWorker(s *Switch, index int) (*worker, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	w := &worker{
		s: s, memory: s.memory, index: index, poller: p, snap: &snapshot{polls: make([][]*queue, s.workers)},
		followed: make(chan struct{}, 1), left: make(chan struct{}),
	}
	w.adopt(s.snap.Load())
	return w, nil
}

// equip gives the worker its Bufs.
func (w *worker) equip(bufs, scratch []*frame.Buf) {
	w.bufs = bufs
	w.offered = make([]*frame.Buf, 0, batch)
	w.egress = egress{out: make([]*frame.Buf, 0, batch), scratch: scratch}
}

// run carries frames until stop is set.
func (w *worker) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(w.left)
	w.equip(frame.NewBufs(batch), frame.NewBufs(batch))
	for !w.stop.Load() {
		w.follow()
		ready := w.wait()
		w.serveInjected()
		w.serveAll(ready)
		w.settling, w.unsettled = w.unsettled, w.settling[:0]
		w.serveAll(w.settling)
	}
	w.serveInjected() // the last words of who ends the switch
}

// serveAll carries what the queues at the places have.
func (w *worker) serveAll(places []int) {
	for _, place := range places {
		w.follow()
		if q := w.snap.polls[w.index][place]; q != nil {
			w.serve(q)
		}
	}
}

// follow goes over to the latest snapshot and says so to who waits for it. It is
// the point at which the worker holds on to nothing of the one before.
func (w *worker) follow() {
	if latest := w.s.snap.Load(); latest != w.snap {
		w.serveInjected() // the later one may have the port no more
		w.adopt(latest)
		w.followed <- struct{}{}
	}
}

// adopt watches the queues that are new in a snapshot and no longer those that are
// gone from it. Lists of places never shrink.
func (w *worker) adopt(next *snapshot) {
	old := w.snap.polls[w.index]
	for place, q := range next.polls[w.index] {
		var before *queue
		if place < len(old) {
			before = old[place]
		}
		if before == q {
			continue
		}
		if before != nil {
			w.poller.remove(before.fd)
		}
		if q != nil {
			if err := w.poller.add(q.fd, place); err != nil {
				w.s.fail(q, next.ports[q.port].id, err)
			}
		}
	}
	if n := len(next.ports) - len(w.lists); n > 0 {
		w.lists = append(w.lists, make([]list, n)...)
		w.touched = slices.Grow(w.touched, len(next.ports))
	}
	w.snap = next
}

// wait returns the places of the queues that have something to return; of none if
// it was woken.
func (w *worker) wait() []int {
	if ready, event := w.poller.poll(0); event || len(w.unsettled) > 0 {
		return ready
	}
	if w.restless {
		for begin := time.Now(); time.Since(begin) < w.s.spin; {
			if ready, event := w.poller.poll(0); event {
				return ready
			}
		}
	}
	begin := time.Now()
	if ready, event := w.poller.poll(nap); event {
		w.restless = time.Since(begin) < 2*w.s.spin
		return ready
	}
	ready := w.poller.sleep()
	w.restless = time.Since(begin) < 2*w.s.spin
	return ready
}
