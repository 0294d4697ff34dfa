package route_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// An identity is a Translator that costs nothing: what a routed packet costs without
// NAT, on the path with NAT.
type identity struct{}

func (identity) Outbound(time.Duration, *frame.Buf, uint16, uint16) frame.Reason { return 0 }
func (identity) Inbound(time.Duration, *frame.Buf) (bool, frame.Reason)          { return false, 0 }
func (identity) Hairpin(time.Duration, *frame.Buf, uint16) (bool, frame.Reason)  { return false, 0 }

const benchBatch = 64

// flows returns a router that knows its neighbors and has n more routes, and a batch of
// frames from the guest of A, with their headers: of one flow, or each of another.
func flows(tb testing.TB, w family, to frametest.End, n int, one bool) (*rig, []*frame.Buf, [][]byte) {
	r := newRig(tb, func(v *route.View) {
		for k := range n {
			p := prefix(fmt.Sprintf("100.%d.%d.0/24", 64+k/256%64, k%256))
			if w.version == 6 {
				p = prefix(fmt.Sprintf("2001:db8:%x::/48", 0x1000+k))
			}
			v.Routes = append(v.Routes, route.Route{Prefix: p, Via: w.hop.Addr, Port: portU})
		}
	})
	r.Router = route.New(route.Config{Translator: identity{}, Inject: func(frame.PortID, *frame.Buf) bool { return true }})
	r.set()
	r.meet()
	bufs, headers := frame.NewBufs(benchBatch), make([][]byte, benchBatch)
	for k, b := range bufs {
		if !one {
			to.Addr = to.Addr.Next()
			r.hear(guestBPort, to, w.gatewayB)
		}
		b.SetBytes(frametest.UDP(w.guest, towards(to, macA), frametest.Payload(64)))
		headers[k] = bytes.Clone(b.Bytes()[:54])
	}
	return r, bufs, headers
}

// again makes the routed frames what they were.
func again(bufs []*frame.Buf, headers [][]byte) {
	for k, b := range bufs {
		copy(b.Bytes(), headers[k])
		b.In, b.Out = guestPort, portA
	}
}

func BenchmarkRoute(b *testing.B) {
	for _, w := range []family{ipv4, ipv6} {
		for name, c := range map[string]struct {
			to     frametest.End
			routes int
			one    bool
		}{
			"to another network":           {w.guestB, 0, true},
			"to the outside":               {w.remote, 0, true},
			"to the outside, 1000 routes":  {w.remote, 1000, true},
			"64 flows, to another network": {w.guestB, 0, false},
			"64 flows, to the outside":     {w.remote, 0, false},
			"64 flows, 1000 routes":        {w.remote, 1000, false},
		} {
			b.Run(w.name+"/"+name, func(b *testing.B) {
				r, bufs, headers := flows(b, w, c.to, c.routes, c.one)
				b.ReportAllocs()
				for k := 0; k < b.N; k += benchBatch {
					again(bufs, headers)
					r.Route(r.now, bufs)
				}
				if bufs[0].In == guestPort || bufs[0].Reason() != 0 {
					b.Fatalf("%v: %v", bufs[0], bufs[0].Reason())
				}
			})
		}
	}
}

// BenchmarkAgain is what the other benchmark costs by itself.
func BenchmarkAgain(b *testing.B) {
	_, bufs, headers := flows(b, ipv4, ipv4.guestB, 0, true)
	for k := 0; k < b.N; k += benchBatch {
		again(bufs, headers)
	}
}

// BenchmarkRouteOnManyWorkers shows whether look-ups of one neighbor disturb each other.
func BenchmarkRouteOnManyWorkers(b *testing.B) {
	r, _, headers := flows(b, ipv4, ipv4.guestB, 0, true)
	p := frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), frametest.Payload(64))
	b.RunParallel(func(pb *testing.PB) {
		bufs := frame.NewBufs(benchBatch)
		for _, x := range bufs {
			x.SetBytes(p)
		}
		for k := 0; pb.Next(); k++ {
			if k%benchBatch == 0 {
				again(bufs, headers)
				r.Route(r.now, bufs)
			}
		}
	})
}

