package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A tcpListener accepts the host's own connections to one port.
type tcpListener struct {
	f      *Forwarder
	socket *net.TCPListener
	route  atomic.Pointer[route]
	done   context.Context // ends with close
	end    context.CancelFunc
}

func (f *Forwarder) listenTCP(p port, to netip.AddrPort) (listener, error) {
	c := net.ListenConfig{Control: claim, KeepAliveConfig: keepAlive}
	c.SetMultipathTCP(false) // nothing to gain on one host
	s, err := c.Listen(context.Background(), p.network(), p.at.String())
	if err != nil {
		return nil, err
	}
	l := &tcpListener{f: f, socket: s.(*net.TCPListener)}
	l.done, l.end = context.WithCancel(context.Background())
	l.route.Store(newRoute(to))
	return l, nil
}

func (l *tcpListener) target() netip.AddrPort { return l.route.Load().to }

func (l *tcpListener) retarget(to netip.AddrPort) { l.route.Swap(newRoute(to)).end() }

func (l *tcpListener) close() {
	l.end()
	l.socket.Close()
	l.route.Load().end()
}

func (l *tcpListener) serve() {
	for {
		c, err := l.socket.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // no descriptor is free
			const moment = 100 * time.Millisecond
			l.f.starved.Add(1)
			select {
			case <-time.After(moment):
			case <-l.done.Done():
			}
		case !l.f.local(addressOf(c.RemoteAddr())) || !l.f.take(&l.f.connections, l.f.c.Connections):
			reset(c)
		default:
			l.f.running.Go(func() {
				defer l.f.connections.Add(-1)
				l.carry(c, l.route.Load())
			})
		}
	}
}

func addressOf(a net.Addr) netip.Addr { return a.(*net.TCPAddr).AddrPort().Addr() }

// carry connects a client with the guest until both have said all, one of them resets,
// or the route ends.
func (l *tcpListener) carry(client *net.TCPConn, r *route) {
	defer client.Close()
	c, err := l.f.connect.DialContext(r.ctx, "tcp", r.to.String())
	if err != nil {
		if r.ctx.Err() == nil {
			l.f.unreachable.Add(1)
		}
		reset(client)
		return
	}
	guest := c.(*net.TCPConn)
	defer guest.Close()
	defer context.AfterFunc(r.ctx, func() {
		reset(client)
		reset(guest)
	})()
	var back sync.WaitGroup
	back.Go(func() { pass(client, guest) })
	pass(guest, client)
	back.Wait()
}

// pass carries one direction. Its end is passed on as such: the other direction goes on.
func pass(to, from *net.TCPConn) {
	// The kernel moves the bytes by itself: splice(2).
	if _, err := io.Copy(to, from); err != nil {
		reset(to)
		reset(from)
		return
	}
	_ = to.CloseWrite() // fails if the connection is gone, which the other direction sees
}

// reset ends a connection by a segment with RST, so that the peer does not take it for
// complete.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}
