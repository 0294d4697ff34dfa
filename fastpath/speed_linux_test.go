package fastpath

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
	"weft/frame/frametest"
)

// markOffset is that of mark in struct __sk_buff.
const markOffset = 8

// assemble loads a tc program.
func assemble(t testing.TB, name string, i ...asm.Instruction) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, Instructions: i, License: "GPL"})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

const mark = 0x77656674

// guard clears the mark, as weft's own program at the egress of a device does.
func guard(t testing.TB) *ebpf.Program {
	return assemble(t, "guard",
		asm.LoadMem(asm.R2, asm.R1, markOffset, asm.Word),
		asm.JNE.Imm32(asm.R2, mark, "drop"),
		asm.Mov.Imm(asm.R2, 0),
		asm.StoreMem(asm.R1, markOffset, asm.R2, asm.Word),
		asm.Mov.Imm(asm.R0, -1),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("drop"),
		asm.Return(),
	)
}

// floor redirects everything.
func floor(t testing.TB, to int) *ebpf.Program {
	return assemble(t, "floor",
		asm.Mov.Imm(asm.R2, mark),
		asm.StoreMem(asm.R1, markOffset, asm.R2, asm.Word),
		asm.Mov.Imm(asm.R1, int32(to)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
	)
}

// BenchmarkForward compares what a frame from TAP to TAP costs who sends it, the system
// call included: by the kernel's bridge, by a program that redirects everything, and by the cache.
func BenchmarkForward(b *testing.B) {
	isolate(b)
	_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0)
	must(b, os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0))
	p := frametest.UDP(frametest.Station(1), frametest.Station(2), make([]byte, 22))
	ways := []struct {
		name   string
		lay    func(in, out *device)
		in, to *device
		ns     []float64
	}{
		{name: "bridge", lay: func(in, out *device) { bridge(b, in, out) }},
		{name: "floor", lay: func(in, out *device) {
			attach(b, in.index, floor(b, out.index), ebpf.AttachTCXIngress)
			attach(b, out.index, guard(b), ebpf.AttachTCXEgress)
		}},
		{name: "stations", lay: func(in, out *device) { remembered(b, in, out, bridged(b, p)) }},
		{name: "xdp", lay: func(in, out *device) { attachXDP(b, in, remembered(b, in, out, bridged(b, p))) }},
		{name: "flow", lay: func(in, out *device) {
			d := bridged(b, p)
			d.ByFlow = true
			remembered(b, in, out, d)
		}},
		{name: "session", lay: func(in, out *device) {
			d := routed(b, p, hop(frametest.UDP(frametest.Station(3), frametest.Station(4), make([]byte, 22))))
			d.Session = 1
			remembered(b, in, out, d)
		}},
	}
	for i := range ways {
		w := &ways[i]
		w.in, w.to = newTAP(b, fmt.Sprintf("in%d", i)), newTAP(b, fmt.Sprintf("out%d", i))
		w.lay(w.in, w.to)
	}
	sent := make([]byte, virtioLen+len(p))
	copy(sent[virtioLen:], p)
	for b.Loop() {
		for i := range ways {
			w := &ways[i]
			w.ns = append(w.ns, carry(b, w.in, w.to, sent))
		}
	}
	base := 0.0
	for i := range ways {
		w := &ways[i]
		slices.Sort(w.ns)
		median := w.ns[len(w.ns)/2]
		if i == 0 {
			base = median
		}
		b.ReportMetric(median, w.name+"-ns")
		b.ReportMetric(base/median, w.name+"-ratio")
	}
}

// bridge joins two TAPs by a bridge of the kernel's that knows the station behind the second.
func bridge(t testing.TB, in, out *device) {
	a := netlink.NewLinkAttrs()
	a.Name = "bridge"
	br := &netlink.Bridge{LinkAttrs: a}
	must(t, netlink.LinkAdd(br))
	setUp(t, a.Name)
	for _, d := range []*device{in, out} {
		l, err := netlink.LinkByName(d.name)
		must(t, err)
		must(t, netlink.LinkSetMaster(l, br))
	}
	out.write(t, frametest.UDP(frametest.Station(2), frametest.Station(1), nil), frame.Offload{})
	for p, _ := in.read(t); p != nil; p, _ = in.read(t) {
	}
}

// remembered has a cache repeat a decision.
func remembered(t testing.TB, in, out *device, d frame.Decision) *Cache {
	c := newCache(t, Config{})
	program, _ := c.Programs()
	attach(t, in.index, program, ebpf.AttachTCXIngress)
	attach(t, out.index, guard(t), ebpf.AttachTCXEgress)
	must(t, c.SetPort(portA, Port{Index: in.index, Queue: in.index}))
	must(t, c.SetPort(portB, Port{Index: out.index, Queue: in.index}))
	c.Remember(&d, c.Mark())
	c.open()
	return c
}

// carry sends frames and receives them, and returns what one took to send, in ns of the
// processor's time.
func carry(t testing.TB, in, out *device, sent []byte) float64 {
	const rounds, burst = 200, 64
	received := make([]byte, 2048)
	spent := int64(0)
	for range rounds {
		begin := threadTime()
		for range burst {
			if _, err := unix.Write(in.fd, sent); err != nil {
				t.Fatal(err)
			}
		}
		spent += threadTime() - begin
		for got := 0; got < burst; {
			n, err := unix.Read(out.fd, received)
			if err != nil {
				t.Fatal(err)
			}
			if n == len(sent) { // else the bridge's own
				got++
			}
		}
	}
	return float64(spent) / (rounds * burst)
}

func threadTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return ts.Nano()
}
