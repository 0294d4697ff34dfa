package fastpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weft/test/lab"
)

// A pinger asks a station a thousand times a second.
type pinger struct {
	name       string
	kind       byte // of an echo message, as which a question looks
	token      byte // tells its answers from those to another with the same identifier
	conn       net.Conn
	sent, back atomic.Uint32
	done       chan struct{}
	end        sync.Once
	asking     sync.WaitGroup
	listening  sync.WaitGroup

	missing  int // answers that did not come, once it is stopped
	mu       sync.Mutex
	disorder []string // guarded by mu
}

// ping starts a pinger. It is one kernel's socket and another kernel's answers.
func ping(l *lab.Lab, from *lab.NS, to string) *pinger {
	l.Helper()
	return pingAs(l, from, to, 0, 0)
}

// pingAs starts a pinger with an identifier; zero: any.
func pingAs(l *lab.Lab, from *lab.NS, to string, id int, token byte) *pinger {
	l.Helper()
	p := &pinger{kind: 8, token: token, name: "ping from " + from.Name + " to " + to}
	if netip.MustParseAddr(to).Is6() {
		p.kind = 128
	}
	if err := from.Do(func() (err error) { p.conn, err = echoSocket(to, id); return err }); err != nil {
		l.Fatalf("%s: %v", p.name, err)
	}
	p.start(l)
	return p
}

// askUDP starts a pinger that asks a program: behind NAT the cache leaves answers to echoes
// to the switch.
func askUDP(l *lab.Lab, from, to *lab.NS, addr string) *pinger {
	l.Helper()
	server := to.ListenUDP(net.JoinHostPort(addr, "0"))
	go func() {
		for b := make([]byte, 1500); ; {
			n, asker, err := server.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = server.WriteToUDPAddrPort(b[:n], asker)
		}
	}()
	p := &pinger{name: "UDP from " + from.Name + " to " + addr, conn: from.MustDial("udp", server.LocalAddr().String())}
	if _, err := lab.Exchange(p.conn, "?"); err != nil { // then all neighbors on the way are known
		l.Fatalf("%s: %v", p.name, err)
	}
	if err := p.conn.SetDeadline(time.Time{}); err != nil {
		l.Fatalf("%s: %v", p.name, err)
	}
	p.start(l)
	return p
}

func (p *pinger) start(l *lab.Lab) {
	p.done = make(chan struct{})
	p.asking.Go(p.ask)
	p.listening.Go(p.listen)
	l.Cleanup(p.stop)
}

// echoSocket is a socket of echo messages: the kernel puts identifier and checksum in.
func echoSocket(to string, id int) (net.Conn, error) {
	addr := netip.MustParseAddr(to)
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	var own, sa unix.Sockaddr = &unix.SockaddrInet4{Port: id}, &unix.SockaddrInet4{Addr: [4]byte(addr.AsSlice()[:4])}
	if addr.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
		own, sa = &unix.SockaddrInet6{Port: id}, &unix.SockaddrInet6{Addr: addr.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "echo")
	defer f.Close()
	if err := errors.Join(unix.Bind(fd, own), unix.Connect(fd, sa), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func (p *pinger) ask() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	question := make([]byte, 8+56)
	question[0], question[12] = p.kind, p.token
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		binary.BigEndian.PutUint32(question[8:], p.sent.Load())
		if _, err := p.conn.Write(question); err != nil {
			p.complain("number %d: %v", p.sent.Load(), err)
		}
		p.sent.Add(1)
	}
}

func (p *pinger) listen() {
	answer := make([]byte, 1500)
	for {
		n, err := p.conn.Read(answer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 13 {
			p.complain("answer of %d bytes: %v", n, err)
			continue
		}
		if answer[12] != p.token {
			continue
		}
		if got, want := binary.BigEndian.Uint32(answer[8:]), p.back.Load(); got != want {
			p.complain("answer %d, want %d", got, want)
			p.missing += int(got) - int(want)
			p.back.Store(got)
		}
		p.back.Add(1)
	}
}

func (p *pinger) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.disorder) < 10 {
		p.disorder = append(p.disorder, fmt.Sprintf(format, args...))
	}
}

