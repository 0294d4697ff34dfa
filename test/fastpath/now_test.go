package fastpath

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/frame"
	"weft/internal/control/api"
)

// A trace is what came out at a jack of the stream that is watched.
type trace struct {
	count int
	last  int32 // the highest number
}

func (v *world) watchLocked(j *jack, n int32) {
	t := v.watched[j.name]
	if t == nil {
		t = &trace{}
		v.watched[j.name] = t
	}
	t.count++
	t.last = max(t.last, n)
}

// at returns what has come out at a jack.
func (v *world) at(jack string) trace {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.watched[jack]; t != nil {
		return *t
	}
	return trace{}
}

// A sender sends the frames of a stream one after the other, a burst every millisecond.
type sender struct {
	begun atomic.Int32 // the number of the frame that is being sent, or was last
	stop  func()
}

// watch has the station send a stream that is watched.
func (v *world) watch(from *station, q packet, size int) *sender {
	v.mu.Lock()
	clear(v.watched)
	v.mu.Unlock()
	s := &sender{}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			for range 8 {
				q.payload = marked(watched, s.begun.Add(1), size)
				v.send(from, q.build())
			}
		}
	}()
	s.stop = sync.OnceFunc(func() { close(done); <-ended })
	v.Cleanup(s.stop)
	return s
}

// comes waits until n frames more have come out at a jack.
func (v *world) comes(jack string, n int) {
	v.Helper()
	from := v.at(jack).count
	v.Until(fmt.Sprintf("%d frames at %s", n, jack), func() error {
		if now := v.at(jack).count; now < from+n {
			return fmt.Errorf("%d came", now-from)
		}
		return nil
	})
}

// carries waits until the cache carries what comes in by a port.
func (v *world) carries(port string) {
	v.Helper()
	v.Until("the cache carries the frames of "+port, func() error {
		f := v.w.Fastpath()
		for _, e := range f.Entries {
			if e.In == port && e.State == "direct" && e.Frames > 20 {
				return nil
			}
		}
		return fmt.Errorf("%+v", f)
	})
}

