package tap

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"weft/frame"
	"weft/frame/frametest"
)

func TestOwnerByClaims(t *testing.T) {
	isolate(t)
	newVeth(t, "nic0", newPlace(t), "eth0")
	a := newArbiter(t, false)
	for _, f := range []struct{ host, far, other string }{
		{"10.7.0.10", "10.7.0.20", "10.7.0.11"},
		{"[fd07::10]", "[fd07::20]", "[fd07::11]"},
	} {
		at := func(port int) string { return fmt.Sprintf("%s:%d", f.host, port) }
		far, addr := f.far+":443", netip.MustParseAddrPort(f.host+":0").Addr()
		unreachable, exceeded, redirect, icmp := byte(3), byte(11), byte(5), frame.ProtocolICMP
		if addr.Is6() {
			unreachable, exceeded, redirect, icmp = 1, 3, 137, frame.ProtocolICMPv6
		}
		a.claim(t, ClaimSession, frame.ProtocolTCP, at(50001))
		a.claim(t, ClaimSession, frame.ProtocolUDP, at(50002))
		a.claim(t, ClaimForward, frame.ProtocolTCP, at(2222))
		a.claim(t, ClaimSession, icmp, at(77))
		ping := func(id uint16) []byte { return frametest.Ping(end(far), end(at(0)), id, 1) }
		pinged := func(id uint16) []byte { return frametest.Ping(end(at(0)), end(far), id, 1) }
		a.check(t, []opinion{
			{"TCP to a claimed port", tcp(far, at(50001)), "weft"},
			{"SYN to a claimed port", withFlags(tcp(far, at(50001)), 0x02), "weft"},
			{"UDP to a claimed port", udp(far, at(50002)), "weft"},
			{"TCP to a forwarded port", tcp(far, at(2222)), "weft"},
			{"TCP to another port", tcp(far, at(50003)), "host"},
			{"UDP to a port that only TCP claims", udp(far, at(50001)), "host"},
			{"TCP to the claimed port of another address", tcp(far, f.other+":50001"), "host"},
			{"TCP from a claimed port", tcp(at(50001), f.far+":50003"), "host"},
			{"a tag of priority", frametest.Tagged(tcp(far, at(50001)), 0x8100, 0, 3), "host"},
			{"a VLAN", frametest.Tagged(tcp(far, at(2222)), 0x8100, 7, 0), "host"},
			{"two VLANs", frametest.Tagged(frametest.Tagged(tcp(far, at(2222)), 0x8100, 7, 0), 0x88a8, 8, 0), "host"},

			{"claimed echo reply", echoReply(ping(77)), "both"},
			{"other echo reply", echoReply(ping(78)), "host"},
			{"echo request", ping(77), "host"},
			{"error about a claimed TCP port", icmpError(far, unreachable, tcp(at(50001), far)), "both"},
			{"error about a claimed UDP port", icmpError(far, exceeded, udp(at(50002), far)), "both"},
			{"error about a forwarded port", icmpError(far, unreachable, tcp(at(2222), far)), "both"},
			{"error about another port", icmpError(far, unreachable, tcp(at(50003), far)), "host"},
			{"error about what came to a claimed port", icmpError(far, unreachable, tcp(far, at(50001))), "host"},
			{"redirect of a claimed port", icmpError(far, redirect, tcp(at(50001), far)), "host"},
			{"error about a claimed echo", icmpError(far, exceeded, pinged(77)), "both"},
			{"error about another echo", icmpError(far, exceeded, pinged(78)), "host"},
			{"error about an echo reply", icmpError(far, exceeded, echoReply(pinged(77))), "host"},
			{"error about a first fragment", icmpError(far, exceeded, fragment(udp(at(50002), far), 9, 0, true)), "both"},
			{"error about a later fragment", icmpError(far, exceeded, fragment(udp(at(50002), far), 9, 40, true)), "host"},
			{"error without a packet", cut(icmpError(far, exceeded, udp(at(50002), far)), 8), "host"},
		})
		a.release(t, ClaimSession, frame.ProtocolTCP, at(50001))
		a.check(t, []opinion{{"TCP to a released port", tcp(far, at(50001)), "host"}})
	}
}

