package rtnl

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultLink names the link of the IPv4 default route; "" if there is none.
func defaultLink(h Host) string {
	best := Route{Metric: -1}
	for _, r := range h.Routes {
		if r.Prefix == netip.MustParsePrefix("0.0.0.0/0") && (best.Metric < 0 || r.Metric < best.Metric) {
			best = r
		}
	}
	return best.Name
}

func TestWatchFollowsTheDefaultRoute(t *testing.T) {
	here := isolate(t)
	wire(t, "n0", "1")
	wire(t, "n1", "2")
	d, _ := watching(t, here)
	d.wait(t, "no way out at first", func() bool { return d.hosts > 0 && defaultLink(d.host) == "" })
	ip(t, "route add default via 10.0.1.2 dev n0 metric 100")
	d.wait(t, "the first way", func() bool { return defaultLink(d.host) == "n0" })
	ip(t, "route add default via 10.0.2.2 dev n1 metric 50")
	d.wait(t, "a better way", func() bool { return defaultLink(d.host) == "n1" })
	ip(t, "route replace default via 10.0.1.2 dev n0 metric 50")
	d.wait(t, "the better way replaced", func() bool { return defaultLink(d.host) == "n0" })
	ip(t, "route del default dev n0 metric 50")
	ip(t, "route replace default via 10.0.2.2 dev n1 metric 20")
	d.wait(t, "the other NIC again", func() bool { return defaultLink(d.host) == "n1" })
	// The kernel says nothing of the IPv4 routes that a link takes along.
	ip(t, "link set n1 down")
	d.wait(t, "the way left without its NIC", func() bool { return defaultLink(d.host) == "n0" })
	ip(t, "link set n0 name wan0")
	d.wait(t, "the NIC's new name", func() bool { return defaultLink(d.host) == "wan0" })
}

// As when a lease runs out and another address is given.
func TestWatchFollowsAddresses(t *testing.T) {
	here := isolate(t)
	wire(t, "n0", "1")
	ip(t, "route add default via 10.0.1.2 dev n0 src 10.0.1.1")
	n0 := index(t, "n0")
	d, _ := watching(t, here)
	source := func(a netip.Addr) func() bool {
		return func() bool { return d.hosts > 0 && SourceFor(d.host, n0, IPv4) == a }
	}
	d.wait(t, "the first address", source(netip.MustParseAddr("10.0.1.1")))
	ip(t, "addr add 10.0.1.77/24 dev n0")
	ip(t, "addr del 10.0.1.1/24 dev n0") // and with it its secondary and all routes
	d.wait(t, "no address", source(netip.Addr{}))
	ip(t, "addr add 10.0.1.78/24 dev n0")
	ip(t, "route add default via 10.0.1.2 dev n0")
	d.wait(t, "the next address", source(netip.MustParseAddr("10.0.1.78")))

	has := func(want Address) func() bool {
		return func() bool { return slices.Contains(d.host.Addresses, want) }
	}
	ip(t, "-6 addr change fd00:1::1/64 dev n0 preferred_lft 0 valid_lft 100")
	d.wait(t, "an address that is deprecated", has(Address{
		Link: n0, Name: "n0", Prefix: netip.MustParsePrefix("fd00:1::1/64"), Deprecated: true,
	}))
	// A link without carrier never ends duplicate address detection.
	ip(t, "link add lone type bridge")
	ip(t, "link set lone up")
	ip(t, "addr add fd00:9::1/64 dev lone")
	d.wait(t, "an address that is tentative", has(Address{
		Link: index(t, "lone"), Name: "lone", Prefix: netip.MustParsePrefix("fd00:9::1/64"), Tentative: true,
	}))
	ip(t, "addr add 192.0.2.1 peer 192.0.2.9/29 dev n0")
	d.wait(t, "an address without subnet", has(Address{
		Link: n0, Name: "n0", Prefix: netip.MustParsePrefix("192.0.2.1/32"),
	}))
	d.wait(t, "the loopback's scope", has(Address{
		Link: 1, Name: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8"), Scope: ScopeHost,
	}))
}

// show is a route in few words.
func show(r Route) string {
	s := fmt.Sprintf("%s %s %s", r.Prefix, r.Kind, r.Name)
	if r.Gateway.IsValid() {
		s += " via " + r.Gateway.String()
	}
	if r.OnLink {
		s += " onlink"
	}
	if r.Source.IsValid() {
		s += " src " + r.Source.String()
	}
	return s + " " + strconv.Itoa(r.Metric)
}

