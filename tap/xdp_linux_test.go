package tap

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// What an XDP program may return.
const (
	xdpDrop = 1
	xdpPass = 2
)

func newXDP(t *testing.T, name string, verdict int32) counting {
	t.Helper()
	return countInto(t, newCount(t), ebpf.XDP, name, verdict)
}

func TestXDPSeesFramesFirst(t *testing.T) {
	isolate(t)
	c := newCrossing(t)
	without := state(t)
	front := newCounting(t, "weftfp_in", tcPass)
	must(t, c.SetFront(Front{Ingress: front.Program}))
	passes, drops := newXDP(t, "weftfp_xdp", xdpPass), newXDP(t, "weftfp_xdp", xdpDrop)
	for i, step := range []struct {
		program                        *ebpf.Program
		came, passed, dropped, fronted int
	}{
		{nil, 1, 0, 0, 1},
		{passes.Program, 1, 1, 0, 2},
		{passes.Program, 1, 2, 0, 3},
		{drops.Program, 0, 2, 1, 3},
		{nil, 1, 2, 1, 4},
	} {
		must(t, c.SetXDP(step.program))
		came := c.cross(t)
		passed, dropped, fronted := int(passes.count(t)), int(drops.count(t)), int(front.count(t))
		if came != step.came || passed != step.passed || dropped != step.dropped || fronted != step.fronted {
			t.Errorf("step %d: %d frames came, the programs saw %d and %d, the front %d; want %v", i, came, passed, dropped, fronted, step)
		}
		const native = 1 // XDP_ATTACHED_DRV
		l, err := linkByName("vm1")
		must(t, err)
		if x := l.Attrs().Xdp; step.program != nil && (x == nil || x.AttachMode != native) {
			t.Errorf("step %d: attached as %+v, want natively", i, x)
		}
	}
	must(t, c.SetFront(Front{}))
	if now := state(t); now != without {
		t.Errorf("left behind:\n%s\nwas:\n%s", now, without)
	}
}

func TestXDPReplacedUnderTraffic(t *testing.T) {
	isolate(t)
	c := newCrossing(t)
	c.checkReplacing(t, ebpf.XDP, xdpPass, c.SetXDP)
	if sent, came := c.crossWhile(t, c.SetXDP, nil, newXDP(t, "weftfp_xdp", xdpPass).Program); came != sent {
		t.Errorf("%d frames sent while the program came and went, %d came", sent, came)
	}
}

func TestXDPOfEarlierProcess(t *testing.T) {
	isolate(t)
	c := newCrossing(t)
	without := state(t)
	old, next := newXDP(t, "weftfp_xdp", xdpPass), newXDP(t, "weftfp_xdp", xdpPass)
	must(t, c.SetXDP(old.Program))
	must(t, c.Release())
	d, err := AttachDevice("vm1", 1500)
	must(t, err)
	c.Device = d
	if came := c.cross(t); came != 1 || old.count(t) != 1 {
		t.Errorf("taken over: %d frames came, the old program saw %d; want 1 and 1", came, old.count(t))
	}
	must(t, c.SetXDP(next.Program))
	if came := c.cross(t); came != 1 || old.count(t) != 1 || next.count(t) != 1 {
		t.Errorf("replaced: %d frames came, the old program saw %d and the next %d; want 1 each", came, old.count(t), next.count(t))
	}
	must(t, d.Release())
	d, err = AttachDevice("vm1", 1500)
	must(t, err)
	if err := d.SetXDP(nil); err != nil || state(t) != without {
		t.Errorf("removed: %v, left behind:\n%s", err, state(t))
	}
	must(t, d.SetXDP(next.Program))
	must(t, d.Close())
	if now := state(t); strings.Contains(now, "program") {
		t.Errorf("Close left\n%s", now)
	}
}