func TestOwnerBehindHeaders(t *testing.T) {
	isolate(t)
	newVeth(t, "nic0", newPlace(t), "eth0")
	a := newArbiter(t, false)
	a.claim(t, ClaimSession, frame.ProtocolTCP, "10.7.0.10:50001", "[fd07::10]:50001")
	a.claim(t, ClaimSession, frame.ProtocolICMPv6, "[fd07::10]:77")
	must(t, a.claims.Own(netip.MustParsePrefix("fd5a:150::/64")))
	four := func() []byte { return tcp("10.7.0.20:443", "10.7.0.10:50001") }
	six := func(types ...byte) []byte {
		return withExtensions(tcp("[fd07::20]:443", "[fd07::10]:50001"), types...)
	}
	for n := 1; n <= 10; n++ {
		a.check(t, []opinion{
			{fmt.Sprintf("%d words of options", n), withOptions(four(), n), "weft"},
			{fmt.Sprintf("quoted behind %d words", n), icmpError("10.7.0.20:0", 3, withOptions(tcp("10.7.0.10:50001", "10.7.0.20:443"), n)), "both"},
		})
	}
	a.check(t, []opinion{
		{"no extension", six(), "weft"},
		{"hop-by-hop", six(0), "weft"},
		{"destination options", six(60), "weft"},
		{"routing", six(43), "weft"},
		{"authentication", six(51), "weft"},
		{"an atomic fragment", six(44), "weft"},
		{"four", six(0, 60, 43, 60), "weft"},
		{"five", six(0, 60, 43, 60, 60), "host"},
		{"no next header", six(59), "host"},
		{"a reply behind two", withExtensions(echoReply(frametest.Ping(end("[fd07::20]:0"), end("[fd07::10]:0"), 77, 1)), 0, 60), "both"},
		{"quoted behind four", icmpError("[fd07::20]:0", 2, withExtensions(tcp("[fd07::10]:50001", "[fd07::20]:443"), 0, 60, 43, 60)), "both"},
		{"quoted behind five", icmpError("[fd07::20]:0", 2, withExtensions(tcp("[fd07::10]:50001", "[fd07::20]:443"), 0, 60, 43, 60, 60)), "host"},
		{"five, to an address of weft's", withExtensions(tcp("[fd07::20]:443", "[fd5a:150::7]:1"), 0, 60, 43, 60, 60), "weft"},
	})
	// Whatever is missing, nobody is owner by what lies behind the frame.
	for _, whole := range [][]byte{four(), withOptions(four(), 3), six(0, 60), icmpError("10.7.0.20:0", 3, tcp("10.7.0.10:50001", "10.7.0.20:443"))} {
		// The kernel runs no programs over less than an IP header.
		for n := len(cut(whole, 0)); n < len(whole); n++ {
			want := "host"
			if n >= ports(whole) {
				want = a.owner(t, whole)
			}
			if got := a.owner(t, whole[:n]); got != want {
				t.Errorf("the first %d bytes of %d: %s, want %s", n, len(whole), got, want)
			}
		}
	}
}

// ports returns how much of one of the frames above it takes to see the ports that count.
func ports(p []byte) int {
	switch {
	case p[l3]>>4 == 6:
		return l4OfV6 + 8 + 16 + 4
	case p[l3+9] == byte(frame.ProtocolICMP):
		return l4 + 8 + 20 + 2
	}
	return l3 + int(p[l3]&15)*4 + 4
}

