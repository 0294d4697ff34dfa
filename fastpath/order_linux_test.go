package fastpath

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"weft/frame"
	"weft/frame/frametest"
)

// A relay reads the rig's queue as a worker of the switch does, and sends what it reads
// on behind what went there directly.
type relay struct {
	*rig
	out      int // a packet socket
	decision frame.Decision
	relayed  int
	room     [2048]byte

	noted uint64 // what had arrived
	read  int    // how much was read since
}

// newRelay makes one that sends to the device of the index out.
func newRelay(r *rig, out int, d frame.Decision) *relay {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(r, err)
	r.Cleanup(func() { unix.Close(fd) })
	must(r, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark)) // for the guard
	must(r, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0, Ifindex: out}))
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
	t.Run("TAP", func(t *testing.T) {
		r := newRig(t, Config{})
		testOrder(r, r.b.index, func() []byte {
			p, _ := r.b.read(t)
			return p
		})
	})
	for name, peer := range map[string]bool{"veth": false, "peer": true} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			if _, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress}); err != nil {
				t.Skip("before 6.5 a processor that is overrun leaves what was sent to a veth for later: the kernel itself reorders then")
			}
			r := newRig(t, Config{})
			veth, far := newVeth(t)
			attach(t, veth, guard(t), ebpf.AttachTCXEgress)
			must(t, r.SetPort(portB, Port{Index: veth, Queue: r.queue.index, Peer: peer}))
			testOrder(r, veth, far.read)
		})
	}
}

// testOrder has a decision change again and again, and checks what is received. Frames
// relayed go to the device of the index out.
func testOrder(r *rig, out int, receive func() []byte) {
	p := frametest.UDP(frametest.Station(1), frametest.Station(2), make([]byte, 8))
	w := newRelay(r, out, bridged(r, p))
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
			must(r, write(r.a.fd, sent))
		}
	})
	const changes = 20
	last, changed := uint64(0), 0
	for end := time.Now().Add(6 * patience); changed < changes; {
		if time.Now().After(end) {
			r.Errorf("the decision was in force %d times only", changed)
			break
		}
		got := receive()
		if len(got) != len(p) {
			continue
		}
		n := binary.BigEndian.Uint64(got[len(got)-8:])
		if n <= last {
			r.Errorf("frame %d came behind %d", n, last)
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
	r.Logf("%d frames, %d by the switch, %+v", last, w.relayed, r.Stats())
}

func write(fd int, p []byte) error {
	_, err := unix.Write(fd, p)
	return err
}
