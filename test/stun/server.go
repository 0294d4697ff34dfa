package stun

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// A server answers at the four endpoints.
type server struct {
	addresses [2]netip.Addr
	datagrams map[endpoint]*net.UDPConn
	echoes    *reflector
}

// Serve answers at two addresses of one family until something fails.
func Serve(ctx context.Context, addresses [2]netip.Addr) error {
	s := &server{addresses: addresses, datagrams: map[endpoint]*net.UDPConn{}}
	var err error
	if s.echoes, err = newReflector(addresses); err != nil {
		return err
	}
	failed := make(chan error, 10)
	go func() { failed <- s.echoes.listen(0) }()
	go func() { failed <- s.echoes.listen(1) }()
	endpoints := []endpoint{primary, otherPort, otherHost, otherBoth}
	for _, e := range endpoints { // all of them first: one answers by another
		p, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(e.at(addresses)))
		if err != nil {
			return err
		}
		s.datagrams[e] = p
	}
	for _, e := range endpoints {
		go func() { failed <- s.answerDatagrams(e) }()
		l, err := (&net.ListenConfig{Control: reuse}).Listen(ctx, "tcp", e.at(addresses).String())
		if err != nil {
			return err
		}
		go func() { failed <- s.answerStreams(ctx, l) }()
	}
	return <-failed
}

// reuse lets several sockets have one local port: a listener and connections to and from it.
func reuse(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1); err != nil {
				failed = err
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

func (s *server) answerDatagrams(e endpoint) error {
	b := make([]byte, 1<<12)
	for {
		n, from, err := s.datagrams[e].ReadFromUDPAddrPort(b)
		if err != nil {
			return fmt.Errorf("%v: %w", e, err)
		}
		var r request
		if json.Unmarshal(b[:n], &r) != nil {
			continue // not one of ours
		}
		answer := response{Nonce: r.Nonce, Seen: unmapped(from)}
		by := s.datagrams[r.Reply]
		switch r.Want {
		case tellEcho:
			answer.Seen, answer.Done = s.echoes.seen(r.Nonce)
			by = s.datagrams[e]
		case answerEcho:
			answer.Done = s.echoes.reply(r.Reply.Address, r.To, r.Nonce) == nil
			by = s.datagrams[e]
		}
		if by != nil {
			_, _ = by.WriteToUDPAddrPort(encode(answer), from) // lost, as datagrams may be
		}
	}
}

func (s *server) answerStreams(ctx context.Context, l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			lines := bufio.NewScanner(c)
			for lines.Scan() {
				var r request
				if json.Unmarshal(lines.Bytes(), &r) != nil {
					return
				}
				answer := response{Nonce: r.Nonce, Seen: unmapped(c.RemoteAddr().(*net.TCPAddr).AddrPort())}
				if r.Want == connectBack {
					answer.Done = s.connect(ctx, r.Reply, answer.Seen)
				}
				if _, err := c.Write(encode(answer)); err != nil {
					return
				}
			}
		}()
	}
}

// connect reports whether a connection from one of the endpoints is taken.
func (s *server) connect(ctx context.Context, from endpoint, to netip.AddrPort) bool {
	d := net.Dialer{
		Timeout: 2 * patience, LocalAddr: net.TCPAddrFromAddrPort(from.at(s.addresses)), Control: reuse,
	}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return false
	}
	// A reset, so that the port is free for the same connection again at once.
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	return true
}