func TestOwnerByPrefix(t *testing.T) {
	isolate(t)
	newVeth(t, "nic0", newPlace(t), "eth0")
	a := newArbiter(t, true)
	for _, p := range prefixes("10.150.0.0/24", "10.150.2.9/32", "fd5a:150::/64") {
		must(t, a.claims.Own(p))
	}
	gre := func(to string) []byte {
		p := udp("10.7.0.20:1", to)
		p[l3+9] = 47
		return p
	}
	asks := func(target string) []byte {
		p := frametest.ARPRequest(frametest.Station(20), netip.MustParseAddr(target))
		copy(p, make([]byte, 6)) // to the host alone, to see whether it is still there
		return p
	}
	answer := asks("10.150.0.7")
	answer[l3+7] = 2
	a.check(t, []opinion{
		{"TCP", tcp("10.7.0.20:443", "10.150.0.7:1"), "weft"},
		{"the last address", udp("10.7.0.20:443", "10.150.0.255:1"), "weft"},
		{"beyond it", udp("10.7.0.20:443", "10.150.1.0:1"), "host"},
		{"a single address", gre("10.150.2.9:1"), "weft"},
		{"its neighbor", gre("10.150.2.8:1"), "host"},
		{"a later fragment", fragment(udp("10.7.0.20:443", "10.150.0.7:1"), 9, 40, false), "weft"},
		{"ping", frametest.Ping(end("10.7.0.20:0"), end("10.150.0.7:0"), 1, 1), "weft"},
		{"IPv6", tcp("[fd07::20]:443", "[fd5a:150::7]:1"), "weft"},
		{"IPv6 beyond it", tcp("[fd07::20]:443", "[fd5a:150:0:1::7]:1"), "host"},
		{"a VLAN", frametest.Tagged(tcp("10.7.0.20:443", "10.150.0.7:1"), 0x8100, 7, 0), "host"},
		{"ARP request for an address of weft's", asks("10.150.0.7"), "weft"},
		{"ARP request for the host's", asks("10.7.0.10"), "host"},
		{"ARP reply", answer, "host"},
		{"ARP request of a VLAN", frametest.Tagged(asks("10.150.0.7"), 0x8100, 7, 0), "host"},
		{"ARP request cut short", asks("10.150.0.7")[:l3+27], "host"},
	})
	must(t, a.uplink.Set(false, false))
	a.check(t, []opinion{
		{"no proxy, TCP", tcp("10.7.0.20:443", "10.150.0.7:1"), "weft"},
		{"no proxy, ARP request", asks("10.150.0.7"), "host"},
	})
	must(t, a.claims.Disown(netip.MustParsePrefix("10.150.0.0/24")))
	must(t, a.claims.Disown(netip.MustParsePrefix("10.150.0.0/24")))
	a.check(t, []opinion{{"no longer weft's", tcp("10.7.0.20:443", "10.150.0.7:1"), "host"}})
}

func TestOwnerOfFragments(t *testing.T) {
	isolate(t)
	newVeth(t, "nic0", newPlace(t), "eth0")
	a := newArbiter(t, false)
	id := uint16(100)
	for _, f := range []struct{ host, other, far string }{
		{"10.7.0.10", "10.7.0.11", "10.7.0.20:443"},
		{"[fd07::10]", "[fd07::11]", "[fd07::20]:443"},
	} {
		claimed, others := f.host+":50001", f.host+":50002"
		icmp := frame.ProtocolICMP
		if netip.MustParseAddrPort(claimed).Addr().Is6() {
			icmp = frame.ProtocolICMPv6
		}
		a.claim(t, ClaimSession, frame.ProtocolUDP, claimed)
		a.claim(t, ClaimSession, icmp, f.host+":77")
		first := func(to string) []byte { return fragment(udp(f.far, to), id, 0, true) }
		later := func(to string, offset uint16, more bool) []byte {
			return fragment(udp(f.far, to), id, offset, more)
		}
		id++
		a.check(t, []opinion{
			{"first of weft's", first(claimed), "weft"},
			{"second", later(claimed, 100, true), "weft"},
			{"last, whatever stands where ports would be", later(others, 200, false), "weft"},
		})
		id++
		a.check(t, []opinion{
			{"second before the first", later(claimed, 100, true), "both"},
			{"first", first(claimed), "weft"},
			{"third", later(claimed, 200, false), "weft"},
		})
		id++
		a.check(t, []opinion{
			{"first of the host's", first(others), "host"},
			{"second, of the host's", later(claimed, 100, false), "host"},
		})
		id++
		a.check(t, []opinion{
			{"of an address without claims", later(f.other+":50001", 100, false), "host"},
			{"its first", first(f.other + ":50001"), "host"},
		})
		id++
		reply := echoReply(frametest.Ping(end(f.far), end(f.host+":0"), 77, 1))
		a.check(t, []opinion{
			{"first of a reply", fragment(reply, id, 0, true), "both"},
			{"second of a reply", fragment(reply, id, 10, false), "both"},
		})
		a.release(t, ClaimSession, frame.ProtocolUDP, claimed)
		a.release(t, ClaimSession, icmp, f.host+":77")
		id++
		a.check(t, []opinion{{"no claims any more", later(claimed, 100, true), "host"}})
	}
}

