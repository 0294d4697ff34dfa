package dns

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

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

func TestMalformedQueries(t *testing.T) {
	s := New(Config{Names: guests{}})
	if err := s.Set(Settings{Addresses: addresses("192.168.150.1"), Domain: "vm.internal"}); err != nil {
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
	if err := r.s.Trouble(); err == nil {
		t.Error("the server has no trouble, though it does not listen")
	}
	v.Addresses = nil
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); r.s.Trouble() != nil; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it is not to listen any more, and still has the trouble: ", r.s.Trouble())
		}
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
