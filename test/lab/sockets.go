package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Dial connects from the namespace. The connection is closed when the test ends.
func (n *NS) Dial(network, remote string) (net.Conn, error) { return n.DialFrom(network, "", remote) }

// DialFrom connects from the namespace's address and port local (empty: any).
func (n *NS) DialFrom(network, local, remote string) (c net.Conn, err error) {
	n.lab.Helper()
	d := net.Dialer{Timeout: patience / 4}
	if local != "" {
		at, err := netip.ParseAddrPort(local)
		if err != nil {
			return nil, err
		}
		if d.LocalAddr = net.TCPAddrFromAddrPort(at); network == "udp" {
			d.LocalAddr = net.UDPAddrFromAddrPort(at)
		}
	}
	err = n.Do(func() error {
		c, err = d.DialContext(n.lab.Context(), network, remote)
		return err
	})
	if err == nil {
		n.lab.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// MustDial connects from the namespace, which must succeed.
func (n *NS) MustDial(network, remote string) net.Conn {
	n.lab.Helper()
	c, err := n.Dial(network, remote)
	if err != nil {
		n.lab.Fatalf("%s: %v", n.Name, err)
	}
	return c
}

// Listen takes TCP connections in the namespace until the test ends.
func (n *NS) Listen(addr string) net.Listener {
	n.lab.Helper()
	l, err := n.TryListen(addr)
	if err != nil {
		n.lab.Fatalf("%s: %v", n.Name, err)
	}
	return l
}

// TryListen listens where that may be refused.
func (n *NS) TryListen(addr string) (l net.Listener, err error) {
	n.lab.Helper()
	err = n.Do(func() error {
		l, err = new(net.ListenConfig).Listen(n.lab.Context(), "tcp", addr)
		return err
	})
	if err == nil {
		n.lab.Cleanup(func() { _ = l.Close() })
	}
	return l, err
}

// ListenUDP opens a UDP socket in the namespace until the test ends.
func (n *NS) ListenUDP(addr string) *net.UDPConn {
	n.lab.Helper()
	var c net.PacketConn
	err := n.Do(func() (err error) {
		c, err = new(net.ListenConfig).ListenPacket(n.lab.Context(), "udp", addr)
		return err
	})
	if err != nil {
		n.lab.Fatalf("%s: %v", n.Name, err)
	}
	n.lab.Cleanup(func() { _ = c.Close() })
	return c.(*net.UDPConn)
}

// Exchange sends text by a connection and returns what comes back before long.
func Exchange(c net.Conn, text string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(patience / 4)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return "", err
	}
	b := make([]byte, 1<<16)
	size, err := c.Read(b)
	return string(b[:size]), err
}

// tellPort is where Tells serves.
const tellPort = "7001"

// Tells starts servers, TCP and UDP, at the addresses that the namespace has now, that
// tell whoever asks what its address is to them.
func (n *NS) Tells() {
	n.lab.Helper()
	n.Background(n.agent(), "tell", tellPort)
	n.lab.listens(n, tellPort)
}

// Tells starts the servers in a guest.
func (g *Guest) Tells() {
	g.lab.Helper()
	if _, err := g.Start(g.agent() + " tell " + tellPort); err != nil {
		g.lab.Fatalf("%v", err)
	}
	g.lab.listens(g, tellPort)
}

// Asks asks the server of Tells at addr, by "tcp" or "udp", and returns how the station
// looks to it. More words are options of `agent ask`.
func (l *Lab) Asks(from Station, network, addr string, options ...string) netip.AddrPort {
	l.Helper()
	seen, err := l.TriesAsking(from, network, net.JoinHostPort(addr, tellPort), options...)
	if err != nil {
		l.Fatalf("ask %s %s: %v", addr, network, err)
	}
	return seen
}

// TriesAsking asks at an address and port, where the answer may be none.
func (l *Lab) TriesAsking(from Station, network, server string, options ...string) (netip.AddrPort, error) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	words := append([]string{from.agent(), "ask"}, append(options, network, server)...)
	out, err := from.Sh(ctx, strings.Join(words, " "))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %s", err, out)
	}
	return netip.ParseAddrPort(strings.TrimSpace(out))
}
