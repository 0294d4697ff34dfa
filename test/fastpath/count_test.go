package fastpath

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"weft/frame"
	"weft/internal/control/api"
	"weft/test/lab"
)

// What the cache carries is counted as if the switch had: frames, bytes, segments, both ways.
func TestCounters(t *testing.T) {
	t.Parallel()
	const a, b frame.MAC = 0x5254_0000_0001, 0x5254_0000_0002
	r := newRoom(t, "", "vm1", "ct2")
	vm1, ct2 := r.ports["vm1"], r.ports["ct2"]
	_ = vm1.Send([frame.VirtioLen]byte{}, barrier(a, 0).bytes)
	_ = ct2.Send([frame.VirtioLen]byte{}, barrier(b, 0).bytes)
	r.settle(vm1, ct2)
	r.settle(ct2, vm1)
	for _, way := range []struct {
		from, to *receiver
		dst, src frame.MAC
	}{{vm1, ct2, b, a}, {ct2, vm1, a, b}} {
		for _, size := range []int{60, 61, 600, 1514} {
			rx, tx, hits := r.w.Counters(way.from.name), r.w.Counters(way.to.name), r.w.Fastpath().Hits
			const frames = 2000
			sent := way.to.count.Load()
			f := numbered(way.dst, way.src, size)
			for n := range uint64(frames) {
				sent++
				number(f, sent)
				if err := way.from.Send([frame.VirtioLen]byte{}, f); err != nil {
					t.Fatal(err)
				}
				if n%64 == 0 {
					way.to.awaits(sent) // no faster than the receiver
				}
			}
			way.to.awaits(sent)
			gotRx, gotTx := r.w.Counters(way.from.name), r.w.Counters(way.to.name)
			for _, c := range []struct {
				name      string
				got, want uint64
			}{
				{"rx_frames", gotRx.RxFrames - rx.RxFrames, frames},
				{"rx_bytes", gotRx.RxBytes - rx.RxBytes, frames * uint64(size)},
				{"rx_segments", gotRx.RxSegments - rx.RxSegments, frames},
				{"tx_frames", gotTx.TxFrames - tx.TxFrames, frames},
				{"tx_bytes", gotTx.TxBytes - tx.TxBytes, frames * uint64(size)},
				{"tx_segments", gotTx.TxSegments - tx.TxSegments, frames},
			} {
				if c.got != c.want {
					t.Errorf("%s to %s, %d bytes: %s grew by %d, want %d", way.from.name, way.to.name, size, c.name, c.got, c.want)
				}
			}
			if hits = r.w.Fastpath().Hits - hits; hits < frames/2 {
				t.Errorf("%s to %s, %d bytes: the cache carried %d of %d", way.from.name, way.to.name, size, hits, frames)
			}
		}
	}
}

// awaits waits until n numbered frames have come in all.
func (r *receiver) awaits(n uint64) {
	r.lab.Helper()
	r.lab.Until(fmt.Sprintf("%d frames at %s", n, r.name), func() error {
		if now := r.count.Load(); now != n {
			return fmt.Errorf("%d have come", now)
		}
		return nil
	})
}

