package tap

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

var children = map[string]func() error{
	"claims":           claimsChild,
	"gateway":          gatewayChild,
	"no settings":      gatewayReadOnlyChild,
	"reserve":          reserveChild,
	"reserved already": reservedAlreadyChild,
	"read only":        readOnlyChild,
	"device": func() error {
		if os.Getenv("HOOK") == "tap.clsact" {
			hooks = func() []hook { return []hook{clsact{}} }
		}
		if _, err := AttachDevice(os.Getenv("DEVICE"), 1500); err != nil {
			return err
		}
		return ready()
	},
	"uplink":   uplinkChild,
	"host":     hostChild,
	"no tun":   noTUNChild,
	"no bpf":   noBPFChild,
	"no admin": noAdminChild,
}

// transfer sends 8 MiB by TCP from one namespace to the other.
func transfer(t *testing.T, from, to place, address string) {
	t.Helper()
	var l net.Listener
	must(t, to.do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(address, "0"))
		return err
	}))
	defer l.Close()
	sent := make([]byte, 8<<20)
	_, _ = rand.Read(sent)
	failed := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = c.Write(sent)
			c.Close()
		}
		failed <- err
	}()
	var got []byte
	must(t, from.do(func() error {
		c, err := net.DialTimeout("tcp", l.Addr().String(), patience)
		if err != nil {
			return err
		}
		defer c.Close()
		got, err = io.ReadAll(c)
		return err
	}))
	must(t, <-failed)
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes arrived, not the %d sent", len(got), len(sent))
	}
}

func TestDeviceCarriesOffloadsWhole(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		a, b := newPlace(t), newPlace(t)
		newVeth(t, "a0", a, "eth0", "10.7.0.1/24", "fd07::1/64")
		newVeth(t, "b0", b, "eth0", "10.7.0.2/24", "fd07::2/64")
		da, err := AttachDevice("a0", 1500)
		must(t, err)
		db, err := AttachDevice("b0", 1500)
		must(t, err)
		defer da.Close()
		defer db.Close()
		var r relay
		stop := r.start(t, port{queue: da.Queues()[0]}, port{queue: db.Queues()[0]})
		defer stop()
		ping(t, &a, 3, "10.7.0.2")
		ping(t, &a, 3, "fd07::2")
		transfer(t, a, b, "10.7.0.2")
		transfer(t, b, a, "fd07::1")
		if r.superframes.Load() == 0 || r.partial.Load() == 0 {
			t.Errorf("%d superframes and %d partial checksums among %d frames, want some",
				r.superframes.Load(), r.partial.Load(), r.frames.Load())
		}
		if n := r.frames.Load(); n > 16<<20/3000 {
			t.Errorf("%d frames for 16 MiB: they were segmented on the way", n)
		}
	})
}

func TestDeviceAttachLeaksNothing(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		must(t, Create(Spec{Name: "vm1", Port: "p", Owner: -1, Group: -1, Queues: 1}))
		g := openGuest(t, "vm1")
		host := listen(t, nil, "")
		f := testFrame(everyone, "02:00:00:00:00:01", 60)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				default:
					_ = g.write(f) // fails until the link is up
				}
			}
		}()
		d, err := AttachDevice("vm1", 1500)
		must(t, err)
		bufs := frame.NewBufs(64)
		got := 0
		eventually(t, "frames of the guest", func() bool {
			n, err := d.Queues()[0].Recv(bufs)
			must(t, err)
			got += n
			return got > 1000
		})
		close(stop)
		<-done
		if n := host.count(t); n != 0 {
			t.Errorf("%d frames of the guest reached the host's stack", n)
		}
		must(t, d.Close())
		must(t, g.write(f))
		eventually(t, "frame at the host once detached", func() bool { return host.count(t) == 1 })
	})
}

