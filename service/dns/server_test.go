package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
		w.WriteMsg(m) //nolint:errcheck // a client that is gone
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

func TestServerAnswersForTheZone(t *testing.T) {
	r := newRig(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		m := r.exchange(network, "web.vm.internal.", nil)
		if !m.Authoritative || len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "192.168.150.10" || m.IsEdns0() != nil {
			t.Errorf("%s: %v", network, m)
		}
		m = r.exchange(network, "nobody.vm.internal.", nil)
		if m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 || m.Ns[0].(*dns.SOA).Minttl != 5 || m.Ns[0].Header().Ttl != 5 {
			t.Errorf("%s: %v", network, m)
		}
	}
	if c := r.s.Counters(); c.Queries != 4 || c.Local != 4 {
		t.Errorf("%+v", c)
	}
}

func TestServerForwards(t *testing.T) {
	up := newResolver(t, address)
	r := newRig(t, func(v *Settings) { v.Servers = []netip.AddrPort{up.at} })
	for _, network := range []string{"udp", "tcp"} {
		m := r.exchange(network, "eXample.com.", nil)
		if m.Authoritative || len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "198.51.100.1" || m.Question[0].Name != "eXample.com." {
			t.Errorf("%s: %v", network, m)
		}
	}
	m := r.exchange("udp", "example.com.", func(m *dns.Msg) { m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData = false, true, true })
	asked := up.asked()
	if last := asked[len(asked)-1]; last.RecursionDesired || !last.CheckingDisabled || !last.AuthenticatedData || m.Rcode != 0 {
		t.Errorf("asked %v", last)
	}
	if c := r.s.Counters(); c.Forwarded != 3 {
		t.Errorf("%+v", c)
	}
}

// RFC 5452 9.2.
func TestForwardedQueriesHaveRandomIDsAndPorts(t *testing.T) {
	up := newResolver(t, address)
	r := newRig(t, func(v *Settings) { v.Servers = []netip.AddrPort{up.at} })
	for range 30 {
		r.exchange("udp", "example.com.", nil)
	}
	ids, ports := make(map[uint16]bool), make(map[uint16]bool)
	for i, m := range up.asked() {
		ids[m.Id], ports[up.ports[i]] = true, true
	}
	if len(ids) < 28 || len(ports) < 10 || ids[4711] && len(ids) < 29 {
		t.Errorf("%d IDs, %d ports of 30", len(ids), len(ports))
	}
}

// RFC 6891: EDNS goes from hop to hop.
func TestEDNSIsOnlyForWhoKnowsIt(t *testing.T) {
	up := newResolver(t, func(q *dns.Msg, tcp bool) *dns.Msg {
		m := address(q, tcp)
		m.Extra = nil
		m.SetEdns0(1400, true) // although nobody asked for it
		return m
	})
	r := newRig(t, func(v *Settings) { v.Servers = []netip.AddrPort{up.at} })
	for _, c := range []struct {
		name string
		edit func(*dns.Msg)
		size uint16 // told to the resolver; 0: no EDNS
		do   bool
	}{
		{"without", nil, 0, false},
		{"with", edns(1000, false), 1000, false},
		{"DNSSEC", edns(1232, true), 1232, true},
		{"too large for a packet", edns(4096, false), 1232, false},
		{"too small", edns(100, false), 512, false},
		{"with a cookie", func(m *dns.Msg) {
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
		}, 1232, false},
	} {
		m := r.exchange("udp", "example.com.", c.edit)
		asked := up.asked()
		o := asked[len(asked)-1].IsEdns0()
		switch {
		case (m.IsEdns0() != nil) != (c.size != 0):
			t.Errorf("%s: answer %v", c.name, m)
		case len(m.Answer) != 1:
			t.Errorf("%s: answer %v", c.name, m)
		case c.size == 0 && o == nil:
		case o == nil || o.UDPSize() != c.size || o.Do() != c.do || len(o.Option) != 0:
			t.Errorf("%s: asked with %v", c.name, o)
		}
		local := r.exchange("udp", "web.vm.internal.", c.edit)
		if o := local.IsEdns0(); (o != nil) != (c.size != 0) || o != nil && (o.UDPSize() != 1232 || o.Do() != c.do) {
			t.Errorf("%s: own answer %v", c.name, local)
		}
	}
}

