// Package switchtest has in-memory queues and checks for tests of the switch and of
// what is built on it.
package switchtest

import (
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"weft/frame"
	"weft/switch"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// pipeRoom is how many frames lie in one direction of a Pipe before it is full.
const pipeRoom = 1024

// A Frame is a frame outside a Buf.
type Frame struct {
	Bytes   []byte
	Offload frame.Offload
}

func frameOf(b *frame.Buf) Frame {
	return Frame{Bytes: append([]byte(nil), b.Bytes()...), Offload: b.Offload}
}

func (f Frame) to(b *frame.Buf) {
	b.SetBytes(f.Bytes)
	b.Offload = f.Offload
}

// An End is one of the two ends of a Pipe. It is a Queue, for the switch, and has
// Write, Read and Drain for the test.
type End struct {
	in, out *line
}

var _ vswitch.Queue = (*End)(nil)

// Pipe returns two connected ends: what is sent into one is received from the
// other. Once an end is closed, the other reports an error.
func Pipe() (a, b *End) {
	x, y := newLine(), newLine()
	return &End{x, y}, &End{y, x}
}

// Recv implements vswitch.Queue.
func (e *End) Recv(bufs []*frame.Buf) (int, error) { return e.in.pop(bufs) }

// Send implements vswitch.Queue.
func (e *End) Send(bufs []*frame.Buf) (int, error) {
	for i, b := range bufs {
		if ok, err := e.out.push(frameOf(b)); !ok {
			return i, err
		}
	}
	return len(bufs), nil
}

// FD implements vswitch.Queue.
func (e *End) FD() int { return e.in.event.fd }

// Close implements vswitch.Queue. It may be called more than once.
func (e *End) Close() error {
	e.out.end()
	e.in.end()
	return e.in.event.close()
}

// Write sends frames; it is an error of the test if there is no room for them.
func (e *End) Write(t testing.TB, frames ...Frame) {
	t.Helper()
	for _, f := range frames {
		if ok, err := e.out.push(f); !ok {
			t.Fatalf("pipe takes no frame: full, or %v", err)
		}
	}
}

// Read waits for the next frame.
func (e *End) Read(t testing.TB) Frame {
	t.Helper()
	bufs := frame.NewBufs(1)
	e.in.await(t, "a frame", func() bool { return len(e.in.frames) > 0 })
	if n, err := e.in.pop(bufs); n == 0 {
		t.Fatalf("no frame: %v", err)
	}
	return frameOf(bufs[0])
}

// Drain waits until the other end has received all that was written. What the switch
// does with its last batch may go on: any control function of it waits for that.
func (e *End) Drain(t testing.TB) {
	t.Helper()
	e.out.await(t, "the other end", func() bool { return len(e.out.frames) == 0 })
}

// A line is one direction of a Pipe.
type line struct {
	event *event

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change; guarded by mu
	frames  []Frame       // guarded by mu
	closed  bool          // guarded by mu
}

func newLine() *line { return &line{event: newEvent(), changed: make(chan struct{})} }

func (l *line) push(f Frame) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return false, os.ErrClosed
	case len(l.frames) == pipeRoom:
		return false, nil
	}
	l.frames = append(l.frames, f)
	l.changedLocked()
	return true, nil
}

func (l *line) pop(bufs []*frame.Buf) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n < len(bufs) && n < len(l.frames) {
		l.frames[n].to(bufs[n])
		n++
	}
	l.frames = l.frames[n:]
	if n == 0 && l.closed {
		return 0, io.EOF
	}
	l.changedLocked()
	return n, nil
}

func (l *line) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changedLocked()
}

func (l *line) changedLocked() {
	l.event.set(len(l.frames) > 0 || l.closed)
	close(l.changed)
	l.changed = make(chan struct{})
}

// await waits until done, which is called with l.mu held, or the line's end.
func (l *line) await(t testing.TB, what string, done func() bool) {
	t.Helper()
	late := time.After(patience)
	for {
		l.mu.Lock()
		ok, changed := done() || l.closed, l.changed
		l.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
