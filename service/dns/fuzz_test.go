package dns

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// Whatever a client sends, the answer is one to it, and no longer than it may be.
func FuzzAnswer(f *testing.F) {
	f.Add(ask("web.vm.internal.", nil), false)
	f.Add(ask("example.com.", edns(4096, true)), false)
	f.Add(ask("vm.internal.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeSOA }), true)
	f.Add(ask("10.150.168.192.in-addr.arpa.", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypePTR }), false)
	s := New(Config{Names: guests{"web": addresses("192.168.150.10")}})
	if err := s.Set(Settings{Addresses: addresses("192.168.150.1"), Domain: "vm.internal", Subnets: prefixes("192.168.150.0/24"), Servers: three[:1]}); err != nil {
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