func TestXDPSwept(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		run(t, nil, "ip", "tuntap", "add", "theirs0", "mode", "tap")
		run(t, nil, "ip", "link", "set", "dev", "theirs0", "up")
		before := state(t)
		d, err := AttachDevice("theirs0", 1500)
		must(t, err)
		must(t, d.SetXDP(newXDP(t, "weftfp_xdp", xdpPass).Program))
		must(t, d.Release())
		must(t, removeLink(d.companions[0].link))
		for _, h := range hooks() {
			must(t, h.detach(d.device, ingress, ownSeat))
			must(t, h.detach(d.device, egress, ownSeat))
		}
		removed, err := Sweep(func(string, Use) bool { return false })
		must(t, err)
		if now := state(t); hookName() == "tap.tcx" && now != before || strings.Contains(now, "program") {
			t.Errorf("removed %q, left behind:\n%s\nwas:\n%s", removed, now, before)
		}
	})
}

func TestXDPDoesNotGoAlong(t *testing.T) {
	isolate(t)
	_, away := namedPlace(t, "away")
	c := newCrossing(t)
	must(t, c.SetXDP(newXDP(t, "weftfp_xdp", xdpPass).Program))
	must(t, netlink.LinkSetNsFd(c.device, int(away.ns)))
	if there := stateAt(t, away); !strings.Contains(there, "XDP program") {
		t.Fatalf("the program did not go along: this test tests nothing:\n%s", there)
	}
	_ = c.Close() // what it can remove no more is no failure that anybody could mend
	if there := stateAt(t, away); strings.Contains(there, "program") {
		t.Errorf("there is still\n%s", there)
	}
}

func TestXDPRefused(t *testing.T) {
	isolate(t)
	c := newCrossing(t)
	other := newXDP(t, "other", xdpPass)
	must(t, netlink.LinkSetXdpFdWithFlags(c.device, other.FD(), xdpDriver))
	before := state(t)
	mine := newXDP(t, "weftfp_xdp", xdpPass)
	if err := c.SetXDP(mine.Program); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "ip link set dev vm1 xdp off") {
		t.Errorf("beside a program of somebody else: %v, want ErrBusy", err)
	}
	if err := c.SetXDP(nil); err != nil || state(t) != before {
		t.Errorf("removing nothing: %v, and now\n%s\nwas\n%s", err, state(t), before)
	}
	must(t, c.Close())
	if !strings.Contains(state(t), "XDP program, ours false") {
		t.Error("the program of somebody else is gone")
	}

	newVeth(t, "a0", newPlace(t), "eth0")
	d, err := AttachDevice("a0", 1500)
	must(t, err)
	defer d.Close()
	if err := d.SetXDP(mine.Program); err == nil || !strings.Contains(err.Error(), "no TAP") {
		t.Errorf("a veth: %v", err)
	}
	for _, wrong := range []counting{other, newCounting(t, "weftfp_in", tcPass)} {
		if err := d.SetXDP(wrong.Program); err == nil || !strings.Contains(err.Error(), "must be of XDP") {
			t.Errorf("a program that is no front for XDP: %v", err)
		}
	}
}

func TestXDPTarget(t *testing.T) {
	isolate(t)
	newVeth(t, "a0", newPlace(t), "eth0")
	must(t, Create(Spec{Name: "one", Port: "one", Owner: -1, Group: -1, Queues: 1}))
	must(t, Create(Spec{Name: "many", Port: "many", Owner: -1, Group: -1, Queues: 2}))
	check := func(name string, want bool, why string) {
		t.Helper()
		d, err := AttachDevice(name, 1500)
		must(t, err)
		defer d.Close()
		if d.XDPTarget() != want {
			t.Errorf("%s: XDPTarget = %t, want %t", why, !want, want)
		}
	}
	check("a0", false, "it is no TAP")
	check("many", false, "it has several queues")
	check("one", true, "a TAP")
	run(t, nil, "tc", "qdisc", "replace", "dev", "one", "root", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms")
	check("one", false, "an operator shapes what goes there")
	run(t, nil, "ip", "tuntap", "add", "theirs0", "mode", "tap")
	run(t, nil, "ip", "link", "set", "dev", "theirs0", "up")
	check("theirs0", true, "its qdisc is the kernel's default")
}
