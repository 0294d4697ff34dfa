package tap

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// patience bounds every wait of these tests for something that must come.
const patience = 10 * time.Second

// childRole names the function of children that a copy of the test binary runs.
const childRole = "WEFT_TAP_CHILD"

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := children[role](); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Package net finds out but once which families there are: not in a namespace whose
	// loopback is down.
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
	}
	os.Exit(m.Run())
}

// ready tells the parent that the child has come as far as it should, and waits to
// be killed.
func ready() error {
	fmt.Println("ready")
	select {}
}

// startChild starts a child in the present namespace and returns once it is ready.
func startChild(t *testing.T, role string, env ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(append(os.Environ(), childRole+"="+role), env...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() { crash(c) })
	line, err := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "ready" {
		t.Fatalf("child %s: %q, %v", role, line, err)
	}
	return c
}

// crash ends a child as kill -9 does.
func crash(c *exec.Cmd) {
	_ = c.Process.Kill()
	_ = c.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// isolate runs the rest of the test in a network namespace of its own.
func isolate(t testing.TB) {
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
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
}

// eachHook runs f once with tcx, where the kernel has it, and once with clsact.
func eachHook(t *testing.T, f func(t *testing.T)) {
	all := hooks()
	for _, first := range all {
		t.Run(fmt.Sprintf("%T", first)[len("tap."):], func(t *testing.T) {
			isolate(t)
			order := []hook{first}
			for _, h := range all {
				if h != first {
					order = append(order, h)
				}
			}
			saved := hooks
			hooks = func() []hook { return order }
			t.Cleanup(func() { hooks = saved })
			f(t)
		})
	}
}

// newPlace makes a namespace that lives as long as the test.
func newPlace(t testing.TB) place {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	defer here.Close()
	ns, err := netns.New()
	must(t, err)
	must(t, netns.Set(here))
	p, err := placeOf(ns)
	must(t, err)
	t.Cleanup(p.close)
	return p
}

// namedPlace makes a namespace of ip-netns(8), by that program: the first time on a
// machine it mounts /run/netns anew, over what others had mounted there.
func namedPlace(t *testing.T, suffix string) (string, place) {
	t.Helper()
	name := fmt.Sprintf("wt-%d-%s", os.Getpid(), suffix)
	run(t, nil, "ip", "netns", "add", name)
	t.Cleanup(func() { run(t, nil, "ip", "netns", "delete", name) })
	ns, err := netns.GetFromName(name)
	must(t, err)
	p, err := placeOf(ns)
	must(t, err)
	t.Cleanup(p.close)
	return name, p
}

// newVeth makes a veth pair: name here, up; peer with the addresses in p, up.
func newVeth(t testing.TB, name string, p place, peer string, addresses ...string) {
	t.Helper()
	a := netlink.NewLinkAttrs()
	a.Name = name
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: peer, PeerNamespace: netlink.NsFd(p.ns)}))
	l, err := p.LinkByName(peer)
	must(t, err)
	addAddresses(t, p.Handle, l, addresses...)
	must(t, p.LinkSetUp(l))
	l, err = netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
}

func addAddresses(t testing.TB, h *netlink.Handle, l netlink.Link, addresses ...string) {
	t.Helper()
	for _, s := range addresses {
		a, err := netlink.ParseAddr(s)
		must(t, err)
		a.Flags = unix.IFA_F_NODAD
		must(t, h.AddrAdd(l, a))
	}
}

// run runs a command in p and returns what it says.
func run(t testing.TB, p *place, name string, args ...string) string {
	t.Helper()
	var out []byte
	f := func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		return err
	}
	var err error
	if p == nil {
		err = f()
	} else {
		err = p.do(f)
	}
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pingArgs asks for n replies to pings every 10 ms. Without -w, ping gives the last
// reply no more than twice the time of the others.
func pingArgs(n int, to string) []string {
	return []string{"-c", strconv.Itoa(n), "-i", "0.01", "-w", "20", to}
}

