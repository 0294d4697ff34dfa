package tap

import (
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"weft/frame"
)

// A mode is what an uplink may be for.
type mode struct{ bridged, proxy bool }

func TestUplinkSet(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		l := newLab(t)
		before := state(t)
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500})
		must(t, err)
		for _, m := range []mode{{false, false}, {true, false}, {false, true}, {true, true}, {false, false}} {
			must(t, u.Set(m.bridged, m.proxy))
			m.checkMembership(t, u)
			m.checkHost(t, l, u)
			m.checkSwitch(t, l, u)
		}
		must(t, u.Close())
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

// checkMembership looks at what the NIC receives, and at the guests.
func (m mode) checkMembership(t *testing.T, u *Uplink) {
	t.Helper()
	nic, err := netlink.LinkByName("nic0")
	must(t, err)
	if got := nic.Attrs().Promisc > 0; got != m.bridged {
		t.Errorf("%+v: promiscuous %t", m, got)
	}
	if got := strings.Contains(run(t, nil, "ip", "-d", "link", "show", "dev", "nic0"), "allmulti 1 "); got != m.proxy {
		t.Errorf("%+v: all groups %t", m, got)
	}
	if g, err := u.Guests(); err != nil || len(g) != 0 {
		t.Errorf("%+v: guests %v, %v, want none yet", m, g, err)
	}
	if m.bridged {
		must(t, u.SetGuest(mac(guestMAC), true))
	}
}

// checkHost sends frames between host and wire, of which the switch sees its part.
func (m mode) checkHost(t *testing.T, l lab, u *Uplink) {
	t.Helper()
	wire, host := listen(t, &l.wire, "eth0"), listen(t, nil, "nic0")
	want := 0
	if m.bridged {
		want = 1
	}
	must(t, l.wire.do(func() error { return emit("eth0", everyone, wireMAC, 1) }))
	eventually(t, "group frame at the host", func() bool { return host.count(t) == 1 })
	if n := testFrames(t, u.Wire()[0]); n != want {
		t.Errorf("%+v: %d of the wire's group frames came to the switch, want %d", m, n, want)
	}
	must(t, emit("nic0", everyone, hostMAC, 1))
	eventually(t, "group frame on the wire", func() bool { return wire.count(t) == 1 })
	if n := testFrames(t, u.Host()[0]); n != want {
		t.Errorf("%+v: %d of the host's group frames came to the switch, want %d", m, n, want)
	}
	must(t, emit("nic0", guestMAC, hostMAC, 1))
	if n := testFrames(t, u.Host()[0]); n != want {
		t.Errorf("%+v: %d of the host's frames to a guest came to the switch, want %d", m, n, want)
	}
	if !m.bridged {
		eventually(t, "frame on the wire", func() bool { return wire.count(t) == 1 })
	}
}

// checkSwitch sends what the switch itself sends: it goes either way, and no further.
func (m mode) checkSwitch(t *testing.T, l lab, u *Uplink) {
	t.Helper()
	wire, host := listen(t, &l.wire, "eth0"), listen(t, nil, "nic0")
	b := frame.NewBufs(1)
	b[0].SetBytes(testFrame(wireMAC, innerMAC, 60))
	if n, err := u.Wire()[0].Send(b); n != 1 || err != nil {
		t.Errorf("Send to the wire = %d, %v", n, err)
	}
	eventually(t, "frame of the switch on the wire", func() bool { return wire.count(t) == 1 })
	b[0].SetBytes(testFrame(hostMAC, innerMAC, 60))
	if n, err := u.Host()[0].Send(b); n != 1 || err != nil {
		t.Errorf("Send to the host = %d, %v", n, err)
	}
	eventually(t, "frame of the switch at the host", func() bool { return host.count(t) == 1 })
	if n := testFrames(t, u.Wire()[0]) + testFrames(t, u.Host()[0]); n != 0 {
		t.Errorf("%+v: %d frames of the switch came back", m, n)
	}
}

// testFrames counts the test frames that a queue has.
func testFrames(t *testing.T, q *Queue) (n int) {
	t.Helper()
	b := frame.NewBufs(16)
	got, err := q.Recv(b)
	must(t, err)
	for _, f := range b[:got] {
		if f.Len() > 12 && f.Bytes()[12] == testType>>8 {
			n++
		}
	}
	return n
}
