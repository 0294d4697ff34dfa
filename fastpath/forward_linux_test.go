package fastpath

import (
	"testing"

	"github.com/cilium/ebpf"

	"weft/frame"
	"weft/frame/frametest"
)

func TestStations(t *testing.T) {
	isolate(t)
	c := newCache(t, Config{})
	a, b, q := newTAP(t, "a"), newTAP(t, "b"), newTAP(t, "q")
	in, _ := c.Programs()
	attach(t, a.index, in, ebpf.AttachTCXIngress)
	must(t, c.SetPort(1, Port{Index: a.index, Queue: q.index}))
	must(t, c.SetPort(2, Port{Index: b.index, Queue: q.index}))
	p := frametest.UDP(frametest.Station(1), frametest.Station(2), nil)
	f := frame.Flow{Src: frametest.Station(1).MAC, Dst: frametest.Station(2).MAC}
	a.write(t, p, frame.Offload{})
	b.silent(t, "before")
	c.Remember(&frame.Decision{In: 1, Out: 2, Was: f, Is: f, RestsOn: [6]frame.Subject{frame.PortSubject(2)}}, c.Mark())
	a.write(t, p, frame.Offload{})
	b.silent(t, "first")
	if got, _ := q.read(t); got == nil {
		t.Error("nothing in the queue")
	}
	t.Log(c.Arrived(1))
	n, _ := c.Arrived(1)
	c.Drained(1, n)
	a.write(t, p, frame.Offload{})
	if got, _ := b.read(t); got == nil {
		t.Error("nothing direct")
	}
	for e := range c.Entries {
		t.Logf("%+v", e)
	}
	t.Logf("%+v", c.Stats())
	c.Changed(frame.PortSubject(2))
	a.write(t, p, frame.Offload{})
	b.silent(t, "stale")
	t.Logf("%+v", c.Stats())
}
