package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"weft/test/lab"
)

// forwarded leads ports of the host to the guest with the addresses …10: one port of
// each protocol, and a range.
const forwarded = `
networks:
  - name: default
    forwards:
      - {proto: tcp, port: 2222, to: "192.168.150.10:7001"}
      - {proto: udp, port: 2222, to: "192.168.150.10:7001"}
      - {proto: tcp, port: 8000-8010, to: "192.168.150.10:9000"}
      - {proto: tcp, port: 2222, to: "[fd5a:150::10]:7001"}
      - {proto: udp, port: 2222, to: "[fd5a:150::10]:7001"}
      - {proto: tcp, port: 8000-8010, to: "[fd5a:150::10]:9000"}
ports:
  - {name: ct1, type: device}
  - {name: ct2, type: device}
`

// Forwards work for everybody: from outside, where the guest sees who it is, from the
// host, and from another guest.
func TestForwards(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(forwarded)
	a, b := s.static("ct1", 10), s.static("ct2", 11)
	a.Tells()
	w.Up("ct1", "ct2")
	for _, f := range lab.Families {
		last := a.Listen(at(a.addr[f.Version], 9010))
		for _, network := range []string{"tcp", "udp"} {
			t.Logf("%s %s: the guest sees its client", f.Name, network)
			s.seen(s.Server, network, at(f.Host, 2222), f.Server)
			t.Logf("%s %s: hairpin, by the external address of the client", f.Name, network)
			s.seen(b, network, at(f.Host, 2222), f.Host)
			t.Logf("%s %s: from the host itself", f.Name, network)
			s.seen(s.hv, network, at(f.Host, 2222), "")
		}
		t.Logf("%s: the last port of a range leads to the last one", f.Name)
		s.connects(s.Server, at(f.Host, 8010), last, f.Server)
		s.connects(s.hv, at(f.Host, 8010), last, "")
		if _, err := s.Server.Dial("tcp", at(f.Host, 8011)); err == nil {
			t.Errorf("%s: the port behind the range is open", f.Name)
		}
		t.Logf("%s: the guest speaks outside as the host all the same", f.Name)
		s.looks(a, f, f.Host)
	}
}

// seen checks whom the guest sees who answers at addr; empty: anybody.
func (s *site) seen(from lab.Station, network, addr, want string) {
	s.Helper()
	got, err := s.TriesAsking(from, network, addr)
	if err != nil {
		s.Errorf("%s to %s: %v", network, addr, err)
	} else if want != "" && got.Addr() != parse(want) {
		s.Errorf("%s to %s: the guest sees %v, want %s", network, addr, got, want)
	}
}

// connects checks that a connection to addr comes to the listener, from want if that is
// not empty.
func (s *site) connects(from *lab.NS, addr string, l net.Listener, want string) {
	s.Helper()
	accepted := make(chan netip.AddrPort, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			close(accepted)
			return
		}
		accepted <- c.RemoteAddr().(*net.TCPAddr).AddrPort()
		_ = c.Close()
	}()
	c, err := from.Dial("tcp", addr)
	if err != nil {
		s.Errorf("%v", err)
		return
	}
	if got, ok := <-accepted; !ok || want != "" && got.Addr().Unmap() != parse(want) {
		s.Errorf("connection to %s: it comes from %v, want %s", addr, got, want)
	}
	_ = c.Close()
}

// Forwards change while the network runs, and touch nothing else; one that a socket of
// the host stands in the way of is refused by name and changes nothing.
func TestForwardsChangeAndClash(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(forwarded)
	a := s.static("ct1", 10)
	a.Tells()
	w.Up("ct1")
	v4 := lab.Families[0]
	kept, err := s.Server.Dial("tcp", at(v4.Host, 2222))
	if err != nil {
		t.Fatal(err)
	}
	asks := func(what string) {
		t.Helper()
		if _, err := lab.Exchange(kept, "?"); err != nil {
			t.Errorf("%s: the connection by the first forward: %v", what, err)
		}
	}
	asks("before")

	const both = `[{"proto":"tcp","port":2222,"to":"192.168.150.10:7001"},{"proto":"tcp","port":%d,"to":"192.168.150.10:7001"}]`
	w.MustWeft("network", "set", "default", fmt.Sprintf("forwards="+both, 2323))
	s.seen(s.Server, "tcp", at(v4.Host, 2323), v4.Server)
	asks("after another forward was added")
	if _, err := s.TriesAsking(s.Server, "udp", at(v4.Host, 2222)); err == nil {
		t.Error("the forward that is gone works")
	}

	s.hv.Listen(at(v4.Host, 4444))
	_, err = w.Weft("network", "set", "default", fmt.Sprintf("forwards="+both, 4444))
	if err == nil || !strings.Contains(err.Error(), "4444") {
		t.Errorf("a forward of a port that the host uses: %v, want it refused by name", err)
	}
	asks("after one was refused")
	s.seen(s.Server, "tcp", at(v4.Host, 2323), v4.Server)

	t.Log("a port that a forward has is not the host's to listen on")
	if _, err := s.hv.TryListen(at(v4.Host, 2323)); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("listening on a forwarded port: %v, want it to be in use", err)
	}
	w.MustWeft("network", "set", "default", "forwards=")
	s.hv.Listen(at(v4.Host, 2323))
}

// A daemon that starts where a program of the host has a forwarded port leaves it to
// that program and says so, and takes it when it is free.
func TestForwardWaitsForItsPort(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v4 := lab.Families[0]
	l := s.hv.Listen(at(v4.Host, 2222))
	w := s.weftd(forwarded)
	a := s.static("ct1", 10)
	a.Tells()
	w.Up("ct1")
	detail := func() string {
		t.Helper()
		for _, f := range w.Network("default").Forwards {
			if f.Protocol == "tcp" && f.Port == "2222" && f.To.Addr().Is4() {
				return f.Detail
			}
		}
		t.Fatal("weft network list: no such forward")
		return ""
	}
	if got := detail(); !strings.Contains(got, "2222") {
		t.Errorf("detail of a forward whose port is in use: %q, want the port named", got)
	}
	s.connects(s.Server, at(v4.Host, 2222), l, v4.Server)
	s.seen(s.Server, "udp", at(v4.Host, 2222), v4.Server)
	_ = l.Close()
	s.Until("the forward has its port", func() error {
		if d := detail(); d != "" {
			return errors.New(d)
		}
		return nil
	})
	s.seen(s.Server, "tcp", at(v4.Host, 2222), v4.Server)
}
