package vswitch

import (
	"testing"
	"time"

	"weft/frame"
)

type routerFunc func(bufs []*frame.Buf)

func (f routerFunc) Route(_ time.Duration, bufs []*frame.Buf) { f(bufs) }

// A lan is a network with a gateway: its interface of layer 3, and a guest.
type lan struct {
	gateway, guest       *plug
	gatewayMAC, guestMAC frame.MAC
}

func (r *rig) lan(n int, group uint8, router Router) lan {
	r.t.Helper()
	l := lan{gatewayMAC: mac(10 * n), guestMAC: mac(10*n + 1)}
	id := r.network(NetworkConfig{})
	l.gateway = r.port(PortConfig{Network: id, Router: router, Group: group, Static: []frame.MAC{l.gatewayMAC}})
	l.guest = r.port(PortConfig{Network: id, Group: group})
	r.send(l.guest, ether(frame.Broadcast, l.guestMAC)) // to be learned
	l.gateway.sent = nil
	return l
}

func TestRouterDecidesBeforeItsPort(t *testing.T) {
	r := newRig(t, Config{})
	var a, b lan
	verdict := func(*frame.Buf) {}
	router := routerFunc(func(bufs []*frame.Buf) {
		for _, buf := range bufs {
			if buf.In != a.guest.id || buf.Out != a.gateway.id {
				t.Errorf("offered a frame from port %d to port %d, want %d and %d", buf.In, buf.Out, a.guest.id, a.gateway.id)
			}
			verdict(buf)
		}
	})
	a, b = r.lan(1, 0, router), r.lan(2, 1, router) // b's guest shares its gateway's segment, as a wire does with the host

	f := ether(a.gatewayMAC, a.guestMAC)
	r.send(a.guest, f, ether(frame.Broadcast, a.guestMAC), f)
	r.expect(a.gateway, ether(frame.Broadcast, a.guestMAC), f, f) // left alone: the port's

	onward := func(dst frame.MAC) func(*frame.Buf) {
		return func(buf *frame.Buf) {
			dst.Put(buf.Bytes())
			b.gatewayMAC.Put(buf.Bytes()[6:])
			buf.In = b.gateway.id
		}
	}
	verdict = onward(b.guestMAC)
	r.send(a.guest, f)
	r.expect(a.gateway)
	r.expect(b.guest, ether(b.guestMAC, b.gatewayMAC)) // split horizon does not hold

	verdict = onward(mac(99))
	r.send(a.guest, f)
	r.expect(b.guest, ether(mac(99), b.gatewayMAC)) // unknown there: flooded
	r.expect(b.gateway)

	verdict = onward(b.gatewayMAC)
	r.send(a.guest, f)
	r.expect(b.gateway)
	verdict = func(buf *frame.Buf) { buf.In = b.guest.id } // no interface
	r.send(a.guest, f)
	verdict = func(buf *frame.Buf) { buf.Drop(frame.DropNoRoute) }
	r.send(a.guest, f)
	verdict = func(buf *frame.Buf) { buf.Drop(frame.Taken) }
	r.send(a.guest, f)
	r.expectDrops(a.guest, drops{
		frame.DropHairpin: 1, frame.DropEgressBlocked: 1, frame.DropNoRoute: 1,
		frame.DropNoMember: 0,
	})
	if c := r.counters(a.guest); c.Taken != 1 {
		t.Errorf("taken %d, want 1", c.Taken)
	}
	if got := r.where(0, b.gatewayMAC); got != b.gateway.id {
		t.Errorf("the gateway's address moved to port %d", got)
	}
}

func TestTakenFramesAreLearned(t *testing.T) {
	r := newRig(t, Config{})
	take := stageFunc(func(_ time.Duration, bufs []*frame.Buf) {
		for _, b := range bufs {
			b.Drop(frame.Taken)
		}
	})
	id := r.network(NetworkConfig{Stages: []Stage{take}})
	in, out := r.port(PortConfig{Network: id}), r.port(PortConfig{Network: id})
	r.send(in, ether(frame.Broadcast, mac(1)))
	r.expect(out)
	if c := r.counters(in); c.Taken != 1 || c.Learned != 1 {
		t.Errorf("taken %d, learned %d, want 1 each", c.Taken, c.Learned)
	}
	r.expectDrops(in, nil)
}

func TestInject(t *testing.T) {
	r := newRig(t, Config{})
	seen := 0
	l := r.lan(1, 0, routerFunc(func(bufs []*frame.Buf) { seen += len(bufs) }))
	own, held := ether(l.guestMAC, l.gatewayMAC), ether(l.gatewayMAC, l.guestMAC)
	buf := frame.NewBufs(1)[0]
	inject := func(in frame.PortID, f []byte) bool {
		buf.SetBytes(f)
		buf.Drop(frame.Taken) // of the original, not of the copy
		return r.Inject(in, buf)
	}
	if !inject(l.gateway.id, own) || !inject(l.guest.id, held) || !inject(999, own) {
		t.Fatal("no room")
	}
	r.w.serveInjected()
	r.expect(l.guest, own)    // as one that leaves by the interface
	r.expect(l.gateway, held) // as one that came from the guest
	if seen != 1 {
		t.Errorf("the router saw %d frames, want that of the guest", seen)
	}

	n := 0
	for inject(l.gateway.id, own) {
		n++
	}
	if n != maxInjected/2 {
		t.Errorf("room for %d frames of one cause, want %d", n, maxInjected/2)
	}
	buf.In = l.guest.id // another's
	for others := range maxInjected / 4 {
		if !r.Inject(l.gateway.id, buf) {
			t.Fatalf("room for %d frames of another cause, want %d", others, maxInjected/4)
		}
		n++
	}
	r.w.serveInjected()
	if len(l.guest.sent) != n {
		t.Errorf("%d frames came, want %d", len(l.guest.sent), n)
	}
	if !inject(l.gateway.id, own) {
		t.Error("no room although all were relayed")
	}
}

// What was injected is relayed though its port is removed right after, or the switch ends.
func TestInjectedIsRelayedBeforeTheEnd(t *testing.T) {
	r := newRig(t, Config{})
	p := r.ports(3)
	r.pump(p[0]) // the worker knows the ports
	inject := func(in *plug) {
		t.Helper()
		b := frame.NewBufs(1)[0]
		b.SetBytes(ether(frame.Broadcast, mac(1)))
		if !r.Inject(in.id, b) {
			t.Fatal("no room")
		}
	}
	inject(p[0])
	if err := r.RemovePort(p[0].id); err != nil {
		t.Fatal(err)
	}
	r.w.follow()
	r.expect(p[2], ether(frame.Broadcast, mac(1)))

	inject(p[1])
	r.w.stop.Store(true)
	r.w.run()
	r.expect(p[2], ether(frame.Broadcast, mac(1)))
}
