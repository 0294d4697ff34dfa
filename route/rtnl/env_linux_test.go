package rtnl

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests for something that must come.
const patience = 10 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// isolate runs the rest of the test in a network namespace of its own, and returns it.
func isolate(t testing.TB) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread()
	home, err := netns.Get()
	must(t, err)
	own, err := netns.New()
	if err != nil {
		runtime.UnlockOSThread()
		const remedy = "run as root: network namespaces are needed"
		if os.Getenv("WEFT_E2E_REQUIRED") == "1" {
			t.Fatalf("%v: %s", err, remedy)
		}
		t.Skipf("%v: %s", err, remedy)
	}
	t.Cleanup(func() {
		must(t, netns.Set(home))
		own.Close()
		home.Close()
		runtime.UnlockOSThread()
	})
	ip(t, "link set lo up")
	return own
}

// newNamespace makes a namespace that lives until the test ends or close is called.
func newNamespace(t testing.TB) (ns netns.NsHandle, end func()) {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	ns, err = netns.New()
	must(t, err)
	must(t, netns.Set(here))
	end = sync.OnceFunc(func() { ns.Close() })
	t.Cleanup(end)
	return ns, end
}

// in runs f on the test's thread in another namespace.
func in(t testing.TB, ns netns.NsHandle, f func()) {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	must(t, netns.Set(ns))
	defer func() { must(t, netns.Set(here)) }()
	f()
}

// ip runs ip(8) with the words of args.
func ip(t testing.TB, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

// sysctl sets one below net, in the namespace of the test's thread.
func setSysctl(t testing.TB, name, value string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0))
}

func index(t testing.TB, name string) int {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l.Attrs().Index
}

// addAddress adds an address that can be used at once. The kernel listens to what is
// asked of one of IPv6 a moment later, and has a local route for it then.
func addAddress(t testing.TB, name, prefix string) {
	t.Helper()
	ip(t, "addr add "+prefix+" dev "+name+" nodad")
	own, _, err := net.ParseCIDR(prefix)
	must(t, err)
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Dst: netlink.NewIPNet(own)}
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		all, err := netlink.RouteListFiltered(nl.GetIPFamily(own), filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
		if err == nil && len(all) > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s never becomes %s's: %v", prefix, name, err)
		}
	}
}

// wire makes a veth pair, both up: name with the address 10.0.n.1/24 and fd00:n::1/64
// here, eth0 with .2 in a new namespace.
func wire(t testing.TB, name, n string) (peer netns.NsHandle, end func()) {
	t.Helper()
	peer, end = newNamespace(t)
	a := netlink.NewLinkAttrs()
	a.Name = name
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "eth0", PeerNamespace: netlink.NsFd(peer)}))
	up := func(name, host string) {
		setSysctl(t, "ipv6/conf/"+name+"/accept_dad", "0")
		ip(t, "link set "+name+" up")
		addAddress(t, name, "10.0."+n+"."+host+"/24")
		addAddress(t, name, "fd00:"+n+"::"+host+"/64")
	}
	up(name, "1")
	in(t, peer, func() { up("eth0", "2") })
	return peer, end
}

// A diary keeps what Watch tells.
type diary struct {
	mu        sync.Mutex
	host      Host
	hosts     int // how often
	neighbors []Neighbor
	news      chan struct{}
}

func (d *diary) noteHost(h Host) {
	d.mu.Lock()
	d.host = h
	d.hosts++
	d.mu.Unlock()
	d.signal()
}

func (d *diary) noteNeighbor(n Neighbor) {
	d.mu.Lock()
	d.neighbors = append(d.neighbors, n)
	d.mu.Unlock()
	d.signal()
}

func (d *diary) signal() {
	select {
	case d.news <- struct{}{}:
	default:
	}
}

// wait waits until ok, which may look at everything in d.
func (d *diary) wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.After(patience)
	for {
		d.mu.Lock()
		done := ok()
		d.mu.Unlock()
		if done {
			return
		}
		select {
		case <-d.news:
		case <-end:
			d.mu.Lock()
			defer d.mu.Unlock()
			t.Fatalf("in vain: %s\n%+v\n%+v", what, d.host, d.neighbors)
		}
	}
}

// waitNeighbor waits until the last that was told of an address is ok.
func (d *diary) waitNeighbor(t testing.TB, what, address string, ok func(Neighbor) bool) {
	t.Helper()
	d.wait(t, what, func() bool {
		for i := len(d.neighbors) - 1; i >= 0; i-- {
			if n := d.neighbors[i]; n.Address.String() == address {
				return ok(n)
			}
		}
		return false
	})
}

// watching runs Watch in ns until the test ends, or stop is called.
func watching(t testing.TB, ns netns.NsHandle) (d *diary, stop func()) {
	t.Helper()
	d = &diary{news: make(chan struct{}, 1)}
	return d, watchingWith(t, ns, watchBuffer, d.noteHost, d.noteNeighbor)
}

func watchingWith(t testing.TB, ns netns.NsHandle, buffer int, host func(Host), neighbor func(Neighbor)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	inside(ns, func() error { return watch(ctx, buffer, host, neighbor) }, done)
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// inside runs f on a thread of its own in ns.
func inside(ns netns.NsHandle, f func() error, done chan<- error) {
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
}
