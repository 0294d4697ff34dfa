package tap

import (
	"errors"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"weft/frame"
)

// A port is one side of relay.
type port struct {
	queue   *Queue
	segment int // frames are not relayed within a segment; 0: none

	// Frames for these addresses go to one queue alone, rewritten.
	route   map[frame.MAC]*Queue
	rewrite func(*frame.Buf)
	alone   bool // it takes part in nothing else
}

// A relay floods every frame to all ports but its own and those of its segment, but for
// what a port routes.
type relay struct {
	superframes, partial, frames atomic.Int64
}

// run forwards until stop is closed.
func (r *relay) run(stop <-chan struct{}, ports ...port) error {
	bufs := frame.NewBufs(64)
	fds := make([]unix.PollFd, len(ports))
	for i, p := range ports {
		fds[i] = unix.PollFd{Fd: int32(p.queue.FD()), Events: unix.POLLIN}
	}
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if _, err := unix.Poll(fds, 20); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for i, in := range ports {
			n, err := in.queue.Recv(bufs)
			if err != nil {
				return err
			}
			r.note(bufs[:n])
			rest, err := in.routed(bufs[:n])
			if err != nil {
				return err
			}
			for j, out := range ports {
				if i == j || in.alone || out.alone || in.segment != 0 && in.segment == out.segment {
					continue
				}
				if _, err := out.queue.Send(rest); err != nil {
					return err
				}
			}
		}
	}
}

// routed sends what the port routes, and returns the rest.
func (p *port) routed(bufs []*frame.Buf) (rest []*frame.Buf, err error) {
	if p.route == nil {
		return bufs, nil
	}
	for _, b := range bufs {
		to := p.route[frame.MACFrom(b.Bytes())]
		if to == nil {
			rest = append(rest, b)
			continue
		}
		p.rewrite(b)
		if _, err := to.Send([]*frame.Buf{b}); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func (r *relay) note(bufs []*frame.Buf) {
	for _, b := range bufs {
		r.frames.Add(1)
		if b.Offload.GSO != frame.GSONone {
			r.superframes.Add(1)
		}
		if b.Offload.NeedsCsum {
			r.partial.Add(1)
		}
	}
}

// start runs the relay until the test ends, or the returned function is called.
func (r *relay) start(t testing.TB, ports ...port) (stop func()) {
	done, quit := make(chan error, 1), make(chan struct{})
	go func() { done <- r.run(quit, ports...) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(quit)
			must(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}
