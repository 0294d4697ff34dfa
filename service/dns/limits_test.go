package dns

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

func TestStrangersAreNotAnswered(t *testing.T) {
	s := New(Config{Names: guests{}})
	v := Settings{Addresses: addresses("192.168.150.1"), Domain: "vm.internal", Subnets: prefixes("192.168.150.0/24", "fd5a:150::/64"), Clients: prefixes("10.7.0.0/16")}
	if err := s.Set(v); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses("192.168.150.9", "fd5a:150::9", "10.7.1.1", "127.0.0.1", "::1") {
		if s.answer(t.Context(), a, ask("x.invalid.", nil), false) == nil {
			t.Errorf("%v is not answered", a)
		}
	}
	for i, a := range addresses("192.168.151.9", "fd5a:151::9", "8.8.8.8", "10.8.1.1", "fe80::1") {
		if s.answer(t.Context(), a, ask("x.invalid.", nil), false) != nil || s.Counters().Refused != uint64(i)+1 {
			t.Errorf("%v is answered", a)
		}
	}
}

// A stranger is a connection from afar.
type stranger struct{ net.Conn }

func (stranger) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 5353} }

// A door is a listener with one connection.
type door struct {
	net.Listener
	conn net.Conn
}

func (d *door) Accept() (net.Conn, error) {
	if d.conn == nil {
		return nil, net.ErrClosed
	}
	conn := d.conn
	d.conn = nil
	return conn, nil
}

func TestStrangersAreNotConnected(t *testing.T) {
	s := New(Config{Names: guests{}})
	near, far := net.Pipe()
	var running sync.WaitGroup
	s.serveTCP(t.Context(), &running, &door{conn: stranger{near}})
	running.Wait()
	if _, err := far.Read(make([]byte, 1)); err != io.EOF || s.Counters().Refused != 1 {
		t.Errorf("%v, %+v", err, s.Counters())
	}
}

// RFC 7766 6.2.3.
func TestSilentConnectionIsClosed(t *testing.T) {
	whole := binary.BigEndian.AppendUint16(nil, uint16(len(ask("host.vm.internal.", nil))))
	whole = append(whole, ask("host.vm.internal.", nil)...)
	for name, sent := range map[string][]byte{
		"nothing":        nil,
		"half a length":  whole[:1],
		"half a message": whole[:20],
		"a query":        whole,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(Config{Names: guests{}})
				near, far := net.Pipe()
				defer far.Close()
				start := time.Now()
				var serving sync.WaitGroup
				serving.Go(func() { s.serveConn(t.Context(), near, loopback4) })
				if _, err := far.Write(sent); err != nil {
					t.Fatal(err)
				}
				if len(sent) == len(whole) {
					if _, err := readTCP(far); err != nil {
						t.Fatal(err)
					}
				}
				serving.Wait()
				if time.Since(start) != idle {
					t.Errorf("closed after %v", time.Since(start))
				}
			})
		})
	}
}

// RFC 7766 6.2.1.1: queries on one connection do not wait for each other.
func TestConnectionCarriesManyQueriesAtOnce(t *testing.T) {
	release := make(chan struct{})
	up := newResolver(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		<-release
		return address(q, tcp)
	})
	r := newRig(t, func(v *Settings) { v.Servers = []netip.AddrPort{up.at} })
	conn, err := dns.Dial("tcp", r.at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, name := range []string{"slow.example.", "web.vm.internal."} {
		if _, err := conn.Write(ask(name, func(m *dns.Msg) { m.Id = uint16(i) })); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []uint16{1, 0} {
		m, err := conn.ReadMsg()
		if err != nil || m.Id != want {
			t.Fatalf("%v, want the answer to %d: %v", m, want, err)
		}
		if want == 1 {
			close(release)
		}
	}
}

func TestQueriesOfOneClientAreBounded(t *testing.T) {
	release := make(chan struct{})
	var waiting atomic.Int32
	full := make(chan struct{})
	up := newResolver(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		if waiting.Add(1) == maxQueriesOfOne {
			close(full)
		}
		<-release
		return address(q, tcp)
	})
	r := newRig(t, func(v *Settings) { v.Servers = []netip.AddrPort{up.at} })
	conn, err := dns.Dial("udp", r.at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range maxQueriesOfOne {
		if _, err := conn.Write(ask(fmt.Sprintf("x%d.example.", i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	<-full
	for r.s.Counters().Busy == 0 {
		if _, err := conn.Write(ask("more.example.", nil)); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	for range maxQueriesOfOne {
		if _, err := conn.ReadMsg(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	r := newRig(t, nil)
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range maxConnsOfOne + 1 {
		conn, err := net.Dial("tcp4", r.at.String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	last := conns[maxConnsOfOne]
	last.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := last.Read(make([]byte, 1)); err != io.EOF && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("one too many: %v", err)
	}
	if c := r.s.Counters(); c.Busy == 0 {
		t.Errorf("%+v", c)
	}
}
