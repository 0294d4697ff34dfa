package fastpath

import (
	"testing"

	"github.com/cilium/ebpf"

	"weft/frame"
)

// A rig is a cache between two TAPs. What it does not forward from a arrives at queue.
type rig struct {
	testing.TB
	*Cache
	a, b, queue *device
}

const (
	portA frame.PortID = 1
	portB frame.PortID = 2
)

func newRig(t testing.TB, config Config) *rig {
	t.Helper()
	isolate(t)
	r := &rig{t, newCache(t, config), newTAP(t, "a"), newTAP(t, "b"), newTAP(t, "queue")}
	program, _ := r.Programs()
	attach(t, r.a.index, floor(t, r.queue.index), ebpf.AttachTCXIngress)
	attach(t, r.a.index, program, ebpf.AttachTCXIngress)
	must(t, r.SetPort(portA, Port{Index: r.a.index, Queue: r.queue.index}))
	must(t, r.SetPort(portB, Port{Index: r.b.index, Queue: r.queue.index}))
	return r
}

// flowOf returns the flow of a frame.
func flowOf(t testing.TB, p []byte) frame.Flow {
	t.Helper()
	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	f, ok := b.Flow()
	if !ok {
		t.Fatalf("%x has no flow", p)
	}
	return f
}

// bridged is the decision to send frames between the stations of p as they are.
func bridged(t testing.TB, p []byte) frame.Decision {
	t.Helper()
	f := flowOf(t, p)
	d := frame.Decision{In: portA, Out: portB, Was: f, Is: f}
	d.RestsOn = [6]frame.Subject{frame.PortSubject(portA), frame.PortSubject(portB), frame.StationSubject(0, f.Src), frame.StationSubject(0, f.Dst)}
	return d
}

// routed is the decision to make frames like was frames like is.
func routed(t testing.TB, was, is []byte) frame.Decision {
	t.Helper()
	d := bridged(t, was)
	d.ByFlow, d.Routed, d.Is = true, true, flowOf(t, is)
	return d
}

// remember has the cache remember a decision.
func (r *rig) remember(d frame.Decision) {
	r.Helper()
	before := r.refused()
	r.Remember(&d, r.Mark())
	if n := r.refused(); n != before {
		for why := range r.Refusals {
			r.Fatalf("%+v is refused: %v", d, why.Why)
		}
	}
}

func (r *rig) refused() (n uint64) {
	for _, k := range r.Stats().Refused {
		n += k
	}
	return n
}

// open has the records forward directly, as if the queue had drained.
func (c *Cache) open() {
	for i := range c.records[:c.unused] {
		c.records[i].State = uint32(cacheStateDIRECT)
	}
}

// learn has the cache remember a decision that is in force at once.
func (r *rig) learn(d frame.Decision) {
	r.Helper()
	r.remember(d)
	r.open()
}

// send sends a frame to a, and returns what arrives at b; nil: it went to the queue instead.
func (r *rig) send(p []byte, o frame.Offload) ([]byte, frame.Offload) {
	r.Helper()
	r.a.write(r, p, o)
	direct, as := r.b.read(r)
	queued, _ := r.queue.read(r)
	if (direct == nil) == (queued == nil) {
		r.Errorf("%x: direct %x, queued %x", p, direct, queued)
	}
	return direct, as
}