func TestDeviceGuardKeepsHostOut(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		a := newPlace(t)
		newVeth(t, "a0", a, "eth0")
		l, err := netlink.LinkByName("a0")
		must(t, err)
		addAddresses(t, &netlink.Handle{}, l, "10.7.0.1/24")
		d, err := AttachDevice("a0", 1500)
		must(t, err)
		defer d.Close()
		inside := listen(t, &a, "eth0")
		host, err := openSocket(l) // as weft's own, but for the mark
		must(t, err)
		q := &Queue{name: "a0", out: host, fd: -1}
		defer q.Close()
		must(t, unix.SetsockoptInt(host.fd, unix.SOL_SOCKET, unix.SO_MARK, 0))
		bufs := frame.NewBufs(4)
		for _, b := range bufs {
			b.SetBytes(testFrame(everyone, "02:00:00:00:00:01", 60))
		}
		// The guard's refusal shows as a full queue.
		_, _ = q.Send(bufs)
		if n, err := d.Queues()[0].Send(bufs[:1]); n != 1 || err != nil {
			t.Fatalf("Send = %d, %v", n, err)
		}
		eventually(t, "the switch's frame", func() bool { return inside.count(t) == 1 })
		must(t, d.Close())
		_, _ = q.Send(bufs)
		eventually(t, "the host's frames once detached", func() bool { return inside.count(t) == 4 })
	})
}

func TestDeviceTakenOverAfterCrash(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		must(t, Create(Spec{Name: "vm1", Port: "p", Owner: -1, Group: -1, Queues: 1}))
		g := openGuest(t, "vm1")
		before := state(t)
		child := startChild(t, "device", "DEVICE=vm1", "HOOK="+hookName())
		attached := state(t)
		if _, err := AttachDevice("vm1", 1500); !errors.Is(err, ErrBusy) {
			t.Errorf("second daemon attaches: %v, want ErrBusy", err)
		}
		crash(child)
		if now := state(t); now != attached {
			t.Errorf("the crash changed\n%s\nto\n%s", attached, now)
		}
		host := listen(t, nil, "")
		f := testFrame(everyone, "02:00:00:00:00:01", 60)
		for range 100 {
			must(t, g.write(f))
		}
		companion, err := linkByName("wf-vm1")
		must(t, err)

		d, err := AttachDevice("vm1", 1500)
		must(t, err)
		if d.index(0) != companion.Attrs().Index {
			t.Error("the companion was made anew")
		}
		must(t, g.write(f))
		bufs := frame.NewBufs(4)
		eventually(t, "the guest's frame", func() bool {
			n, err := d.Queues()[0].Recv(bufs)
			must(t, err)
			return n == 1
		})
		if n := host.count(t); n != 0 {
			t.Errorf("%d frames reached the host's stack", n)
		}
		must(t, d.Close())
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

func hookName() string {
	if _, ok := hooks()[0].(clsact); ok {
		return "tap.clsact"
	}
	return "tap.tcx"
}

func TestDeviceReleaseKeepsGuestIn(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		must(t, Create(Spec{Name: "vm1", Port: "p", Owner: -1, Group: -1, Queues: 1}))
		d, err := AttachDevice("vm1", 1500)
		must(t, err)
		attached := state(t)
		must(t, d.Release())
		if now := state(t); now != attached {
			t.Errorf("Release changed\n%s\nto\n%s", attached, now)
		}
		must(t, d.Close()) // of a released one: nothing
		if now := state(t); now != attached {
			t.Errorf("Close after Release changed\n%s\nto\n%s", attached, now)
		}
		d, err = AttachDevice("vm1", 1500)
		must(t, err)
		must(t, d.Close())
		must(t, d.Close())
	})
}

func TestDeviceLeavesOthersFiltersAlone(t *testing.T) {
	t.Run("there before", func(t *testing.T) {
		eachHook(t, func(t *testing.T) {
			newVeth(t, "a0", newPlace(t), "eth0")
			run(t, nil, "tc", "qdisc", "add", "dev", "a0", "clsact")
			run(t, nil, "tc", "filter", "add", "dev", "a0", "ingress", "pref", "7", "bpf", "bytecode", "1,6 0 0 0")
			checkClose(t, state(t))
		})
	})
	t.Run("come later", func(t *testing.T) {
		eachHook(t, func(t *testing.T) {
			newVeth(t, "a0", newPlace(t), "eth0")
			d, err := AttachDevice("a0", 1500)
			must(t, err)
			if hookName() == "tap.tcx" {
				run(t, nil, "tc", "qdisc", "add", "dev", "a0", "clsact")
			}
			run(t, nil, "tc", "filter", "add", "dev", "a0", "ingress", "pref", "7", "bpf", "bytecode", "1,6 0 0 0")
			must(t, d.Close())
			if s := state(t); !strings.Contains(s, "filter ingress bpf 7") || strings.Contains(s, "wf-") || strings.Contains(s, "program") {
				t.Errorf("after Close:\n%s", s)
			}
		})
	})
	t.Run("in weft's place", func(t *testing.T) {
		isolate(t)
		saved := hooks
		hooks = func() []hook { return []hook{clsact{}} }
		defer func() { hooks = saved }()
		newVeth(t, "a0", newPlace(t), "eth0")
		run(t, nil, "tc", "qdisc", "add", "dev", "a0", "clsact")
		run(t, nil, "tc", "filter", "add", "dev", "a0", "egress", "pref", "87", "bpf", "bytecode", "1,6 0 0 0")
		before := state(t)
		if _, err := AttachDevice("a0", 1500); !errors.Is(err, ErrBusy) {
			t.Errorf("AttachDevice: %v, want ErrBusy", err)
		}
		if after := state(t); after != before {
			t.Errorf("the failure left\n%s\nwas\n%s", after, before)
		}
		run(t, nil, "tc", "qdisc", "del", "dev", "a0", "clsact")
		run(t, nil, "tc", "qdisc", "add", "dev", "a0", "ingress")
		if _, err := AttachDevice("a0", 1500); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "tc qdisc delete dev a0 ingress") {
			t.Errorf("AttachDevice beside an ingress qdisc: %v, want ErrBusy", err)
		}
	})
}

