package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// tell answers at a port, by TCP and UDP, with the asker's address as it is seen here and
// as many bytes more as make the question's length.
func tell(port string) error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	failed := make(chan error, len(addrs)+1)
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			return err
		}
		if p.Addr().IsLinkLocalUnicast() {
			continue
		}
		// One socket an address: it answers from the one that was asked.
		c, err := net.ListenPacket("udp", net.JoinHostPort(p.Addr().String(), port))
		if err != nil {
			return err
		}
		go func() { failed <- tellDatagrams(c) }()
	}
	l, err := net.Listen("tcp", ":"+port) // the last one: who sees it knows that all are there
	if err != nil {
		return err
	}
	go func() { failed <- tellStreams(l) }()
	return <-failed
}

func tellStreams(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			b := make([]byte, 1<<16)
			for {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				if _, err := c.Write(told(c.RemoteAddr(), n)); err != nil {
					return
				}
			}
		}()
	}
}

func tellDatagrams(p net.PacketConn) error {
	b := make([]byte, 1<<16)
	for {
		n, from, err := p.ReadFrom(b)
		if err != nil {
			return err
		}
		// An asker that is gone makes an error here, which is not ours.
		_, _ = p.WriteTo(told(from, n), from)
	}
}

// told is the answer to a question of n bytes.
func told(to net.Addr, n int) []byte {
	line := fmt.Sprintln(plain(to))
	return append([]byte(line), bytes.Repeat([]byte{'.'}, max(0, n-len(line)))...)
}

// plain returns an address without the form that IPv4 has on sockets of both families.
func plain(a net.Addr) netip.AddrPort {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// ask asks once and prints what the other end sees.
func ask(args []string) error {
	options := flag.NewFlagSet("ask", flag.ContinueOnError)
	size := options.Int("size", 64, "`bytes` of question and answer")
	from := options.String("from", "", "local `address` and port")
	wait := options.Duration("wait", 3*time.Second, "`time` to wait for the answer")
	if err := options.Parse(args); err != nil {
		return err
	}
	if options.NArg() != 2 {
		return errors.New("usage: agent ask [-size N] [-from ADDR:PORT] tcp|udp ADDR:PORT")
	}
	c, err := dial(options.Arg(0), *from, options.Arg(1), *wait)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(*wait)); err != nil {
		return err
	}
	if _, err := c.Write(bytes.Repeat([]byte{'?'}, *size)); err != nil {
		return err
	}
	b := make([]byte, 1<<16)
	n, err := io.ReadAtLeast(c, b, *size)
	if err != nil {
		return err
	}
	line, rest, ok := strings.Cut(string(b[:n]), "\n")
	if !ok || strings.Trim(rest, ".") != "" {
		return fmt.Errorf("the answer is damaged: %q", b[:n])
	}
	fmt.Println(line)
	return nil
}

// dial connects from an address and port of its own, if from is not empty.
func dial(network, from, to string, wait time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: wait}
	if from != "" {
		at, err := netip.ParseAddrPort(from)
		if err != nil {
			return nil, err
		}
		if d.LocalAddr = net.TCPAddrFromAddrPort(at); network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(at)
		}
	}
	return d.Dial(network, to)
}
