package vswitch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A poller waits until one of a worker's queues has something to return. It is
// level triggered: a queue that was not emptied is reported again, after the
// others, so each gets its turn.
type poller struct {
	epoll, event int
	events       [64]unix.EpollEvent
	ready        []int // places of the queues last reported
}

// waker stands for the eventfd among the places of queues.
const waker = -1

func newPoller() (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &poller{epoll: epoll, event: event}
	p.ready = make([]int, 0, len(p.events))
	if err := p.add(event, waker); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *poller) add(fd, place int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(place)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("poll descriptor %d: %w", fd, err)
	}
	return nil
}

// remove ends the watch over fd. It may be watched no more, which is no matter.
func (p *poller) remove(fd int) { _ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, fd, nil) }

// poll returns the places of queues that are ready now or become so within the
// patience given, and whether there was any event at all: wake may have been called.
// The system call is raw: the scheduler is not told that the worker waits, and does
// not lend its processor to others, which costs more than a short wait is worth. It
// may still stop the world meanwhile: its signal ends the call.
func (p *poller) poll(patience time.Duration) (ready []int, event bool) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll),
		uintptr(unsafe.Pointer(&p.events)), uintptr(len(p.events)), uintptr(patience.Milliseconds()), 0, 0)
	if errno != 0 {
		n = 0 // EINTR
	}
	return p.report(int(n)), n > 0
}

// sleep returns what poll does, once there is something or wake was called. The
// scheduler lends the worker's processor to others meanwhile.
func (p *poller) sleep() []int {
	n, err := unix.EpollWait(p.epoll, p.events[:], -1)
	if err != nil {
		n = 0 // EINTR
	}
	return p.report(n)
}

func (p *poller) report(n int) []int {
	p.ready = p.ready[:0]
	for _, e := range p.events[:n] {
		if e.Fd != waker {
			p.ready = append(p.ready, int(e.Fd))
			continue
		}
		var count [8]byte
		_, _ = unix.Read(p.event, count[:]) // it is readable, or was read: either is well
	}
	return p.ready
}

// wake makes sleep return. Any goroutine may call it.
func (p *poller) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.event, one[:]) // fails only when it is set as far as it goes
}

func (p *poller) close() error {
	return errors.Join(unix.Close(p.epoll), unix.Close(p.event))
}