func showRoutes(h Host) []string {
	var all []string
	for _, r := range h.Routes {
		all = append(all, show(r))
	}
	return all
}

func TestHostRoutes(t *testing.T) {
	here := isolate(t)
	wire(t, "n0", "1")
	wire(t, "n1", "2")
	ip(t, "nexthop add id 5 via 10.0.2.2 dev n1")
	for _, r := range []string{
		"default via 10.0.1.2 dev n0 src 10.0.1.1 metric 7",
		"192.0.2.0/24 via inet6 fd00:1::2 dev n0",
		"192.0.3.0/24 nhid 5",
		"198.51.100.0/24 via 172.16.0.1 dev n0 onlink",
		"203.0.113.0/26 nexthop via 10.0.2.2 dev n1 nexthop via 10.0.1.2 dev n0",
		"blackhole 203.0.113.64/26",
		"unreachable 203.0.113.128/26",
		"prohibit 203.0.113.192/27",
		"throw 203.0.113.224/27",
		"10.8.0.0/16 dev n0 tos 0x10",  // not followed
		"10.7.0.0/16 dev n0 table 100", // nor this
		"2001:db8:1::/48 via fd00:1::2 dev n0",
		"blackhole 2001:db8:2::/48",
		"2001:db8:3::/48 from fd00:1::/64 dev n0", // nor this
		"2001:db8:4::/48 nexthop via fd00:2::2 dev n1 nexthop via fd00:1::2 dev n0",
		"2001:db8:9::/48 encap seg6 mode encap segs fd00:1::2 dev n0",
	} {
		ip(t, "route add "+r)
	}
	d, _ := watching(t, here)
	var first []string
	d.wait(t, "routes", func() bool {
		first = showRoutes(d.host)
		return d.hosts > 0
	})
	want := []string{
		"0.0.0.0/0 unicast n0 via 10.0.1.2 src 10.0.1.1 7",
		"10.0.1.0/24 unicast n0 src 10.0.1.1 0",
		"10.0.2.0/24 unicast n1 src 10.0.2.1 0",
		"192.0.2.0/24 unicast n0 via fd00:1::2 0",
		"192.0.3.0/24 unicast n1 via 10.0.2.2 0",
		"198.51.100.0/24 unicast n0 via 172.16.0.1 onlink 0",
		"203.0.113.0/26 unicast n1 via 10.0.2.2 0",
		"203.0.113.64/26 blackhole  0",
		"203.0.113.128/26 unreachable  0",
		"203.0.113.192/27 prohibit  0",
		"203.0.113.224/27 unreachable  0",
		"2001:db8:1::/48 unicast n0 via fd00:1::2 1024",
		"2001:db8:2::/48 blackhole  1024",
		"2001:db8:4::/48 unicast n1 via fd00:2::2 1024",
		"2001:db8:9::/48 unreachable  1024",
		"fd00:1::/64 unicast n0 256",
		"fd00:2::/64 unicast n1 256",
	}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("routes differ (-want +got):\n%s", diff)
	}
	// The link stays up, without carrier: the kernel still uses what has no other way.
	ip(t, "nexthop replace id 5 via 10.0.1.2 dev n0")
	d.wait(t, "another next hop", func() bool {
		return slices.Contains(showRoutes(d.host), "192.0.3.0/24 unicast n0 via 10.0.1.2 0")
	})
	ip(t, "link set n1 down")
	d.wait(t, "the next way of several", func() bool {
		all := showRoutes(d.host)
		return slices.Contains(all, "203.0.113.0/26 unicast n0 via 10.0.1.2 0") &&
			slices.Contains(all, "2001:db8:4::/48 unicast n0 via fd00:1::2 1024")
	})
}

