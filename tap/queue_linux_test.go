package tap

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// newPair attaches to a TAP that a guest has open.
func newPair(t testing.TB) (guest, *Queue) {
	t.Helper()
	must(t, Create(Spec{Name: "vm1", Port: "p", Owner: -1, Group: -1, Queues: 1}))
	g := openGuest(t, "vm1")
	d, err := AttachDevice("vm1", 1500)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return g, d.Queues()[0]
}

// superframe is a TCP segment of n payload bytes that is still to be segmented.
func superframe(n int) []byte {
	f := testFrame(hostMAC, guestMAC, 54+n)
	f[12], f[13] = 0x08, 0x00
	f[14], f[16], f[17] = 0x45, byte((40+n)>>8), byte(40+n)
	f[22], f[23] = 64, 6
	copy(f[26:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	f[46] = 0x50
	return f
}

func tcpOffload() frame.Offload {
	return frame.Offload{NeedsCsum: true, GSO: frame.GSOTCPv4, HdrLen: 54, SegSize: 1448, CsumStart: 34, CsumOffset: 16}
}

func TestQueueKeepsFrameAndOffload(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		g, q := newPair(t)
		in, out := frame.NewBufs(40), frame.NewBufs(64)
		for i, b := range in {
			b.SetBytes(testFrame(hostMAC, guestMAC, 60+i))
		}
		in[7].SetBytes(superframe(60000))
		in[7].Offload = tcpOffload()
		for _, way := range []struct {
			name     string
			from, to *Queue
		}{{"to guest", q, g.Queue}, {"from guest", g.Queue, q}} {
			if n, err := way.from.Send(in); n != len(in) || err != nil {
				t.Fatalf("%s: Send = %d, %v", way.name, n, err)
			}
			got := 0
			for got < len(in) {
				n, err := way.to.Recv(out)
				must(t, err)
				for _, b := range out[:n] {
					if !bytes.Equal(b.Bytes(), in[got].Bytes()) {
						t.Fatalf("%s: frame %d differs: %d bytes, want %d", way.name, got, b.Len(), in[got].Len())
					}
					want := in[got].Offload
					b.Offload.HdrLen = want.HdrLen // a hint that the kernel counts anew
					if b.Offload != want {
						t.Errorf("%s: offload %+v, want %+v", way.name, b.Offload, want)
					}
					got++
				}
				if n == 0 {
					t.Fatalf("%s: %d frames came of %d", way.name, got, len(in))
				}
			}
		}
	})
}

// Not every guest takes superframes: emulated NICs and old drivers want segments,
// which the kernel makes.
func TestQueueSendSegmentsForPlainGuest(t *testing.T) {
	isolate(t)
	must(t, Create(Spec{Name: "vm1", Port: "p", Owner: -1, Group: -1, Queues: 1}))
	g, _, err := newQueue("vm1", false)
	must(t, err)
	defer g.Close()
	d, err := AttachDevice("vm1", 1500)
	must(t, err)
	defer d.Close()
	bufs := frame.NewBufs(64)
	bufs[0].SetBytes(superframe(10 * 1448))
	bufs[0].Offload = tcpOffload()
	if n, err := d.Queues()[0].Send(bufs[:1]); n != 1 || err != nil {
		t.Errorf("Send = %d, %v", n, err)
	}
	n, err := g.Recv(bufs)
	if n != 10 || err != nil {
		t.Fatalf("the guest got %d frames, %v; want 10 segments", n, err)
	}
	for _, b := range bufs[:n] {
		if b.Len() != 54+1448 {
			t.Errorf("segment of %d bytes", b.Len())
		}
	}
}

// Kernels before 6.4 know only the short header on packet sockets.
func TestQueueSendWithShortHeader(t *testing.T) {
	isolate(t)
	g, q := newPair(t)
	must(t, unix.SetsockoptInt(q.out.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1)) // resets the length
	q.out.header = shortHeader
	bufs, in := frame.NewBufs(2), frame.NewBufs(4)
	for _, b := range bufs {
		b.SetBytes(superframe(20000))
		b.Offload = tcpOffload()
	}
	if n, err := q.Send(bufs); n != 2 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	n, err := g.Recv(in)
	if n != 2 || err != nil || !bytes.Equal(in[1].Bytes(), bufs[1].Bytes()) || in[1].Offload.SegSize != 1448 {
		t.Errorf("Recv = %d, %v: %d bytes with %+v", n, err, in[1].Len(), in[1].Offload)
	}
}

// A guest that sends tiny segments in superframes gets no more of the switch's time
// than others.
func TestQueueRecvStopsAtSegments(t *testing.T) {
	isolate(t)
	g, q := newPair(t)
	bufs := frame.NewBufs(8)
	for _, b := range bufs[:6] {
		b.SetBytes(superframe(1000))
		b.Offload = tcpOffload()
		b.Offload.SegSize = 25
	}
	if n, err := g.Send(bufs[:6]); n != 6 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	for range 3 {
		if n, err := q.Recv(bufs); n != 2 || err != nil {
			t.Fatalf("Recv = %d, %v, want 2 frames of 40 segments", n, err)
		}
	}
}

