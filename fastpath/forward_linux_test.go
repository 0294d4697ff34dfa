package fastpath

import (
	"bytes"
	"os"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

var plainFrame = frametest.UDP(frametest.Station(1), frametest.Station(2), frametest.Payload(50))

// goes sends a frame, and says whether it went directly.
func (r *rig) goes() bool {
	r.Helper()
	got, _ := r.send(plainFrame, frame.Offload{})
	return got != nil
}

func (r *rig) want(direct bool, what string) {
	r.Helper()
	if r.goes() != direct {
		r.Errorf("%s: forwarded %t, want %t; %v", what, !direct, direct, r.Stats().Misses)
	}
}

// A flow goes directly once what went before it to the switch has left there.
func TestHandOver(t *testing.T) {
	r := newRig(t, Config{})
	d := bridged(t, plainFrame)
	r.want(false, "unknown")
	if n, waits := r.Arrived(portA); n != 0 || waits {
		t.Errorf("%d frames have arrived, %t", n, waits)
	}
	r.remember(d)
	r.want(false, "the first")
	r.want(false, "the second, while the first may be in the queue")
	n, waits := r.Arrived(portA)
	if n != 2 || !waits {
		t.Errorf("%d frames have arrived, %t; want 2 that are waited for", n, waits)
	}
	r.Drained(portA, n-1)
	r.want(false, "while the second is in the queue")
	r.Drained(portA, n+1)
	if _, waits := r.Arrived(portA); waits {
		t.Error("more is waited for")
	}
	r.want(true, "behind all")
	r.remember(d)
	r.want(true, "when the switch decides the same")
	r.Drained(portA, n-1) // late
	r.want(true, "for good")
	long := frametest.UDP(frametest.Station(1), frametest.Station(2), frametest.Payload(100))
	d.MTU = len(plainFrame) - frame.EthernetLen
	r.learn(d)
	if got, _ := r.send(long, frame.Offload{}); got != nil {
		t.Error("a frame that is too long was forwarded")
	}
	r.want(false, "behind an exception")
}

// When the queue takes no more, what comes meanwhile is dropped instead of overtaking.
func TestOverrun(t *testing.T) {
	r := newRig(t, Config{})
	for range queueLen {
		r.a.write(t, plainFrame, frame.Offload{})
	}
	r.remember(bridged(t, plainFrame))
	for range 3 { // the first finds no room, which the queue's device counts
		r.a.write(t, plainFrame, frame.Offload{})
	}
	if n := r.Counters()[portA].Lost; n != 2 {
		t.Errorf("%d frames were lost, want 2", n)
	}
	r.b.silent(t, "while the queue is full")
	for p, _ := r.queue.read(t); p != nil; p, _ = r.queue.read(t) {
	}
	n, waits := r.Arrived(portA)
	if !waits {
		t.Error("nobody waits for the queue")
	}
	r.Drained(portA, n)
	r.want(true, "behind all")
}

// A decision is used no more as soon as anything changed that it rests on.
func TestChanges(t *testing.T) {
	r := newRig(t, Config{})
	d := bridged(t, plainFrame)
	d.RestsOn[4], d.RestsOn[5] = frame.SessionSubject(7), frame.NeighborSubject(8)
	for _, s := range append(d.RestsOn[:], frame.Everything) {
		r.learn(d)
		r.want(true, "remembered")
		r.Changed(s)
		r.want(false, "changed")
	}
	r.learn(d)
	for _, s := range []frame.Subject{frame.PortSubject(9), frame.StationSubject(0, 9), frame.SessionSubject(9), frame.NeighborSubject(9)} {
		r.Changed(s)
	}
	r.want(true, "when others changed")
}

// Subjects share the place of their changes by chance only.
func TestSubjectsSpread(t *testing.T) {
	r := newRig(t, Config{})
	seen := map[uint16]bool{}
	const each = 256
	for n := range uint32(each) {
		for _, s := range []frame.Subject{
			frame.PortSubject(frame.PortID(n)), frame.StationSubject(1, frame.MAC(n)),
			frame.SessionSubject(n), frame.NeighborSubject(n),
		} {
			seen[r.slot(s)] = true
		}
	}
	if n := 4*each - len(seen); n > 50 { // 8 are to be expected
		t.Errorf("%d of %d subjects share a place with another", n, 4*each)
	}
	if seen[0] || r.slot(frame.Everything) != 0 {
		t.Error("Everything shares its place")
	}
}

// What was decided before a change is not remembered after it.
func TestRememberedTooLate(t *testing.T) {
	r := newRig(t, Config{})
	d := bridged(t, plainFrame)
	since := r.Mark()
	r.Changed(frame.StationSubject(0, d.Was.Src))
	r.Remember(&d, since)
	r.open()
	r.want(false, "decided before the change")
	if n := r.Stats().Refused[frame.RefusedChanged.String()]; n != 1 {
		t.Errorf("%d decisions were refused for it, want 1", n)
	}
	since = r.Mark()
	r.Changed(frame.StationSubject(0, 9))
	r.Remember(&d, since)
	r.open()
	r.want(true, "decided before the change of something else")
}

// A decision is used as long as frames come, and for some time after the last.
func TestIdle(t *testing.T) {
	r := newRig(t, Config{})
	d := bridged(t, plainFrame)
	d.Idle = time.Minute
	r.learn(d)
	age := func(by time.Duration) {
		for i := range r.records[:r.unused] {
			r.records[i].Used -= uint32(by / r.clock.tick)
		}
	}
	for range 3 {
		age(59 * time.Second)
		r.want(true, "not for a minute")
	}
	age(61 * time.Second)
	r.want(false, "not for more than a minute")
	r.want(false, "still")
	r.learn(d)
	r.want(true, "decided again")
	age(61 * time.Second)
	r.Harvest()
	if n := r.Stats().Flows; n != 0 {
		t.Errorf("%d decisions are left, want none", n)
	}
}

// What changes its way follows at once.
func TestAnotherDecision(t *testing.T) {
	r := newRig(t, Config{})
	c := newTAP(t, "c")
	must(t, r.SetPort(3, Port{Index: c.index, Queue: r.queue.index}))
	d := bridged(t, plainFrame)
	r.learn(d)
	r.want(true, "as before")
	d.Out = 3
	r.learn(d)
	r.a.write(t, plainFrame, frame.Offload{})
	r.b.silent(t, "moved")
	if p, _ := c.read(t); p == nil {
		t.Error("nothing arrived at the new port")
	}
	if n := r.Stats().Flows; n != 1 {
		t.Errorf("%d decisions, want one", n)
	}
}

func TestRemovePort(t *testing.T) {
	for _, gone := range []frame.PortID{portA, portB} {
		r := newRig(t, Config{})
		d := bridged(t, plainFrame)
		r.learn(d)
		if !r.Serves(gone) {
			t.Errorf("port %d is not served", gone)
		}
		r.RemovePort(gone)
		if r.Serves(gone) {
			t.Errorf("port %d is served", gone)
		}
		r.want(false, "without the port")
		r.Remember(&d, r.Mark())
		r.Harvest()
		s := r.Stats()
		if s.Flows != 0 || s.Refused[frame.RefusedPort.String()] != 1 || len(r.retired) != 0 {
			t.Errorf("%+v, %d records are not free", s, len(r.retired))
		}
	}
}

func TestFlush(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(bridged(t, plainFrame))
	r.Flush()
	r.want(false, "flushed")
	if n := r.Stats().Flows; n != 0 {
		t.Errorf("%d decisions are left", n)
	}
	r.learn(bridged(t, plainFrame))
	r.want(true, "remembered anew")
}

// Decisions that the kernel cannot repeat are refused, for a reason.
func TestRefusals(t *testing.T) {
	r := newRig(t, Config{})
	was := ends{end(1, "10.0.0.1", 1001), end(2, "192.0.2.7", 443)}
	is := ends{end(3, "203.0.113.9", 40001), end(4, "192.0.2.7", 443)}
	p := builds[0](was, 0)
	good := routed(t, p, hop(builds[0](is, 0)))
	for _, c := range []struct {
		name   string
		change func(d *frame.Decision)
		want   frame.Refusal
	}{
		{"none", func(*frame.Decision) {}, 0},
		{"to its own port", func(d *frame.Decision) { d.Out = d.In }, frame.RefusedPort},
		{"from no port", func(d *frame.Decision) { d.In = 9 }, frame.RefusedPort},
		{"to no port", func(d *frame.Decision) { d.Out = 9 }, frame.RefusedPort},
		{"once", func(d *frame.Decision) { d.Once = true }, frame.RefusedOnce},
		{"a group", func(d *frame.Decision) { d.Was.Dst = frame.Broadcast }, frame.RefusedFlooded},
		{"to a group", func(d *frame.Decision) { d.Is.Dst = frame.Broadcast }, frame.RefusedRewrite},
		{"another tag", func(d *frame.Decision) { d.Is.Tag = frame.TagPresent | 1 }, frame.RefusedRewrite},
		{"no flow", func(d *frame.Decision) { d.Was = frame.Flow{Dst: d.Was.Dst, Src: d.Was.Src} }, frame.RefusedKind},
		{"two hops", func(d *frame.Decision) { d.Is.Hops-- }, frame.RefusedRewrite},
		{"a hop more", func(d *frame.Decision) { d.Is.Hops = d.Was.Hops + 1 }, frame.RefusedRewrite},
		{"another version", func(d *frame.Decision) { d.Is.Version = 6 }, frame.RefusedRewrite},
		{"another protocol", func(d *frame.Decision) { d.Is.Protocol = frame.ProtocolTCP }, frame.RefusedRewrite},
		{"rewritten, but not by flow", func(d *frame.Decision) { d.ByFlow = false }, frame.RefusedRewrite},
		{"DHCP", func(d *frame.Decision) { d.Was.DstPort = 67 }, frame.RefusedKind},
		{"DHCPv6", func(d *frame.Decision) { d.Was.SrcPort = 547 }, frame.RefusedKind},
	} {
		d := good
		c.change(&d)
		before := r.Stats()
		r.Remember(&d, r.Mark())
		after := r.Stats()
		if c.want == 0 {
			if after.Flows != before.Flows+1 {
				t.Errorf("%s: not remembered: %v", c.name, after.Refused)
			}
			continue
		}
		if after.Flows != before.Flows || after.Refused[c.want.String()] != before.Refused[c.want.String()]+1 {
			t.Errorf("%s: %v after %v, want %v", c.name, after.Refused, before.Refused, c.want)
		}
		for last := range r.Refusals {
			if last.Why != c.want || last.In != d.In || last.Was != d.Was {
				t.Errorf("%s: the last refusal is %+v", c.name, last)
			}
			break
		}
	}
}

// An exception that the full queue of others loses holds up nothing.
func TestLostExceptionHoldsNothingUp(t *testing.T) {
	r := newRig(t, Config{})
	r.learn(bridged(t, plainFrame))
	other := frametest.UDP(frametest.Station(3), frametest.Station(4), nil)
	for range queueLen {
		r.a.write(t, other, frame.Offload{})
	}
	arp := bytes.Clone(plainFrame)
	arp[12], arp[13] = 0x08, 0x06
	r.a.write(t, arp, frame.Offload{})
	r.b.silent(t, "an exception, for which there is no room")
	r.a.write(t, plainFrame, frame.Offload{})
	if got, _ := r.b.read(t); got == nil {
		t.Error("what came behind it is held")
	}
}

// Without a switch, what is known goes on, also behind a frame that only the switch
// could have judged.
func TestNobodyReadsTheQueue(t *testing.T) {
	r := newRig(t, Config{})
	d := bridged(t, plainFrame)
	r.remember(d)
	r.want(false, "the first")
	arp := bytes.Clone(plainFrame)
	arp[12], arp[13] = 0x08, 0x06
	other := frametest.UDP(frametest.Station(3), frametest.Station(4), nil)
	for range queueLen {
		r.a.write(t, other, frame.Offload{})
	}
	r.a.write(t, plainFrame, frame.Offload{})
	r.b.silent(t, "held behind the first, for which there may be a reader")
	must(t, r.life.Close()) // as when the process ends
	r.a.write(t, plainFrame, frame.Offload{})
	if got, _ := r.b.read(t); got == nil {
		t.Error("held, with nobody to wait for")
	}
	r.a.write(t, arp, frame.Offload{})
	r.b.silent(t, "an exception, which is lost")
	r.a.write(t, plainFrame, frame.Offload{})
	if got, _ := r.b.read(t); got == nil {
		t.Error("held behind a lost exception")
	}
	r.life, _ = os.Open(os.DevNull) // for Close
}
