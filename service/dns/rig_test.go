package dns

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

// ask returns the message that asks for the IPv4 addresses of a name, changed by edit.
func ask(name string, edit func(*dns.Msg)) []byte {
	m := new(dns.Msg)
	m.SetQuestion(name, dns.TypeA)
	m.Id = 4711
	if edit != nil {
		edit(m)
	}
	p, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return p
}

// A resolver is the host's, for tests: it listens on 127.0.0.1 by UDP and TCP.
type resolver struct {
	at     netip.AddrPort
	answer func(q *dns.Msg, tcp bool) *dns.Msg
	mu     sync.Mutex
	got    []*dns.Msg
	ports  []uint16
}

func newResolver(t *testing.T, answer func(q *dns.Msg, tcp bool) *dns.Msg) *resolver {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{at: udp.LocalAddr().(*net.UDPAddr).AddrPort(), answer: answer}
	tcp, err := net.Listen("tcp4", r.at.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: udp, Handler: r}, {Listener: tcp, Handler: r}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := s.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
		<-ready
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			serving.Wait()
		})
	}
	return r
}

func (r *resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	_, tcp := w.RemoteAddr().(*net.TCPAddr)
	r.mu.Lock()
	r.got = append(r.got, q)
	if !tcp {
		r.ports = append(r.ports, w.RemoteAddr().(*net.UDPAddr).AddrPort().Port())
	}
	r.mu.Unlock()
	if m := r.answer(q, tcp); m != nil {
		w.WriteMsg(m) // a client that is gone is no error
	}
}

func (r *resolver) asked() []*dns.Msg {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// address answers any question with one address.
func address(q *dns.Msg, _ bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	m.Answer = []dns.RR{&dns.A{Hdr: header(q.Question[0].Name, dns.TypeA, 60), A: net.IPv4(198, 51, 100, 1)}}
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(1400, o.Do())
	}
	return m
}

// large answers with more than fits into a datagram, which it cuts as it should.
func large(q *dns.Msg, tcp bool) *dns.Msg {
	m := address(q, tcp)
	for i := range 200 {
		m.Answer = append(m.Answer, &dns.A{Hdr: header(q.Question[0].Name, dns.TypeA, 60), A: net.IPv4(198, 51, 100, byte(i))})
	}
	if o := q.IsEdns0(); !tcp && o != nil {
		m.Truncate(int(o.UDPSize()))
	} else if !tcp {
		m.Truncate(512)
	}
	return m
}

// A rig is a running server.
type rig struct {
	*testing.T
	s    *Server
	at   netip.AddrPort
	told chan error
}

// freePort returns a port of 127.0.0.1 that nothing listens on, by UDP or TCP.
func freePort(t *testing.T) uint16 {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := tcp.Addr().(*net.TCPAddr).AddrPort()
		udp, err := net.ListenPacket("udp4", at.String())
		tcp.Close()
		if err == nil {
			udp.Close()
			return at.Port()
		}
	}
	t.Fatal("no port is free for both UDP and TCP")
	return 0
}

func newRig(t *testing.T, edit func(*Settings)) *rig {
	t.Helper()
	told := make(chan error, 10)
	r := &rig{T: t, told: told, s: New(Config{
		Names:  guests{"web": addresses("192.168.150.10")},
		Report: func(err error) { told <- err },
	})}
	v := Settings{
		Addresses: addresses("127.0.0.1"), Port: freePort(t), Domain: "vm.internal",
		Subnets: prefixes("192.168.150.0/24"), Servers: servers("127.0.0.1:9"),
	}
	if edit != nil {
		edit(&v)
	}
	r.at = netip.AddrPortFrom(v.Addresses[0], v.Port)
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	r.awaitUp()
	return r
}

// awaitUp waits until the server answers.
func (r *rig) awaitUp() {
	r.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp4", r.at.String())
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			r.Fatal(err)
		}
	}
}

// exchange asks the server, and fails the test if there is no answer.
func (r *rig) exchange(network, name string, edit func(*dns.Msg)) *dns.Msg {
	r.Helper()
	q := new(dns.Msg)
	if err := q.Unpack(ask(name, edit)); err != nil {
		r.Fatal(err)
	}
	m, _, err := (&dns.Client{Net: network, Timeout: 10 * time.Second, UDPSize: 4096}).Exchange(q, r.at.String())
	if err != nil {
		r.Fatal(err)
	}
	if m.Id != q.Id || !m.Response || !m.RecursionAvailable || m.RecursionDesired != q.RecursionDesired {
		r.Errorf("%v", m)
	}
	return m
}

func edns(size uint16, do bool) func(*dns.Msg) {
	return func(m *dns.Msg) { m.SetEdns0(size, do) }
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
