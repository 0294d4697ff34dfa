package tap

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"weft/frame"
)

func TestFrontSwept(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		newVeth(t, "a0", newPlace(t), "eth0")
		h, err := OpenHost(hostConfig(""))
		must(t, err)
		d, err := AttachDevice("a0", 1500)
		must(t, err)
		p := newCounting(t, "weftfp_in", tcPass).Program
		must(t, d.SetFront(Front{Ingress: p}))
		must(t, h.SetFront(Front{Egress: p}))
		must(t, h.Release())
		must(t, d.Release())
		// Only the fronts are left.
		must(t, removeLink(d.companions[0].link))
		for _, h := range hooks() {
			must(t, h.detach(d.device, ingress, ownSeat))
			must(t, h.detach(d.device, egress, ownSeat))
		}
		_, err = Sweep(func(_ string, as Use) bool { return as == MadeHostPort })
		must(t, err)
		a0, mgmt0 := d.device, h
		for _, h := range hooks() {
			if id, err := h.find(a0, ingress, frontSeat); err != nil || id != 0 {
				t.Errorf("%T: front %d of a0 is still there, %v", h, id, err)
			}
		}
		l, err := linkByName(mgmt0.config.Name)
		must(t, err)
		if id, err := hooks()[0].find(l, egress, frontSeat); err != nil || id == 0 {
			t.Errorf("the front of a host port that is kept is gone, %v", err)
		}
	})
}

func TestFrontOfUplink(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		wire := newPlace(t)
		newVeth(t, "nic0", wire, "eth0", "10.9.0.2/24")
		l, err := linkByName("nic0")
		must(t, err)
		addAddresses(t, &netlink.Handle{}, l, "10.9.0.1/24")
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500})
		must(t, err)
		defer u.Close()
		without := state(t)
		in, out := newCounting(t, "weftfp_in", tcPass), newCounting(t, "weftfp_out", tcPass)
		must(t, u.SetFront(Front{Ingress: in.Program, Egress: out.Program}))
		ping(t, nil, 3, "10.9.0.2")
		if in.count(t) < 3 || out.count(t) < 3 {
			t.Errorf("fronts saw %d frames from the wire and %d from the host, want 3 or more", in.count(t), out.count(t))
		}
		must(t, u.SetFront(Front{}))
		if now := state(t); now != without {
			t.Errorf("left behind:\n%s\nwas:\n%s", now, without)
		}
		if u.Index() != l.Attrs().Index || u.WireCompanion() != u.index(0) || u.HostCompanion() != u.index(1) {
			t.Errorf("indexes %d, %d, %d", u.Index(), u.WireCompanion(), u.HostCompanion())
		}
	})
}

func TestFrontOfHost(t *testing.T) {
	for name, gateway := range map[string]bool{"host port": false, "gateway": true} {
		t.Run(name, func(t *testing.T) {
			eachHook(t, func(t *testing.T) {
				c := hostConfig("")
				c.Gateway = gateway
				h, err := OpenHost(c)
				must(t, err)
				defer h.Close()
				without := state(t)
				l, err := linkByName(c.Name)
				must(t, err)
				if h.Index() != l.Attrs().Index {
					t.Errorf("Index = %d, want %d", h.Index(), l.Attrs().Index)
				}
				passes, drops := newCounting(t, "weftfp_out", tcPass), newCounting(t, "weftfp_out", tcDrop)
				s, err := openSocket(l)
				must(t, err)
				q := &Queue{name: c.Name, out: s, fd: -1}
				defer q.Close()
				for i, step := range []struct {
					front Front
					came  bool
				}{{Front{Egress: passes.Program}, true}, {Front{Egress: drops.Program}, false}, {Front{}, true}} {
					must(t, h.SetFront(step.front))
					b := frame.NewBufs(1)
					b[0].SetBytes(testFrame(everyone, hostMAC, 60))
					_, _ = q.Send(b) // a front's refusal shows as a full queue
					if came := receives(t, h.queue); came != step.came {
						t.Errorf("step %d: came %t, want %t", i, came, step.came)
					}
				}
				if passes.count(t) == 0 || drops.count(t) == 0 {
					t.Errorf("fronts saw %d and %d frames", passes.count(t), drops.count(t))
				}
				if now := state(t); now != without {
					t.Errorf("left behind:\n%s\nwas:\n%s", now, without)
				}
			})
		})
	}
}

