package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/frame"
	"weft/frame/frametest"
)

// A kernelBridge is a Linux bridge with two TAPs in a namespace of its own. What is
// written to in with a virtio-net header leaves at out, whose device offloads only
// what the test lets it: so the kernel segments and completes in software.
type kernelBridge struct {
	in, out int
}

// newKernelBridge makes the bridge on the calling goroutine's thread, which ends with
// the test and the namespace with it.
func newKernelBridge(t *testing.T) *kernelBridge {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		lacking(t, "a network namespace cannot be made: %v; run the test as root", err)
	}
	k := &kernelBridge{in: openTAP(t, "in"), out: openTAP(t, "out")}
	ip := exec.Command("ip", "-batch", "-")
	ip.Stdin = strings.NewReader(`
link add name bridge0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
link set dev bridge0 addrgenmode none
link set dev in addrgenmode none master bridge0 up
link set dev out addrgenmode none master bridge0 txqueuelen 10000 up
link set dev bridge0 up
`)
	switch out, err := ip.CombinedOutput(); {
	case errors.Is(err, exec.ErrNotFound):
		lacking(t, "%v; install iproute2", err)
	case err != nil:
		t.Fatalf("ip: %v: %s", err, out)
	}
	return k
}

func openTAP(t *testing.T, name string) int {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		lacking(t, "/dev/net/tun: %v; load the module tun", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	req, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatalf("tap %s: %v", name, err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, frame.VirtioLen); err != nil {
		t.Fatalf("tap %s: set header size: %v", name, err)
	}
	return fd
}

// lacking skips the test for want of something, or fails it where all must run.
func lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("WEFT_E2E_REQUIRED") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// offload sets which work the kernel may leave to the device out.
func (k *kernelBridge) offload(t *testing.T, f frame.Features) {
	t.Helper()
	flags := 0
	if f&frame.FeatureCsum != 0 {
		flags = unix.TUN_F_CSUM
	}
	if err := unix.IoctlSetInt(k.out, unix.TUNSETOFFLOAD, flags); err != nil {
		t.Fatalf("set offloads: %v", err)
	}
}

// write hands the kernel a frame as a guest's driver does.
func (k *kernelBridge) write(b *frame.Buf) error {
	p := b.WithHeader(frame.VirtioLen)
	b.Offload.Encode(p)
	_, err := unix.Write(k.in, p)
	return err
}

// A kernelFrame is what the kernel made of a frame.
type kernelFrame struct {
	bytes   []byte
	offload frame.Offload
}

// relay returns what leaves the bridge for b.
func (k *kernelBridge) relay(t *testing.T, b *frame.Buf) []kernelFrame {
	t.Helper()
	if err := k.write(b); err != nil {
		t.Fatalf("the kernel refuses the frame: %v", err)
	}
	end := frame.NewBufs(1)[0] // the bridge keeps the order
	end.SetBytes(frametest.Ethernet(b4.MAC, a4.MAC, 0x88b5, make([]byte, 46)))
	if err := k.write(end); err != nil {
		t.Fatal(err)
	}
	var all []kernelFrame
	for p := make([]byte, frame.MaxLen+frame.VirtioLen); ; {
		n, err := unix.Read(k.out, p)
		if errors.Is(err, unix.EAGAIN) {
			k.await(t)
			continue
		}
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		f := kernelFrame{bytes: bytes.Clone(p[frame.VirtioLen:n])}
		f.offload.Decode(p)
		if bytes.Equal(f.bytes, end.Bytes()) {
			return all
		}
		if eth := frame.Ethernet(f.bytes); eth.Src() == a4.MAC && eth.Dst() == b4.MAC {
			all = append(all, f) // and not a frame of the kernel's own
		}
	}
}

func (k *kernelBridge) await(t *testing.T) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(k.out), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int((10 * time.Second).Milliseconds()))
	if n == 0 || err != nil && !errors.Is(err, unix.EINTR) {
		t.Fatalf("the frame did not come through the bridge: %v", err)
	}
}