// Stations that speak through the cache alone stay known, and those that are silent do
// not, whoever speaks to them.
func TestStationsAge(t *testing.T) {
	t.Parallel()
	const speaker, listener frame.MAC = 0x5254_0000_0001, 0x5254_0000_0002
	r := newRoom(t, ", ageing: 10s", "vm1", "vm2", "vm3")
	vm1, vm2, vm3 := r.ports["vm1"], r.ports["vm2"], r.ports["vm3"]
	_ = vm2.Send([frame.VirtioLen]byte{}, barrier(listener, 0).bytes)
	r.settle(vm2, vm1)
	start := time.Now()
	stop := trickle(vm1, numbered(listener, speaker, 60))
	r.direct("vm1")
	r.Until("what is for a silent station is flooded", func() error {
		if vm3.count.Load() == 0 {
			return errNotYet
		}
		return nil
	})
	if after := time.Since(start); after < 9*time.Second {
		t.Errorf("a station was forgotten after %v, want 10 s", after)
	}
	r.Until("the listener is forgotten", func() error {
		for _, s := range r.w.Stations("lab") {
			if s.MAC == listener {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})

	t.Log("it speaks again, and both go on by the cache")
	back := trickle(vm2, numbered(speaker, listener, 60))
	r.direct("vm2")
	r.direct("vm1")
	for start := time.Now(); time.Since(start) < 13*time.Second; {
		vm1.await(100)
		for _, mac := range []frame.MAC{speaker, listener} {
			if !slices.ContainsFunc(r.w.Stations("lab"), func(s api.Station) bool { return s.MAC == mac && s.Age < 5 }) {
				t.Fatalf("%v speaks through the cache, and is not a fresh station: %+v", mac, r.w.Stations("lab"))
			}
		}
	}
	before := r.w.Fastpath()
	vm2.await(100)
	if after := r.w.Fastpath(); after.Hits < before.Hits+100 {
		t.Errorf("the cache carried %d frames of 100 and more", after.Hits-before.Hits)
	}
	stop()
	back()
	r.Until("silent stations are forgotten", func() error {
		for _, s := range r.w.Stations("lab") {
			if s.MAC == listener || s.MAC == speaker {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
}

// trickle sends numbered frames slowly, until it is stopped.
func trickle(from nic, f []byte) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := uint64(1); ; n++ {
			number(f, n)
			_ = from.Send([frame.VirtioLen]byte{}, f)
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(done); <-ended }
}

// The cache has no part in sessions of five seconds and less.
const impatient = `
networks:
  - name: default
    dhcp: {enabled: false}
    dns: {enabled: false}
    nat: {udp: 6s, icmp: 6s, tcp-established: 6s, tcp-closing: 4s}
ports:
  - {name: ct3, type: device}
`

// impatientTown is one whose only guest is behind NAT with short timers.
func impatientTown(t *testing.T) *town {
	t.Helper()
	l := lab.New(t)
	o := &town{Lab: l, hv: l.NS("hv")}
	o.Outside = l.Outside(o.hv, "nic0")
	o.c = o.guest("ct3", "192.168.150.10/24", "fd5a:150::10/64")
	for _, f := range lab.Families {
		o.c.Run("ip %s route add default via %s", f.Version, f.Gateway)
	}
	o.patient(o.c)
	o.w = o.hv.NewWeftd(impatient)
	o.w.Wrapper = o.hv.Own()
	o.w.Start()
	o.w.Up("ct3", "nic0:host")
	return o
}

// Sessions whose packets the cache alone sees live on, and end by their timers when there
// are none; TCP's end is seen.
func TestSessionsLiveOn(t *testing.T) {
	t.Parallel()
	o := impatientTown(t)
	var all []flow
	var connections []*stream
	for _, f := range lab.Families {
		s := pour(o.Lab, o.c, o.Server, f.Server)
		connections = append(connections, s)
		all = append(all, askUDP(o.Lab, o.c, o.Server, f.Server), s)
	}
	o.cached(0, 8)
	was := inner(o.w.Sessions())
	before := o.w.Fastpath()
	o.goOn("traffic goes on", all, 13*time.Second, 1000) // more than twice the timers
	if now := inner(o.w.Sessions()); !reflect.DeepEqual(now, was) {
		t.Errorf("sessions are\n%v, were\n%v", now, was)
	}
	if f := o.w.Fastpath(); f.Hits < before.Hits+8000 {
		t.Errorf("the cache carried %d frames of 8000 and more: %v, refused %v", f.Hits-before.Hits, f.Misses, f.Refused)
	}
	for _, f := range all {
		f.check(o.Lab)
	}

	t.Log("connections end")
	for _, s := range connections {
		_ = s.to.Close()
		at := netip.MustParseAddrPort(s.from.LocalAddr().String())
		o.Until("the session of a connection that ended is closing", func() error {
			all := o.w.Sessions()
			if !slices.ContainsFunc(all, func(n api.NATSession) bool { return n.Inside == at && n.State == "closing" }) {
				return fmt.Errorf("%+v", all)
			}
			return nil
		})
	}
	o.Until("idle sessions are gone", func() error {
		if s := o.w.Sessions(); len(s) > 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	o.Until("and their entries", func() error {
		for _, e := range o.w.Fastpath().Entries {
			if e.Kind == "flow" {
				return fmt.Errorf("%+v", e)
			}
		}
		return nil
	})
}

// inner returns the sessions' endpoints.
func inner(all []api.NATSession) map[netip.AddrPort]netip.AddrPort {
	ends := map[netip.AddrPort]netip.AddrPort{}
	for _, s := range all {
		ends[s.Inside] = s.Outside
	}
	return ends
}

// A UDP session to which only the outside sends ends by its timer (RFC 4787 REQ-6): the cache
// keeps none alive that weft itself would not.
func TestOutsideKeepsNoSession(t *testing.T) {
	t.Parallel()
	o := impatientTown(t)
	f := lab.Families[0]
	server := o.Server.ListenUDP(net.JoinHostPort(f.Server, "5000"))
	start := time.Now()
	guest := o.c.MustDial("udp", net.JoinHostPort(f.Server, "5000"))
	if _, err := guest.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	_, seen, err := server.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for came := 0; ; came++ {
		<-tick.C
		if _, err := server.WriteToUDPAddrPort([]byte("!"), seen); err != nil {
			t.Fatal(err)
		}
		if err := guest.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := guest.Read(b); err != nil {
			t.Logf("%d answers in %v: %v", came, time.Since(start), err)
			break
		}
		if alive := time.Since(start); alive > 12*time.Second {
			t.Fatalf("a session of 6 s lives for %v by what comes from outside", alive)
		}
	}
	if alive := time.Since(start); alive < 6*time.Second {
		t.Errorf("a session of 6 s lived for %v", alive)
	}
	if hits := o.w.Fastpath().Hits; hits < 500 {
		t.Errorf("the cache carried %d frames", hits)
	}
	if s := o.w.Sessions(); len(s) > 0 {
		t.Errorf("sessions: %+v", s)
	}
}