// RFC 7766: what does not fit is cut, and whole by TCP.
func TestLongAnswerIsCutAndWholeByTCP(t *testing.T) {
	for name, answer := range map[string]func(*dns.Msg, bool) *dns.Msg{
		"cut by the resolver": large,
		"cut by the server":   func(q *dns.Msg, _ bool) *dns.Msg { return large(q, true) },
	} {
		t.Run(name, func(t *testing.T) {
			up := newResolver(t, answer)
			r := newRig(t, func(v *Settings) { v.Servers = []netip.AddrPort{up.at} })
			for limit, edit := range map[int]func(*dns.Msg){512: nil, 1232: edns(4096, false)} {
				m := r.exchange("udp", "example.com.", edit)
				m.Compress = true // as it came
				if !m.Truncated || m.Len() > limit || len(m.Question) != 1 || (m.IsEdns0() != nil) != (edit != nil) {
					t.Errorf("limit %d: %v", limit, m)
				}
				m = r.exchange("tcp", "example.com.", edit)
				if m.Truncated || len(m.Answer) != 201 {
					t.Errorf("by TCP: %d records", len(m.Answer))
				}
			}
		})
	}
}

func TestServerSaysWhenItFails(t *testing.T) {
	r := newRig(t, nil) // nothing listens on its resolver's port
	if m := r.exchange("udp", "example.com.", edns(1232, false)); m.Rcode != dns.RcodeServerFailure || m.IsEdns0() == nil {
		t.Error(m)
	}
	if c := r.s.Counters(); c.Failed != 1 {
		t.Errorf("%+v", c)
	}
	if err := <-r.told; !strings.Contains(err.Error(), "127.0.0.1:9") {
		t.Error(err)
	}
}

// A forged or late answer is not taken, and does not keep the right one away.
func TestAnswerToAnotherQuestionIsIgnored(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	defer conn.Close()
	serving.Go(func() {
		p := make([]byte, 512)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(p)
			if err != nil {
				return
			}
			var q dns.Msg
			if err := q.Unpack(p[:n]); err != nil {
				t.Error(err)
			}
			send := func(edit func(*dns.Msg)) {
				m := address(&q, false)
				edit(m)
				if wire, err := m.Pack(); err != nil {
					t.Error(err)
				} else if _, err := conn.WriteToUDPAddrPort(wire, from); err != nil {
					t.Error(err)
				}
			}
			forged := func(m *dns.Msg) { m.Answer[0].(*dns.A).A = net.IPv4(6, 6, 6, 6) }
			send(func(m *dns.Msg) { forged(m); m.Id++ })
			send(func(m *dns.Msg) { forged(m); m.Question[0].Name = "evil.com." })
			send(func(m *dns.Msg) { forged(m); m.Response = false })
			send(func(m *dns.Msg) { forged(m); m.Question = nil })
			send(func(m *dns.Msg) { forged(m); m.Opcode = dns.OpcodeUpdate })
			if _, err := conn.WriteToUDPAddrPort(p[:2], from); err != nil {
				t.Error(err)
			}
			send(func(*dns.Msg) {})
		}
	})
	r := newRig(t, func(v *Settings) { v.Servers = []netip.AddrPort{conn.LocalAddr().(*net.UDPAddr).AddrPort()} })
	if m := r.exchange("udp", "example.com.", nil); len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != "198.51.100.1" {
		t.Error(m)
	}
}

