package fastpath

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/frame"
	"weft/frame/frametest"
)

// A relay reads the rig's queue as a worker of the switch does, and sends what it reads
// to b behind what went there directly.
type relay struct {
	*rig
	out      int // a packet socket
	decision frame.Decision
	relayed  int
	room     [2048]byte

	noted uint64 // what had arrived
	read  int    // how much was read since
}

func newRelay(r *rig, d frame.Decision) *relay {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(r, err)
	r.Cleanup(func() { unix.Close(fd) })
	must(r, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0, Ifindex: r.b.index}))
	return &relay{rig: r, out: fd, decision: d}
}

// turn relays a batch.
func (w *relay) turn() {
	const batch = 64
	arrived, _ := w.Arrived(portA)
	since := w.Mark()
	p := w.room[:]
	n := 0
	for ; n < batch; n++ {
		k, err := unix.Read(w.queue.fd, p)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		must(w, err)
		w.Remember(&w.decision, since)
		// Full: who reads there is late, and the frame is lost.
		if _, err = unix.Write(w.out, p[virtioLen:k]); err != nil && !errors.Is(err, unix.ENOBUFS) {
			must(w, err)
		}
	}
	w.relayed += n
	w.read += n
	switch {
	case n == 0:
		w.Drained(portA, arrived)
	case w.read > queueLen: // what had arrived when that was noted
		w.Drained(portA, w.noted)
	default:
		return
	}
	w.noted, w.read = arrived, 0
}

// However often a decision changes while frames come as fast as they can be sent, none
// overtakes another.
func TestOrder(t *testing.T) {
	r := newRig(t, Config{})
	p := frametest.UDP(frametest.Station(1), frametest.Station(2), make([]byte, 8))
	w := newRelay(r, bridged(t, p))
	var stop atomic.Bool
	var all sync.WaitGroup
	all.Go(func() {
		for !stop.Load() {
			w.turn()
		}
	})
	all.Go(func() {
		sent := append(make([]byte, virtioLen), p...)
		for n := uint64(1); !stop.Load(); n++ {
			binary.BigEndian.PutUint64(sent[len(sent)-8:], n)
			must(t, write(r.a.fd, sent))
		}
	})
	const changes = 20
	last, changed := uint64(0), 0
	for end := time.Now().Add(6 * patience); changed < changes; {
		if time.Now().After(end) {
			t.Errorf("the decision was in force %d times only", changed)
			break
		}
		got, _ := r.b.read(t)
		if len(got) != len(p) {
			continue
		}
		n := binary.BigEndian.Uint64(got[len(got)-8:])
		if n <= last {
			t.Errorf("frame %d came behind %d", n, last)
		}
		if last = n; n%64 == 0 {
			for e := range r.Entries {
				if e.State == "direct" && e.Frames > 100 {
					r.Changed(frame.PortSubject(portB))
					changed++
				}
			}
		}
	}
	stop.Store(true)
	all.Wait()
	r.Harvest()
	t.Logf("%d frames, %d by the switch, %+v", last, w.relayed, r.Stats())
}

func write(fd int, p []byte) error {
	_, err := unix.Write(fd, p)
	return err
}
