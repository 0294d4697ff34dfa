package switchtest

import (
	"sync"
	"sync/atomic"
	"testing"

	"weft/frame"
	"weft/switch"
)

// A Recorder keeps copies of the frames sent to it. It never receives any.
type Recorder struct{ line *line }

var _ vswitch.Queue = (*Recorder)(nil)

// NewRecorder makes a Recorder, which has no bound.
func NewRecorder() *Recorder { return &Recorder{newLine()} }

// Recv implements vswitch.Queue.
func (r *Recorder) Recv([]*frame.Buf) (int, error) { return 0, nil }

// Send implements vswitch.Queue.
func (r *Recorder) Send(bufs []*frame.Buf) (int, error) {
	r.line.mu.Lock()
	defer r.line.mu.Unlock()
	for _, b := range bufs {
		r.line.frames = append(r.line.frames, frameOf(b))
	}
	close(r.line.changed)
	r.line.changed = make(chan struct{})
	return len(bufs), nil
}

// FD implements vswitch.Queue.
func (r *Recorder) FD() int { return r.line.event.fd }

// Close implements vswitch.Queue. It may be called more than once. The frames stay.
func (r *Recorder) Close() error { return r.line.event.close() }

// Frames returns the frames so far.
func (r *Recorder) Frames() []Frame {
	r.line.mu.Lock()
	defer r.line.mu.Unlock()
	return append([]Frame(nil), r.line.frames...)
}

// Wait waits until there are n frames or more and returns all.
func (r *Recorder) Wait(t testing.TB, n int) []Frame {
	t.Helper()
	r.line.await(t, "frames", func() bool { return len(r.line.frames) >= n })
	return r.Frames()
}

// A Blackhole takes every frame and counts it. It never receives any.
type Blackhole struct {
	event *event
	taken atomic.Uint64
}

var _ vswitch.Queue = (*Blackhole)(nil)

// NewBlackhole makes a Blackhole.
func NewBlackhole() *Blackhole { return &Blackhole{event: newEvent()} }

// Recv implements vswitch.Queue.
func (h *Blackhole) Recv([]*frame.Buf) (int, error) { return 0, nil }

// Send implements vswitch.Queue.
func (h *Blackhole) Send(bufs []*frame.Buf) (int, error) {
	h.taken.Add(uint64(len(bufs)))
	return len(bufs), nil
}

// FD implements vswitch.Queue.
func (h *Blackhole) FD() int { return h.event.fd }

// Close implements vswitch.Queue. It may be called more than once.
func (h *Blackhole) Close() error { return h.event.close() }

// Taken returns how many frames were sent.
func (h *Blackhole) Taken() uint64 { return h.taken.Load() }

// Faulty is a Queue that fails when told to.
type Faulty struct {
	vswitch.Queue

	mu       sync.Mutex
	recv     error // guarded by mu
	send     error // guarded by mu
	left     int   // frames that Send takes before it returns send; guarded by mu
	short    bool  // guarded by mu
	capacity int   // frames that one Send takes, if short; guarded by mu
}

// FailRecv makes Recv return err from now on. Recv is called when the Queue within
// has something to receive.
func (f *Faulty) FailRecv(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recv = err
}

// FailSend makes Send return err once it has taken so many frames more.
func (f *Faulty) FailSend(after int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.send = after, err
}

// Shorten makes each Send take at most n frames, as a full device does.
func (f *Faulty) Shorten(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.short, f.capacity = true, n
}

// Recv implements vswitch.Queue.
func (f *Faulty) Recv(bufs []*frame.Buf) (int, error) {
	f.mu.Lock()
	err := f.recv
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return f.Queue.Recv(bufs)
}

// Send implements vswitch.Queue.
func (f *Faulty) Send(bufs []*frame.Buf) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var broken error
	if f.short {
		bufs = bufs[:min(len(bufs), f.capacity)]
	}
	if f.send != nil && len(bufs) > f.left {
		bufs, broken = bufs[:f.left], f.send
	}
	n, err := f.Queue.Send(bufs)
	f.left -= n
	if err == nil {
		err = broken
	}
	return n, err
}
