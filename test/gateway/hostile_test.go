package gateway

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/test/lab"
)

// A hostile guest at ct1, of which the test holds the pen, and its victim at ct2.
type hostile struct {
	*site
	w      *lab.Weftd
	a, b   *container
	pen    *lab.Wire // a's device
	seen   *lab.Wire // b's device
	mac    frame.MAC // a's
	router frame.MAC // the gateway's
}

func newHostile(t *testing.T, document string) *hostile {
	t.Helper()
	s := newSite(t)
	h := &hostile{site: s, w: s.weftd(document)}
	h.a, h.b = s.containers("ct1", "ct2")
	h.mac, h.router = eui(h.a.NS, "eth0"), s.gatewayMAC(h.a)
	s.gatewayMAC(h.b)
	for _, f := range lab.Families {
		s.Reaches(h.b, f.Gateway)
	}
	h.pen, h.seen = h.a.Wire("eth0"), h.b.Wire("eth0")
	return h
}

// What only a gateway may say is dropped where a guest says it, however it is wrapped,
// and the victim goes on.
func TestForgedGatewayIsDropped(t *testing.T) {
	t.Parallel()
	h := newHostile(t, twoGuests)
	v4, v6 := lab.Families[0], lab.Families[1]
	neighbors := gatewayIn(h.b)
	forged := map[string]bool{}
	for _, c := range []struct {
		name   string
		reason frame.Reason
		frame  []byte
	}{
		{"DHCP server", frame.DropRogueDHCP, h.dhcpOffer(nil)},
		{"DHCP server with a VLAN tag", frame.DropRogueDHCP, h.dhcpOffer(&layers.Dot1Q{VLANIdentifier: 0, Type: layers.EthernetTypeIPv4})},
		{"DHCPv6 server", frame.DropRogueDHCP, h.datagram(frame.Broadcast, h.mac,
			netip.AddrPortFrom(parse("fe80::66"), 547), netip.AddrPortFrom(parse("ff02::1"), 546), []byte{7, 1, 2, 3})},
		{"router advertisement", frame.DropRogueRA, h.advertisement()},
		{"router advertisement in fragments", frame.DropRogueRA, fragments(h.advertisement(), 1, []fragment{{0, 8}, {8, 16}})[0]},
		{"ARP reply", frame.DropSpoofedGateway, h.arp(layers.ARPReply, v4.Gateway, h.b.addr["-4"])},
		{"gratuitous ARP", frame.DropSpoofedGateway, h.arp(layers.ARPRequest, v4.Gateway, v4.Gateway)},
		{"neighbor advertisement", frame.DropSpoofedGateway, h.neighborAdvertisement(v6.Gateway)},
		{"neighbor advertisement, link-local", frame.DropSpoofedGateway, h.neighborAdvertisement("fe80::1")},
	} {
		t.Log(c.name)
		before := dropped(h.w, "ct1", c.reason)
		h.pen.Send(c.frame)
		forged[string(c.frame)] = true
		h.drops(h.w, "ct1", c.reason, before, 1)
	}
	if got := h.seen.Matching(func(b []byte) bool { return forged[string(b)] }); len(got) > 0 {
		t.Errorf("the victim has got %d of them, the first: %v", len(got), gopacket.NewPacket(got[0], layers.LayerTypeEthernet, gopacket.Default))
	}
	for _, f := range lab.Families {
		h.looks(h.b, f, f.Host)
		h.looks(h.a, f, f.Host)
	}
	if got := gatewayIn(h.b); got != neighbors {
		t.Errorf("the victim's gateway is\n%s, was\n%s", got, neighbors)
	}
}

// gatewayIn returns what the container takes for the gateway's device addresses.
func gatewayIn(c *container) string {
	var b strings.Builder
	for _, addr := range []string{lab.Families[0].Gateway, lab.Families[1].Gateway, "fe80::1"} {
		for line := range strings.Lines(c.Run("ip neigh show %s dev eth0", addr)) {
			if w := strings.Fields(line); len(w) > 2 && w[1] == "lladdr" {
				b.WriteString(w[0] + " " + w[2] + "\n")
			}
		}
	}
	return b.String()
}

