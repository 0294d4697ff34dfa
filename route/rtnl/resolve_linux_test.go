package rtnl

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// quick makes the kernel give up after one request, and doubt what it learned at once.
func quick(t *testing.T, name string) {
	for _, family := range []string{"ipv4", "ipv6"} {
		at := family + "/neigh/" + name + "/"
		setSysctl(t, at+"retrans_time_ms", "100")
		setSysctl(t, at+"mcast_solicit", "1")
		setSysctl(t, at+"ucast_solicit", "1")
		setSysctl(t, at+"delay_first_probe_time", "0")
		setSysctl(t, at+"locktime", "0")
	}
}

// entry returns the kernel's entry for an address.
func entry(t *testing.T, link int, a string) netlink.Neigh {
	t.Helper()
	all, err := netlink.NeighList(link, 0)
	must(t, err)
	for _, n := range all {
		if n.IP.String() == a {
			return n
		}
	}
	return netlink.Neigh{}
}

func macOf(t *testing.T, name string) frame.MAC {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return frame.MACFrom(l.Attrs().HardwareAddr)
}

func TestNeighborsComeChangeAndGo(t *testing.T) {
	for _, v := range []struct{ name, there, nobody, length string }{
		{"IPv4", "10.0.1.2", "10.0.1.3", "/24"},
		{"IPv6", "fd00:1::2", "fd00:1::3", "/64"},
	} {
		t.Run(v.name, func(t *testing.T) {
			here := isolate(t)
			peer, _ := wire(t, "n0", "1")
			quick(t, "n0")
			n0 := index(t, "n0")
			d, _ := watching(t, here)
			there, nobody := netip.MustParseAddr(v.there), netip.MustParseAddr(v.nobody)
			var mac frame.MAC
			in(t, peer, func() { mac = macOf(t, "eth0") })

			must(t, Resolve(n0, there))
			d.waitNeighbor(t, "the neighbor", v.there, func(n Neighbor) bool {
				return n == Neighbor{n0, there, mac, Reachable}
			})
			must(t, Resolve(n0, nobody))
			d.waitNeighbor(t, "silence", v.nobody, func(n Neighbor) bool {
				return n == Neighbor{n0, nobody, 0, Failed}
			})
			in(t, peer, func() {
				ip(t, "addr flush dev eth0")
				ip(t, "link set eth0 address 02:00:00:00:00:99")
				addAddress(t, "eth0", v.nobody+v.length)
			})
			must(t, Resolve(n0, nobody))
			d.waitNeighbor(t, "somebody", v.nobody, func(n Neighbor) bool {
				return n == Neighbor{n0, nobody, 0x0200_0000_0099, Reachable}
			})
			ip(t, "neigh change "+v.there+" lladdr "+mac.String()+" dev n0 nud stale")
			d.waitNeighbor(t, "doubt", v.there, func(n Neighbor) bool {
				return n == Neighbor{n0, there, mac, Stale}
			})
			must(t, Resolve(n0, there))
			d.waitNeighbor(t, "that it has left", v.there, func(n Neighbor) bool {
				return n == Neighbor{n0, there, 0, Failed}
			})
			ip(t, "neigh del "+v.nobody+" dev n0")
			d.waitNeighbor(t, "removal", v.nobody, func(n Neighbor) bool {
				return n == Neighbor{n0, nobody, 0, Gone}
			})
		})
	}
}

// Why Resolve looks before it asks: NTF_USE alone makes the kernel forget that an entry
// is permanent.
func TestKernelDoubtsAPermanentEntryInUse(t *testing.T) {
	isolate(t)
	wire(t, "n0", "1")
	n0 := index(t, "n0")
	ip(t, "neigh add 10.0.1.9 lladdr 02:00:00:00:00:09 dev n0 nud permanent")
	s, err := open()
	must(t, err)
	defer s.close()
	a := netip.MustParseAddr("10.0.1.9")
	must(t, s.ask(unix.RTM_NEWNEIGH, unix.NLM_F_ACK|unix.NLM_F_CREATE, func([]byte) {}, ndmsg(n0, a, unix.NTF_USE), destination(a)))
	if n := entry(t, n0, "10.0.1.9"); n.State&unix.NUD_PERMANENT != 0 {
		t.Errorf("the entry is still permanent (%#x): the look before is not needed on this kernel", n.State)
	}
}