func TestQueueRecvStopsAtBytes(t *testing.T) {
	isolate(t)
	g, q := newPair(t)
	bufs := frame.NewBufs(8)
	for _, b := range bufs[:4] {
		b.SetBytes(superframe(50000))
		b.Offload = tcpOffload()
	}
	if n, err := g.Send(bufs[:4]); n != 4 || err != nil {
		t.Fatalf("Send = %d, %v", n, err)
	}
	for range 2 {
		if n, err := q.Recv(bufs); n != 2 || err != nil {
			t.Errorf("Recv = %d, %v; want 2 superframes of 50 kB", n, err)
		}
	}
	if n, err := q.Recv(bufs); n != 0 || err != nil {
		t.Errorf("Recv = %d, %v from an empty device", n, err)
	}
}

func TestQueueSendGoesOnAfterRefusal(t *testing.T) {
	isolate(t)
	g, q := newPair(t)
	lies := map[string]func(b *frame.Buf){
		"checksum outside":       func(b *frame.Buf) { b.Offload = frame.Offload{NeedsCsum: true, CsumStart: 9000} },
		"unknown segmentation":   func(b *frame.Buf) { b.Offload.GSO = 77; b.Offload.SegSize = 100 },
		"runt":                   func(b *frame.Buf) { b.Resize(5) },
		"longer than the MTU":    func(b *frame.Buf) { b.SetBytes(testFrame(hostMAC, guestMAC, 3000)) },
		"segments of no payload": func(b *frame.Buf) { b.Offload = tcpOffload(); b.Offload.SegSize = 0 },
	}
	for name, lie := range lies {
		bufs := frame.NewBufs(3)
		for _, b := range bufs {
			b.SetBytes(testFrame(hostMAC, guestMAC, 60))
		}
		lie(bufs[1])
		n, err := q.Send(bufs)
		if n != 3 || err != nil || bufs[0].Reason() != 0 || bufs[1].Reason() == 0 || bufs[2].Reason() != 0 {
			t.Errorf("%s: Send = %d, %v, reasons %q; want 3, the second refused", name, n, err,
				[]frame.Reason{bufs[0].Reason(), bufs[1].Reason(), bufs[2].Reason()})
		}
		if n, err := g.Recv(bufs); n != 2 || err != nil {
			t.Errorf("%s: the guest got %d, %v; want 2", name, n, err)
		}
	}
}

func TestQueueOutlivesLinkDownAndFullDevice(t *testing.T) {
	isolate(t)
	g, q := newPair(t)
	bufs := frame.NewBufs(64)
	for _, b := range bufs {
		b.SetBytes(testFrame(hostMAC, guestMAC, 60))
	}
	taken, rounds := 0, txQueueLen/len(bufs)+2
	for range rounds {
		n, err := q.Send(bufs)
		must(t, err)
		taken += n
	}
	if taken < txQueueLen/2 || taken >= rounds*len(bufs) {
		t.Errorf("a guest that reads nothing took %d frames of %d, want about %d", taken, rounds*len(bufs), txQueueLen)
	}
	l, err := linkByName("vm1")
	must(t, err)
	must(t, netlink.LinkSetDown(l))
	if n, err := q.Send(bufs[:1]); n != 0 || err != nil {
		t.Errorf("link down: Send = %d, %v; want 0, nil", n, err)
	}
	must(t, netlink.LinkSetUp(l))
	in := frame.NewBufs(64)
	eventually(t, "an empty TAP", func() bool {
		n, err := g.Recv(in)
		must(t, err)
		return n == 0
	})
	eventually(t, "frames after link up", func() bool {
		n, err := q.Send(bufs[:1])
		must(t, err)
		return n == 1
	})
}

func TestQueueAllocatesNothing(t *testing.T) {
	isolate(t)
	g, q := newPair(t)
	bufs := frame.NewBufs(64)
	for _, b := range bufs {
		b.SetBytes(testFrame(hostMAC, guestMAC, 60))
	}
	in := frame.NewBufs(64)
	got := 0
	if n := testing.AllocsPerRun(100, func() {
		_, _ = q.Send(bufs)
		_, _ = q.Send(bufs[:1])
		n, _ := g.Recv(in)
		got += n
		_, _ = g.Recv(in)
		_, _ = g.Send(in)
		n, _ = q.Recv(in)
		got += n
	}); n != 0 {
		t.Errorf("%v allocations in Send and Recv", n)
	}
	if got < 100*64*2 {
		t.Errorf("%d frames came", got)
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, size := range []int{60, 1514, 60054} {
		for _, batch := range []int{1, 32} {
			b.Run(benchmarkName(size, batch), func(b *testing.B) {
				isolate(b)
				g, q := newPair(b)
				bufs, in := frame.NewBufs(batch), frame.NewBufs(64)
				for _, f := range bufs {
					f.SetBytes(testFrame(hostMAC, guestMAC, size))
					if size > 1514 {
						f.SetBytes(superframe(size - 54))
						f.Offload = tcpOffload()
					}
				}
				b.SetBytes(int64(size * batch))
				lost := 0
				for b.Loop() {
					n, err := q.Send(bufs)
					must(b, err)
					lost += batch - n
					drain(b, g.Queue, in)
				}
				b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds()/1e6, "Mpps")
				b.ReportMetric(float64(lost), "lost")
			})
		}
	}
}

func benchmarkName(size, batch int) string { return fmt.Sprintf("%dB/batch-%d", size, batch) }

// drain reads until the device is empty.
func drain(b *testing.B, q *Queue, in []*frame.Buf) {
	for {
		n, err := q.Recv(in)
		must(b, err)
		if n == 0 {
			return
		}
	}
}
