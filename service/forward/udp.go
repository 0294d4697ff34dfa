package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// A udpListener takes the host's own datagrams to one port. Each client, that is each
// address and port, has a socket towards the guest, so that the guest can tell them
// apart and its answers find their way back.
type udpListener struct {
	f      *Forwarder
	socket *net.UDPConn
	route  atomic.Pointer[route]

	mu      sync.Mutex
	clients map[conversation]*client // guarded by mu
}

// A conversation is a client and the address it sent to.
type conversation struct {
	from netip.AddrPort
	to   destination
}

// A client is one that sent something not too long ago.
type client struct {
	guest *net.UDPConn // connected to where the route leads
	route *route
	*watchdog
}

func (f *Forwarder) listenUDP(p port, to netip.AddrPort) (listener, error) {
	c := net.ListenConfig{Control: claim}
	s, err := c.ListenPacket(context.Background(), p.network(), p.at.String())
	if err != nil {
		return nil, err
	}
	l := &udpListener{f: f, socket: s.(*net.UDPConn), clients: make(map[conversation]*client)}
	l.route.Store(newRoute(to))
	return l, nil
}

func (l *udpListener) target() netip.AddrPort { return l.route.Load().to }

func (l *udpListener) retarget(to netip.AddrPort) { l.route.Swap(newRoute(to)).end() }

func (l *udpListener) close() {
	l.socket.Close()
	l.route.Load().end()
}

// buffers are for datagrams of any length.
var buffers = sync.Pool{New: func() any { return new([65535]byte) }}

func (l *udpListener) serve() {
	control := make([]byte, controlSize)
	for {
		if err := await(l.socket); err != nil {
			return // closed
		}
		b := buffers.Get().(*[65535]byte)
		n, nc, _, from, err := l.socket.ReadMsgUDPAddrPort(b[:], control)
		if to, ok := readDestination(control[:nc]); err == nil && ok {
			if c := l.client(conversation{from, to}); c != nil {
				c.touch()
				send(c.guest, b[:n])
			}
		}
		buffers.Put(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// send tries twice: the first time may tell of an ICMP error that an earlier datagram
// caused. What a full queue loses is lost, as UDP goes.
func send(c *net.UDPConn, p []byte) {
	if _, err := c.Write(p); errors.Is(err, syscall.ECONNREFUSED) {
		_, _ = c.Write(p)
	}
}

// client returns that of a conversation, a new one if need be; nil for one that may not
// be, or one too many.
func (l *udpListener) client(v conversation) *client {
	r := l.route.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[v]; c != nil && c.route == r {
		return c
	}
	if !l.f.local(v.from.Addr()) || !l.f.take(&l.f.clients, l.f.c.Clients) {
		return nil
	}
	guest, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.to))
	if err != nil {
		l.f.clients.Add(-1)
		l.f.unreachable.Add(1)
		return nil
	}
	c := &client{guest, r, newWatchdog(l.f.c.Idle, func() { guest.Close() })}
	l.clients[v] = c
	l.f.running.Go(func() {
		defer l.f.clients.Add(-1)
		stop := context.AfterFunc(r.ctx, func() { guest.Close() })
		l.answer(v, c)
		stop()
		l.forget(v, c)
	})
	return c
}

// answer carries back what the guest says, until its socket is closed.
func (l *udpListener) answer(v conversation, c *client) {
	control := v.to.control()
	for {
		if err := await(c.guest); err != nil {
			return
		}
		b := buffers.Get().(*[65535]byte)
		// An error other than the end tells that the guest's port is closed, for now.
		n, err := c.guest.Read(b[:])
		if err == nil {
			c.touch()
			_, _, _ = l.socket.WriteMsgUDPAddrPort(b[:n], control, v.from)
		}
		buffers.Put(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (l *udpListener) forget(v conversation, c *client) {
	c.stop()
	c.guest.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[v] == c {
		delete(l.clients, v)
	}
}
