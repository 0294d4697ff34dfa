package vswitch

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
)

// A rig is a Switch whose only worker is the test itself, and a clock that stands
// still: what a frame causes has happened when send returns.
type rig struct {
	*Switch
	t     tester
	w     *worker
	clock time.Duration
	net   FID // a network that is there from the start
}

// A tester is a testing.TB or a rapid.T.
type tester interface {
	rapid.TB
	Cleanup(func())
}

// All rigs use the same Bufs, which are large.
var (
	rigBufs    = sync.OnceValue(func() []*frame.Buf { return frame.NewBufs(batch) })
	rigScratch = sync.OnceValue(func() []*frame.Buf { return frame.NewBufs(batch) })
)

func newRig(t tester, c Config) *rig {
	t.Helper()
	c.Workers = 1
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Switch: s, t: t}
	s.now = func() time.Duration { return r.clock }
	if r.w, err = newWorker(s, 0); err != nil {
		t.Fatal(err)
	}
	r.w.equip(rigBufs(), rigScratch())
	t.Cleanup(func() {
		if err := r.w.poller.close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r.net = r.network(NetworkConfig{Name: "lan"})
	return r
}

func (r *rig) network(c NetworkConfig) FID {
	r.t.Helper()
	id, err := r.AddNetwork(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// A plug is a port of a rig with a device that keeps what it is sent.
type plug struct {
	*device
	id       frame.PortID
	oversize uint64 // drops for that reason so far, where a test keeps count
}

// A device is a Queue that the rig calls without polling.
type device struct {
	fd, other *os.File      // a pipe, to have a descriptor
	in        []deviceFrame // to be received
	sent      []deviceFrame
	bufs      []*frame.Buf // the Bufs last sent
	room      int          // how many frames Send takes; negative: any number
	longest   int          // Send refuses longer frames; 0: none
	sendErr   error
	recvErr   error
	closed    bool
}

func newDevice(t tester) *device {
	t.Helper()
	fd, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return &device{fd: fd, other: other, room: -1}
}

type deviceFrame struct {
	bytes   []byte
	offload frame.Offload
	reason  frame.Reason // for which the device drops it
}

func (d *device) Recv(bufs []*frame.Buf) (n int, err error) {
	for n < len(bufs) && n < len(d.in) {
		bufs[n].SetBytes(d.in[n].bytes)
		bufs[n].Offload = d.in[n].offload
		bufs[n].Drop(d.in[n].reason)
		n++
	}
	d.in = d.in[n:]
	if n == 0 {
		err = d.recvErr
	}
	return n, err
}

func (d *device) Send(bufs []*frame.Buf) (int, error) {
	n := len(bufs)
	if d.room >= 0 {
		n = min(n, d.room)
		d.room -= n
	}
	d.bufs = append(d.bufs[:0], bufs...)
	for _, b := range bufs[:n] {
		if d.longest > 0 && b.Len() > d.longest {
			b.Drop(frame.DropOversize)
			continue
		}
		d.sent = append(d.sent, deviceFrame{bytes: bytes.Clone(b.Bytes()), offload: b.Offload})
		clear(b.WithHeader(frame.VirtioLen)[:frame.VirtioLen]) // as devices may
	}
	return n, d.sendErr
}

func (d *device) FD() int { return int(d.fd.Fd()) }

func (d *device) Close() error {
	d.closed = true
	return errors.Join(d.fd.Close(), d.other.Close())
}

// port adds a forwarding port to the rig's network, if c names no other.
func (r *rig) port(c PortConfig) *plug {
	r.t.Helper()
	if c.Network == 0 {
		c.Network = r.net
	}
	d := newDevice(r.t)
	if c.Queues == nil {
		c.Queues = []Queue{d}
	}
	c.State = Forwarding
	id, err := r.AddPort(c)
	if err != nil {
		r.t.Fatal(err)
	}
	return &plug{device: d, id: id}
}

func (r *rig) ports(n int) []*plug {
	r.t.Helper()
	var list []*plug
	for i := range n {
		list = append(list, r.port(PortConfig{Name: fmt.Sprint("p", i+1)}))
	}
	return list
}

// send has the switch receive frames from a port, in batches.
func (r *rig) send(p *plug, frames ...[]byte) {
	r.t.Helper()
	for _, f := range frames {
		p.in = append(p.in, deviceFrame{bytes: f})
	}
	r.pump(p)
}

func (r *rig) sendOffload(p *plug, f []byte, o frame.Offload) {
	r.t.Helper()
	p.in = append(p.in, deviceFrame{bytes: f, offload: o})
	r.pump(p)
}

func (r *rig) pump(p *plug) {
	r.t.Helper()
	if latest := r.snap.Load(); latest != r.w.snap {
		r.w.adopt(latest)
	}
	for _, q := range r.w.snap.polls[0] {
		if q == nil || q.Queue != Queue(p.device) {
			continue
		}
		r.w.serve(q)
		for len(p.in) > 0 && !q.dead.Load() {
			r.w.serve(q)
		}
	}
}

// expect compares what a port was sent since the last call.
func (r *rig) expect(p *plug, want ...[]byte) {
	r.t.Helper()
	got := p.sent
	p.sent = nil
	if len(got) != len(want) {
		r.t.Fatalf("port %d was sent %d frames, want %d", p.id, len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i].bytes, want[i]) {
			r.t.Fatalf("port %d, frame %d:\ngot  %x\nwant %x", p.id, i, got[i].bytes, want[i])
		}
	}
}

func (r *rig) counters(p *plug) Counters {
	r.t.Helper()
	c, err := r.Counters(p.id)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// expectDrops compares all drop counters of a port.
func (r *rig) expectDrops(p *plug, want map[frame.Reason]uint64) {
	r.t.Helper()
	for reason, n := range r.counters(p).Drops {
		if n != want[frame.Reason(reason)] {
			r.t.Errorf("port %d: %d drops for %s, want %d", p.id, n, frame.Reason(reason), want[frame.Reason(reason)])
		}
	}
}

// where returns the port of a station, zero if it is not known.
func (r *rig) where(id FID, mac frame.MAC) frame.PortID {
	for _, st := range r.Stations(id) {
		if st.MAC == mac {
			return st.Port
		}
	}
	return 0
}

// mac returns the nth test station's address, ether a frame from one to another.
func mac(n int) frame.MAC { return 0x5254_0000_0000 + frame.MAC(n) }

func ether(dst, src frame.MAC) []byte { return etherLen(dst, src, 100) }

func etherLen(dst, src frame.MAC, length int) []byte {
	return frametest.Ethernet(dst, src, 0x88b5, frametest.Payload(length-frame.EthernetLen))
}