// The kernel looks into the table default when main has nothing for an address, as long
// as nobody made rules.
func TestHostRules(t *testing.T) {
	here := isolate(t)
	wire(t, "n0", "1")
	ip(t, "route add 10.6.0.0/16 dev n0 table default")
	ip(t, "route add 10.6.7.0/24 dev n0 table default metric 9")
	ip(t, "route add 172.16.0.0/12 dev n0")
	ip(t, "route add 172.16.5.0/24 dev n0 table default") // main matches first
	d, _ := watching(t, here)
	table := func(want ...string) func() bool {
		want = append([]string{"10.0.1.0/24 unicast n0 src 10.0.1.1 0", "172.16.0.0/12 unicast n0 0"}, want...)
		return func() bool {
			return slices.Equal(showRoutes(d.host), append(want, "fd00:1::/64 unicast n0 256"))
		}
	}
	d.wait(t, "the table default", table("10.6.0.0/16 unicast n0 0", "10.6.7.0/24 unicast n0 9"))
	d.wait(t, "no rules", func() bool { return d.host.Rules == nil })

	ip(t, "-6 rule add from fd00:1::/64 priority 90 unreachable")
	d.wait(t, "an IPv6 rule, which IPv4 does not mind", func() bool {
		return slices.Equal(d.host.Rules, []Rule{{IPv6, 90, "from fd00:1::/64 unreachable"}}) && len(d.host.Routes) == 5
	})
	ip(t, "rule add not from 10.0.0.0/8 to 192.0.2.0/24 iif lo fwmark 0x1 ipproto tcp dport 80-81 priority 100 table 100")
	ip(t, "rule add priority 101 oif n0 uidrange 0-9 goto 102")
	ip(t, "rule add priority 102 table main suppress_prefixlength 0")
	var got []Rule
	d.wait(t, "rules", func() bool {
		got = slices.SortedFunc(slices.Values(d.host.Rules), func(a, b Rule) int { return int(a.Family) - int(b.Family) })
		return len(got) == 4
	})
	want := []Rule{
		{IPv4, 100, "not from 10.0.0.0/8 iif lo fwmark 0x1 dport 80-81 ipproto 6 to 192.0.2.0/24 lookup 100"},
		{IPv4, 101, "from all oif n0 by user goto 102"},
		{IPv4, 102, "from all with a suppressor lookup main"},
		{IPv6, 90, "from fd00:1::/64 unreachable"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules differ (-want +got):\n%s", diff)
	}
	d.wait(t, "the table main alone", table())
	for _, priority := range []string{"100", "101", "102"} {
		ip(t, "rule del priority "+priority)
	}
	d.wait(t, "the table default again", table("10.6.0.0/16 unicast n0 0", "10.6.7.0/24 unicast n0 9"))
}

// Many changes are few calls, and the last of them is told.
func TestWatchDrawsChangesTogether(t *testing.T) {
	here := isolate(t)
	wire(t, "n0", "1")
	d, stop := watching(t, here)
	d.wait(t, "the beginning", func() bool { return d.hosts == 1 })
	begin := time.Now()
	const changes = 2000
	link, err := netlink.LinkByName("n0")
	must(t, err)
	for i := range changes {
		must(t, netlink.RouteReplace(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: netlink.NewIPNet([]byte{192, 0, 2, 1}), Gw: []byte{10, 0, 1, byte(2 + i%2)},
		}))
	}
	ip(t, "route add 192.0.2.99 dev n0")
	d.wait(t, "the last change", func() bool {
		return slices.Contains(showRoutes(d.host), "192.0.2.99/32 unicast n0 0")
	})
	stop()
	if most := 2 + int(time.Since(begin)/settle); d.hosts > most || most > changes/2 {
		t.Errorf("%d calls for %d changes in %v, want at most %d", d.hosts, changes, time.Since(begin), most)
	}
}

func TestWatchTellsNothingTwice(t *testing.T) {
	isolate(t)
	wire(t, "n0", "1")
	s, err := open()
	must(t, err)
	defer s.close()
	hosts, neighbors := 0, 0
	w := watcher{
		ask: s, known: make(map[place]Neighbor),
		tellHost: func(Host) { hosts++ }, tellNeighbor: func(Neighbor) { neighbors++ },
	}
	ip(t, "neigh add 10.0.1.9 lladdr 02:00:00:00:00:09 dev n0")
	for range 3 {
		w.mark(everything)
		must(t, w.read())
		must(t, w.readNeighbors())
	}
	if hosts != 1 || neighbors != 1 {
		t.Errorf("the same was told %d and %d times", hosts, neighbors)
	}
	ip(t, "neigh del 10.0.1.9 dev n0")
	ip(t, "link set n0 name n9")
	w.mark(links | addresses | routes)
	must(t, w.read())
	must(t, w.readNeighbors())
	if hosts != 2 || neighbors != 2 {
		t.Errorf("a change was told %d and %d times", hosts-1, neighbors-1)
	}
}