func TestResolveLeavesAloneWhatIsSettled(t *testing.T) {
	isolate(t)
	wire(t, "n0", "1")
	n0 := index(t, "n0")
	for _, state := range []string{"permanent", "noarp", "reachable", "probe"} {
		for _, a := range []string{"10.0.1.9", "fd00:1::9"} {
			ip(t, "neigh replace "+a+" lladdr 02:00:00:00:00:09 dev n0 nud "+state)
			before := entry(t, n0, a)
			must(t, Resolve(n0, netip.MustParseAddr(a)))
			after := entry(t, n0, a)
			if after.State != before.State || after.HardwareAddr.String() != "02:00:00:00:00:09" || after.Updated < before.Updated {
				t.Errorf("%s %s: %+v became %+v", a, state, before, after)
			}
			ip(t, "neigh del "+a+" dev n0")
		}
	}
}

func TestResolveSaysWhatIsWrong(t *testing.T) {
	isolate(t)
	wire(t, "n0", "1")
	n0 := index(t, "n0")
	setSysctl(t, "ipv6/conf/n0/disable_ipv6", "1")
	for _, c := range []struct {
		link    int
		address string
		want    string
	}{
		{n0, "224.0.0.1", "not the address of a neighbor"},
		{n0, "0.0.0.0", "not the address of a neighbor"},
		{n0, "127.0.0.1", "not the address of a neighbor"},
		{0, "10.0.1.2", "not the address of a neighbor"},
		{n0 + 1000, "10.0.1.2", "no such device"},
		{n0, "fe80::2", "the link has IPv6 disabled"},
	} {
		if err := Resolve(c.link, netip.MustParseAddr(c.address)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Resolve %s on %d: %v, want %q", c.address, c.link, err, c.want)
		}
	}
	if err := Resolve(n0, netip.Addr{}); err == nil {
		t.Error("the zero address was resolved")
	}
	must(t, Resolve(n0, netip.MustParseAddr("::ffff:10.0.1.2")))
}

// With a zone, as addresses of routers often are.
func TestResolveTakesLinkLocalAddresses(t *testing.T) {
	here := isolate(t)
	peer, _ := wire(t, "n0", "1")
	in(t, peer, func() { addAddress(t, "eth0", "fe80::22/64") })
	d, _ := watching(t, here)
	must(t, Resolve(index(t, "n0"), netip.MustParseAddr("fe80::22%n0")))
	d.waitNeighbor(t, "the router", "fe80::22", func(n Neighbor) bool { return n.State == Reachable })
}

func TestResolverIsBounded(t *testing.T) {
	here := isolate(t)
	wire(t, "n0", "1")
	n0 := index(t, "n0")
	d, _ := watching(t, here)
	r := NewResolver()
	there := netip.MustParseAddr("10.0.1.2")
	r.Ask(n0+1000, there)
	for range questions - 1 {
		if !r.Ask(n0, there) {
			t.Fatal("the queue is full too early")
		}
	}
	if r.Ask(n0, there) || r.Dropped() != 1 {
		t.Errorf("a question too many was taken (%d dropped)", r.Dropped())
	}
	if n := testing.AllocsPerRun(100, func() { r.Ask(n0, there) }); n != 0 {
		t.Errorf("%v allocations for a question", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	failures := make(chan error, 1)
	inside(here, func() error { return r.Run(ctx, func(err error) { failures <- err }) }, done)
	if err := <-failures; !errors.Is(err, unix.ENODEV) {
		t.Errorf("a link that is gone: %v", err)
	}
	d.waitNeighbor(t, "the neighbor", "10.0.1.2", func(n Neighbor) bool { return n.State == Reachable })
	cancel()
	must(t, <-done)
}

func BenchmarkResolve(b *testing.B) {
	isolate(b)
	wire(b, "n0", "1")
	n0 := index(b, "n0")
	s, err := open()
	must(b, err)
	defer s.close()
	a := netip.MustParseAddr("10.0.1.2")
	must(b, netlink.NeighSet(&netlink.Neigh{
		LinkIndex: n0, IP: a.AsSlice(), State: unix.NUD_STALE, HardwareAddr: []byte{2, 0, 0, 0, 0, 9},
	}))
	for b.Loop() {
		must(b, s.resolve(n0, a))
	}
}
