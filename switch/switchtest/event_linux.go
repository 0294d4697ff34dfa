package switchtest

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/unix"
)

// An event is a descriptor that polls readable while it is set.
type event struct {
	mu     sync.Mutex
	fd     int
	up     bool // guarded by mu
	closed bool // guarded by mu
}

func newEvent() *event {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		panic("switchtest: eventfd: " + err.Error())
	}
	return &event{fd: fd}
}

func (e *event) set(up bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.up == up {
		return
	}
	e.up = up
	var count [8]byte
	binary.NativeEndian.PutUint64(count[:], 1)
	var err error
	if up {
		_, err = unix.Write(e.fd, count[:])
	} else {
		_, err = unix.Read(e.fd, count[:])
	}
	if err != nil {
		panic("switchtest: eventfd: " + err.Error())
	}
}

func (e *event) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return unix.Close(e.fd)
}