// The host's own sockets are all over its addresses.
func TestOwnerWhereHostHasSockets(t *testing.T) {
	isolate(t)
	l := newLab(t)
	a := newArbiter(t, false)
	for _, f := range []struct{ host, far string }{{"10.7.0.10", "10.7.0.20"}, {"[fd07::10]", "[fd07::20]"}} {
		far := func(port int) string { return fmt.Sprintf("%s:%d", f.far, port) }
		at := func(port int) string { return fmt.Sprintf("%s:%d", f.host, port) }
		both := []string{at(4000), at(4001), at(4002)}
		a.claim(t, ClaimSession, frame.ProtocolTCP, both...)
		a.claim(t, ClaimSession, frame.ProtocolUDP, both...)
		// A listener, by its address and by none.
		for i, listen := range []string{at(4000), ":4001"} {
			s := listenTCP(t, listen)
			port := 4000 + i
			a.check(t, []opinion{
				{"SYN to a listener", withFlags(tcp(far(9), at(port)), 0x02), "host"},
				{"ACK to a listener", withFlags(tcp(far(9), at(port)), 0x10), "weft"},
				{"SYN and ACK to a listener", withFlags(tcp(far(9), at(port)), 0x12), "weft"},
				{"UDP", udp(far(9), at(port)), "weft"},
			})
			a.claim(t, ClaimForward, frame.ProtocolTCP, at(port))
			a.check(t, []opinion{{"SYN to a forward", withFlags(tcp(far(9), at(port)), 0x02), "weft"}})
			a.release(t, ClaimForward, frame.ProtocolTCP, at(port))
			a.check(t, []opinion{{"SYN to a listener again", withFlags(tcp(far(9), at(port)), 0x02), "host"}})
			must(t, s.Close())
			a.check(t, []opinion{{"SYN to nobody", withFlags(tcp(far(9), at(port)), 0x02), "weft"}})
		}
		// A UDP socket takes from everybody, a connected one from its peer.
		s, err := net.ListenPacket("udp", ":4000")
		must(t, err)
		a.check(t, []opinion{
			{"UDP to a socket", udp(far(9), at(4000)), "host"},
			{"TCP", tcp(far(9), at(4000)), "weft"},
		})
		must(t, s.Close())
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at(4001))), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(far(53))))
		must(t, err)
		a.check(t, []opinion{
			{"UDP from the peer of a socket", udp(far(53), at(4001)), "host"},
			{"UDP from another", udp(far(54), at(4001)), "weft"},
		})
		must(t, c.Close())
		a.checkConnection(t, l, f.host, far(9))
		a.release(t, ClaimSession, frame.ProtocolTCP, both...)
		a.release(t, ClaimSession, frame.ProtocolUDP, both...)
	}
}