// through waits until what the station sent so far has come out.
func (v *world) through(at *station) {
	v.Helper()
	n := barriers.Add(1)
	v.Until("a barrier", func() error {
		if j := v.jack(at); j.name == "nic1" {
			v.send(server3, routedBarrier(n))
		} else {
			v.send(at, barrier(0x5254_0000_bc00+frame.MAC(j.name[2]), n))
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if !v.barriers[n] {
			return errNotYet
		}
		return nil
	})
}

// An order is a change that a client asks for while frames go the way that it ends.
type order struct {
	name   string
	from   *station
	in     string // port of entry
	packet packet
	size   int
	old    string // where the frames come out
	new    string // and then; empty: nowhere
	before func(v *world)
	do     func(v *world)
	undo   func(v *world)
}

// plain returns a datagram between two stations, by the station or gateway with address by.
func plain(from *station, by frame.MAC, fromPort uint16, to netip.Addr, port uint16) packet {
	return packet{
		dst: by, src: from.mac, from: netip.AddrPortFrom(from.addr(to.Is6()), fromPort), to: netip.AddrPortFrom(to, port),
		protocol: udp, hops: 64, df: true,
	}
}

func orders(v *world) []order {
	set := func(what string, values map[string]any) func(v *world) {
		return func(v *world) { v.w.Set(what, values) }
	}
	device := func(network string) func(v *world) {
		return func(v *world) {
			v.w.Set("ports/ct1", map[string]any{"network": network, "type": "device"})
			v.w.Up("ct1")
			v.announce(lab3)
		}
	}
	forward := func(to string) func(v *world) {
		return set("networks/default", map[string]any{"forwards": []map[string]any{{"proto": "udp", "port": 8080, "to": to}}})
	}
	route := func(by *station) func(v *world) {
		return set("networks/default", map[string]any{"routes": []map[string]any{{"to": "10.7.0.0/16", "via": by.v4}}})
	}
	lab := plain(lab1, lab3.mac, 5000, lab3.v4, 5000)
	toDefault, toDMZ := v.gateway("default"), v.gateway("dmz")
	return []order{
		{
			name: "a port is removed", from: lab1, in: "vm1", packet: lab, old: "ct1",
			do: func(v *world) { v.w.MustAPI(http.MethodDelete, "/v1/ports/ct1", nil, nil) }, undo: device("lab"),
		},
		{name: "a port goes to another network", from: lab1, in: "vm1", packet: lab, old: "ct1", do: device("other"), undo: device("lab")},
		{
			name: "a station is pinned to another port", from: lab1, in: "vm1", packet: lab, old: "ct1", new: "vm2",
			do: func(v *world) {
				v.w.MustAPI(http.MethodPost, "/v1/fdb", api.Station{Network: "lab", MAC: lab3.mac, Port: "vm2"}, nil)
			},
			undo: func(v *world) {
				v.w.MustAPI(http.MethodDelete, "/v1/fdb?network=lab&mac="+lab3.mac.String(), nil, nil)
				v.announce(lab3)
			},
		},
		{
			name: "a station is seen elsewhere", from: lab1, in: "vm1", packet: lab, old: "ct1", new: "vm2",
			do:   func(v *world) { v.move(lab3, "vm2"); v.announce(lab3); v.through(lab3) },
			undo: func(v *world) { v.move(lab3, "ct1"); v.announce(lab3); v.through(lab3) },
		},
		{
			name: "a smaller MTU", from: lab1, in: "vm1", packet: lab, size: 1400, old: "ct1",
			do: set("networks/lab", map[string]any{"mtu": 1400}), undo: set("networks/lab", map[string]any{"mtu": 1500}),
		},
		{
			name: "a forward leads elsewhere", from: server1, in: "nic0:wire", packet: plain(server1, nic0MAC, 5001, host0[false], 8080), old: "ct2",
			do: forward("192.168.150.12:80"), undo: forward("192.168.150.11:80"),
		},
		{
			name: "a route leads elsewhere", from: nat3, in: "vm4", packet: plain(nat3, toDefault, 5002, behind.v4, 5002), old: "ct2", new: "vm4",
			before: route(nat2), do: route(nat1), undo: route(nat2),
		},
		{
			name: "networks no longer reach each other", from: dmz1, in: "vm5", packet: plain(dmz1, toDMZ, 5003, nat2.v4, 5003), old: "ct2",
			do: set("networks/dmz", map[string]any{"reach": []string{}}), undo: set("networks/dmz", map[string]any{"reach": []string{"default"}}),
		},
		{
			name: "sessions are flushed", from: server1, in: "nic0:wire", packet: plain(server1, nic0MAC, 5004, host0[false], 20004), old: "ct2",
			before: func(v *world) {
				q := plain(nat2, v.gateway("default"), 20004, server1.v4, 5004)
				v.send(nat2, q.build())
				v.through(nat2)
			},
			do: func(v *world) {
				v.w.MustAPI(http.MethodDelete, "/v1/nat?network=default&address="+nat2.v4.String(), nil, nil)
			},
		},
	}
}

// What a client asks for is in force when it has the answer: not one frame that is sent
// later goes the old way.
func TestChangesHoldAtOnce(t *testing.T) {
	t.Parallel()
	v := newWorld(t, "on")
	for _, s := range stations {
		if s.behind == nil {
			v.announce(s)
		}
	}
	for _, o := range orders(v) {
		t.Run(o.name, func(t *testing.T) { v.obeys(t, o) })
	}
	t.Run("a capture sees all that comes later", v.captured)
	t.Run("a port is served no longer", v.unserved)
}

func (v *world) obeys(t *testing.T, o order) {
	if o.before != nil {
		o.before(v)
	}
	s := v.watch(o.from, o.packet, max(o.size, 100))
	v.comes(o.old, 100)
	v.carries(o.in)
	o.do(v)
	last := s.begun.Load()
	v.Until("frames are sent after the answer", func() error {
		if s.begun.Load() < last+800 {
			return errNotYet
		}
		return nil
	})
	if o.new != "" {
		v.comes(o.new, 100)
	}
	s.stop()
	v.through(o.from)
	if got := v.at(o.old); got.last > last {
		t.Errorf("number %d came out at %s, where none after number %d should", got.last, o.old, last)
	}
	if o.undo != nil {
		o.undo(v)
	}
}

// captured starts captures at the two ports of a flow that the cache carries.
func (v *world) captured(t *testing.T) {
	s := v.watch(lab1, plain(lab1, lab3.mac, 5005, lab3.v4, 5005), 100)
	v.comes("ct1", 100)
	for _, port := range []string{"vm1", "ct1"} {
		v.carries("vm1")
		var got bytes.Buffer
		stop := v.w.Capture(port, func(p []byte) { got.Write(p) })
		first := s.begun.Load() + 1
		v.comes("ct1", 2000)
		last := v.at("ct1").last
		stop()
		seen := map[int32]bool{}
		for b := got.Bytes(); ; {
			at := bytes.Index(b, []byte(magic))
			if at < 0 {
				break
			}
			if _, n, ok := markIn(b[at:]); ok {
				seen[n] = true
			}
			b = b[at+1:]
		}
		var missing []int32
		for n := first; n < last-800; n++ { // the last ones may be on their way to the client
			if !seen[n] {
				missing = append(missing, n)
			}
		}
		if len(missing) > 0 {
			t.Errorf("a capture at %s lacks %d of numbers %d to %d, the first %d", port, len(missing), first, last-800, missing[0])
		}
	}
	s.stop()
	v.through(lab1)
}

// unserved turns the cache off for a port, and for all.
func (v *world) unserved(t *testing.T) {
	s := v.watch(lab1, plain(lab1, lab3.mac, 5006, lab3.v4, 5006), 100)
	defer s.stop()
	for _, port := range []string{"vm1", "ct1"} {
		v.comes("ct1", 100)
		v.carries("vm1")
		v.w.Set("ports/"+port, map[string]any{"fastpath": "off"})
		before := v.w.Fastpath().Hits
		v.comes("ct1", 1000)
		f := v.w.Fastpath()
		if f.Hits != before {
			t.Errorf("the cache carried %d frames of a port that it does not serve", f.Hits-before)
		}
		if i := slices.IndexFunc(f.Entries, func(e api.FastpathEntry) bool { return e.In == port || e.Out == port }); i >= 0 {
			t.Errorf("an entry of a port that is not served: %+v", f.Entries[i])
		}
		v.w.Set("ports/"+port, map[string]any{"fastpath": "on"})
	}
	v.carries("vm1")
	if f := v.w.Fastpath(); !f.Enabled || f.Flows == 0 || f.Flows > f.Capacity {
		t.Errorf("weft fastpath: %+v", f)
	}
	for _, args := range [][]string{{"fastpath", "show"}, {"fastpath", "show", "--refused"}} {
		if out := v.w.MustWeft(args...); !strings.Contains(out, "vm1") {
			t.Errorf("weft %v says nothing of vm1: %s", args, out)
		}
	}
	v.w.MustWeft("fastpath", "flush")
}