// A guest that uses addresses of others does not get through the router.
func TestForeignSourcesAreMartians(t *testing.T) {
	t.Parallel()
	h := newHostile(t, twoGuests)
	outside := h.Server.Wire("eth0")
	for _, f := range lab.Families {
		server := netip.AddrPortFrom(parse(f.Server), 7001)
		sources := []string{f.Gateway, f.Host, f.Second, map[string]string{"-4": "127.0.0.1", "-6": "::1"}[f.Version]}
		for _, source := range sources {
			t.Logf("%s: from %s", f.Name, source)
			before := dropped(h.w, "ct1", frame.DropMartian)
			h.pen.Send(h.datagram(h.router, h.mac, netip.AddrPortFrom(parse(source), 6666), server, []byte("forged")))
			h.drops(h.w, "ct1", frame.DropMartian, before, 1)
		}
		h.looks(h.a, f, f.Host)
	}
	if got := outside.Matching(func(b []byte) bool { return bytes.Contains(b, []byte("forged")) }); len(got) > 0 {
		t.Errorf("%d forged packets came outside", len(got))
	}
}

// Somebody outside who makes up ICMP errors breaks no session (RFC 5508 REQ-3 to 6), and
// what nobody asked for does not come in (RFC 5382 REQ-4).
func TestForgeriesFromOutside(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.weftd(oneGuest)
	a := s.container("ct1")
	inside, pen := a.Wire("eth0"), s.Router.Wire("wan")
	nic, router := eui(s.hv, "nic0"), eui(s.Router, "wan")
	for _, f := range lab.Families {
		c, err := a.Dial("tcp", at(f.Server, 7001))
		if err != nil {
			t.Fatal(err)
		}
		seen, err := lab.Exchange(c, "?")
		if err != nil {
			t.Fatal(err)
		}
		external := netip.MustParseAddrPort(strings.TrimSpace(seen))
		server := netip.AddrPortFrom(parse(f.Server), 7001)
		other := netip.AddrPortFrom(parse(f.Second), 7001)
		inside.Forget()

		t.Logf("%s: about no session of ours", f.Name)
		pen.Send(s.unreachable(nic, router, f.Router, s.syn(router, nic, netip.AddrPortFrom(external.Addr(), 60001), server)))
		t.Logf("%s: to a port in use, from somebody else", f.Name)
		pen.Send(s.datagram(nic, router, other, external, []byte("forged")))
		pen.Send(s.syn(nic, router, other, external))
		t.Logf("%s: with a source that can only be inside", f.Name)
		pen.Send(s.datagram(nic, router, netip.AddrPortFrom(parse(a.addr[f.Version]), 7001), external, []byte("forged")))
		t.Logf("%s: to the guest's own address", f.Name)
		pen.Send(s.datagram(nic, router, server, netip.AddrPortFrom(parse(a.addr[f.Version]), 7001), []byte("forged")))

		t.Logf("%s: about our session: it is told, and ends nothing", f.Name)
		pen.Send(s.unreachable(nic, router, f.Router, s.syn(router, nic, external, server)))
		for range 3 {
			if _, err := lab.Exchange(c, "?"); err != nil {
				t.Errorf("%s: the connection: %v", f.Name, err)
			}
		}
		for _, b := range inside.Matching(delivered) {
			t.Errorf("%s: came in: %v", f.Name, gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default))
		}
		s.looks(s.hv, f, f.Host)
	}
}

// delivered reports whether the frame is one of the forged datagrams, rather than an
// error about one.
func delivered(b []byte) bool {
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy)
	return p.Layer(layers.LayerTypeUDP) != nil && bytes.Contains(b, []byte("forged"))
}

// unreachable is an ICMP error, network unreachable, about the packet of a frame.
func (s *site) unreachable(dst, src frame.MAC, from string, about []byte) []byte {
	s.Helper()
	quoted := gopacket.Payload(about[etherLen:])
	to := parse(map[bool]string{true: lab.Families[0].Host, false: lab.Families[1].Host}[parse(from).Is4()])
	if parse(from).Is4() {
		icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 0)}
		return s.frameOf(ether(dst, src, to), ipHeader(parse(from), to, layers.IPProtocolICMPv4), icmp, quoted)
	}
	h := ipHeader(parse(from), to, layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(1, 0)}
	s.setNetwork(icmp.SetNetworkLayerForChecksum(h))
	return s.frameOf(ether(dst, src, to), h, icmp, gopacket.Payload(make([]byte, 4)), quoted)
}