// compare has weft and the kernel make the same of a superframe.
func (k *kernelBridge) compare(t *testing.T, s frametest.Superframe, f frame.Features) {
	t.Helper()
	k.offload(t, f)
	want := k.relay(t, s.Buf())
	b, dst := s.Buf(), frame.NewBufs(1)[0]
	if r := b.CheckOffload(); r != 0 {
		t.Fatalf("dropped: %v", r)
	}
	n := 0
	for it := b.Segment(f); it.Next(dst); n++ {
		if n >= len(want) {
			continue
		}
		if d := frametest.Diff(dst.Bytes(), want[n].bytes); d != "" {
			t.Fatalf("segment %d (weft, kernel):\n%s", n, d)
		}
		got, w := dst.Offload, want[n].offload
		if got.NeedsCsum != w.NeedsCsum || got.CsumStart != w.CsumStart || got.CsumOffset != w.CsumOffset {
			t.Fatalf("segment %d: offload %+v, kernel's %+v", n, got, w)
		}
	}
	if n != len(want) {
		t.Errorf("%d segments, the kernel makes %d", n, len(want))
	}
}

func TestSegmentMakesWhatLinuxMakes(t *testing.T) {
	k := newKernelBridge(t)
	for _, f := range []frame.Features{0, frame.FeatureCsum} {
		for _, name := range slices.Sorted(maps.Keys(superframes)) {
			t.Run(fmt.Sprintf("%s features %b", name, f), func(t *testing.T) {
				k.compare(t, superframes[name], f)
			})
		}
	}
}

func TestSegmentMakesWhatLinuxMakesOfRandomSuperframes(t *testing.T) {
	k := newKernelBridge(t)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		s := frametest.Superframe{
			Src: a4, Dst: b4, GSO: []frame.GSO{frame.GSOTCPv4, frame.GSOTCPv6, frame.GSOUDP}[r.IntN(3)],
			SegSize: uint16(8 + r.IntN(1500)), ID: uint16(r.Uint32()), Seq: r.Uint32(), Flags: uint8(r.Uint32()),
		}
		s.Len = 1 + r.IntN(min(128*int(s.SegSize), 60000))
		if s.GSO == frame.GSOTCPv6 || s.GSO == frame.GSOUDP && r.IntN(2) == 0 {
			s.Src, s.Dst, s.Extension = a6, b6, r.IntN(2) == 0
		}
		if r.IntN(2) == 0 {
			s.Options = frametest.Timestamp()
		}
		if r.IntN(3) == 0 {
			s.Tags = []frame.VID{frame.VID(1 + r.IntN(4094))}
		}
		f := frame.Features(0)
		if r.IntN(3) == 0 {
			f = frame.FeatureCsum
		}
		if k.compare(t, s, f); t.Failed() {
			t.Fatalf("superframe %+v, features %b", s, f)
		}
	}
}

// The kernel answers a header that it finds wrong with EINVAL, which to a switch is
// a failed device: so it must take all that CheckOffload passes. It need not refuse
// all that is dropped.
func TestLinuxTakesWhatCheckOffloadPasses(t *testing.T) {
	k := newKernelBridge(t)
	passed := 0
	pass := func(b *frame.Buf, name string) {
		if b.CheckOffload() != 0 {
			return
		}
		passed++
		if err := k.write(b); err != nil {
			t.Errorf("%s: the kernel says %v of %+v, %x", name, err, b.Offload, b.Bytes()[:60])
		}
	}
	for name, l := range lies {
		pass(l.buf(), name)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		s := []frametest.Superframe{tcp4, tcp6, udp4, csum}[r.IntN(4)]
		s.Len = r.IntN(200)
		s.SegSize = uint16(r.IntN(100))
		b, h := s.Buf(), [frame.VirtioLen]byte{}
		b.Offload.Encode(h[:])
		for range r.IntN(3) {
			h[r.IntN(10)] = byte(r.Uint32())
			b.Bytes()[12+r.IntN(30)] ^= 1 << r.IntN(8)
		}
		b.Offload.Decode(h[:])
		pass(b, "random")
	}
	if passed < 1000 {
		t.Errorf("only %d frames passed: that says little", passed)
	}
}
