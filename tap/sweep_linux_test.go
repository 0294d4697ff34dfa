package tap

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestSweep(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		name, there := namedPlace(t, "a")
		newVeth(t, "a0", newPlace(t), "eth0")
		newVeth(t, "nic0", newPlace(t), "eth0")
		run(t, nil, "ip", "tuntap", "add", "mine", "mode", "tap")
		run(t, nil, "ip", "link", "set", "dev", "mine", "alias", "not of weft: port p")
		before := state(t)

		for _, vm := range []string{"vm1", "vm2", "vm3"} {
			must(t, Create(Spec{Name: vm, Port: vm, Owner: -1, Group: -1, Queues: 1}))
		}
		crashed := []interface{ Release() error }{}
		for _, device := range []string{"a0", "vm1", "vm2", "vm3"} {
			d, err := AttachDevice(device, 1500)
			must(t, err)
			crashed = append(crashed, d)
		}
		u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500, Bridged: true})
		must(t, err)
		h, err := OpenHost(hostConfig(name))
		must(t, err)
		// The host port of another daemon, in the same namespace.
		elsewhere := newPlace(t)
		var foreign *Host
		must(t, elsewhere.do(func() (err error) {
			c := hostConfig(name)
			c.Name = "mgmt1"
			foreign, err = OpenHost(c)
			return err
		}))
		for _, c := range append(crashed, u, h, foreign) {
			must(t, c.Release())
		}
		// Somebody removed a companion by hand: the programs are still found.
		must(t, netlink.LinkDel(crashed[0].(*Device).companions[0].link))
		g := openGuest(t, "vm2") // still runs

		removed, err := Sweep(func(device string, _ Use) bool { return device == "vm3" })
		must(t, err)
		for _, want := range []string{
			"programs of a0", "programs of nic0", "programs of vm1",
			"vm1, TAP of port vm1", "wf-vm1, companion of vm1",
			"wf-w-nic0, wire companion of nic0", "wf-h-nic0, host companion of nic0",
			"mgmt0, TAP of host port mgmt in namespace " + name,
		} {
			if !slices.Contains(removed, want) {
				t.Errorf("%q is not in %q", want, removed)
			}
		}
		now := state(t)
		for _, line := range []string{"link vm2", "link vm3", "link wf-vm2", "link wf-vm3", "link mine"} {
			if !strings.Contains(now, line) {
				t.Errorf("no %q any more in\n%s", line, now)
			}
		}
		if l, _ := there.link("mgmt0"); l != nil {
			t.Error("the host port is still there")
		}
		if l, _ := there.link("mgmt1"); l == nil {
			t.Error("the host port of another daemon is gone")
		}
		must(t, g.Close())
		if _, err := Sweep(func(string, Use) bool { return false }); err != nil {
			t.Error(err)
		}
		if after := state(t); hookName() == "tap.tcx" && after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
		if again, err := Sweep(func(string, Use) bool { return false }); err != nil || len(again) != 0 {
			t.Errorf("nothing left, but removed %q, %v", again, err)
		}
	})
}

func TestKernelDropsCountsSlowGuest(t *testing.T) {
	isolate(t)
	must(t, Create(Spec{Name: "vm1", Port: "p", Owner: -1, Group: -1, Queues: 1}))
	g := openGuest(t, "vm1")
	d, err := AttachDevice("vm1", 1500)
	must(t, err)
	defer d.Close()
	const burst = txQueueLen + 100
	for range burst {
		must(t, g.write(testFrame(hostMAC, guestMAC, 60)))
	}
	eventually(t, "drops", func() bool { return KernelDrops("vm1")["wf-vm1 tx_dropped"] >= 100 })
}

// Between a crash and the next start a name may have become that of another type
// of port.
func TestSweepRemovesWhatIsForAnotherUse(t *testing.T) {
	isolate(t)
	must(t, Create(spec()))
	d, err := AttachDevice(spec().Name, 1500)
	must(t, err)
	must(t, d.Release())
	h, err := OpenHost(hostConfig(""))
	must(t, err)
	must(t, h.Release())

	_, err = Sweep(func(device string, as Use) bool {
		return device == spec().Name && as == MadeHostPort || device == "mgmt0" && as != MadeHostPort
	})
	must(t, err)
	for _, name := range []string{spec().Name, companionName(roleCompanion, spec().Name), "mgmt0"} {
		if _, err := linkByName(name); !errors.Is(err, ErrNoDevice) {
			t.Errorf("%s: %v, want ErrNoDevice", name, err)
		}
	}
}
