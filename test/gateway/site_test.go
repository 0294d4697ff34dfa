// Package gateway proves from outside what weft promises of networks with a gateway: NAT,
// routing, DHCP, router advertisements, DNS, and the host that stays as it was.
package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"weft/frame"
	"weft/test/lab"
)

// A site is the scene of these tests: a hypervisor with one NIC, a provider's router at
// the other end of its cable, and a server in a net behind that. Neither of the two knows
// the guests' addresses.
//
//	guests ▸ hv nic0 ═══ wan Router lan ═══ eth0 Server
type site struct {
	*lab.Lab
	*lab.Outside
	hv *lab.NS
}

func newSite(t *testing.T) *site {
	t.Helper()
	l := lab.New(t)
	s := &site{Lab: l, hv: l.NS("hv")}
	s.Outside = l.Outside(s.hv, "nic0")
	s.Server.Tells()
	return s
}

// weftd starts the daemon, which has files of its own.
func (s *site) weftd(document string) *lab.Weftd {
	s.Helper()
	w := s.hv.NewWeftd(document)
	w.Wrapper = s.hv.Own()
	w.Start()
	return w
}

// oneGuest is the least that an operator writes: a network that has NAT, DHCP and DNS by
// default, and a port that is in it by default. Here it is a container's.
const oneGuest = `
networks:
  - {name: default}
ports:
  - {name: ct1, type: device}
`

const twoGuests = oneGuest + "  - {name: ct2, type: device}\n"

// plug makes a namespace whose eth0 is the other end of the device name on the
// hypervisor. It has no address.
func (s *site) plug(name string) *lab.NS {
	s.Helper()
	n := s.NS(name)
	s.Veth(s.hv, name, n, "eth0")
	return n
}

// A container is a namespace that has its addresses from weft.
type container struct {
	*lab.NS
	addr map[string]string // by IP version: "-4", "-6"
}

// container makes one that runs the first of the DHCP clients.
func (s *site) container(name string) *container {
	s.Helper()
	c := &container{NS: s.plug(name), addr: map[string]string{}}
	c.Ask(lab.Clients[0], "eth0")
	for _, f := range lab.Families {
		c.addr[f.Version] = s.Holds(c.NS, "eth0", f)[0]
	}
	return c
}

// containers makes two at once.
func (s *site) containers(one, two string) (a, b *container) {
	s.Helper()
	s.Together(
		func() { a = s.container(one) },
		func() { b = s.container(two) },
	)
	return a, b
}

// static makes a container that has its addresses by hand: the number is their last one.
func (s *site) static(name string, number int) *container {
	s.Helper()
	c := &container{NS: s.plug(name), addr: map[string]string{
		"-4": fmt.Sprintf("192.168.150.%d", number), "-6": fmt.Sprintf("fd5a:150::%d", number),
	}}
	for _, f := range lab.Families {
		c.Addresses("eth0", f.Prefix(c.addr[f.Version]))
		c.Run("ip %s route add default via %s", f.Version, f.Gateway)
	}
	return c
}

// looks checks how the station looks to the server, by TCP and UDP.
func (s *site) looks(from lab.Station, f lab.Family, want string) {
	s.Helper()
	for _, network := range []string{"tcp", "udp"} {
		if seen := s.Asks(from, network, f.Server); seen.Addr().String() != want {
			s.Errorf("%s: by %s the server sees %v, want %s", f.Name, network, seen, want)
		}
	}
}

// drops waits until the port has counted at least n frames more for the reason than
// before, and returns the count.
func (s *site) drops(w *lab.Weftd, port string, r frame.Reason, before, n uint64) {
	s.Helper()
	s.Until(fmt.Sprintf("%d drops at %s for %s", n, port, r), func() error {
		c := w.Counters(port)
		if got := c.Drops[r.String()] - before; got < n {
			return fmt.Errorf("%d; all: %v", got, c.Drops)
		}
		return nil
	})
}

// dropped returns how many frames the port has counted for the reason.
func dropped(w *lab.Weftd, port string, r frame.Reason) uint64 {
	return w.Counters(port).Drops[r.String()]
}

// at returns an address with a port, as programs write it.
func at(addr string, port int) string { return net.JoinHostPort(addr, fmt.Sprint(port)) }

// eui returns the station's own device address.
func eui(n *lab.NS, dev string) frame.MAC {
	text := strings.TrimSpace(n.Run("ip -br link show %s | awk '{print $3}'", dev))
	m, err := frame.ParseMAC(text)
	if err != nil {
		panic(err) // ip(8) prints no other
	}
	return m
}

func parse(addr string) netip.Addr { return netip.MustParseAddr(addr) }
