package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	maxMessage = 4096             // bytes of a query or a resolver's answer by UDP
	idle       = 10 * time.Second // for which a connection may be silent (RFC 7766 6.2.3), and a message may take
	retry      = 5 * time.Second  // until an address that could not be listened on is tried again
)

// Run serves until ctx is done and all queries have ended. Where it cannot listen, it
// reports that and tries again.
func (s *Server) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	open := make(map[netip.AddrPort]context.CancelFunc)
	var troubles map[netip.AddrPort]error // of the last time, told already
	for {
		want := s.settings.Load().listen
		for at, closeIt := range open {
			if !slices.Contains(want, at) {
				closeIt()
				delete(open, at)
			}
		}
		var again <-chan time.Time
		before := troubles
		troubles = make(map[netip.AddrPort]error)
		var all, news []error
		for _, at := range want {
			if open[at] != nil {
				continue
			}
			closeIt, err := s.listen(ctx, &running, at)
			if err == nil {
				open[at] = closeIt
				continue
			}
			again = time.After(retry)
			troubles[at] = err
			all = append(all, err)
			if told := before[at]; told == nil || told.Error() != err.Error() {
				news = append(news, err)
			}
		}
		trouble := errors.Join(all...)
		s.trouble.Store(&trouble)
		for _, err := range news {
			s.report(err)
		}
		select {
		case <-ctx.Done():
			for _, closeIt := range open {
				closeIt()
			}
			return
		case <-s.changed:
		case <-again:
		}
	}
}

// listen serves at an address until ctx is done or the function returned is called,
// which returns when its sockets are closed.
func (s *Server) listen(ctx context.Context, running *sync.WaitGroup, at netip.AddrPort) (context.CancelFunc, error) {
	version := "6"
	if at.Addr().Is4() {
		version = "4"
	}
	l := net.ListenConfig{Control: freebind}
	udp, err := l.ListenPacket(ctx, "udp"+version, at.String())
	if err != nil {
		return nil, fmt.Errorf("DNS: %w", err)
	}
	tcp, err := l.Listen(ctx, "tcp"+version, at.String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("DNS: %w", err), udp.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	running.Go(func() { s.serveUDP(ctx, running, udp.(*net.UDPConn)) })
	running.Go(func() { s.serveTCP(ctx, running, tcp) })
	return func() {
		cancel()
		udp.Close()
		tcp.Close()
	}, nil
}

// serveUDP answers datagrams until conn is closed.
func (s *Server) serveUDP(ctx context.Context, running *sync.WaitGroup, conn *net.UDPConn) {
	buf := make([]byte, maxMessage)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of one datagram; the socket lives
		}
		client := from.Addr().Unmap().WithZone("")
		if !s.queries.enter(client) {
			s.count.busy.Add(1)
			continue // it will ask again, later
		}
		p := append([]byte(nil), buf[:n]...)
		running.Go(func() {
			defer s.queries.leave(client)
			if answer := s.answer(ctx, client, p, false); answer != nil {
				conn.WriteToUDPAddrPort(answer, from) // a client that is gone is no error
			}
		})
	}
}

// serveTCP answers connections until l is closed.
func (s *Server) serveTCP(ctx context.Context, running *sync.WaitGroup, l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptor is free: they come back as connections end
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		client := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
		switch {
		case !s.settings.Load().serves(client):
			s.count.refused.Add(1)
		case !s.conns.enter(client):
			s.count.busy.Add(1)
		default:
			running.Go(func() {
				defer s.conns.leave(client)
				s.serveConn(ctx, conn, client)
			})
			continue
		}
		conn.Close()
	}
}

// serveConn answers the queries of a connection, many at once (RFC 7766 6.2.1.1), until
// the client closes it, is silent, or sends nonsense.
func (s *Server) serveConn(ctx context.Context, conn net.Conn, client netip.Addr) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var pending sync.WaitGroup
	defer pending.Wait()
	var writing sync.Mutex
	for {
		conn.SetReadDeadline(time.Now().Add(idle)) // if it fails, so does what follows
		p, err := readTCP(conn)
		if err != nil {
			return
		}
		if !s.queries.enter(client) {
			s.count.busy.Add(1)
			return
		}
		pending.Go(func() {
			defer s.queries.leave(client)
			answer := s.answer(ctx, client, p, true)
			if answer == nil {
				return
			}
			writing.Lock()
			defer writing.Unlock()
			conn.SetWriteDeadline(time.Now().Add(idle))
			if writeTCP(conn, answer) != nil {
				conn.Close() // half a message may have gone
			}
		})
	}
}