func checkClose(t *testing.T, before string) {
	t.Helper()
	d, err := AttachDevice("a0", 1500)
	must(t, err)
	if state(t) == before {
		t.Fatal("attaching changed nothing: state sees too little")
	}
	must(t, d.Close())
	if after := state(t); after != before {
		t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
	}
}

func TestDeviceCloseLeavesNothing(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		newVeth(t, "a0", newPlace(t), "eth0")
		checkClose(t, state(t))
	})
}

func TestDeviceVanishes(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		newVeth(t, "a0", newPlace(t), "eth0")
		d, err := AttachDevice("a0", 1500)
		must(t, err)
		bufs := frame.NewBufs(2)
		bufs[0].SetBytes(testFrame(everyone, "02:00:00:00:00:01", 60))
		must(t, netlink.LinkDel(d.device))
		if _, err := d.Queues()[0].Send(bufs[:1]); !errors.Is(err, ErrNoDevice) {
			t.Errorf("Send to a device that is gone: %v, want ErrNoDevice", err)
		}
		must(t, netlink.LinkDel(d.companions[0].link))
		if _, err := d.Queues()[0].Recv(bufs); !errors.Is(err, ErrNoDevice) {
			t.Errorf("Recv from a companion that is gone: %v, want ErrNoDevice", err)
		}
		must(t, d.Close())
		newVeth(t, "a0", newPlace(t), "eth0")
		d, err = AttachDevice("a0", 1500)
		must(t, err)
		must(t, d.Close())
	})
}

func TestDeviceRefused(t *testing.T) {
	isolate(t)
	newVeth(t, "a0", newPlace(t), "eth0")
	a := netlink.NewLinkAttrs()
	a.Name = "br7"
	must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: a}))
	run(t, nil, "ip", "link", "set", "dev", "a0", "master", "br7")
	before := state(t)
	_, err := AttachDevice("a0", 1500)
	if !errors.Is(err, ErrEnslaved) || !strings.Contains(err.Error(), "br7 has it: ip link set dev a0 nomaster") {
		t.Errorf("enslaved: %v", err)
	}
	if _, err := AttachDevice("none", 1500); !errors.Is(err, ErrNoDevice) {
		t.Errorf("missing: %v", err)
	}
	if _, err := AttachDevice("lo", 1500); err == nil || !strings.Contains(err.Error(), "no Ethernet device") {
		t.Errorf("loopback: %v", err)
	}
	if after := state(t); after != before {
		t.Errorf("refusals left\n%s\nwas\n%s", after, before)
	}
}

// A device that is moved away takes the programs along, which must not redirect to
// whatever has the companion's index there.
func TestDeviceMovedAwayIsFree(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		isolate(t)
		peer, away := newPlace(t), newPlace(t)
		newVeth(t, "a0", peer, "eth0", "10.9.0.2/24")
		d, err := AttachDevice("a0", 1500)
		must(t, err)
		l, err := linkByName("a0")
		must(t, err)
		must(t, netlink.LinkSetNsFd(l, int(away.ns)))
		_ = d.Close() // what it can remove no more is no failure that anybody could mend
		l, err = away.LinkByName("a0")
		must(t, err)
		addAddresses(t, away.Handle, l, "10.9.0.1/24")
		must(t, away.LinkSetUp(l))
		ping(t, &away, 3, "10.9.0.2")
	})
}