func TestRouteAllocatesNothing(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		syn, _ := w.syn(w.guestB, false, 9000)
		for name, c := range map[string]struct {
			port frame.PortID
			p    []byte
		}{
			"routed":     {guestPort, w.udp(w.guestB)},
			"translated": {guestPort, w.udp(w.remote)},
			"from there": {wirePort, frametest.UDP(w.remote, towards(w.guestB, macU), nil)},
			"left alone": {guestPort, w.udp(at(w.gatewayA))},
			"the host's": {wirePort, frametest.UDP(w.remote, towards(at(w.host), macU), nil)},
			"martian":    {guestPort, w.from(w.guestB.Addr, w.remote)},
			"hops":       {guestPort, setHops(w.udp(w.remote), 1)},
			"the host's hops": {
				wirePort,
				setHops(frametest.UDP(w.remote, towards(at(w.host), macU), nil), 1),
			},
			"clamped":    {guestPort, syn},
			"an answer":  {guestPort, answer(w, w.guest, portA, w.asksA)},
			"no session": {wirePort, frametest.UDP(w.remote, towards(at(w.external), macU), nil)},
		} {
			r, bufs, _ := flows(t, w, w.remote, 0, true)
			narrow(1400)(&r.view)
			r.set()
			b := bufs[:1]
			if n := testing.AllocsPerRun(100, func() {
				b[0].SetBytes(c.p)
				b[0].In, b[0].Out = c.port, interfaceOf(c.port)
				r.Route(r.now, b)
			}); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
		r, bufs, _ := flows(t, w, w.remote, 0, true)
		proxy, listener := r.Proxy(portU), r.Listener(portA)
		p, q := w.asking(w.external, 0), w.asking(w.guest.Addr, 0)
		if n := testing.AllocsPerRun(100, func() {
			bufs[0].SetBytes(p)
			proxy.Process(r.now, bufs[:1])
			bufs[0].SetBytes(q)
			listener.Process(r.now, bufs[:1])
		}); n != 0 {
			t.Errorf("stages: %v allocations", n)
		}
	})
}

// TestAllAtOnce is for the race detector: frames on two workers while neighbors and
// views come and go.
func TestAllAtOnce(t *testing.T) {
	nowhere := func(frame.PortID, *frame.Buf) bool { return true }
	var changes atomic.Uint32
	r := route.New(route.Config{
		Translator: identity{}, Inject: nowhere, Resolve: func(frame.PortID, netip.Addr) {},
		Changed: func(uint32) { changes.Add(1) },
	})
	if err := r.Set(world()); err != nil {
		t.Fatal(err)
	}
	const rounds = 300
	var wg sync.WaitGroup
	for _, w := range []family{ipv4, ipv6} {
		wg.Go(func() { // a worker
			bufs := frame.NewBufs(8)
			for k := range rounds {
				for n, p := range [][]byte{
					w.udp(w.remote), w.udp(w.guestB), w.udp(w.other), setHops(w.udp(w.remote), 1),
					answer(w, w.guest, portA, w.gatewayA), answer(w, w.guestB, portB, w.gatewayB),
					frametest.UDP(w.remote, towards(w.guestB, macU), nil), w.asking(w.external, 0),
				} {
					port := []frame.PortID{guestPort, guestPort, guestPort, guestPort, guestPort, guestBPort, wirePort, wirePort}[n]
					bufs[n].SetBytes(p)
					bufs[n].In, bufs[n].Out = port, interfaceOf(port)
					now := time.Duration(k) * 10 * time.Millisecond
					r.Proxy(portU).Process(now, bufs[n:n+1])
					r.Listener(portA).Process(now, bufs[n:n+1])
					r.Route(now, bufs[n:n+1])
					r.Touch(now, bufs[n].Basis.Neighbor)
				}
			}
		})
	}
	wg.Go(func() {
		for k := range rounds {
			v := world()
			v.Interfaces = v.Interfaces[k%3:]
			if err := r.Set(v); err != nil {
				t.Error(err)
			}
			r.Tick(time.Duration(k) * 10 * time.Millisecond)
		}
	})
	wg.Go(func() {
		for range rounds {
			r.SetNeighbor(portU, ipv4.hop.Addr, 5)
			r.DeleteNeighbor(portU, ipv4.hop.Addr)
			r.Neighbors(0)
			r.Routes()
			if _, err := r.Explain(portU, ipv4.remote.Addr, ipv4.guestB.Addr); err != nil && r.Routes() == nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if err := r.Set(route.View{}); err != nil {
		t.Fatal(err)
	}
	r.Tick(time.Hour)
	if changes.Load() == 0 {
		t.Error("no neighbor changed")
	}
	for _, n := range r.Neighbors(time.Hour) {
		t.Errorf("%v is left of no interface", n)
	}
}