// ping sends n pings, of which none may be lost or doubled.
func ping(t testing.TB, from *place, n int, to string) {
	t.Helper()
	checkPing(t, n, run(t, from, "ping", pingArgs(n, to)...))
}

// checkPing lets ping ask once more when a reply is late, as long as all come.
func checkPing(t testing.TB, n int, out string) {
	t.Helper()
	for i := 1; i <= n; i++ {
		if strings.Count(out, fmt.Sprintf("icmp_seq=%d ", i)) != 1 {
			t.Errorf("ping %d was lost or doubled:\n%s", i, out)
			return
		}
	}
}

// testType is the EtherType of frames that only these tests send (IEEE 802, local
// experimental).
const testType = 0x88b5

func testFrame(dst, src string, n int) []byte {
	f := make([]byte, max(n, 60))
	d, _ := net.ParseMAC(dst)
	s, _ := net.ParseMAC(src)
	copy(f, d)
	copy(f[6:], s)
	f[12], f[13] = testType>>8, testType&0xff
	return f
}

// A listener listens with a packet socket behind the tc programs: it sees exactly
// the test frames that reach the stack of its namespace.
type listener struct{ fd int }

func listen(t testing.TB, p *place, device string) listener {
	t.Helper()
	var l listener
	open := func() error {
		const protocol = testType>>8 | testType&0xff<<8
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
		if err != nil {
			return err
		}
		l.fd = fd
		if device == "" {
			return nil
		}
		i, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: i.Index})
	}
	if p == nil {
		must(t, open())
	} else {
		must(t, p.do(open))
	}
	t.Cleanup(func() { unix.Close(l.fd) })
	return l
}

// count returns how many frames came in so far, but not those sent from here.
func (l listener) count(t testing.TB) int {
	t.Helper()
	n := 0
	p := make([]byte, 2048)
	for {
		_, from, err := unix.Recvfrom(l.fd, p, 0)
		if errors.Is(err, unix.EAGAIN) {
			return n
		}
		must(t, err)
		if a, ok := from.(*unix.SockaddrLinklayer); ok && a.Pkttype != unix.PACKET_OUTGOING {
			n++
		}
	}
}

// eventually waits until ok, on events of the kernel that nothing signals.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// A guest holds a TAP's descriptor as QEMU does.
type guest struct{ *Queue }

func openGuest(t testing.TB, name string) guest {
	t.Helper()
	q, _, err := newQueue(name, true)
	must(t, err)
	t.Cleanup(func() { q.Close() })
	return guest{q}
}

func (g guest) write(p []byte) error {
	b := frame.NewBufs(1)
	b[0].SetBytes(p)
	n, err := g.Send(b)
	if n == 0 && err == nil {
		err = syscall.EIO
	}
	return err
}

// state describes everything in the namespace that attaching might leave behind.
func state(t testing.TB) string {
	t.Helper()
	var s strings.Builder
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		fmt.Fprintf(&s, "link %s alias %q promisc %d\n", l.Attrs().Name, l.Attrs().Alias, l.Attrs().Promisc)
		if id, ours := xdpOf(l); id != 0 {
			fmt.Fprintf(&s, "  XDP program, ours %t\n", ours)
		}
		qdiscs, err := netlink.QdiscList(l)
		must(t, err)
		for _, q := range qdiscs {
			fmt.Fprintf(&s, "  qdisc %s\n", q.Type())
		}
		for _, d := range []direction{ingress, egress} {
			filters, err := (clsact{}).filters(l, d)
			must(t, err)
			for _, f := range filters {
				fmt.Fprintf(&s, "  filter %s %s %d\n", d, f.Type(), f.Attrs().Priority)
			}
			for _, h := range hooks() {
				for _, at := range seats {
					id, err := h.find(l, d, at)
					must(t, err)
					if id != 0 {
						fmt.Fprintf(&s, "  program %s* %s %T\n", at.prefix, d, h)
					}
				}
			}
		}
	}
	return s.String()
}

// entries counts what is in a map.
func entries(m *ebpf.Map) int {
	n := 0
	key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
	for all := m.Iterate(); all.Next(&key, &value); {
		n++
	}
	return n
}
