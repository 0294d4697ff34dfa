package capture

import (
	"sync/atomic"
	"time"

	"weft/frame"
)

const (
	blockLen = 256   // bytes: the grain in which the ring's memory is given out
	blocks   = 32768 // 8 MiB: 32,768 small frames or 127 of the longest
)

// A ring hands copies of frames from many workers to one reader without a lock: a
// worker reserves blocks by moving head, fills them, and marks the record ready.
// Whatever finds no room is counted and lost.
//
//	     tail          head
//	      ▼             ▼
//	| . . |A A|B|C C C|. . . . |   A ready, B still being copied: the reader stops at B
type ring struct {
	data    []byte
	records []record // records[i] describes what begins at block i
	head    atomic.Uint64
	tail    atomic.Uint64 // both count blocks ever given out or taken back
	dropped atomic.Uint64
	wake    chan struct{} // holds one token while there may be something to read
}

// A record is one frame in the ring, or the unused blocks at its end.
type record struct {
	ready   atomic.Bool // all else is written
	skip    bool        // no frame
	blocks  uint64
	kept    int // bytes of the frame in the ring
	length  int // bytes of the frame on its way
	time    time.Time
	offload frame.Offload
}

func newRing() *ring {
	return &ring{
		data:    make([]byte, blocks*blockLen),
		records: make([]record, blocks),
		wake:    make(chan struct{}, 1),
	}
}

// put copies at most snap bytes of b.
func (r *ring) put(now time.Time, b *frame.Buf, snap int) {
	p := b.Bytes()
	kept := p[:min(len(p), snap)]
	need := uint64(max(1, (len(kept)+blockLen-1)/blockLen))
	at, ok := r.reserve(need)
	if !ok {
		r.dropped.Add(1)
		return
	}
	copy(r.data[at*blockLen:], kept)
	rec := &r.records[at]
	rec.skip, rec.blocks = false, need
	rec.kept, rec.length = len(kept), len(p)
	rec.time, rec.offload = now, b.Offload
	rec.ready.Store(true)
}

// reserve returns the first of need adjacent blocks.
func (r *ring) reserve(need uint64) (at uint64, ok bool) {
	for {
		tail := r.tail.Load() // before head, so that it is never ahead of it
		head := r.head.Load()
		at := head % blocks
		var pad uint64
		if at+need > blocks {
			pad = blocks - at
		}
		if head+pad+need-tail > blocks {
			return 0, false
		}
		if !r.head.CompareAndSwap(head, head+pad+need) {
			continue
		}
		if pad == 0 {
			return at, true
		}
		rec := &r.records[at]
		rec.skip, rec.blocks = true, pad
		rec.ready.Store(true)
		return 0, true
	}
}

// signal wakes the reader.
func (r *ring) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // it has a token already
	}
}

// next returns the oldest frame, or nil if none is ready. It stays until release.
func (r *ring) next() (*record, []byte) {
	for {
		at := r.tail.Load() % blocks
		rec := &r.records[at]
		if !rec.ready.Load() {
			return nil, nil
		}
		if !rec.skip {
			return rec, r.data[at*blockLen:][:rec.kept]
		}
		r.release(rec)
	}
}

// release gives the blocks of the record that next returned back to the workers.
func (r *ring) release(rec *record) {
	rec.ready.Store(false)
	r.tail.Add(rec.blocks)
}
