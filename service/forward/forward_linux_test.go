package forward_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft/frame"
	"weft/service/forward"
)

func tcp(port uint16, to netip.AddrPort) forward.Forward {
	return forward.Forward{Protocol: frame.ProtocolTCP, First: port, Last: port, To: to}
}

func udp(port uint16, to netip.AddrPort) forward.Forward {
	return forward.Forward{Protocol: frame.ProtocolUDP, First: port, Last: port, To: to}
}

func name(c *net.TCPConn, s string) { _, _ = c.Write([]byte(s)) }

// says reports what whoever answers at a port says first.
func says(t *testing.T, to string) string {
	t.Helper()
	b, err := io.ReadAll(dial(t, "tcp", to))
	must(t, err)
	return string(b)
}

func TestOpenSaysWhatIsWrongWithAForward(t *testing.T) {
	to := netip.MustParseAddrPort("10.0.0.2:80")
	for _, c := range []struct {
		f    forward.Forward
		want string
	}{
		{forward.Forward{First: 1, Last: 1, To: to}, "want TCP or UDP"},
		{forward.Forward{Protocol: frame.ProtocolTCP, To: to}, "no range"},
		{forward.Forward{Protocol: frame.ProtocolTCP, First: 2, Last: 1, To: to}, "no range"},
		{tcp(1, netip.AddrPort{}), "nobody can be reached"},
		{tcp(1, netip.MustParseAddrPort("10.0.0.2:0")), "nobody can be reached"},
		{tcp(1, netip.MustParseAddrPort("224.0.0.1:1")), "nobody can be reached"},
		{forward.Forward{Protocol: frame.ProtocolUDP, First: 1, Last: 3, To: netip.MustParseAddrPort("10.0.0.2:65534")}, "beyond 65535"},
		{forward.Forward{Protocol: frame.ProtocolUDP, First: 1, Last: 1, To: to, Address: netip.IPv6Loopback()}, "family"},
		{forward.Forward{Protocol: frame.ProtocolUDP, First: 1000, Last: 6000, To: to}, "want 4096 at most"},
	} {
		f, err := forward.Open(forward.Config{Forwards: []forward.Forward{c.f}})
		if f != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.f, err, c.want)
		}
	}
	p := freePort()
	_, err := forward.Open(forward.Config{Forwards: []forward.Forward{tcp(p, to), tcp(p, netip.MustParseAddrPort("10.0.0.3:80"))}})
	if err == nil || !strings.Contains(err.Error(), "goes to 10.0.0.2:80 already") {
		t.Errorf("one port twice: %v", err)
	}
}

func TestRangeOfPorts(t *testing.T) {
	const n = 300
	first := uint16(30000)
	for i := range uint16(3) {
		serveTCP(t, fmt.Sprintf("%s:%d", guest4, 8000+i*(n-1)/2), func(c *net.TCPConn) { name(c, c.LocalAddr().String()) })
	}
	open(t, forward.Config{Forwards: []forward.Forward{{
		Protocol: frame.ProtocolTCP, First: first, Last: first + n - 1, To: netip.MustParseAddrPort(guest4 + ":8000"),
	}}})
	for i := range uint16(3) {
		i = i * (n - 1) / 2
		if got, want := says(t, fmt.Sprintf("127.0.0.1:%d", first+i)), fmt.Sprintf("%s:%d", guest4, 8000+i); got != want {
			t.Errorf("port %d leads to %s, want %s", first+i, got, want)
		}
	}
}

// Whoever has the port is named, and nobody else loses anything.
func TestClash(t *testing.T) {
	me := fmt.Sprintf("(pid %d)", os.Getpid())
	guest := serveTCP(t, guest4+":0", func(c *net.TCPConn) { name(c, "guest") })
	guestSix := netip.AddrPortFrom(netip.MustParseAddr(guest6), guest.Port())
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	for _, c := range []struct {
		name, network, at string
		forward           func(port uint16) forward.Forward
	}{
		{"all of IPv4", "tcp4", "0.0.0.0", func(p uint16) forward.Forward { return tcp(p, guest) }},
		{"all of both", "tcp", "::", func(p uint16) forward.Forward { return tcp(p, guest) }},
		{"loopback", "tcp4", "127.0.0.1", func(p uint16) forward.Forward { return tcp(p, guest) }},
		{"IPv6", "tcp6", host6, func(p uint16) forward.Forward { return tcp(p, guestSix) }},
		{"one address", "tcp4", host4, func(p uint16) forward.Forward {
			f := tcp(p, guest)
			f.Address = netip.MustParseAddr(host4)
			return f
		}},
		{"UDP", "udp4", host4, func(p uint16) forward.Forward { return udp(p, guest) }},
		{"UDP of both", "udp", "::", func(p uint16) forward.Forward { return udp(p, guest) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			taken, free := freePort(), freePort()
			at := net.JoinHostPort(c.at, fmt.Sprint(taken))
			var holder io.Closer
			var err error
			if strings.HasPrefix(c.network, "tcp") {
				holder, err = plain.Listen(t.Context(), c.network, at)
			} else {
				holder, err = plain.ListenPacket(t.Context(), c.network, at)
			}
			must(t, err)
			defer holder.Close()
			forwards := []forward.Forward{c.forward(taken), tcp(free, guest)}
			f, err := forward.Open(forward.Config{Forwards: forwards})
			if f != nil || !errors.Is(err, unix.EADDRINUSE) {
				t.Fatalf("no clash: %v", err)
			}
			protocol, _, _ := strings.Cut(forwards[0].String(), " ")
			if want := fmt.Sprintf("%s port %d is taken by ", protocol, taken); !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), me) {
				t.Errorf("%q, want %q and %q", err, want, me)
			}
			var fault *forward.PortError
			if !errors.As(err, &fault) || fault.At.Port() != taken {
				t.Errorf("%+v", fault)
			}
			rest := forward.Without(forwards, err)
			if !slices.Equal(rest, forwards[1:]) {
				t.Errorf("without the clash: %v", rest)
			}
			open(t, forward.Config{Forwards: rest})
			if got := says(t, fmt.Sprintf("127.0.0.1:%d", free)); got != "guest" {
				t.Errorf("%q answers", got)
			}
		})
	}
}

