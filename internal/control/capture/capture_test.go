package capture

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"go.uber.org/goleak"

	"weft/frame"
	vswitch "weft/switch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A buffer is a Sink in memory.
type buffer struct{ bytes.Buffer }

func (*buffer) Flush() error { return nil }

func bufs(frames ...[]byte) []*frame.Buf {
	all := frame.NewBufs(len(frames))
	for i, p := range frames {
		all[i].SetBytes(p)
	}
	return all
}

// run gives what is in c to a reader and returns the stream's packets.
func run(t *testing.T, c *Capture, count uint64) (packets [][]byte, infos []gopacket.CaptureInfo, sum Summary, r *pcapgo.NgReader) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is there is still written
	var out buffer
	sum, err := c.Run(ctx, &out, count)
	if err != nil {
		t.Fatal(err)
	}
	r, err = pcapgo.NewNgReader(&out, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, ci, err := r.ReadPacketData()
		if err == io.EOF {
			return packets, infos, sum, r
		}
		if err != nil {
			t.Fatal(err)
		}
		packets, infos = append(packets, p), append(infos, ci)
	}
}

func TestCaptureKeepsFramesAndLengths(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 6000)
	for _, snap := range []int{0, 100} {
		t.Run(fmt.Sprint("snap ", snap), func(t *testing.T) {
			c := New("vm1", snap)
			before := time.Now()
			c.Mirror(0, vswitch.Received, bufs([]byte("short"), long))
			c.Mirror(0, vswitch.Transmitted, bufs(nil, long[:256]))
			after := time.Now()
			packets, infos, sum, r := run(t, c, 0)
			if sum != (Summary{Frames: 4}) {
				t.Errorf("summary %+v", sum)
			}
			for i, want := range [][]byte{[]byte("short"), long, nil, long[:256]} {
				kept := want
				if snap > 0 {
					kept = want[:min(len(want), snap)]
				}
				if !bytes.Equal(packets[i], kept) || infos[i].Length != len(want) {
					t.Errorf("packet %d: %d bytes of %d, want %d of %d", i, len(packets[i]), infos[i].Length, len(kept), len(want))
				}
				if ts := infos[i].Timestamp; ts.Before(before.Truncate(0)) || ts.After(after) {
					t.Errorf("packet %d: time %s is not between %s and %s", i, ts, before, after)
				}
			}
			if intf, err := r.Interface(0); err != nil || intf.Name != "vm1" {
				t.Errorf("interface %q, %v", intf.Name, err)
			}
		})
	}
}

func TestCaptureEndsAtCount(t *testing.T) {
	c := New("vm1", 0)
	for range 5 {
		c.Mirror(0, vswitch.Received, bufs([]byte("frame")))
	}
	var out buffer
	// The context never ends: only the count can make Run return.
	sum, err := c.Run(t.Context(), &out, 3)
	if err != nil || sum.Frames != 3 {
		t.Errorf("got %+v, %v; want 3 frames", sum, err)
	}
}

func TestCaptureCountsWhatFindsNoRoom(t *testing.T) {
	c := New("vm1", 0)
	all := bufs(make([]byte, 60000))
	const sent = 1000
	for range sent {
		c.Mirror(0, vswitch.Received, all)
	}
	packets, _, sum, r := run(t, c, 0)
	if sum.Frames+sum.Dropped != sent || sum.Dropped == 0 || len(packets) != int(sum.Frames) {
		t.Errorf("%d packets, summary %+v of %d", len(packets), sum, sent)
	}
	intf, err := r.Interface(0)
	if err != nil {
		t.Fatal(err)
	}
	if got := intf.Statistics; got.PacketsReceived != sent || got.PacketsDropped != sum.Dropped {
		t.Errorf("statistics block says %d received, %d dropped; want %d, %d", got.PacketsReceived, got.PacketsDropped, sent, sum.Dropped)
	}
	if want := uint64(blocks / ((60000 + blockLen - 1) / blockLen)); sum.Frames != want {
		t.Errorf("%d frames fit, want %d", sum.Frames, want)
	}
}