// checkConnection looks at a connection of the host's own, from a port that is claimed.
func (a *arbiter) checkConnection(t *testing.T, l lab, host, far string) {
	t.Helper()
	s := listenThere(t, l.wire, "tcp", far)
	defer s.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := s.Accept()
		if err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(host + ":4002")), Timeout: patience}
	c, err := d.Dial("tcp", far)
	must(t, err)
	its, ok := <-accepted
	if !ok {
		t.Fatal("the connection was not accepted")
	}
	at := host + ":4002"
	a.check(t, []opinion{
		{"a segment of the host's connection", tcp(far, at), "host"},
		{"one of another", tcp(far+"1", at), "weft"},
	})
	// The host closes first, and remembers.
	must(t, c.Close())
	_ = its.SetReadDeadline(time.Now().Add(patience))
	_, _ = its.Read(make([]byte, 1))
	must(t, its.Close())
	eventually(t, "end of the connection", func() bool { return !PortFree(frame.ProtocolTCP, netip.MustParseAddrPort(at)) })
	a.check(t, []opinion{{"a segment of the host's connection that has ended", tcp(far, at), "host"}})
}

func TestOwnerOfNothing(t *testing.T) {
	isolate(t)
	newVeth(t, "nic0", newPlace(t), "eth0")
	u, err := AttachUplink(UplinkConfig{Name: "nic0", MTU: 1500})
	must(t, err)
	defer u.Close()
	id, err := hooks()[0].find(u.device, ingress, ownSeat)
	must(t, err)
	p, err := ebpf.NewProgramFromID(id)
	must(t, err)
	defer p.Close()
	a := &arbiter{uplink: u, program: p, copies: frame.NewBufs(8)}
	a.check(t, []opinion{
		{"no claims", tcp("10.7.0.20:443", "10.7.0.10:50001"), "host"},
		{"a group frame", frametest.ARPRequest(frametest.Station(2), netip.MustParseAddr("10.7.0.9")), "host"},
		{"for another station", frametest.TCP(frametest.Station(2), frametest.Station(3), nil), "host"},
	})
	must(t, u.Set(false, true))
	solicitation := frametest.Ping(end("[fd07::20]:0"), end("[ff02::1:ff00:7]:0"), 1, 1)
	copy(solicitation, []byte{0x33, 0x33, 0xff, 0, 0, 7})
	solicitation[l4OfV6] = 135
	dns := udp("10.7.0.20:5353", "224.0.0.251:5353")
	copy(dns, []byte{1, 0, 0x5e, 0, 0, 0xfb})
	a.check(t, []opinion{
		{"proxy: ARP", frametest.ARPRequest(frametest.Station(2), netip.MustParseAddr("10.7.0.9")), "both"},
		{"proxy: neighbor solicitation", solicitation, "both"},
		{"proxy: another group", dns, "host"},
		{"proxy: ARP of a VLAN", frametest.Tagged(frametest.ARPRequest(frametest.Station(2), netip.MustParseAddr("10.7.0.9")), 0x8100, 7, 0), "host"},
		{"proxy: for another station", frametest.TCP(frametest.Station(2), frametest.Station(3), nil), "host"},
	})
}

// BenchmarkOwner is what a frame for the host costs, over and above what it costs anyway.
func BenchmarkOwner(b *testing.B) {
	isolate(b)
	newVeth(b, "nic0", newPlace(b), "eth0")
	a := newArbiter(b, false)
	run := func(name string, p []byte) {
		b.Run(name, func(b *testing.B) {
			_, per, err := a.program.Benchmark(p, b.N, b.ResetTimer)
			must(b, err)
			b.ReportMetric(float64(per.Nanoseconds()), "ns/op")
		})
	}
	far, at := "10.7.0.20:443", "10.7.0.10:50001"
	run("other", frametest.Ethernet(0, 0, testType, make([]byte, 46)))
	run("empty", tcp(far, at))
	for port := 1; port < 1000; port++ {
		a.claim(b, ClaimSession, frame.ProtocolUDP, fmt.Sprintf("10.7.0.10:%d", port))
	}
	run("no hit", tcp(far, at))
	for i := range 16 {
		must(b, a.claims.Own(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 150, byte(i), 0}), 24)))
	}
	run("no hit, 16 prefixes", tcp(far, at))
	run("no hit, IPv6", tcp("[fd07::20]:443", "[fd07::10]:50001"))
	run("session", udp(far, "10.7.0.10:500"))
	run("prefix", udp(far, "10.150.7.7:500"))
}
