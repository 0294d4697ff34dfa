package gateway

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/frame"
	"weft/test/lab"
)

// large is a datagram's payload that no MTU here takes in one piece.
const large = 4000

// Fragments pass NAT both ways, as real kernels send them and in any order (RFC 4787
// REQ-14).
func TestFragmentsInAnyOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(oneGuest)
	a := s.container("ct1")
	mac, gateway := eui(a.NS, "eth0"), s.gatewayMAC(a)
	inside, outside := a.Wire("eth0"), s.Server.Wire("eth0")
	for _, f := range lab.Families {
		own := netip.AddrPortFrom(parse(a.addr[f.Version]), 6000)
		server := netip.AddrPortFrom(parse(f.Server), 7001)
		t.Logf("%s: as kernels send them", f.Name)
		if seen, err := s.TriesAsking(a, "udp", server.String(), "-size 4000"); err != nil || seen.Addr() != parse(f.Host) {
			t.Errorf("%s: a datagram of %d bytes: the server sees %v: %v", f.Name, large, seen, err)
		}
		socket := a.ListenUDP(own.String())
		for _, order := range []string{"in order", "the last one first", "shuffled"} {
			t.Logf("%s: %s", f.Name, order)
			question := bytes.Repeat([]byte{'?'}, large)
			cut := fragments(s.datagram(gateway, mac, own, server, question), rand.Uint32(), pieces(large+8, 1200))
			arrange(order, cut)
			for _, b := range cut {
				inside.Send(b)
			}
			answer := receive(socket)
			line, _, _ := strings.Cut(answer, "\n")
			external, err := netip.ParseAddrPort(line)
			if err != nil || external.Addr() != parse(f.Host) || len(answer) != large {
				t.Errorf("%s %s: outwards: answer of %d bytes from %q", f.Name, order, len(answer), line)
				continue
			}
			reply := bytes.Repeat([]byte(order[:1]), large)
			cut = fragments(s.datagram(eui(s.Router, "lan"), eui(s.Server, "eth0"), server, external, reply), rand.Uint32(), pieces(large+8, 1200))
			arrange(order, cut)
			for _, b := range cut {
				outside.Send(b)
			}
			if got := receive(socket); got != string(reply) {
				t.Errorf("%s %s: inwards: %d bytes came, want %d", f.Name, order, len(got), large)
			}
		}

		t.Logf("%s: pieces that overlap are an attack (RFC 5722)", f.Name)
		before := dropped(w, "ct1", frame.DropBadFragment)
		for _, b := range fragments(s.datagram(gateway, mac, own, server, bytes.Repeat([]byte{'?'}, large)), rand.Uint32(),
			[]fragment{{0, 1200}, {1200, 2400}, {2000, 3200}, {3200, large + 8}}) {
			inside.Send(b)
		}
		s.drops(w, "ct1", frame.DropBadFragment, before, 1)
		if got := receive(socket); got != "" {
			t.Errorf("%s: the server has got the overlapping ones: %d bytes", f.Name, len(got))
		}
		_ = socket.Close()
		s.looks(a, f, f.Host)
	}
}

// arrange puts fragments into an order.
func arrange(order string, all [][]byte) {
	switch order {
	case "the last one first":
		slices.Reverse(all)
	case "shuffled":
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
}

// receive returns the next datagram of the socket, or nothing after two seconds.
func receive(c net.Conn) string {
	b := make([]byte, 1<<16)
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
	n, _ := c.Read(b)
	return string(b[:n])
}

// gatewayMAC returns the address to which a container sends what leaves its network.
func (s *site) gatewayMAC(c *container) frame.MAC {
	s.Helper()
	gateway := lab.Families[0].Gateway
	s.Reaches(c, gateway)
	words := strings.Fields(c.Run("ip neigh show %s dev eth0", gateway))
	i := slices.Index(words, "lladdr")
	if i < 0 || i+1 == len(words) {
		s.Fatalf("ip neigh show %s: %v", gateway, words)
	}
	m, err := frame.ParseMAC(words[i+1])
	if err != nil {
		s.Fatalf("%v", err)
	}
	return m
}
