package vswitch

import (
	"sync/atomic"

	"weft/frame"
)

// Counters are totals of one port since it was made.
type Counters struct {
	RxFrames, RxBytes uint64 // received from the port
	TxFrames, TxBytes uint64 // handed to the port's device
	RxSegments        uint64 // as RxFrames, with each superframe counted as what it will become
	TxSegments        uint64
	Flooded           uint64 // received frames that were flooded
	Learned, Moved    uint64 // stations learned on, or moved to, this port
	LearnLimit        uint64 // sources not learned: a limit was reached or the table was full
	Taken             uint64 // received frames that weft itself kept or answered
	Drops             [frame.NumReasons]uint64
}

// Counters returns the port's counters. A drop on the way in is counted at the port
// of entry, one on the way out (queue-full, oversize, egress-blocked, …) at the
// port of exit.
func (s *Switch) Counters(id frame.PortID) (Counters, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.portLocked(id)
	if err != nil {
		return Counters{}, err
	}
	var sum Counters
	for i := range p.counters {
		p.counters[i].addTo(&sum)
	}
	return sum, nil
}

// A tally is what one worker counted at one port. The worker alone writes it.
type tally struct {
	rxFrames, rxBytes, rxSegments counter
	txFrames, txBytes, txSegments counter
	flooded                       counter
	learned, moved, learnLimit    counter
	taken                         counter
	drops                         [frame.NumReasons]counter

	_ [64]byte // keeps the next worker's off the last cache line
}

// A counter has a single writer, so it needs no locked addition; a reader elsewhere
// sees it whole.
type counter struct{ n atomic.Uint64 }

func (c *counter) add(n uint64) {
	if n > 0 {
		c.n.Store(c.n.Load() + n)
	}
}

// end counts a frame that goes no further.
func (t *tally) end(r frame.Reason) {
	if r == frame.Taken {
		t.taken.add(1)
	} else {
		t.drops[r].add(1)
	}
}

// sent counts the frames that a device is done with and returns those it took, in
// place. Those it refused are revived: other ports may have them on their lists.
func (t *tally) sent(bufs []*frame.Buf) []*frame.Buf {
	taken := bufs[:0]
	var octets, segments uint64
	for _, b := range bufs {
		if r := b.Revive(); r != 0 {
			t.drops[r].add(1)
			continue
		}
		taken = append(taken, b)
		octets += uint64(b.Len())
		segments += uint64(b.Segments())
	}
	t.txFrames.add(uint64(len(taken)))
	t.txBytes.add(octets)
	t.txSegments.add(segments)
	return taken
}

func (t *tally) addTo(sum *Counters) {
	sum.RxFrames += t.rxFrames.n.Load()
	sum.RxBytes += t.rxBytes.n.Load()
	sum.RxSegments += t.rxSegments.n.Load()
	sum.TxFrames += t.txFrames.n.Load()
	sum.TxBytes += t.txBytes.n.Load()
	sum.TxSegments += t.txSegments.n.Load()
	sum.Flooded += t.flooded.n.Load()
	sum.Learned += t.learned.n.Load()
	sum.Moved += t.moved.n.Load()
	sum.LearnLimit += t.learnLimit.n.Load()
	sum.Taken += t.taken.n.Load()
	for r := range t.drops {
		sum.Drops[r] += t.drops[r].n.Load()
	}
}
