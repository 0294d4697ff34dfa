package tap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func spec() Spec {
	return Spec{Name: "vm1", Port: "p1", Owner: 1234, Group: 5678, Queues: 1, MTU: 1400}
}

func TestCreateSetsWhatSpecSays(t *testing.T) {
	for _, test := range []struct {
		owner, group string
		spec         Spec
	}{
		{"user 1234", "group 5678", spec()},
		{"user 1234", "", Spec{Name: "vm1", Port: "p1", Owner: 1234, Group: -1, Queues: 1, MTU: 1400}},
		{"", "group 5678", Spec{Name: "vm1", Port: "p1", Owner: -1, Group: 5678, Queues: 4, MTU: 1400}},
	} {
		isolate(t)
		must(t, Create(test.spec))
		out := run(t, nil, "ip", "-d", "link", "show", "dev", "vm1")
		for _, want := range []string{"tun type tap", "persist on", "mtu 1400", "qlen 2000", "alias weft: port p1", "qdisc noqueue", test.owner, test.group} {
			if !strings.Contains(out, want) {
				t.Errorf("%+v: no %q in\n%s", test.spec, want, out)
			}
		}
		if test.owner == "" && strings.Contains(out, " user ") || test.group == "" && strings.Contains(out, " group 5678") {
			t.Errorf("%+v: an owner or group too much in\n%s", test.spec, out)
		}
		if strings.Contains(out, "multi_queue") != (test.spec.Queues > 1) {
			t.Errorf("%+v: multi_queue is wrong in\n%s", test.spec, out)
		}
		v6, err := os.ReadFile("/proc/sys/net/ipv6/conf/vm1/disable_ipv6")
		if err != nil || string(v6) != "1\n" {
			t.Errorf("disable_ipv6 = %q, %v", v6, err)
		}
		must(t, Delete("vm1"))
	}
}

func TestCreateTakesOver(t *testing.T) {
	isolate(t)
	must(t, Create(spec()))
	index := func() int {
		l, err := LinkByName("vm1")
		must(t, err)
		return l.Index
	}
	first := index()
	again := spec()
	again.MTU = 1500
	must(t, Create(again))
	if l, err := LinkByName("vm1"); err != nil || l.Index != first || l.MTU != 1500 {
		t.Errorf("same spec but for the MTU: %+v, %v; want index %d and MTU 1500", l, err, first)
	}
	more := again
	more.Queues = 2
	must(t, Create(more))
	second := index()
	if second == first {
		t.Error("other queues: not made anew")
	}
	must(t, Create(again))

	l, err := linkByName("vm1")
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	g := openGuest(t, "vm1")
	if used, err := InUse("vm1"); err != nil || !used {
		t.Errorf("InUse = %v, %v with a guest", used, err)
	}
	must(t, Create(again))
	if err := Create(more); !errors.Is(err, ErrBusy) {
		t.Errorf("other queues under a running guest: %v, want ErrBusy", err)
	}
	third := index()
	other := again
	other.Owner++
	if err := Create(other); !errors.Is(err, ErrOldOwner) || index() != third {
		t.Errorf("other owner under a running guest: %v, want ErrOldOwner and the same TAP", err)
	}
	must(t, g.Close())
	must(t, Create(other))
	if index() == third {
		t.Error("other owner: not made anew when the guest stopped")
	}
	if used, err := InUse("vm1"); err != nil || used {
		t.Errorf("InUse = %v, %v without a guest", used, err)
	}
	must(t, Delete("vm1"))
	must(t, Delete("vm1"))
	if _, err := InUse("vm1"); !errors.Is(err, ErrNoDevice) {
		t.Errorf("InUse of none: %v", err)
	}
}

func TestCreateRefusesForeign(t *testing.T) {
	isolate(t)
	run(t, nil, "ip", "tuntap", "add", "vm1", "mode", "tap")
	before := state(t)
	if err := Create(spec()); !errors.Is(err, ErrForeign) {
		t.Errorf("Create: %v, want ErrForeign", err)
	}
	if err := Delete("vm1"); !errors.Is(err, ErrForeign) {
		t.Errorf("Delete: %v, want ErrForeign", err)
	}
	if after := state(t); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	long := spec()
	long.Name = "a-name-of-16-byt"
	if err := Create(long); err == nil || !strings.Contains(err.Error(), "15 bytes") {
		t.Errorf("name of 16 bytes: %v", err)
	}
}

func TestDeleteLeavesTheTAPOfARunningDaemon(t *testing.T) {
	isolate(t)
	must(t, Create(spec()))
	d, err := AttachDevice(spec().Name, 1500)
	must(t, err)
	before := state(t)
	if err := Delete(spec().Name); !errors.Is(err, ErrBusy) {
		t.Errorf("Delete: %v, want ErrBusy", err)
	}
	if after := state(t); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	must(t, d.Close())
	must(t, Delete(spec().Name))
}

// runChild runs a child with the present capabilities to its end.
func runChild(t *testing.T, role string, attr *syscall.SysProcAttr) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), childRole+"="+role)
	c.SysProcAttr = attr
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestErrorsNameTheRemedy(t *testing.T) {
	isolate(t)
	newVeth(t, "a0", newPlace(t), "eth0")
	before := state(t)
	runChild(t, "no tun", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
	runChild(t, "no bpf", nil)
	runChild(t, "no admin", nil)
	if after := state(t); after != before {
		t.Errorf("failures left\n%s\nwas\n%s", after, before)
	}
}

func expect(err, want error, words ...string) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("got %v, want %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			return fmt.Errorf("no %q in: %w", w, err)
		}
	}
	return nil
}

// noTUNChild has no /dev/net/tun.
func noTUNChild() error {
	runtime.LockOSThread()
	return inOrder(
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("none", "/dev/net", "tmpfs", 0, "") },
		func() error { return expect(Create(spec()), ErrNoTUN, "modprobe tun") },
		func() error {
			_, err := AttachDevice("a0", 1500)
			return expect(err, ErrNoTUN, "modprobe tun")
		},
	)
}

// dropCaps takes capabilities from the calling thread.
func dropCaps(caps ...int) error {
	runtime.LockOSThread()
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var d [2]unix.CapUserData
	if err := unix.Capget(&h, &d[0]); err != nil {
		return err
	}
	for _, c := range caps {
		d[c/32].Effective &^= 1 << (c % 32)
		d[c/32].Permitted &^= 1 << (c % 32)
	}
	return unix.Capset(&h, &d[0])
}

// noBPFChild may not load programs.
func noBPFChild() error {
	return inOrder(
		func() error { return dropCaps(unix.CAP_BPF, unix.CAP_SYS_ADMIN) },
		func() error {
			_, err := AttachDevice("a0", 1500)
			return expect(err, ErrNoBPF, "a0", "CAP_BPF")
		},
	)
}

// noAdminChild may not configure the network.
func noAdminChild() error {
	return inOrder(
		func() error { return dropCaps(unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN) },
		func() error { return expect(Create(spec()), os.ErrPermission, "vm1", "CAP_NET_ADMIN") },
		func() error {
			_, err := AttachDevice("a0", 1500)
			return expect(err, os.ErrPermission, "CAP_NET_ADMIN")
		},
	)
}
