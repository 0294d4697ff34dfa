package fastpath

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// patience bounds every wait of these tests for something that must come.
const patience = 10 * time.Second

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
	setUp(t, "lo")
}

func setUp(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	return l
}

// newCache makes a cache that ends with the test.
func newCache(t testing.TB, c Config) *Cache {
	t.Helper()
	made, err := New(c)
	if errors.Is(err, os.ErrPermission) && os.Getenv("WEFT_E2E_REQUIRED") != "1" {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, made.Close()) })
	return made
}

// A device is a TAP, by the descriptor of which the test sends and receives what
// somebody behind a network card would.
type device struct {
	fd    int
	name  string
	index int
	uso   bool // it takes superframes of datagrams
	room  [1 << 17]byte
}

const (
	virtioLen = 12
	queueLen  = 1000 // frames
)

// newTAP makes a TAP, up, that takes all offloads.
func newTAP(t testing.TB, name string) *device {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	r, err := unix.NewIfreq(name)
	must(t, err)
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, r))
	must(t, unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, virtioLen))
	const offloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	uso := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads|unix.TUN_F_USO4|unix.TUN_F_USO6) == nil
	if !uso { // before 6.2
		must(t, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads))
	}
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
	l, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetTxQLen(l, queueLen))
	must(t, netlink.QdiscReplace(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_ROOT}, QdiscType: "noqueue",
	}))
	return &device{fd: fd, name: name, uso: uso, index: setUp(t, name).Attrs().Index}
}

// write sends a frame with its offload.
func (d *device) write(t testing.TB, p []byte, o frame.Offload) {
	t.Helper()
	all := make([]byte, virtioLen+len(p))
	o.Encode(all)
	copy(all[virtioLen:], p)
	_, err := unix.Write(d.fd, all)
	must(t, err)
}

// read returns what has arrived, or nil.
func (d *device) read(t testing.TB) ([]byte, frame.Offload) {
	t.Helper()
	var o frame.Offload
	p := d.room[:]
	n, err := unix.Read(d.fd, p)
	if errors.Is(err, unix.EAGAIN) {
		return nil, o
	}
	must(t, err)
	o.Decode(p)
	return slices.Clone(p[virtioLen:n]), o
}

// silent fails if something has arrived.
func (d *device) silent(t testing.TB, what string) {
	t.Helper()
	if p, _ := d.read(t); p != nil {
		t.Errorf("%s: %s received %x", what, d.name, p)
	}
}

// attach puts a program onto a device, in front of those that are there.
func attach(t testing.TB, index int, p *ebpf.Program, where ebpf.AttachType) {
	t.Helper()
	err := link.RawAttachProgram(link.RawAttachProgramOptions{Target: index, Program: p, Attach: where, Anchor: link.Head()})
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL) { // before 6.6
		err = attachFilter(index, p, where)
	}
	must(t, err)
}

// attachFilter is attach by clsact.
func attachFilter(index int, p *ebpf.Program, where ebpf.AttachType) error {
	at := netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
	if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: at}); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if where == ebpf.AttachTCXEgress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return err
	}
	behind, err := netlink.FilterList(l, parent)
	if err != nil {
		return err
	}
	return netlink.FilterAdd(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Priority: uint16(100 - len(behind)), Protocol: unix.ETH_P_ALL},
		Fd:          p.FD(), Name: "test", DirectAction: true,
	})
}