// receives reports whether a test frame is in the queue, among what the host says of
// itself.
func receives(t *testing.T, q *Queue) (found bool) {
	t.Helper()
	bufs := frame.NewBufs(8)
	for {
		n, err := q.Recv(bufs)
		must(t, err)
		if n == 0 {
			return found
		}
		for _, b := range bufs[:n] {
			found = found || frame.Ethernet(b.Bytes()).Type() == testType
		}
	}
}

func TestFrontStaysAtHome(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		_, away := namedPlace(t, "away")
		h, err := OpenHost(hostConfig(""))
		must(t, err)
		p := newCounting(t, "weftfp_out", tcPass).Program
		must(t, h.SetFront(Front{Egress: p}))
		fronted := func() bool {
			l := linkAt(t, away, "mgmt0")
			var id ebpf.ProgramID
			must(t, away.do(func() (err error) {
				id, err = hooks()[0].find(l, egress, frontSeat)
				return err
			}))
			return id != 0
		}
		move := func(from *netlink.Handle) {
			l, err := from.LinkByName("mgmt0")
			must(t, err)
			must(t, from.LinkSetNsFd(l, int(away.ns)))
		}
		move(&netlink.Handle{})
		if goesAlong := hookName() == "tap.tcx"; fronted() != goesAlong {
			t.Errorf("the front went along: %t, want %t", !goesAlong, goesAlong)
		}
		if h.Index() != 0 {
			t.Errorf("Index = %d of a TAP that is elsewhere, want 0", h.Index())
		}
		if err := h.SetFront(Front{Egress: p}); err == nil || !strings.Contains(err.Error(), "another namespace") {
			t.Errorf("SetFront of a TAP that is elsewhere: %v", err)
		}
		if err := h.SetFront(Front{}); err != nil || fronted() {
			t.Errorf("the front is still there, %v", err)
		}
		must(t, away.do(func() error {
			l := linkAt(t, away, "mgmt0")
			_, err := hooks()[0].prepare(l)
			return errors.Join(err, install(l, egress, frontSeat, p))
		}))
		must(t, h.Release())
		h, err = OpenHost(hostConfig(""))
		must(t, err)
		defer h.Close()
		if fronted() {
			t.Error("the front is still there after the TAP was taken over")
		}
	})
}

func linkAt(t *testing.T, p place, name string) netlink.Link {
	t.Helper()
	l, err := p.LinkByName(name)
	must(t, err)
	return l
}

func TestFrontDoesNotGoAlong(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		_, away := namedPlace(t, "away")
		newVeth(t, "a0", newPlace(t), "eth0")
		newVeth(t, "nic0", newPlace(t), "eth0")
		d, err := AttachDevice("a0", 1500)
		must(t, err)
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true})
		must(t, err)
		p := newCounting(t, "weftfp_in", tcPass).Program
		must(t, d.SetFront(Front{Ingress: p}))
		must(t, u.SetFront(Front{Ingress: p, Egress: p}))
		for _, l := range []netlink.Link{d.device, u.device} {
			must(t, netlink.LinkSetNsFd(l, int(away.ns)))
		}
		if there := stateAt(t, away); hookName() == "tap.tcx" && strings.Count(there, "program weftfp_*") != 3 {
			t.Fatalf("the fronts did not go along: this test tests nothing:\n%s", there)
		}
		_ = d.Close() // what it can remove no more is no failure that anybody could mend
		_ = u.Close()
		if there := stateAt(t, away); strings.Contains(there, "program") {
			t.Errorf("there is still\n%s", there)
		}
	})
}

func stateAt(t *testing.T, p place) (s string) {
	t.Helper()
	must(t, p.do(func() error { s = state(t); return nil }))
	return s
}