// Four workers put frames of all sizes while the reader takes them: none is lost
// uncounted, torn or out of its worker's order.
func TestRingManyWorkers(t *testing.T) {
	const workers, each = 4, 20000
	r := newRing()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			b := frame.NewBufs(1)[0]
			for i := range each {
				size := 8 + (i*7919+w)%3000
				b.Received(len(b.Space(0)[:size]))
				p := b.Bytes()
				binary.BigEndian.PutUint32(p, uint32(w))
				binary.BigEndian.PutUint32(p[4:], uint32(i))
				for j := 8; j < len(p); j++ {
					p[j] = byte(i)
				}
				r.put(time.Time{}, b, frame.MaxLen)
				r.signal()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()

	var got uint64
	last := [workers]int{-1, -1, -1, -1}
	take := func() {
		for {
			rec, p := r.next()
			if rec == nil {
				return
			}
			w, i := binary.BigEndian.Uint32(p), int(binary.BigEndian.Uint32(p[4:]))
			if i <= last[w] {
				t.Errorf("worker %d: frame %d after %d", w, i, last[w])
			}
			last[w] = i
			if len(p) != 8+(i*7919+int(w))%3000 || bytes.Count(p[8:], []byte{byte(i)}) != len(p)-8 {
				t.Errorf("worker %d: frame %d is torn", w, i)
			}
			got++
			r.release(rec)
		}
	}
	for running := true; running; {
		select {
		case <-r.wake:
		case <-done:
			running = false
		}
		take()
	}
	if dropped := r.dropped.Load(); got+dropped != workers*each {
		t.Errorf("%d read + %d dropped, want %d", got, dropped, workers*each)
	}
	if head, tail := r.head.Load(), r.tail.Load(); head != tail {
		t.Errorf("ring not empty at the end: head %d, tail %d", head, tail)
	}
}

func TestMirrorAllocatesNothing(t *testing.T) {
	c := New("vm1", 0)
	all := bufs(make([]byte, 60), make([]byte, 1514))
	if n := testing.AllocsPerRun(1000, func() { c.Mirror(0, vswitch.Received, all) }); n != 0 {
		t.Errorf("%.0f allocations a batch", n)
	}
}

func TestCompleteAgreesWithGopacket(t *testing.T) {
	ip4 := &layers.IPv4{Version: 4, TTL: 64, SrcIP: net.IPv4(10, 0, 0, 1).To4(), DstIP: net.IPv4(10, 0, 0, 2).To4()}
	ip6 := &layers.IPv6{Version: 6, HopLimit: 64, SrcIP: net.ParseIP("fd00::1"), DstIP: net.ParseIP("fd00::2")}
	for _, length := range []int{0, 1, 2, 3, 5, 1400, 1401, 60001} {
		payload := gopacket.Payload(bytes.Repeat([]byte{0xa5, 0xff, 7}, length/3+1)[:length])
		for name, make := range map[string]func() ([]byte, int, int){
			"tcp4": func() ([]byte, int, int) {
				return packet(t, ip4, &layers.TCP{SrcPort: 1, DstPort: 2, ACK: true}, payload), 34, 16
			},
			"udp6": func() ([]byte, int, int) {
				return packet(t, ip6, &layers.UDP{SrcPort: 1, DstPort: 2}, payload), 54, 6
			},
		} {
			want, start, offset := make()
			got := bytes.Clone(want)
			binary.BigEndian.PutUint16(got[start+offset:], pseudo(want, start))
			complete(got, frame.Offload{NeedsCsum: true, CsumStart: uint16(start), CsumOffset: uint16(offset)})
			if !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes: checksum %x, want %x", name, length, got[start+offset:][:2], want[start+offset:][:2])
			}
		}
	}
}

// packet serialises a frame with right checksums.
func packet(t *testing.T, ip gopacket.NetworkLayer, l4 gopacket.SerializableLayer, payload gopacket.Payload) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	proto := layers.IPProtocolUDP
	switch l4 := l4.(type) {
	case *layers.TCP:
		proto = layers.IPProtocolTCP
		_ = l4.SetNetworkLayerForChecksum(ip)
	case *layers.UDP:
		_ = l4.SetNetworkLayerForChecksum(ip)
	}
	switch ip := ip.(type) {
	case *layers.IPv4:
		ip.Protocol = proto
	case *layers.IPv6:
		eth.EthernetType = layers.EthernetTypeIPv6
		ip.NextHeader = proto
	}
	out := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		eth, ip.(gopacket.SerializableLayer), l4, payload)
	if err != nil {
		t.Fatal(err)
	}
	p := out.Bytes()
	// gopacket pads nothing here but a frame without payload to 60 bytes.
	if end := 14 + ipLen(p); end < len(p) {
		p = p[:end]
	}
	return p
}

func ipLen(p []byte) int {
	if p[12] == 0x08 {
		return int(binary.BigEndian.Uint16(p[16:]))
	}
	return 40 + int(binary.BigEndian.Uint16(p[18:]))
}

// pseudo is the sum that a sender leaves in the checksum's place.
func pseudo(p []byte, start int) uint16 {
	addresses, proto := p[26:34], p[23]
	if p[12] != 0x08 {
		addresses, proto = p[22:54], p[20]
	}
	sum := uint32(proto) + uint32(len(p)-start)
	for i := 0; i < len(addresses); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(addresses[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

func TestCompleteLeavesLyingOffloadsAlone(t *testing.T) {
	p := bytes.Repeat([]byte{1}, 60)
	for _, o := range []frame.Offload{
		{CsumStart: 34, CsumOffset: 16},
		{NeedsCsum: true, CsumStart: 59, CsumOffset: 0},
		{NeedsCsum: true, CsumStart: 34, CsumOffset: 25},
		{NeedsCsum: true, CsumStart: 0xffff, CsumOffset: 0xffff},
	} {
		got := bytes.Clone(p)
		if complete(got, o); !bytes.Equal(got, p) {
			t.Errorf("%+v changed the frame", o)
		}
	}
}

func FuzzComplete(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint16(3), uint16(2))
	f.Fuzz(func(t *testing.T, p []byte, start, offset uint16) {
		o := frame.Offload{NeedsCsum: true, CsumStart: start, CsumOffset: offset}
		field := int(start) + int(offset)
		if field+2 > len(p) || offset%2 != 0 {
			complete(p, o) // must not panic
			return
		}
		complete(p, o)
		// RFC 1071: over data that holds its own checksum the sum is all ones, if the
		// field was clear before. It was not, so clear it and ask again.
		p[field], p[field+1] = 0, 0
		complete(p, o)
		if got := frame.Sum(p[start:], 0); got != 0xffff {
			t.Errorf("sum over the completed frame is %#x", got)
		}
	})
}

func BenchmarkRing(b *testing.B) {
	for _, size := range []int{64, 1514, 60000} {
		b.Run(fmt.Sprint(size, "B"), func(b *testing.B) {
			r := newRing()
			all := bufs(make([]byte, size))
			b.SetBytes(int64(size))
			for b.Loop() {
				r.put(time.Time{}, all[0], frame.MaxLen)
				rec, _ := r.next()
				r.release(rec)
			}
		})
	}
}
