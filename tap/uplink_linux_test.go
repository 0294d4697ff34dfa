package tap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// Segments of relay: the kernel itself carries frames between wire and host.
const nicSegment = 1

const (
	everyone = "ff:ff:ff:ff:ff:ff"
	hostMAC  = "02:00:00:00:00:10"
	wireMAC  = "02:00:00:00:00:20"
	guestMAC = "02:00:00:00:00:30"
)

// A lab is a host with a NIC, a station on the wire, and a guest.
//
//	wire (eth0) ── nic0 [host] g0 ── (eth0) guest
type lab struct{ wire, guest place }

func newLab(t *testing.T) lab {
	l := lab{newPlace(t), newPlace(t)}
	newVeth(t, "nic0", l.wire, "eth0", "10.7.0.20/24", "fd07::20/64")
	newVeth(t, "g0", l.guest, "eth0", "10.7.0.30/24", "fd07::30/64")
	nic, err := netlink.LinkByName("nic0")
	must(t, err)
	addAddresses(t, &netlink.Handle{}, nic, "10.7.0.10/24", "fd07::10/64")
	run(t, nil, "ip", "link", "set", "dev", "nic0", "address", hostMAC)
	run(t, &l.wire, "ip", "link", "set", "dev", "eth0", "address", wireMAC)
	run(t, &l.guest, "ip", "link", "set", "dev", "eth0", "address", guestMAC)
	return l
}

// attach connects the uplink and the guest by a relay.
func (l lab) attach(t *testing.T) (*Uplink, *relay) {
	t.Helper()
	u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true})
	must(t, err)
	d, err := AttachDevice("g0", 1500)
	must(t, err)
	r := &relay{}
	stop := r.start(t, l.ports(u, d)...)
	t.Cleanup(func() {
		stop()
		must(t, u.Close())
		must(t, d.Close())
	})
	mac, err := frame.ParseMAC(guestMAC)
	must(t, err)
	must(t, u.SetGuest(mac, true))
	return u, r
}

func (lab) ports(u *Uplink, d *Device) []port {
	return []port{
		{queue: u.Wire()[0], segment: nicSegment},
		{queue: u.Host()[0], segment: nicSegment},
		{queue: d.Queues()[0]},
	}
}

func TestUplinkJoinsGuestWireHost(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		l := newLab(t)
		_, r := l.attach(t)
		for _, pair := range []struct {
			from *place
			to   string
		}{
			{&l.guest, "20"},
			{&l.wire, "30"},
			{&l.guest, "10"},
			{nil, "30"},
			{nil, "20"},
			{&l.wire, "10"},
		} {
			for _, net := range []string{"10.7.0.", "fd07::"} {
				ping(t, pair.from, 5, net+pair.to)
			}
		}
		host, err := openPlace("")
		must(t, err)
		defer host.close()
		transfer(t, l.guest, l.wire, "10.7.0.20")
		transfer(t, l.guest, host, "fd07::10")
		transfer(t, host, l.guest, "10.7.0.30")
		before := r.frames.Load()
		transfer(t, l.wire, host, "10.7.0.10")
		if n := r.frames.Load() - before; n > 50 {
			t.Errorf("%d frames between wire and host came to the switch", n)
		}
		if r.superframes.Load() == 0 {
			t.Error("no superframe came to the switch")
		}
	})
}

func TestUplinkCopiesBroadcastOnce(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		l := newLab(t)
		_, r := l.attach(t)
		host, err := openPlace("")
		must(t, err)
		defer host.close()
		stations := []struct {
			name, device, mac string
			at                place
			ear               listener
		}{
			{name: "host", device: "nic0", mac: hostMAC, at: host},
			{name: "wire", device: "eth0", mac: wireMAC, at: l.wire},
			{name: "guest", device: "eth0", mac: guestMAC, at: l.guest},
		}
		for i := range stations {
			stations[i].ear = listen(t, &stations[i].at, stations[i].device)
		}
		const sent = 10
		for _, from := range stations {
			seen := r.frames.Load()
			must(t, from.at.do(func() error { return emit(from.device, everyone, from.mac, sent) }))
			eventually(t, "the relay", func() bool { return r.frames.Load() >= seen+sent })
			for _, to := range stations {
				want := sent
				if to.name == from.name {
					want = 0
				}
				got := 0
				eventually(t, fmt.Sprintf("broadcasts from %s at %s", from.name, to.name), func() bool {
					got += to.ear.count(t)
					return got >= want
				})
				if got != want {
					t.Errorf("%s sent %d broadcasts, %s got %d", from.name, want, to.name, got)
				}
			}
		}
		// What comes late comes twice.
		ping(t, &l.guest, 2, "10.7.0.20")
		for _, s := range stations {
			if n := s.ear.count(t); n != 0 {
				t.Errorf("%s got %d broadcasts more", s.name, n)
			}
		}
	})
}

// emit sends n test frames from the device of the present namespace, as any program
// of the host does.
func emit(device, dst, src string, n int) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	s, err := openSocket(l)
	if err != nil {
		return err
	}
	defer unix.Close(s.fd)
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, 0); err != nil {
		return err
	}
	b := frame.NewBufs(1)
	b[0].SetBytes(testFrame(dst, src, 60))
	for range n {
		if _, errno := s.send(b); errno != 0 {
			return errno
		}
	}
	return nil
}

