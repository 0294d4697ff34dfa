package vswitch

import (
	"slices"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// A notebook is a Memory that keeps what it is told.
type notebook struct {
	served    map[frame.PortID]bool // nil: all ports
	decisions []frame.Decision
	refused   []frame.Refusal
	changed   []frame.Subject
	arrived   uint64
	drained   uint64
	waits     bool
}

func (n *notebook) Serves(p frame.PortID) bool { return n.served == nil || n.served[p] }
func (n *notebook) Mark() uint64               { return uint64(len(n.changed)) }
func (n *notebook) Changed(s frame.Subject)    { n.changed = append(n.changed, s) }

func (n *notebook) Remember(d *frame.Decision, since uint64) {
	if since == n.Mark() {
		n.decisions = append(n.decisions, *d)
	}
}

func (n *notebook) Refuse(_ frame.PortID, _ *frame.Flow, why frame.Refusal) {
	n.refused = append(n.refused, why)
}

func (n *notebook) Arrived(frame.PortID) (uint64, bool) { return n.arrived, n.waits }

func (n *notebook) Drained(_ frame.PortID, arrived uint64) {
	n.drained, n.waits = arrived, arrived < n.arrived
}

// tell returns what was noted since the last call.
func (n *notebook) tell() (decisions []frame.Decision, refused []frame.Refusal, changed []frame.Subject) {
	decisions, refused, changed = n.decisions, n.refused, n.changed
	n.decisions, n.refused, n.changed = nil, nil, nil
	return decisions, refused, changed
}

func TestMemoryIsToldOfKnownUnicast(t *testing.T) {
	n := &notebook{}
	r := newRig(t, Config{Memory: n})
	a, b := r.port(PortConfig{}), r.port(PortConfig{MTU: 1400, Pad: true})
	r.send(a, ether(mac(2), mac(1)))
	if d, refused, _ := n.tell(); len(d) != 0 || len(refused) != 1 || refused[0] != frame.RefusedFlooded {
		t.Errorf("of a flooded frame the memory was told %v, %v", d, refused)
	}
	r.send(a, ether(frame.Broadcast, mac(1)))
	r.send(b, ether(mac(1), mac(2)))
	d, refused, _ := n.tell()
	if len(d) != 1 || len(refused) != 0 {
		t.Fatalf("the memory was told %v, %v, want one decision", d, refused)
	}
	want := frame.Decision{In: b.id, Out: a.id, Was: frame.Flow{Dst: mac(1), Src: mac(2)}, Is: frame.Flow{Dst: mac(1), Src: mac(2)}}
	want.RestsOn = [...]frame.Subject{
		frame.PortSubject(b.id), frame.PortSubject(a.id), frame.StationSubject(uint16(r.net), mac(2)), frame.StationSubject(uint16(r.net), mac(1)), 0, 0,
	}
	if d[0] != want {
		t.Errorf("the memory was told %+v, want %+v", d[0], want)
	}
	r.send(a, ether(mac(2), mac(1)))
	if d, _, _ := n.tell(); len(d) != 1 || d[0].MTU != 1400 || d[0].Least != frame.MinLen {
		t.Errorf("the memory was told %+v, want the limits of the way out", d)
	}
}

func TestMemoryIsNotTold(t *testing.T) {
	n := &notebook{served: map[frame.PortID]bool{}}
	r := newRig(t, Config{Memory: n})
	packet := stageFunc(func(time.Duration, []*frame.Buf) {})
	watched := r.network(NetworkConfig{Stages: []Stage{packet}})
	limited := r.network(NetworkConfig{Stations: 1})
	for _, c := range []struct {
		name string
		port PortConfig
		want frame.Refusal
	}{
		{"a stage for each packet", PortConfig{Network: watched}, frame.RefusedStage},
		{"a source beyond the limit", PortConfig{Network: limited}, frame.RefusedSource},
	} {
		a, b := r.port(c.port), r.port(c.port)
		n.served[a.id], n.served[b.id] = true, true
		r.send(b, ether(frame.Broadcast, mac(2)))
		n.tell()
		r.send(a, ether(mac(2), mac(1)))
		if d, refused, _ := n.tell(); len(d) != 0 || len(refused) != 1 || refused[0] != c.want {
			t.Errorf("%s: the memory was told %v, %v, want %v", c.name, d, refused, c.want)
		}
	}
	a, b := r.port(PortConfig{}), r.port(PortConfig{})
	r.send(b, ether(frame.Broadcast, mac(2)))
	r.send(a, ether(mac(2), mac(1)))
	if d, refused, _ := n.tell(); len(d)+len(refused) != 0 {
		t.Errorf("of a port that it does not serve the memory was told %v, %v", d, refused)
	}
	n.served[a.id] = true
	for _, p := range []*plug{a, b} {
		if err := r.SetMirror(p.id, &recorder{}); err != nil {
			t.Fatal(err)
		}
		r.send(a, ether(mac(2), mac(1)))
		if d, refused, _ := n.tell(); len(d) != 0 || len(refused) != 1 || refused[0] != frame.RefusedCaptured {
			t.Errorf("while port %d is captured the memory was told %v, %v", p.id, d, refused)
		}
		if err := r.SetMirror(p.id, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.Inject(a.id, bufOf(ether(mac(2), mac(1))))
	r.w.serveInjected()
	n.tell()
	b.sent = nil
	if r.send(a, ether(mac(2), mac(1))); len(n.decisions) != 1 {
		t.Errorf("in the end the memory was told %v, want one decision", n.decisions)
	}
}

func bufOf(p []byte) *frame.Buf {
	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	return b
}

// A recorder counts the frames that it is shown.
type recorder struct{ n int }

func (r *recorder) Mirror(_ time.Duration, _ Direction, bufs []*frame.Buf) { r.n += len(bufs) }

func TestMemoryIsToldWhatRoutersDo(t *testing.T) {
	n := &notebook{}
	r := newRig(t, Config{Memory: n})
	var a, b lan
	once := false
	router := routerFunc(func(bufs []*frame.Buf) {
		for _, buf := range bufs {
			b.guestMAC.Put(buf.Bytes())
			b.gatewayMAC.Put(buf.Bytes()[6:])
			buf.In = b.gateway.id
			buf.Basis = frame.Basis{Once: once, Session: 7, Neighbor: 8}
		}
	})
	a, b = r.lan(1, 0, router), r.lan(2, 0, router)
	n.tell()
	from, to := frametest.Station(1), frametest.Station(2)
	from.MAC, to.MAC = a.guestMAC, a.gatewayMAC
	packet := frametest.UDP(from, to, nil)
	r.send(a.guest, packet)
	d, _, _ := n.tell()
	if len(d) != 1 {
		t.Fatalf("the memory was told %v, want one decision", d)
	}
	got := d[0]
	if got.In != a.guest.id || got.Out != b.guest.id || !got.ByFlow || !got.Routed || got.Was.Dst != a.gatewayMAC || got.Is.Dst != b.guestMAC || got.Was.Version != 4 {
		t.Errorf("the memory was told %+v", got)
	}
	if got.RestsOn[4] != frame.SessionSubject(7) || got.RestsOn[5] != frame.NeighborSubject(8) {
		t.Errorf("it rests on %v", got.RestsOn)
	}
	once = true
	r.send(a.guest, packet)
	if d, refused, _ := n.tell(); len(d) != 0 || len(refused) != 1 || refused[0] != frame.RefusedOnce {
		t.Errorf("of what holds once the memory was told %v, %v", d, refused)
	}
}

func TestMemoryIsToldOfChanges(t *testing.T) {
	n := &notebook{}
	r := newRig(t, Config{Memory: n})
	a, b := r.port(PortConfig{}), r.port(PortConfig{})
	station := func(k int) frame.Subject { return frame.StationSubject(uint16(r.net), mac(k)) }
	hear := func(p *plug, k int) func() { return func() { r.send(p, ether(frame.Broadcast, mac(k))) } }
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	n.tell()
	for _, c := range []struct {
		name string
		do   func()
		want []frame.Subject
	}{
		{"a new station", hear(a, 1), nil},
		{"the station again", hear(a, 1), nil},
		{"the station moved", hear(b, 1), []frame.Subject{station(1)}},
		{"the station aged", func() {
			r.clock += 400 * time.Second
			r.db.removeAll(0, len(r.db.buckets), func(key, entry) bool { return true })
		}, []frame.Subject{station(1)}},
		{"another", hear(a, 2), nil},
		{"a port down", func() { must(r.SetState(a.id, Down)) }, []frame.Subject{frame.PortSubject(a.id), station(2)}},
		{"a port changed", func() { must(r.UpdatePort(b.id, PortConfig{State: Forwarding})) }, []frame.Subject{frame.PortSubject(b.id)}},
		{"a capture", func() { must(r.SetMirror(b.id, &recorder{})) }, []frame.Subject{frame.PortSubject(b.id)}},
		{"a static entry", func() { must(r.AddStation(r.net, mac(3), b.id)) }, nil},
		{"a static entry gone", func() { r.DeleteStation(r.net, mac(3)) }, []frame.Subject{station(3), frame.Everything}},
		{"a network changed", func() { must(r.UpdateNetwork(r.net, NetworkConfig{})) }, []frame.Subject{frame.Everything}},
		{"a port gone", func() { must(r.RemovePort(b.id)) }, []frame.Subject{frame.PortSubject(b.id)}},
	} {
		c.do()
		if _, _, changed := n.tell(); !slices.Equal(changed, c.want) {
			t.Errorf("%s: told of %v, want %v", c.name, changed, c.want)
		}
	}
}

func TestMemoryHearsThatAQueueDrained(t *testing.T) {
	n := &notebook{}
	r := newRig(t, Config{Memory: n})
	a := r.ports(2)[0]
	n.arrived, n.waits = 3, true
	r.send(a, ether(mac(2), mac(1)), ether(mac(2), mac(1)), ether(mac(2), mac(1)))
	if n.drained != 3 {
		t.Errorf("an empty queue: %d drained, want 3", n.drained)
	}
	// One that its last round emptied is read again, though nothing tells of it.
	n.drained, n.waits, n.arrived = 0, true, rounds*batch
	for range rounds * batch {
		a.in = append(a.in, deviceFrame{bytes: ether(mac(2), mac(1))})
	}
	first := r.w.snap.polls[0][0]
	r.w.serve(first)
	if len(a.in) != 0 || !slices.Equal(r.w.unsettled, []int{first.place}) {
		t.Errorf("%d frames left, to be read again: %v", len(a.in), r.w.unsettled)
	}
	r.w.serveAll(r.w.unsettled)
	if n.drained != rounds*batch {
		t.Errorf("a queue read empty by its last round: %d drained, want %d", n.drained, rounds*batch)
	}
	// A queue that is never empty has drained when as much was read as it holds.
	n.drained, n.waits = 0, true
	full := make([]deviceFrame, 2*backlog+10*batch)
	for i := range full {
		full[i].bytes = ether(mac(2), mac(1))
	}
	a.in = full
	q := r.w.snap.polls[0][0]
	for range backlog / batch / rounds / 2 {
		n.arrived += rounds * batch
		r.w.serve(q)
	}
	if n.drained >= n.arrived {
		t.Errorf("%d of %d drained while the queue was never empty", n.drained, n.arrived)
	}
	for n.drained == 0 && len(a.in) > 0 {
		r.w.serve(q)
	}
	if n.drained == 0 || len(a.in) == 0 {
		t.Errorf("%d drained, %d frames left", n.drained, len(a.in))
	}
}

func TestTouchKeepsAStation(t *testing.T) {
	r := newRig(t, Config{})
	a, b := r.port(PortConfig{}), r.port(PortConfig{})
	r.send(a, ether(frame.Broadcast, mac(1)))
	for range 10 {
		r.clock += 100 * time.Second
		r.Touch(a.id, mac(1), time.Second)
		r.Touch(b.id, mac(1), 0) // not there
		r.Touch(a.id, mac(2), 0) // unknown
	}
	if r.where(r.net, mac(1)) != a.id || r.where(r.net, mac(2)) != 0 {
		t.Errorf("stations: %v", r.Stations(r.net))
	}
	r.clock += 400 * time.Second
	if r.where(r.net, mac(1)) != 0 {
		t.Error("the station did not age")
	}
	r.Learn(b.id, mac(1))
	r.Learn(a.id, mac(1)) // stays where it is
	if r.where(r.net, mac(1)) != b.id {
		t.Errorf("stations: %v", r.Stations(r.net))
	}
}