func TestStrangersAreNotAnswered(t *testing.T) {
	s := New(Config{Names: guests{}})
	v := Settings{Domain: "vm.internal", Subnets: prefixes("192.168.150.0/24", "fd5a:150::/64"), Clients: prefixes("10.7.0.0/16")}
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

func TestMalformedQueries(t *testing.T) {
	s := New(Config{Names: guests{}})
	if err := s.Set(Settings{Domain: "vm.internal"}); err != nil {
		t.Fatal(err)
	}
	good := ask("host.vm.internal.", nil)
	edited := func(at int, v byte) []byte {
		p := slices.Clone(good)
		p[at] = v
		return p
	}
	const silence = -1
	for name, c := range map[string]struct {
		p     []byte
		rcode int
	}{
		"nothing":         {nil, silence},
		"a short header":  {good[:11], silence},
		"a response":      {edited(2, 0x81), silence},
		"cut short":       {good[:20], dns.RcodeFormatError},
		"no question":     {edited(5, 0), dns.RcodeFormatError},
		"two questions":   {ask("a.b.", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		"name in a loop":  {append(slices.Clone(good[:12]), 0xc0, 12, 0, 1, 0, 1), dns.RcodeFormatError},
		"two OPT records": {ask("a.b.", func(m *dns.Msg) { m.SetEdns0(512, false); m.Extra = append(m.Extra, m.Extra[0]) }), dns.RcodeFormatError},
		"EDNS version 1":  {ask("a.b.", func(m *dns.Msg) { m.SetEdns0(512, false); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		"status query":    {edited(2, dns.OpcodeStatus<<3), dns.RcodeNotImplemented},
		"update":          {edited(2, dns.OpcodeUpdate<<3), dns.RcodeNotImplemented},
		"zone transfer":   {ask("vm.internal.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAXFR }), dns.RcodeRefused},
	} {
		answer := s.answer(t.Context(), loopback4, c.p, false)
		if c.rcode == silence {
			if answer != nil {
				t.Errorf("%s is answered", name)
			}
			continue
		}
		var m dns.Msg
		if err := m.Unpack(answer); err != nil || m.Rcode != c.rcode || !m.Response || m.Id != 4711 {
			t.Errorf("%s: %v, %v", name, err, &m)
		}
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

func TestListenerFollowsTheSettings(t *testing.T) {
	r := newRig(t, nil)
	v := Settings{Addresses: addresses("127.0.0.5"), Port: freePort(t), Domain: "other.internal"}
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	old := r.at
	r.at = netip.AddrPortFrom(v.Addresses[0], v.Port)
	r.awaitUp()
	if m := r.exchange("udp", "host.other.internal.", nil); len(m.Answer) != 1 {
		t.Error(m)
	}
	if conn, err := net.Dial("tcp4", old.String()); err == nil {
		conn.Close()
		t.Error("still listening at the old address")
	}
}

func TestListeningWhereItCannotIsReported(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, nil)
	v := Settings{Addresses: addresses("127.0.0.1"), Port: taken.Addr().(*net.TCPAddr).AddrPort().Port(), Domain: "vm.internal"}
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	if err := <-r.told; !strings.Contains(err.Error(), "address already in use") {
		t.Error(err)
	}
}

func TestListensOnAnAddressThatIsNotThereYet(t *testing.T) {
	s := New(Config{Names: guests{}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	for _, a := range []string{"192.0.2.77:0", "[2001:db8::77]:0"} {
		closeIt, err := s.listen(ctx, &running, netip.MustParseAddrPort(a))
		if err != nil {
			t.Error(err)
			continue
		}
		closeIt()
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever a client sends, the answer is one to it, and no longer than it may be.
func FuzzAnswer(f *testing.F) {
	f.Add(ask("web.vm.internal.", nil), false)
	f.Add(ask("example.com.", edns(4096, true)), false)
	f.Add(ask("vm.internal.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeSOA }), true)
	f.Add(ask("10.150.168.192.in-addr.arpa.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypePTR }), false)
	s := New(Config{Names: guests{"web": addresses("192.168.150.10")}})
	if err := s.Set(Settings{Domain: "vm.internal", Subnets: prefixes("192.168.150.0/24"), Servers: three[:1]}); err != nil {
		f.Fatal(err)
	}
	s.forwarder = newForwarder(func(_ context.Context, _ netip.AddrPort, r request) ([]byte, error) {
		p := []byte(r.wire) // the question back, as if it was the answer
		p[2] |= flagQR
		return p, nil
	})
	f.Fuzz(func(t *testing.T, p []byte, tcp bool) {
		answer := s.answer(t.Context(), loopback4, p, tcp)
		if answer == nil {
			return
		}
		if len(answer) < headerLen || answer[0] != p[0] || answer[1] != p[1] || answer[2]&flagQR == 0 {
			t.Errorf("%x to %x", answer, p)
		}
		if !tcp && len(answer) > maxUDP {
			t.Errorf("%d bytes", len(answer))
		}
		var m dns.Msg
		if err := m.Unpack(answer); err != nil {
			t.Errorf("%v: %x to %x", err, answer, p)
		}
	})
}

// Whatever a resolver sends, it is an answer to the question or ignored, and is handed
// on as it fits.
func FuzzRelay(f *testing.F) {
	q, _ := parse(ask("example.com.", nil), false)
	r := q.request()
	m := address(&q.msg, false)
	m.SetEdns0(1232, true)
	wire, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Fuzz(func(t *testing.T, p []byte) {
		if !answers(p, wire, r.question) {
			return
		}
		got := q.relay(p)
		if len(got) > plainUDP || binary.BigEndian.Uint16(got) != 4711 {
			t.Errorf("%d bytes, ID %d", len(got), binary.BigEndian.Uint16(got))
		}
	})
}
