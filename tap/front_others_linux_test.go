package tap

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What an administrator put in front stays in front, and what others have stays.
func TestFrontLeavesOthersAlone(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		c := newCrossing(t)
		admin, other := newCounting(t, "admin", tcPass), newCounting(t, "other", tcPass)
		attachOther(t, c.device, admin.Program, true)
		attachOther(t, c.device, other.Program, false)
		before := row(t, c.device)
		f := newCounting(t, "weftfp_in", tcDrop)
		must(t, c.SetFront(Front{Ingress: f.Program}))
		want := strings.Replace(before, "weft_", "weftfp_in weft_", 1)
		if now := row(t, c.device); now != want || !strings.HasPrefix(now, "admin") || !strings.HasSuffix(now, "other") {
			t.Errorf("programs are %q, want %q", now, want)
		}
		must(t, c.SetFront(Front{}))
		if now := row(t, c.device); now != before {
			t.Errorf("programs are %q, were %q", now, before)
		}
		must(t, c.SetFront(Front{Ingress: f.Program}))
		must(t, c.Close())
		if now := row(t, c.device); now != "admin other" {
			t.Errorf("after Close programs are %q", now)
		}
	})
}

// attachOther puts a program of somebody else at the ingress, at its head or its tail.
func attachOther(t *testing.T, l netlink.Link, p *ebpf.Program, first bool) {
	t.Helper()
	if hookName() == "tap.tcx" {
		anchor := link.Tail()
		if first {
			anchor = link.Head()
		}
		must(t, link.RawAttachProgram(link.RawAttachProgramOptions{
			Target: l.Attrs().Index, Program: p, Attach: ebpf.AttachTCXIngress, Anchor: anchor,
		}))
		return
	}
	info, err := p.Info()
	must(t, err)
	priority := uint16(0xc000)
	if first {
		priority = 1
	}
	must(t, netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: l.Attrs().Index, Parent: clsactParent(ingress), Handle: 1, Priority: priority, Protocol: unix.ETH_P_ALL,
		},
		Fd: p.FD(), Name: info.Name, DirectAction: true,
	}))
}

// row returns the names of the programs at the ingress, as a frame meets them; of weft's
// own only how they begin.
func row(t *testing.T, l netlink.Link) string {
	t.Helper()
	var names []string
	if hookName() == "tap.tcx" {
		all, err := link.QueryPrograms(link.QueryOptions{Target: l.Attrs().Index, Attach: ebpf.AttachTCXIngress})
		must(t, err)
		for _, at := range all.Programs {
			p, err := ebpf.NewProgramFromID(at.ID)
			must(t, err)
			info, err := p.Info()
			must(t, err)
			names = append(names, info.Name)
			p.Close()
		}
	} else {
		all, err := clsact{}.filters(l, ingress)
		must(t, err)
		for _, f := range all {
			names = append(names, f.(*netlink.BpfFilter).Name)
		}
	}
	for i, name := range names {
		if strings.HasPrefix(name, ownSeat.prefix) {
			names[i] = ownSeat.prefix
		}
	}
	return strings.Join(names, " ")
}

func TestPeerable(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		newVeth(t, "a0", newPlace(t), "eth0")
		at := netlink.NewLinkAttrs()
		at.Name = "near0"
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: at, PeerName: "near1"}))
		must(t, Create(spec()))
		attached := func(name string) *Device {
			d, err := AttachDevice(name, 1500)
			must(t, err)
			t.Cleanup(func() { d.Close() })
			return d
		}
		d := attached("a0")
		check := func(d *Device, want bool, why string) {
			t.Helper()
			if d.Peerable() != want {
				t.Errorf("%s: Peerable = %t, want %t", why, !want, want)
			}
		}
		check(attached("near0"), false, "the peer is in the same namespace")
		check(attached(spec().Name), false, "it is a TAP")
		check(d, true, "the peer is elsewhere")
		run(t, nil, "tc", "qdisc", "add", "dev", "a0", "root", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms")
		check(d, false, "an operator shapes what goes there")
		run(t, nil, "tc", "qdisc", "del", "dev", "a0", "root")
		check(d, true, "the shaping is gone")
		if hookName() == "tap.tcx" {
			run(t, nil, "tc", "qdisc", "add", "dev", "a0", "clsact")
		}
		check(d, true, "clsact is no shaping")
		run(t, nil, "tc", "filter", "add", "dev", "a0", "egress", "pref", "7", "bpf", "bytecode", "1,6 0 0 0")
		check(d, false, "an operator filters what goes there")
		if d.Index() != d.device.Attrs().Index || d.Companion() != d.index(0) {
			t.Errorf("indexes %d, %d", d.Index(), d.Companion())
		}
	})
}