func TestUplinkSetGuest(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		l := newLab(t)
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true})
		must(t, err)
		defer u.Close()
		wire := listen(t, &l.wire, "eth0")
		mac, err := frame.ParseMAC(guestMAC)
		must(t, err)
		nic, err := openSocket(u.device)
		must(t, err)
		defer unix.Close(nic.fd)
		must(t, unix.SetsockoptInt(nic.fd, unix.SOL_SOCKET, unix.SO_MARK, 0))
		b := frame.NewBufs(8)
		toGuest := func() (toSwitch int) {
			b[0].SetBytes(testFrame(guestMAC, hostMAC, 60))
			if _, errno := nic.send(b[:1]); errno != 0 {
				t.Fatal(errno)
			}
			n, err := u.Host()[0].Recv(b)
			must(t, err)
			for _, got := range b[:n] {
				if frame.MACFrom(got.Bytes()) == mac {
					toSwitch++
				}
			}
			return toSwitch
		}
		if n := toGuest(); n != 0 {
			t.Errorf("%d frames to an unknown station came to the switch, want 0", n)
		}
		eventually(t, "frame on the wire", func() bool { return wire.count(t) == 1 })
		must(t, u.SetGuest(mac, true))
		if n := toGuest(); n != 1 {
			t.Errorf("%d frames to a guest came to the switch, want 1", n)
		}
		if n := wire.count(t); n != 0 {
			t.Errorf("%d frames to a guest went to the wire", n)
		}
		if macs, err := u.Guests(); err != nil || len(macs) != 1 || macs[0] != mac {
			t.Errorf("Guests = %v, %v", macs, err)
		}

		// A frame for the host from an address taken for a guest's shows the switch
		// that the station is outside, and reaches the host.
		host := listen(t, nil, "nic0")
		must(t, l.wire.do(func() error { return emit("eth0", hostMAC, guestMAC, 1) }))
		eventually(t, "frame at the host", func() bool { return host.count(t) == 1 })
		eventually(t, "its copy at the switch", func() bool {
			n, err := u.Wire()[0].Recv(b[:1])
			must(t, err)
			return n == 1 && b[0].Bytes()[12] == testType>>8
		})
		must(t, u.SetGuest(mac, false))
		must(t, u.SetGuest(mac, false))
		if n := toGuest(); n != 0 {
			t.Errorf("%d frames to a former guest came to the switch, want 0", n)
		}
	})
}

func TestUplinkKeepsMacvlanAndFollowsMAC(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		l := newLab(t)
		u, _ := l.attach(t)
		other := newPlace(t)
		run(t, nil, "ip", "link", "add", "mv0", "link", "nic0", "type", "macvlan", "mode", "bridge")
		mv, err := netlink.LinkByName("mv0")
		must(t, err)
		must(t, netlink.LinkSetNsFd(mv, int(other.ns)))
		mv, err = other.LinkByName("mv0")
		must(t, err)
		addAddresses(t, other.Handle, mv, "10.7.0.11/24")
		must(t, other.LinkSetUp(mv))
		ping(t, &l.wire, 3, "10.7.0.11")

		run(t, nil, "ip", "link", "set", "dev", "nic0", "address", "02:00:00:00:00:11")
		if got := u.HostMAC().String(); got != "02:00:00:00:00:11" {
			t.Errorf("HostMAC = %s after the change", got)
		}
		ping(t, &l.wire, 3, "10.7.0.10")
		ping(t, &l.guest, 3, "10.7.0.10")
	})
}

func TestUplinkCloseLeavesNothing(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		newLab(t)
		before := state(t)
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true})
		must(t, err)
		if s := state(t); !strings.Contains(s, "promisc 1") {
			t.Errorf("the NIC is not promiscuous:\n%s", s)
		}
		must(t, u.Close())
		must(t, u.Close())
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

// uplinkChild runs an uplink until it is killed.
func uplinkChild() error {
	if os.Getenv("HOOK") == "tap.clsact" {
		hooks = func() []hook { return []hook{clsact{}} }
	}
	u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true})
	if err != nil {
		return err
	}
	d, err := AttachDevice("g0", 1500)
	if err != nil {
		return err
	}
	mac, err := frame.ParseMAC(guestMAC)
	if err != nil {
		return err
	}
	if err := u.SetGuest(mac, true); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- new(relay).run(nil, lab{}.ports(u, d)...) }()
	fmt.Println("ready")
	return <-failed
}

func TestUplinkCrashLosesNothing(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		l := newLab(t)
		before := state(t)
		child := startChild(t, "uplink", "HOOK="+hookName())
		var pings [2]*exec.Cmd
		var out [2]strings.Builder
		for i, p := range []struct {
			from *place
			to   string
		}{{&l.wire, "10.7.0.10"}, {nil, "fd07::20"}} {
			pings[i] = exec.Command("ping", pingArgs(250, p.to)...)
			pings[i].Stdout = &out[i]
			if p.from == nil {
				must(t, pings[i].Start())
			} else {
				must(t, p.from.do(pings[i].Start))
			}
		}
		ping(t, &l.wire, 50, "10.7.0.30") // meanwhile the guest is there
		crash(child)
		ping(t, &l.wire, 50, "10.7.0.10")
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true})
		must(t, err)
		if macs, err := u.Guests(); err != nil || len(macs) != 1 {
			t.Errorf("guests after the crash: %v, %v, want the one there was", macs, err)
		}
		d, err := AttachDevice("g0", 1500)
		must(t, err)
		var r relay
		stop := r.start(t, l.ports(u, d)...)
		ping(t, nil, 3, "10.7.0.30")
		for i, p := range pings {
			must(t, p.Wait())
			checkPing(t, 250, out[i].String())
		}
		stop()
		must(t, errors.Join(u.Close(), d.Close()))
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}
