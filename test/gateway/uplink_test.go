package gateway

import (
	"fmt"
	"strings"
	"testing"

	"weft/test/lab"
)

// second is the other way outside: a NIC nic1 with its own router.
var second = map[string]struct{ host, router, behind, server, net string }{
	"-4": {"203.0.113.10", "203.0.113.1", "198.18.0.1", "198.18.0.2", "203.0.113.0/24"},
	"-6": {"2001:db8:3::10", "2001:db8:3::1", "2001:db8:4::1", "2001:db8:4::2", "2001:db8:3::/64"},
}

// anotherWay adds it. The server is reached by it too.
func (s *site) anotherWay() {
	s.Helper()
	r := s.NS("router2")
	s.Veth(s.hv, "nic1", r, "wan")
	s.Veth(r, "lan", s.Server, "eth1")
	r.Run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	for _, f := range lab.Families {
		w := second[f.Version]
		s.hv.Addresses("nic1", f.Prefix(w.host))
		r.Addresses("wan", f.Prefix(w.router))
		r.Addresses("lan", f.Prefix(w.behind))
		s.Server.Addresses("eth1", f.Prefix(w.server))
		s.Server.Run("ip route add %s via %s", w.net, w.behind)
		r.Run("ip route add %s via %s", f.Net(f.Server), w.server)
	}
}

// With `uplink: auto` guests go the way that the host goes.
func TestUplinkFollowsTheDefaultRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.anotherWay()
	w := s.weftd(oneGuest)
	a := s.container("ct1")
	for _, f := range lab.Families {
		s.looks(a, f, f.Host)
	}
	move := func(f lab.Family, via, dev, want string) {
		t.Helper()
		s.hv.Run("ip route replace default via %s dev %s", via, dev)
		s.Until(f.Name+" by "+dev, func() error {
			seen, err := s.TriesAsking(a, "udp", at(f.Server, 7001), "-wait 300ms")
			if err == nil && seen.Addr() != parse(want) {
				return fmt.Errorf("the server sees %v, want %s", seen, want)
			}
			return err
		})
		s.looks(a, f, want)
	}
	for _, f := range lab.Families {
		move(f, second[f.Version].router, "nic1", second[f.Version].host)
	}
	var devices []string
	for _, u := range w.Network("default").Uplinks {
		devices = append(devices, u.Device)
	}
	if strings.Join(devices, " ") != "nic1" {
		t.Errorf("uplinks: %v, want nic1", devices)
	}
	for _, f := range lab.Families {
		move(f, f.Router, "nic0", f.Host)
	}

	t.Log("a NIC that is named is kept")
	w.MustWeft("network", "set", "default", "uplinks=nic0")
	s.hv.Run("ip route replace default via %s dev nic1", second["-4"].router)
	s.hv.Run("ip route add 198.51.100.0/24 via %s dev nic0", lab.Families[0].Router)
	s.looks(a, lab.Families[0], lab.Families[0].Host)
}

// A network whose subnet is one that the host stands in itself could not work (RFC 4787
// REQ-7): weft names both, at the start and when it comes about later, and takes the
// network up again when the clash is over.
func TestOverlapWithTheUplinkIsNamed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(`
networks:
  - {name: default}
  - {name: clash, subnets: [192.0.2.129/25]}
ports:
  - {name: ct1, type: device}
`)
	a := s.container("ct1")
	s.alarm(w, "192.0.2.128/25", "nic0")
	for _, f := range lab.Families {
		s.looks(a, f, f.Host)
		s.Reaches(s.hv, f.Server)
	}

	t.Log("the provider gives the host another address")
	s.hv.Run("ip addr add 192.168.150.77/24 dev nic0")
	s.alarm(w, "192.168.150.0/24", "nic0")
	if !strings.Contains(w.Log(), "192.168.150.77/24") {
		t.Error("the log does not name the address")
	}
	s.Reaches(s.hv, lab.Families[0].Server)
	s.hv.Run("ip addr del 192.168.150.77/24 dev nic0")
	for _, f := range lab.Families {
		s.Reaches(a, f.Server)
		s.looks(a, f, f.Host)
	}
	s.Until("no alarm about the default network", func() error {
		for _, alarm := range w.Alarms() {
			if strings.Contains(alarm, "192.168.150.") {
				return fmt.Errorf("%s", alarm)
			}
		}
		return nil
	})
}

// alarm waits until weft doctor finds something with all of these words in it.
func (s *site) alarm(w *lab.Weftd, words ...string) {
	s.Helper()
	s.Until(fmt.Sprintf("alarm about %v", words), func() error {
		alarms := w.Alarms()
		for _, a := range alarms {
			found := true
			for _, word := range words {
				found = found && strings.Contains(a, word)
			}
			if found {
				return nil
			}
		}
		return fmt.Errorf("doctor says %q", alarms)
	})
}
