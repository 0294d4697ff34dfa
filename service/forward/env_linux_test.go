package forward_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"weft/service/forward"
)

// patience bounds every wait of these tests for something that must come.
const patience = 10 * time.Second

// inside says that this process is the one in a network namespace of its own.
const inside = "WEFT_FORWARD_INSIDE"

// All of these tests run in one namespace that ends with them: a copy of the test
// binary does, because sockets are made by whichever thread comes along.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		c := exec.Command("/proc/self/exe", os.Args[1:]...)
		c.Env = append(os.Environ(), inside+"=1")
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		runtime.LockOSThread() // whose death Pdeathsig is about
		err := c.Run()
		if errors.Is(err, os.ErrPermission) {
			fmt.Println("run as root: a network namespace is needed:", err)
			if os.Getenv("WEFT_E2E_REQUIRED") == "1" {
				os.Exit(1)
			}
			os.Exit(0)
		}
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := scene(); err != nil {
		fmt.Println("no scene:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// The host's and the guest's end of a wire.
const (
	host4, host6   = "10.0.0.1", "fd00::1"
	hostLink       = "fe80::77"
	guest4, guest6 = "10.0.0.2", "fd00::2"
)

// guestSpace is the namespace of the guest.
var guestSpace netns.NsHandle

func scene() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	if guestSpace, err = netns.New(); err != nil {
		return err
	}
	there := ip("link set lo up")
	if err := errors.Join(there, netns.Set(here)); err != nil {
		return err
	}
	a := netlink.NewLinkAttrs()
	a.Name = "wf-vms"
	wire := &netlink.Veth{LinkAttrs: a, PeerName: "eth0", PeerNamespace: netlink.NsFd(guestSpace)}
	err = errors.Join(ip("link set lo up"), netlink.LinkAdd(wire), up("wf-vms", host4+"/24", host6+"/64", hostLink+"/64"), netns.Set(guestSpace))
	return errors.Join(err, up("eth0", guest4+"/24", guest6+"/64", "10.0.0.3/24"), netns.Set(here))
}

// up gives a link addresses. The kernel is done with those of IPv6 a moment later.
func up(name string, addresses ...string) error {
	if err := ip("link set " + name + " up"); err != nil {
		return err
	}
	for _, a := range addresses {
		if err := ip("addr add " + a + " dev " + name + " nodad"); err != nil {
			return err
		}
		family := "-4"
		if strings.Contains(a, ":") {
			family = "-6"
		}
		own, _, _ := strings.Cut(a, "/")
		for end := time.Now().Add(patience); ; {
			out, err := exec.Command("ip", family, "route", "show", "table", "local", "type", "local", own).Output()
			if err != nil || time.Now().After(end) {
				return fmt.Errorf("%s is not there: %w", a, err)
			}
			if len(out) > 0 {
				break
			}
		}
	}
	return nil
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w\n%s", args, err, out)
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// asGuest runs f on a thread in the guest's namespace. Sockets that it opens stay there.
func asGuest[T any](t testing.TB, f func() (T, error)) T {
	t.Helper()
	type result struct {
		v   T
		err error
	}
	c := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		var r result
		if r.err = netns.Set(guestSpace); r.err == nil {
			r.v, r.err = f()
		}
		c <- r
	}()
	r := <-c
	must(t, r.err)
	return r.v
}

// serveTCP accepts connections to the guest and calls f with each, until the test ends.
func serveTCP(t testing.TB, at string, f func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l := asGuest(t, func() (net.Listener, error) { return net.Listen("tcp", at) })
	var g sync.WaitGroup
	g.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.Go(func() {
				defer c.Close()
				f(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// serveUDP answers each datagram to the guest by its source and itself.
func serveUDP(t testing.TB, at string) netip.AddrPort {
	t.Helper()
	c := asGuest(t, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	})
	var g sync.WaitGroup
	g.Go(func() {
		b := make([]byte, 65535)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteToUDPAddrPort(append([]byte(from.String()+" "), b[:n]...), from)
			}
		}
	})
	t.Cleanup(func() {
		c.Close()
		g.Wait()
	})
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// own is what the daemon knows of the host's addresses.
func own(a netip.Addr) bool {
	return a == netip.MustParseAddr(host4) || a == netip.MustParseAddr(host6) || a == netip.MustParseAddr(hostLink)
}

func open(t testing.TB, c forward.Config) *forward.Forwarder {
	t.Helper()
	c.Local = own
	f, err := forward.Open(c)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

// dial connects as the host does. Nothing may take longer than patience.
func dial(t testing.TB, network, to string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, to, patience)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// eventually waits until ok, on events that nothing signals.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// freePort returns a port that nobody has.
var freePort = func() func() uint16 {
	var next atomic.Uint32
	next.Store(20000)
	return func() uint16 { return uint16(next.Add(1)) }
}()

// wantReset takes what Dial returns for a connection that is accepted and reset at once,
// which may be before Dial returns, or later.
func wantReset(t testing.TB, what string, c net.Conn, err error) {
	t.Helper()
	if err == nil {
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(patience)))
		_, err = c.Read(make([]byte, 1))
	}
	if !isReset(err) {
		t.Errorf("%s: %v, want a reset", what, err)
	}
}

func isReset(err error) bool { return errors.Is(err, unix.ECONNRESET) }
