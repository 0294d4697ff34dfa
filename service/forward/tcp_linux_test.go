package forward_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/service/forward"
)

func echo(c *net.TCPConn) { _, _ = io.Copy(c, c) }

// exchange says something that an echo repeats.
func exchange(t testing.TB, c net.Conn, s string) {
	t.Helper()
	_, err := c.Write([]byte(s))
	must(t, err)
	b := make([]byte, len(s))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("said %q, heard %q, %v", s, b, err)
	}
}

// Every address that the host has leads to the guest.
func TestTCPFromTheHost(t *testing.T) {
	for to, from := range map[string][]string{guest4: {"127.0.0.1", "127.9.9.9", host4}, guest6: {"::1", host6, hostLink + "%wf-vms"}} {
		guest := serveTCP(t, net.JoinHostPort(to, "0"), echo)
		p := freePort()
		open(t, forward.Config{Forwards: []forward.Forward{tcp(p, guest)}})
		for _, at := range from {
			exchange(t, dial(t, "tcp", net.JoinHostPort(at, fmt.Sprint(p))), "hello")
		}
	}
}

func TestTCPCarriesManyBytesBothWays(t *testing.T) {
	const size = 16 << 20
	sent, answer := make([]byte, size), make([]byte, size)
	_, _ = rand.Read(sent)
	_, _ = rand.Read(answer)
	received := make(chan []byte, 1)
	guest := serveTCP(t, guest4+":0", func(c *net.TCPConn) {
		var back sync.WaitGroup // whoever returns from here closes the connection
		back.Go(func() {
			if _, err := c.Write(answer); errors.Join(err, c.CloseWrite()) != nil {
				t.Errorf("the guest's answer: %v", err)
			}
		})
		b, _ := io.ReadAll(c)
		received <- b
		back.Wait()
	})
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{tcp(p, guest)}})
	c := dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", p)).(*net.TCPConn)
	writing := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		writing <- errors.Join(err, c.CloseWrite())
	}()
	b, err := io.ReadAll(c)
	must(t, err)
	must(t, <-writing)
	if !bytes.Equal(b, answer) {
		t.Errorf("of the answer's %d bytes the host got %d, or others", size, len(b))
	}
	if b := <-received; !bytes.Equal(b, sent) {
		t.Errorf("of %d bytes the guest got %d, or others", size, len(b))
	}
	eventually(t, "the connection's end", func() bool { return f.Counters().Connections == 0 })
}

// A client that has said all still hears the answer, and the other way round.
func TestTCPHalfClose(t *testing.T) {
	p, q := freePort(), freePort()
	listens := serveTCP(t, guest4+":0", func(c *net.TCPConn) {
		b, _ := io.ReadAll(c) // until the client's end
		_, _ = c.Write(append([]byte("heard "), b...))
	})
	talks := serveTCP(t, guest4+":0", func(c *net.TCPConn) {
		name(c, "done")
		_ = c.CloseWrite()
		b, _ := io.ReadAll(c)
		if string(b) != "still talking" {
			t.Errorf("after its own end the guest heard %q", b)
		}
	})
	f := open(t, forward.Config{Forwards: []forward.Forward{tcp(p, listens), tcp(q, talks)}})

	c := dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", p)).(*net.TCPConn)
	name(c, "all")
	must(t, c.CloseWrite())
	if b, err := io.ReadAll(c); string(b) != "heard all" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	c = dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", q)).(*net.TCPConn)
	if b, err := io.ReadAll(c); string(b) != "done" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	name(c, "still talking")
	must(t, c.CloseWrite())
	eventually(t, "the connections' end", func() bool { return f.Counters().Connections == 0 })
}

// A connection that breaks off does not look like one that is complete.
func TestTCPResetIsPassedOn(t *testing.T) {
	broken := make(chan error, 1)
	p, q := freePort(), freePort()
	hears := serveTCP(t, guest4+":0", func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		broken <- err
	})
	breaks := serveTCP(t, guest4+":0", func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 1))
		_ = c.SetLinger(0)
	})
	open(t, forward.Config{Forwards: []forward.Forward{tcp(p, hears), tcp(q, breaks)}})
	c := dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", p)).(*net.TCPConn)
	name(c, "half of")
	must(t, c.SetLinger(0))
	must(t, c.Close())
	if err := <-broken; !isReset(err) {
		t.Errorf("the guest: %v", err)
	}
	c = dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", q)).(*net.TCPConn)
	name(c, "x")
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("the client: %v", err)
	}
}

// Connections from elsewhere are the NAT's, with the address they come from.
func TestTCPRefusesOthers(t *testing.T) {
	guest := serveTCP(t, guest4+":0", echo)
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{tcp(p, guest)}})
	type outcome struct {
		net.Conn
		error
	}
	dialed := asGuest(t, func() (outcome, error) {
		c, err := net.Dial("tcp", net.JoinHostPort(host4, fmt.Sprint(p)))
		return outcome{c, err}, nil
	})
	wantReset(t, "from elsewhere", dialed.Conn, dialed.error)
	if n := f.Counters(); n.Foreign != 1 || n.Connections != 0 {
		t.Errorf("%+v", n)
	}
}

func TestTCPBoundsConnections(t *testing.T) {
	guest := serveTCP(t, guest4+":0", echo)
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{tcp(p, guest)}, Connections: 2})
	at := fmt.Sprintf("127.0.0.1:%d", p)
	one, two := dial(t, "tcp", at), dial(t, "tcp", at)
	exchange(t, one, "one")
	exchange(t, two, "two")
	c, err := net.Dial("tcp", at)
	wantReset(t, "a third", c, err)
	if n := f.Counters(); n.Full != 1 || n.Connections != 2 {
		t.Errorf("%+v", n)
	}
	one.Close()
	eventually(t, "the first one's end", func() bool { return f.Counters().Connections == 1 })
	exchange(t, dial(t, "tcp", at), "next")
	exchange(t, two, "still two")
}

// A guest without that service, and one that is not there at all.
func TestTCPGuestThatDoesNotAccept(t *testing.T) {
	p, q := freePort(), freePort()
	f := open(t, forward.Config{
		Forwards: []forward.Forward{
			tcp(p, netip.MustParseAddrPort(guest4+":9")),
			tcp(q, netip.MustParseAddrPort("10.0.0.99:9")),
		},
		Patience: 50 * time.Millisecond,
	})
	for _, p := range []uint16{p, q} {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		wantReset(t, "nobody there", c, err)
	}
	if n := f.Counters(); n.Unreachable != 2 {
		t.Errorf("%+v", n)
	}
	eventually(t, "the connections' end", func() bool { return f.Counters().Connections == 0 })
}

// While no descriptor is free, clients wait; then they are served.
func TestTCPOutlivesALackOfDescriptors(t *testing.T) {
	guest := serveTCP(t, guest4+":0", echo)
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{tcp(p, guest)}})
	c := dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", p))
	exchange(t, c, "before")

	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	none := limit
	none.Cur = 0
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(p), Addr: [4]byte{127, 0, 0, 1}})
	for end := time.Now().Add(patience); err == nil && f.Counters().Starved == 0 && time.Now().Before(end); {
		runtime.Gosched()
	}
	must(t, errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)))
	if f.Counters().Starved == 0 {
		t.Error("no descriptor was wanted")
	}
	_, err = unix.Write(fd, []byte("hello"))
	must(t, err)
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}))
	b := make([]byte, 5)
	if n, err := unix.Read(fd, b); err != nil || string(b[:n]) != "hello" {
		t.Errorf("%q, %v", b[:max(n, 0)], err)
	}
	exchange(t, c, "after")
}