// A guest that asks for addresses without end gets its quota of them; others get theirs.
func TestDHCPStarvation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(twoGuests)
	a := s.plug("ct1")
	pen := a.Wire("eth0")
	w.Up("ct1")
	const greedy = 200
	for i := range greedy {
		mac := frame.MAC(0x0200_0000_0000) + frame.MAC(i)
		pen.Send(s.dhcp(mac, layers.DHCPMsgTypeDiscover, netip.Addr{}, netip.Addr{}))
	}
	offers := 0
	s.Until("offers", func() error {
		for _, b := range pen.Received() {
			offer, server, client, ok := offered(b)
			if !ok {
				continue
			}
			pen.Send(s.dhcp(client, layers.DHCPMsgTypeRequest, offer, server))
			offers++
		}
		pen.Forget()
		if offers == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	b := s.container("ct2")
	s.looks(b, lab.Families[0], lab.Families[0].Host)
	held := map[string]int{}
	for _, l := range w.Leases() {
		if l.Address.Is4() {
			held[l.Port]++
		}
	}
	t.Logf("%d offers, leases by port: %v", offers, held)
	if held["ct1"] > 8 || held["ct2"] != 1 {
		t.Errorf("leases by port: %v, want at most 8 of ct1 and 1 of ct2", held)
	}
}

// A guest that scans the world uses up its quota of sessions, not others' (RFC 4787's
// security considerations); a scan from outside finds the host, as before, and no guest.
func TestScans(t *testing.T) {
	t.Parallel()
	const quota = 500
	h := newHostile(t, fmt.Sprintf(`
networks:
  - {name: default, nat: {quota: %d}}
ports:
  - {name: ct1, type: device}
  - {name: ct2, type: device}
`, quota))
	inside := h.a.Wire("eth0")
	for _, f := range lab.Families {
		h.looks(h.a, f, f.Host)
		own := parse(h.a.addr[f.Version])
		before := dropped(h.w, "ct1", frame.DropNATQuota)
		const scanned = 4 * quota
		for port := range uint16(scanned) {
			h.pen.Send(h.syn(h.router, h.mac, netip.AddrPortFrom(own, 10000+port), netip.AddrPortFrom(parse(f.Second), 1+port)))
		}
		h.drops(h.w, "ct1", frame.DropNATQuota, before, scanned-2*quota)
		sessions := 0
		for _, n := range h.w.Sessions() {
			if n.Port == "ct1" {
				sessions++
			}
		}
		if sessions > quota {
			t.Errorf("%s: %d sessions of ct1, want at most %d", f.Name, sessions, quota)
		}
		h.looks(h.b, f, f.Host)
		h.w.MustWeft("nat", "flush", "default", own.String())
		h.looks(h.a, f, f.Host)

		t.Logf("%s: from outside", f.Name)
		inside.Forget()
		pen, nic, router := h.Router.Wire("wan"), eui(h.hv, "nic0"), eui(h.Router, "wan")
		for port := range uint16(2000) {
			pen.Send(h.syn(nic, router, netip.AddrPortFrom(parse(f.Server), 33333), netip.AddrPortFrom(parse(f.Host), 49152+port)))
		}
		h.Until("the host refuses the scanned ports", func() error {
			got := pen.Matching(func(b []byte) bool { return reset(b, 33333) })
			if len(got) < 1000 {
				return fmt.Errorf("%d resets", len(got))
			}
			return nil
		})
		if got := inside.Matching(func(b []byte) bool { return reset(b, 0) || mss(b) > 0 }); len(got) > 0 {
			t.Errorf("%s: %d frames of the scan came to the guest", f.Name, len(got))
		}
		h.looks(h.hv, f, f.Host)
	}
}