// More changes than the socket holds happen while a callback is busy.
func TestWatchMakesGoodLostMessages(t *testing.T) {
	here := isolate(t)
	wire(t, "n0", "1")
	ip(t, "neigh add 10.0.1.8 lladdr 02:00:00:00:00:08 dev n0")
	d := &diary{news: make(chan struct{}, 1)}
	busy, release := make(chan struct{}), make(chan struct{})
	told := 0
	stop := watchingWith(t, here, 1, d.noteHost, func(n Neighbor) { // the kernel gives 2 kB at least
		d.noteNeighbor(n)
		if told++; told == 1 {
			close(busy)
			<-release
		}
	})
	<-busy
	const changes = 500
	n0 := index(t, "n0")
	for i := range changes {
		must(t, netlink.NeighSet(&netlink.Neigh{
			LinkIndex: n0, IP: []byte{10, 0, 1, 7}, State: unix.NUD_PERMANENT, HardwareAddr: []byte{2, 0, 0, 0, byte(i >> 8), byte(i)},
		}))
	}
	ip(t, "neigh del 10.0.1.8 dev n0")
	ip(t, "route add default via 10.0.1.2 dev n0")
	close(release)
	d.wait(t, "the new route", func() bool { return defaultLink(d.host) == "n0" })
	d.waitNeighbor(t, "the last MAC", "10.0.1.7", func(n Neighbor) bool { return n.MAC == changes-1|0x0200_0000_0000 })
	d.waitNeighbor(t, "the removal", "10.0.1.8", func(n Neighbor) bool { return n.State == Gone && n.MAC == 0 })
	stop()
	if told >= changes {
		t.Errorf("%d messages: none was lost, so the test shows nothing", told)
	}
}

// The other end's namespace ends, and with it the wire.
func TestWatchOutlivesANamespace(t *testing.T) {
	here := isolate(t)
	_, end := wire(t, "n0", "1")
	n0 := index(t, "n0")
	ip(t, "route add default via 10.0.1.2 dev n0")
	d, _ := watching(t, here)
	must(t, Resolve(n0, netip.MustParseAddr("10.0.1.2")))
	d.wait(t, "the way", func() bool { return defaultLink(d.host) == "n0" })
	d.waitNeighbor(t, "the neighbor", "10.0.1.2", func(n Neighbor) bool { return n.State == Reachable })
	end()
	d.wait(t, "nothing left", func() bool {
		return len(d.host.Routes) == 0 && !slices.ContainsFunc(d.host.Addresses, func(a Address) bool { return a.Link == n0 })
	})
	d.waitNeighbor(t, "the neighbor's end", "10.0.1.2", func(n Neighbor) bool { return n.State == Gone })
}

func TestWatchEndsWithItsContext(t *testing.T) {
	here := isolate(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	inside(here, func() error {
		return Watch(ctx, func(Host) { cancel() }, func(Neighbor) {})
	}, done)
	must(t, <-done)
	inside(here, func() error { return Watch(ctx, func(Host) { t.Error("told after its end") }, nil) }, done)
	must(t, <-done)
}

// Nobody tells of neighbors that vanish after an error: they are told before.
func TestWatchForgetsNeighborsOnAnError(t *testing.T) {
	isolate(t)
	wire(t, "n0", "1")
	s, err := open()
	must(t, err)
	n0 := index(t, "n0")
	mine := Neighbor{n0, netip.MustParseAddr("10.0.1.9"), 0x0200_0000_0009, Reachable}
	var told []Neighbor
	w := watcher{
		ask: s, known: map[place]Neighbor{{n0, mine.Address}: mine},
		tellHost: func(Host) {}, tellNeighbor: func(n Neighbor) { told = append(told, n) },
	}
	s.close()
	if err := w.run(t.Context(), watchBuffer); err == nil {
		t.Error("a closed socket can be read")
	}
	if want := []Neighbor{{Link: n0, Address: mine.Address}}; !slices.Equal(told, want) {
		t.Errorf("told %+v, want %+v", told, want)
	}
}