// An address that only comes later, by DHCP, or that is the NAT's and never the host's.
func TestForwardOfAnAddressThatIsNotThere(t *testing.T) {
	guest := serveTCP(t, guest4+":0", func(c *net.TCPConn) { name(c, "guest") })
	p := freePort()
	f := tcp(p, guest)
	f.Address = netip.MustParseAddr("192.0.2.7")
	open(t, forward.Config{Forwards: []forward.Forward{f}})
	must(t, ip("addr add 192.0.2.7/32 dev wf-vms"))
	defer func() { must(t, ip("addr del 192.0.2.7/32 dev wf-vms")) }()
	// The host connects from that address to itself, which the daemon would know as local.
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host4)}}).Dial("tcp4", fmt.Sprintf("192.0.2.7:%d", p))
	must(t, err)
	defer c.Close()
	if b, err := io.ReadAll(c); string(b) != "guest" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestSetChangesInPlace(t *testing.T) {
	one := serveTCP(t, guest4+":0", echo)
	two := serveTCP(t, guest4+":0", func(c *net.TCPConn) { name(c, "two") })
	stays, moves, goes, comes := freePort(), freePort(), freePort(), freePort()
	before := []forward.Forward{tcp(stays, one), tcp(moves, one), tcp(goes, one)}
	f := open(t, forward.Config{Forwards: before})
	at := func(p uint16) string { return fmt.Sprintf("127.0.0.1:%d", p) }
	staying, moving, going := dial(t, "tcp", at(stays)), dial(t, "tcp", at(moves)), dial(t, "tcp", at(goes))
	for _, c := range []net.Conn{staying, moving, going} {
		exchange(t, c, "before")
	}
	after := []forward.Forward{tcp(stays, one), tcp(moves, two), tcp(comes, two)}
	must(t, f.Set(after))
	exchange(t, staying, "after")
	for what, c := range map[string]net.Conn{"moves": moving, "goes": going} {
		if _, err := c.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("the connection of the forward that %s: %v, want a reset", what, err)
		}
	}
	for _, p := range []uint16{moves, comes} {
		if got := says(t, at(p)); got != "two" {
			t.Errorf("port %d leads to %q", p, got)
		}
	}
	if c, err := net.Dial("tcp", at(goes)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%v, %v: somebody listens on the port that is given back", c, err)
	}
}

// From all addresses to one and back, which the host's own listener stands in the way of.
func TestSetNarrowsAPort(t *testing.T) {
	guest := serveTCP(t, guest4+":0", func(c *net.TCPConn) { name(c, "guest") })
	p := freePort()
	wide, narrow := tcp(p, guest), tcp(p, guest)
	narrow.Address = netip.MustParseAddr(host4)
	f := open(t, forward.Config{Forwards: []forward.Forward{wide}})
	for range 3 {
		must(t, f.Set([]forward.Forward{narrow}))
		if got := says(t, fmt.Sprintf("%s:%d", host4, p)); got != "guest" {
			t.Errorf("%q", got)
		}
		if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("another address: %v", err)
		}
		must(t, f.Set([]forward.Forward{wide}))
		if got := says(t, fmt.Sprintf("127.0.0.1:%d", p)); got != "guest" {
			t.Errorf("%q", got)
		}
	}
}

// What cannot be had as a whole changes nothing.
func TestSetThatFailsChangesNothing(t *testing.T) {
	guest := serveTCP(t, guest4+":0", echo)
	stays, wide, taken, never := freePort(), freePort(), freePort(), freePort()
	before := []forward.Forward{tcp(stays, guest), tcp(wide, guest)}
	f := open(t, forward.Config{Forwards: before})
	c := dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", stays))
	exchange(t, c, "before")
	holder, err := net.Listen("tcp", fmt.Sprintf(":%d", taken))
	must(t, err)
	defer holder.Close()
	narrow := tcp(wide, guest)
	narrow.Address = netip.MustParseAddr(host4)
	err = f.Set([]forward.Forward{narrow, tcp(taken, guest), tcp(never, guest)})
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Fatal(err)
	}
	exchange(t, c, "after")
	for _, p := range []uint16{stays, wide} {
		exchange(t, dial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", p)), "new")
	}
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", never)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("part of what failed is there: %v", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	guest := serveTCP(t, guest4+":0", echo)
	answers := serveUDP(t, guest4+":0")
	p := freePort()
	f := open(t, forward.Config{Forwards: []forward.Forward{tcp(p, guest), udp(p, answers)}})
	at := fmt.Sprintf("127.0.0.1:%d", p)
	c, u := dial(t, "tcp", at), dial(t, "udp", at)
	exchange(t, c, "before")
	ask(t, u, "before")
	if n := f.Counters(); n.Connections != 1 || n.Clients != 1 {
		t.Errorf("%+v", n)
	}
	must(t, f.Close())
	if n := f.Counters(); n.Connections != 0 || n.Clients != 0 {
		t.Errorf("after Close: %+v", n)
	}
	if _, err := c.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("the connection: %v", err)
	}
	must(t, f.Close())
	if err := f.Set(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Set after Close: %v", err)
	}
	again := open(t, forward.Config{Forwards: []forward.Forward{tcp(p, guest), udp(p, answers)}})
	must(t, again.Close())
}
