package fastpath

import (
	"encoding/binary"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

var (
	sessionWas = ends{end(1, "10.0.0.1", 1001), end(2, "192.0.2.7", 443)}
	sessionIs  = ends{end(3, "203.0.113.9", 40001), end(4, "192.0.2.7", 443)}
)

// segment is one of n bytes.
func segment(seq, ack uint32, window uint16, n int) []byte {
	p := frametest.TCP(sessionWas.src, sessionWas.dst, frametest.Payload(n))
	h := p[frame.EthernetLen+20:]
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	binary.BigEndian.PutUint16(h[14:], window)
	return p
}

func sessionDecision(t testing.TB) frame.Decision {
	d := routed(t, builds[1](sessionWas, 0), hop(builds[1](sessionIs, 0)))
	d.Session = 7
	d.RestsOn[4] = frame.SessionSubject(7)
	return d
}

// The translator can ask what the last segment said.
func TestSeen(t *testing.T) {
	r := newRig(t, Config{})
	d := sessionDecision(t)
	want := func(what string, want frame.TCPSeen) {
		t.Helper()
		if got, ok := r.Seen(7, false); !ok || got != want {
			t.Errorf("%s: %+v, %t; want %+v", what, got, ok, want)
		}
	}
	none := func(what string) {
		t.Helper()
		if got, ok := r.Seen(7, false); ok {
			t.Errorf("%s: %+v, want nothing", what, got)
		}
	}
	forward := func(p []byte, o frame.Offload) {
		t.Helper()
		if got, _ := r.send(p, o); got == nil {
			t.Fatal("not forwarded")
		}
	}
	none("unknown")
	r.learn(d)
	none("before any segment")
	forward(segment(1000, 77, 500, 100), frame.Offload{})
	want("a segment", frame.TCPSeen{Next: 1100, Ack: 77, Window: 500})
	super := frametest.Superframe{Src: sessionWas.src, Dst: sessionWas.dst, GSO: frame.GSOTCPv4, Seq: 0xffff_ff00, Len: 5000, SegSize: 1000}
	forward(super.Bytes(), super.Offload())
	seen := frame.TCPSeen{Next: 5000 - 256, Ack: 1, Window: 0xffff}
	want("a superframe", seen)
	if _, ok := r.Seen(7, true); ok {
		t.Error("something was seen of the other direction")
	}
	r.Changed(frame.PortSubject(portA))
	want("when the way changed", seen)
	r.learn(d)
	want("on another way", seen)
	r.Flush()
	r.Harvest()
	want("forgotten", seen)
	r.learn(d)
	forward(segment(5, 6, 7, 8), frame.Offload{})
	want("remembered anew", frame.TCPSeen{Next: 13, Ack: 6, Window: 7})
	r.Changed(frame.SessionSubject(7))
	none("changed")
	r.learn(d) // another session that has the number
	none("another session")
	r.Flush()
	r.Changed(frame.SessionSubject(7))
	r.Harvest()
	if len(r.sessions) != 0 {
		t.Errorf("%v is kept of sessions that are over", r.sessions)
	}
}

// The next process learns what the last knew from the programs that it left.
func TestLeft(t *testing.T) {
	r := newRig(t, Config{})
	h := newTAP(t, "h")
	const portH = 3
	must(t, r.SetPort(portH, Port{Index: h.index, Queue: h.index, Side: HostTAP}))
	session := sessionDecision(t)
	session.Neighbor = 5
	r.learn(session)
	if got, _ := r.send(segment(1000, 77, 500, 100), frame.Offload{}); got == nil {
		t.Fatal("not forwarded")
	}
	back := bridged(t, frametest.UDP(frametest.Station(8), frametest.Station(9), nil))
	back.In, back.Out = portH, portA
	r.learn(back)
	gone := bridged(t, stationsOf(1))
	gone.RestsOn[5] = frame.NeighborSubject(1)
	r.learn(gone)
	r.Changed(frame.NeighborSubject(1))

	ingress, egress := r.Programs()
	left, err := Left(ingress, egress)
	must(t, err)
	if len(left) != 2 {
		t.Fatalf("left: %+v, want two", left)
	}
	for _, l := range left {
		want := LeftEntry{In: Port{Index: r.a.index, Queue: r.queue.index}, Out: Port{Index: r.b.index}, Was: session.Was, Is: session.Is, ByFlow: true}
		if !l.ByFlow {
			want = LeftEntry{In: Port{Index: h.index, Queue: h.index, Side: HostTAP}, Out: Port{Index: r.a.index}, Was: stationsOnly(back.Was), Is: stationsOnly(back.Is)}
		} else {
			want.Basis = frame.Basis{Routed: true, Session: 7, Neighbor: 5}
			want.Seen = frame.TCPSeen{Next: 1100, Ack: 77, Window: 500}
		}
		want.Was.Hops, want.Is.Hops = 0, 0
		want.At, want.Basis.Idle = l.At, l.Basis.Idle
		if l != want || l.At > patience || l.Basis.Idle == 0 {
			t.Errorf("left: %+v, want %+v", l, want)
		}
	}
	if _, err := Left(floor(t, 1)); err == nil {
		t.Error("something was read from a program that is none of ours")
	}
}

func stationsOnly(f frame.Flow) frame.Flow { return frame.Flow{Dst: f.Dst, Src: f.Src, Tag: f.Tag} }
