package forward_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/service/forward"
)

// ask sends s and returns the address that the guest saw it come from.
func ask(t testing.TB, c net.Conn, s string) string {
	t.Helper()
	_, err := c.Write([]byte(s))
	must(t, err)
	b := make([]byte, 65535)
	n, err := c.Read(b)
	must(t, err)
	from, said, _ := strings.Cut(string(b[:n]), " ")
	if said != s {
		t.Fatalf("asked %d bytes, %.20q, got %d, %.20q", len(s), s, len(said), said)
	}
	return from
}

// A connected client hears only what comes from where it sent to.
func TestUDPFromTheHost(t *testing.T) {
	for to, from := range map[string][]string{guest4: {"127.0.0.1", "127.9.9.9", host4}, guest6: {"::1", host6}} {
		guest := serveUDP(t, net.JoinHostPort(to, "0"))
		p := freePort()
		open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}})
		for _, at := range from {
			c := dial(t, "udp", net.JoinHostPort(at, fmt.Sprint(p)))
			for _, s := range []string{"hello", "", strings.Repeat("long ", 13000)} {
				ask(t, c, s)
			}
			any, err := net.ListenUDP("udp", nil)
			must(t, err)
			defer any.Close()
			must(t, any.SetDeadline(time.Now().Add(patience)))
			sent := netip.AddrPortFrom(netip.MustParseAddr(at), p)
			_, err = any.WriteToUDPAddrPort([]byte("whence"), sent)
			must(t, err)
			_, answered, err := any.ReadFromUDPAddrPort(make([]byte, 100))
			must(t, err)
			if answered = netip.AddrPortFrom(answered.Addr().Unmap(), answered.Port()); answered != sent {
				t.Errorf("sent to %v, answered from %v", sent, answered)
			}
		}
	}
}

// From 127.0.0.1 to another address of the host: the answer's source is not what a
// route would choose.
func TestUDPAnswersFromTheAddressAsked(t *testing.T) {
	guest := serveUDP(t, guest4+":0")
	p := freePort()
	open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}})
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP("127.0.0.1")}, &net.UDPAddr{IP: net.ParseIP(host4), Port: int(p)})
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	ask(t, c, "hello")
}

// Over an address that needs a zone to be sent to.
func TestUDPFromALinkLocalAddress(t *testing.T) {
	guest := serveUDP(t, net.JoinHostPort(guest6, "0"))
	p := freePort()
	open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}})
	ask(t, dial(t, "udp", fmt.Sprintf("[%s%%wf-vms]:%d", hostLink, p)), "hello")
}

// The guest can tell clients apart, and a client keeps the port it has there.
func TestUDPClientsAreApart(t *testing.T) {
	guest := serveUDP(t, guest4+":0")
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}, Clients: 3})
	at := fmt.Sprintf("127.0.0.1:%d", p)
	seen := make(map[string]bool)
	var clients []net.Conn
	for range 3 {
		c := dial(t, "udp", at)
		from := ask(t, c, "hello")
		if seen[from] || ask(t, c, "again") != from {
			t.Errorf("%s is of several clients, or the client has several", from)
		}
		seen[from] = true
		clients = append(clients, c)
	}
	one := dial(t, "udp", at)
	_, err := one.Write([]byte("one too many"))
	must(t, err)
	eventually(t, "a client too many", func() bool { return f.Counters().Full == 1 })
	for _, c := range clients {
		ask(t, c, "still here")
	}
	if n := f.Counters().Clients; n != 3 {
		t.Errorf("%d clients", n)
	}
}

func TestUDPForgetsClients(t *testing.T) {
	guest := serveUDP(t, guest4+":0")
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}, Clients: 1, Idle: 500 * time.Millisecond})
	at := fmt.Sprintf("127.0.0.1:%d", p)
	ask(t, dial(t, "udp", at), "hello")
	eventually(t, "the client's end", func() bool { return f.Counters().Clients == 0 })
	ask(t, dial(t, "udp", at), "another")
}

func TestUDPIgnoresOthers(t *testing.T) {
	guest := serveUDP(t, guest4+":0")
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}})
	c := asGuest(t, func() (net.Conn, error) { return net.Dial("udp", net.JoinHostPort(host4, fmt.Sprint(p))) })
	defer c.Close()
	_, err := c.Write([]byte("from elsewhere"))
	must(t, err)
	eventually(t, "a stranger", func() bool { return f.Counters().Foreign == 1 })
	if n := f.Counters().Clients; n != 0 {
		t.Errorf("%d clients", n)
	}
}

// What the host shouts to all is not for the guest.
func TestUDPIgnoresBroadcasts(t *testing.T) {
	guest := serveUDP(t, guest4+":0")
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}})
	c := dial(t, "udp", fmt.Sprintf("127.0.0.1:%d", p))
	ask(t, c, "hello")
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
	must(t, unix.Sendto(fd, []byte("to all"), 0, &unix.SockaddrInet4{Port: int(p), Addr: [4]byte{127, 255, 255, 255}}))
	ask(t, c, "behind it") // in the same queue
	if n := f.Counters().Clients; n != 1 {
		t.Errorf("%d clients, one of them shouted", n)
	}
}

// The guest's service is not there at first: what was refused is not the end.
func TestUDPOutlivesAClosedPort(t *testing.T) {
	guest := netip.MustParseAddrPort(fmt.Sprintf("%s:%d", guest4, freePort()))
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{udp(p, guest)}})
	c := dial(t, "udp", fmt.Sprintf("127.0.0.1:%d", p))
	for range 3 {
		_, err := c.Write([]byte("anybody?"))
		must(t, err)
	}
	eventually(t, "a client", func() bool { return f.Counters().Clients == 1 })
	serveUDP(t, guest.String())
	// The three may have come in time, or not.
	_, err := c.Write([]byte("now"))
	must(t, err)
	b := make([]byte, 100)
	for {
		n, err := c.Read(b)
		must(t, err)
		if strings.HasSuffix(string(b[:n]), " now") {
			return
		}
	}
}

func TestUDPSetLeadsElsewhere(t *testing.T) {
	one, two := serveUDP(t, guest4+":0"), serveUDP(t, "10.0.0.3:0")
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{udp(p, one)}})
	c := dial(t, "udp", fmt.Sprintf("127.0.0.1:%d", p))
	ask(t, c, "one")
	must(t, f.Set([]forward.Forward{udp(p, two)}))
	ask(t, c, "two")
	eventually(t, "the first socket's end", func() bool { return f.Counters().Clients == 1 })
	must(t, f.Set(nil))
	if _, err := c.Write([]byte("none")); err == nil {
		if _, err = c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("after the forward's end: %v", err)
		}
	}
}