func (p *pinger) String() string { return p.name }

func (p *pinger) progress() uint64 { return uint64(p.back.Load()) }

func (p *pinger) stop() {
	p.end.Do(func() {
		close(p.done)
		p.asking.Wait()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for late := time.After(deadline); p.back.Load() != p.sent.Load(); { // the last answers are on their way
			select {
			case <-tick.C:
				continue
			case <-late:
			}
			break
		}
		_ = p.conn.Close()
		p.listening.Wait()
	})
}

// check says what was not as it should be.
func (p *pinger) check(l *lab.Lab) {
	l.Helper()
	p.stop()
	if sent, back := p.sent.Load(), p.back.Load(); sent != back || p.disorder != nil {
		l.Errorf("%s: %d sent, %d came back in order: %q", p.name, sent, back, p.disorder)
	}
}

// A stream is a TCP connection with bytes going one way, some every few milliseconds.
type stream struct {
	name     string
	from, to *net.TCPConn
	bytes    atomic.Uint64
	all      sync.WaitGroup
	done     chan struct{}
	end      sync.Once
}

// pour starts a stream.
func pour(l *lab.Lab, from *lab.NS, to *lab.NS, addr string) *stream {
	l.Helper()
	listener := to.Listen(net.JoinHostPort(addr, "0"))
	s := &stream{name: "TCP from " + from.Name + " to " + addr, done: make(chan struct{})}
	s.from = from.MustDial("tcp", listener.Addr().String()).(*net.TCPConn)
	c, err := listener.Accept()
	if err != nil {
		l.Fatalf("%s: %v", s.name, err)
	}
	s.to = c.(*net.TCPConn)
	s.all.Go(s.give)
	s.all.Go(s.take)
	l.Cleanup(func() { s.stop(); _ = s.from.Close(); _ = s.to.Close() })
	return s
}

func (s *stream) give() {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	b := make([]byte, 20000)
	for {
		select {
		case <-s.done:
			_ = s.from.CloseWrite()
			return
		case <-tick.C:
			if _, err := s.from.Write(b); err != nil {
				return
			}
		}
	}
}

func (s *stream) take() {
	b := make([]byte, 1<<16)
	for {
		n, err := s.to.Read(b)
		s.bytes.Add(uint64(n))
		if err != nil {
			return
		}
	}
}

func (s *stream) String() string { return s.name }

func (s *stream) progress() uint64 { return s.bytes.Load() / 5000 } // about a thousand a second

func (s *stream) stop() {
	s.end.Do(func() {
		close(s.done)
		late := time.Now().Add(deadline) // if its end does not arrive
		_ = s.from.SetWriteDeadline(late)
		_ = s.to.SetReadDeadline(late)
		s.all.Wait()
	})
}

// check says what TCP had to repair.
func (s *stream) check(l *lab.Lab) {
	l.Helper()
	s.stop()
	sender, receiver := tcpInfo(l, s.from), tcpInfo(l, s.to)
	if sender.Total_retrans != 0 || sender.Reord_seen != 0 || receiver.Rcv_ooopack != 0 || sender.Dsack_dups != 0 {
		l.Errorf("%s: %d segments sent again, %d times reordered, %d came out of order, %d twice, of %d", s.name,
			sender.Total_retrans, sender.Reord_seen, receiver.Rcv_ooopack, sender.Dsack_dups, receiver.Data_segs_in)
	}
	if receiver.Bytes_received < sender.Bytes_sent {
		l.Errorf("%s: %d bytes of %d arrived", s.name, receiver.Bytes_received, sender.Bytes_sent)
	}
}

func tcpInfo(l *lab.Lab, c *net.TCPConn) *unix.TCPInfo {
	l.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		l.Fatalf("%v", err)
	}
	var info *unix.TCPInfo
	control := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err = errors.Join(control, err); err != nil {
		l.Fatalf("TCP_INFO: %v", err)
	}
	return info
}

// A flow goes on by itself.
type flow interface {
	fmt.Stringer
	progress() uint64 // in steps, of which there are some hundreds a second
	check(l *lab.Lab)
}
