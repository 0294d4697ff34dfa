package lab

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// kept is how many frames a Wire remembers.
const kept = 1 << 16

// A Wire reads and writes the frames of a device as they are on its cable: a capture,
// and the pen of a forger.
type Wire struct {
	lab  *Lab
	fd   int
	done atomic.Bool

	mu     sync.Mutex
	frames [][]byte // guarded by mu; received, in order
	lost   int      // guarded by mu; more than kept
}

// Wire opens the device of the namespace.
func (n *NS) Wire(dev string) *Wire {
	n.lab.Helper()
	w := &Wire{lab: n.lab}
	err := n.Do(func() (err error) {
		w.fd, err = packetSocket(dev)
		return err
	})
	if err == nil {
		err = unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	}
	if err != nil {
		n.lab.Fatalf("wire %s: %v", dev, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.read()
	}()
	n.lab.Cleanup(func() {
		w.done.Store(true)
		<-ended
		_ = unix.Close(w.fd)
	})
	return w
}

func (w *Wire) read() {
	b := make([]byte, 1<<17)
	for !w.done.Load() {
		n, from, err := unix.Recvfrom(w.fd, b, 0)
		if err != nil {
			continue // time-out
		}
		if sa, ok := from.(*unix.SockaddrLinklayer); ok && sa.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		w.mu.Lock()
		if len(w.frames) < kept {
			w.frames = append(w.frames, bytes.Clone(b[:n]))
		} else {
			w.lost++
		}
		w.mu.Unlock()
	}
}

// Send writes one frame, as it is. A device that is full is waited for.
func (w *Wire) Send(f []byte) {
	w.lab.Helper()
	for {
		_, err := unix.Write(w.fd, f)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			w.lab.Fatalf("send a frame of %d bytes: %v", len(f), err)
		}
	}
}

// Received returns what has come in since the last Forget.
func (w *Wire) Received() [][]byte {
	w.lab.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost > 0 {
		w.lab.Errorf("wire: %d frames were too many to keep", w.lost)
	}
	return w.frames[:len(w.frames):len(w.frames)]
}

// Forget drops what has come in so far.
func (w *Wire) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames, w.lost = nil, 0
}

// Matching returns the frames received that match.
func (w *Wire) Matching(match func(f []byte) bool) [][]byte {
	w.lab.Helper()
	var found [][]byte
	for _, f := range w.Received() {
		if match(f) {
			found = append(found, f)
		}
	}
	return found
}

// Awaits waits for a frame that matches and returns it.
func (w *Wire) Awaits(what string, match func(f []byte) bool) []byte {
	w.lab.Helper()
	var f []byte
	w.lab.Until(what, func() error {
		found := w.Matching(match)
		if len(found) == 0 {
			return errors.New("no such frame has come")
		}
		f = found[0]
		return nil
	})
	return f
}
