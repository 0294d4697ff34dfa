package guest

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Transactions is what Connect tells.
type Transactions struct {
	Count   uint64        // of connections, each with a request and a response
	Elapsed time.Duration // for all of them, in ns
}

// Rate returns the transactions in a second.
func (t Transactions) Rate() float64 { return float64(t.Count) / t.Elapsed.Seconds() }

// Serve answers each connection to addr, one at a time: a byte for a byte, then it
// closes. It calls ready when it listens and returns only on failure.
func Serve(addr netip.AddrPort, ready func()) error {
	fd, err := open(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // the process ends
	reuse := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := errors.Join(reuse, unix.Bind(fd, sockaddr(addr)), unix.Listen(fd, 128)); err != nil {
		return fmt.Errorf("listen at %s: %w", addr, err)
	}
	ready()
	for {
		c, _, err := unix.Accept(fd)
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		var b [1]byte
		_, errRead := unix.Read(c, b[:])
		_, errWrite := unix.Write(c, b[:])
		// The server closes first: the connection waits out its time here (RFC 9293
		// 3.6), and the client may use its port again.
		if err := errors.Join(errRead, errWrite, unix.Close(c)); err != nil {
			return fmt.Errorf("serve: %w", err)
		}
	}
}

// Connect makes one connection after the other to addr for d, with one byte each way.
func Connect(addr netip.AddrPort, d time.Duration) (Transactions, error) {
	var t Transactions
	for start := time.Now(); t.Elapsed < d; t.Elapsed = time.Since(start) {
		if err := transact(addr); err != nil {
			return t, fmt.Errorf("connection %d to %s: %w", t.Count+1, addr, err)
		}
		t.Count++
	}
	return t, nil
}

// transact is one connection, until the server has closed it.
func transact(addr netip.AddrPort) (err error) {
	fd, err := open(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := unix.Connect(fd, sockaddr(addr)); err != nil {
		return err
	}
	var b [1]byte
	if _, err := unix.Write(fd, b[:]); err != nil {
		return err
	}
	for _, want := range []int{len(b), 0} {
		n, err := unix.Read(fd, b[:])
		if err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("read %d bytes, want %d", n, want)
		}
	}
	return nil
}

// open makes a socket that blocks, so that a transaction costs system calls alone.
func open(kind int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}
