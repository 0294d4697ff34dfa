package vswitch_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
	"weft/switch"
	"weft/switch/switchtest"
)

// start returns a running switch with one network. At the end of the test it is
// stopped and closed, and must have left nothing.
func start(t *testing.T, c vswitch.Config) (*vswitch.Switch, vswitch.FID) {
	t.Helper()
	switchtest.NoLeak(t)
	s, err := vswitch.New(c)
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.AddNetwork(vswitch.NetworkConfig{Name: "lan"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, id
}

// plug adds a forwarding port and returns the test's end of it.
func plug(t testing.TB, s *vswitch.Switch, id vswitch.FID, name string) (*switchtest.End, frame.PortID) {
	t.Helper()
	near, far := switchtest.Pipe()
	t.Cleanup(func() { _ = far.Close() })
	return far, add(t, s, vswitch.PortConfig{Name: name, Network: id, Queues: []vswitch.Queue{near}})
}

func add(t testing.TB, s *vswitch.Switch, c vswitch.PortConfig) frame.PortID {
	t.Helper()
	c.State = vswitch.Forwarding
	port, err := s.AddPort(c)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func mac(n int) frame.MAC { return 0x5254_0000_0000 + frame.MAC(n) }

// numbered returns a frame that carries a number.
func numbered(dst, src frame.MAC, n uint32) switchtest.Frame {
	payload := binary.BigEndian.AppendUint32(nil, n)
	return switchtest.Frame{Bytes: frametest.Ethernet(dst, src, 0x88b5, append(payload, make([]byte, 42)...))}
}

func number(f switchtest.Frame) uint32 { return binary.BigEndian.Uint32(f.Bytes[frame.EthernetLen:]) }

func TestRunRelays(t *testing.T) {
	for _, workers := range []int{1, 3} {
		s, id := start(t, vswitch.Config{Workers: workers})
		a, _ := plug(t, s, id, "a")
		b, _ := plug(t, s, id, "b")
		for n := range uint32(100) { // each waits for the one before: the workers sleep in between
			f := numbered(mac(2), mac(1), n)
			a.Write(t, f)
			if got := b.Read(t); !bytes.Equal(got.Bytes, f.Bytes) {
				t.Fatalf("got %x, want %x", got.Bytes, f.Bytes)
			}
			b.Write(t, numbered(mac(1), mac(2), n))
			if got := number(a.Read(t)); got != n {
				t.Fatalf("frame %d came, want %d", got, n)
			}
		}
	}
}

// What is injected wakes a worker that sleeps.
func TestInjectWakes(t *testing.T) {
	s, id := start(t, vswitch.Config{})
	_, in := plug(t, s, id, "in")
	out, _ := plug(t, s, id, "out")
	b := frame.NewBufs(1)[0]
	f := numbered(frame.Broadcast, mac(1), 7)
	b.SetBytes(f.Bytes)
	if !s.Inject(in, b) {
		t.Fatal("no room")
	}
	if got := number(out.Read(t)); got != 7 {
		t.Errorf("frame %d came, want 7", got)
	}
}

func TestRunTwice(t *testing.T) {
	s, id := start(t, vswitch.Config{})
	plug(t, s, id, "a") // returns when the workers know of it: Run has begun, or will find it
	a, _ := plug(t, s, id, "b")
	b, _ := plug(t, s, id, "c")
	a.Write(t, numbered(mac(2), mac(1), 1))
	b.Read(t)
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("Run while it runs: %v", err)
	}
	if err := s.Close(); err == nil {
		t.Error("Close while it runs: no error")
	}
}

func TestControlWithoutRun(t *testing.T) {
	switchtest.NoLeak(t)
	s, err := vswitch.New(vswitch.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sink := switchtest.NewRecorder()
	defer sink.Close()
	if _, err := s.AddPort(vswitch.PortConfig{Network: 1, Queues: []vswitch.Queue{sink}}); !errors.Is(err, vswitch.ErrNoNetwork) {
		t.Errorf("port without a network: %v", err)
	}
	id, err := s.AddNetwork(vswitch.NetworkConfig{})
	if err != nil {
		t.Fatal(err)
	}
	far, port := plug(t, s, id, "a")
	if err := s.RemoveNetwork(id); err == nil {
		t.Error("network with a port removed")
	}
	if err := s.RemovePort(port); err != nil {
		t.Error(err)
	}
	if err := s.RemovePort(port); !errors.Is(err, vswitch.ErrNoPort) {
		t.Errorf("port removed twice: %v", err)
	}
	if err := s.RemoveNetwork(id); err != nil {
		t.Error(err)
	}
	if n, err := far.Recv(frame.NewBufs(1)); n != 0 || err == nil {
		t.Error("queue not closed")
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.AddNetwork(vswitch.NetworkConfig{}); !errors.Is(err, vswitch.ErrClosed) {
		t.Errorf("network in a closed switch: %v", err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, vswitch.ErrClosed) {
		t.Errorf("closed switch run: %v", err)
	}
}

func TestQueueFailedToldOnce(t *testing.T) {
	type failure struct {
		port frame.PortID
		err  error
	}
	told := make(chan failure, 10)
	var s *vswitch.Switch
	removed := make(chan error, 10)
	ready := make(chan struct{})
	s, id := start(t, vswitch.Config{Workers: 2, QueueFailed: func(port frame.PortID, err error) {
		<-ready
		told <- failure{port, err}
		removed <- s.RemovePort(port)
	}})
	close(ready)
	a, _ := plug(t, s, id, "a")
	witness, _ := plug(t, s, id, "witness")

	vanished, gone := plug(t, s, id, "vanished")
	if err := vanished.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got.port != gone {
		t.Errorf("told of port %d, want %d", got.port, gone)
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}

	broken := errors.New("broken")
	sink := &switchtest.Faulty{Queue: switchtest.NewRecorder()}
	sink.FailSend(1, broken)
	faulty := add(t, s, vswitch.PortConfig{Name: "faulty", Network: id, Queues: []vswitch.Queue{sink}})
	for n := range uint32(5) {
		a.Write(t, numbered(frame.Broadcast, mac(1), n))
		witness.Read(t)
	}
	if got := <-told; got.port != faulty || !errors.Is(got.err, broken) {
		t.Errorf("told of port %d: %v, want %d: %v", got.port, got.err, faulty, broken)
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if n := len(told); n != 0 {
		t.Errorf("told %d times more", n)
	}
}

// A guarded queue or mirror must not be used once it was given back.
type guarded struct {
	vswitch.Queue
	closed atomic.Bool
	misuse atomic.Int32
	used   atomic.Int32
}

func (g *guarded) touch() {
	g.used.Add(1)
	if g.closed.Load() {
		g.misuse.Add(1)
	}
}

func (g *guarded) Recv(bufs []*frame.Buf) (int, error) {
	g.touch()
	return g.Queue.Recv(bufs)
}

func (g *guarded) Send(bufs []*frame.Buf) (int, error) {
	g.touch()
	return g.Queue.Send(bufs)
}

func (g *guarded) Close() error {
	g.closed.Store(true)
	return g.Queue.Close()
}

func (g *guarded) Mirror(time.Duration, vswitch.Direction, []*frame.Buf) { g.touch() }

// TestPortsComeAndGo has everything change around two ports that go on talking.
// Nothing of theirs may be lost or reordered, and what was removed stays unused.
func TestPortsComeAndGo(t *testing.T) {
	s, id := start(t, vswitch.Config{Workers: 3})
	a, portA := plug(t, s, id, "a")
	b, portB := plug(t, s, id, "b")
	noise, _ := plug(t, s, id, "noise")
	const frames = 20_000

	var all sync.WaitGroup
	done := make(chan struct{})
	// So many frames may be under way to a and to b: fewer than a Pipe holds.
	toA, toB := make(chan struct{}, 512), make(chan struct{}, 512)
	talk := func(from *switchtest.End, room chan struct{}, dst, src frame.MAC) {
		for n := range uint32(frames) {
			room <- struct{}{}
			from.Write(t, numbered(dst, src, n))
		}
	}
	listen := func(e *switchtest.End, room chan struct{}, src frame.MAC) {
		for want := uint32(0); want < frames; {
			f := e.Read(t)
			<-room
			if frame.Ethernet(f.Bytes).Src() != src {
				continue // noise
			}
			if got := number(f); got != want {
				t.Errorf("from %s: frame %d came, want %d", src, got, want)
				return
			}
			want++
		}
	}
	var talkers sync.WaitGroup
	talkers.Go(func() { listen(b, toB, mac(1)) })
	talkers.Go(func() { listen(a, toA, mac(2)) })
	talkers.Go(func() { talk(a, toB, mac(2), mac(1)) })
	talkers.Go(func() { talk(b, toA, mac(1), mac(2)) })

	forever := func(do func(n int)) {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-done:
					return
				default:
					do(n)
				}
			}
		})
	}
	forever(func(n int) { // twenty stations that speak to one nobody knows
		for _, room := range []chan struct{}{toA, toB} {
			select {
			case room <- struct{}{}:
			case <-done:
				return
			}
		}
		noise.Write(t, numbered(mac(77), mac(50+n%20), 0))
	})
	forever(func(n int) {
		g := &guarded{Queue: switchtest.NewBlackhole()}
		port := add(t, s, vswitch.PortConfig{Network: id, Queues: []vswitch.Queue{g}, Static: []frame.MAC{mac(1000 + n)}})
		if err := s.SetState(port, vswitch.State(n%3)); err != nil {
			t.Error(err)
		}
		if err := s.RemovePort(port); err != nil {
			t.Error(err)
		}
		if g.misuse.Load() != 0 {
			t.Error("queue used after Close")
		}
	})
	forever(func(n int) {
		g := &guarded{}
		port := []frame.PortID{portA, portB}[n%2]
		if err := errors.Join(s.SetMirror(port, g), s.SetMirror(port, nil)); err != nil {
			t.Error(err)
		}
		g.closed.Store(true)
		s.FlushStations(id, portA)
		if _, err := s.Counters(port); err != nil {
			t.Error(err)
		}
		s.Stations(0)
		if g.misuse.Load() != 0 {
			t.Error("mirror used after it was taken away")
		}
	})
	talkers.Wait()
	close(done)
	all.Wait()

	for _, port := range []frame.PortID{portA, portB} {
		c, err := s.Counters(port)
		if err != nil {
			t.Fatal(err)
		}
		if c.RxFrames != frames || c.TxFrames < frames {
			t.Errorf("port %d received %d and sent %d, want %d and at least as many", port, c.RxFrames, c.TxFrames, frames)
		}
	}
}

// A mute queue has a descriptor that cannot be polled.
type mute struct{ vswitch.Queue }

func (mute) FD() int { return -1 }

func TestQueueThatCannotBePolledFails(t *testing.T) {
	told := make(chan error, 1)
	s, id := start(t, vswitch.Config{QueueFailed: func(_ frame.PortID, err error) { told <- err }})
	add(t, s, vswitch.PortConfig{Network: id, Queues: []vswitch.Queue{mute{switchtest.NewBlackhole()}}})
	if err := <-told; err == nil {
		t.Error("told of no error")
	}
}
