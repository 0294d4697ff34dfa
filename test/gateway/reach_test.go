package gateway

import (
	"net"
	"slices"
	"strings"
	"testing"

	"weft/internal/control/api"
	"weft/test/guest"
	"weft/test/lab"
)

// A real guest that has nothing but its NIC, on a network of which nothing is said but
// its name: it gets addresses of both families, reaches the host and what is beyond the
// provider's router as the host itself, and finds names.
func TestGuestWithNothingConfigured(t *testing.T) {
	s := newSite(t)
	s.Server.Serve()
	s.Server.Names("address=/www.example/"+lab.Families[0].Server, "address=/www.example/"+lab.Families[1].Server)
	s.hv.Resolvers(lab.Families[0].Server)
	s.hv.Serve()
	w := s.weftd(`
networks:
  - {name: default}
ports:
  - {name: vm1, owner: nobody}
  - {name: ct1, type: device}
`)
	const mac = "52:54:00:00:00:11"
	vm := s.hv.Boot("vm1", lab.Nobody, guest.NIC{TAP: "vm1", MAC: mac})
	var ct *container
	s.Together(
		func() { vm.Configure("eth0"); vm.Serve() },
		func() { ct = s.container("ct1") },
	)
	w.Up("vm1", "ct1")
	for _, f := range lab.Families {
		own := s.Holds(vm, "eth0", f)[0]
		t.Logf("%s: %s to the host and outside", f.Name, own)
		s.Transfers(vm, f.Gateway, 4<<20)
		s.Reaches(vm, f.Server)
		s.looks(vm, f, f.Host)

		t.Logf("%s: every byte, superframes and all", f.Name)
		s.Transfers(vm, f.Server, 16<<20)
		s.Transfers(ct, f.Server, 64<<20)

		t.Logf("%s: from the host and from another guest", f.Name)
		s.Transfers(s.hv, own, 4<<20)
		s.Transfers(ct, own, 4<<20)
		s.Reaches(s.hv, own)

		t.Logf("%s: not from outside, which has no way there", f.Name)
		s.NotReaches(s.Server, own)
	}

	t.Log("names, by the resolver of the lease")
	if out := vm.Run("cat /etc/resolv.conf"); !strings.Contains(out, lab.Families[0].Gateway) {
		t.Errorf("resolv.conf of the guest:\n%s", out)
	}
	if out := vm.Run("nslookup www.example"); !strings.Contains(out, lab.Families[0].Server) || !strings.Contains(out, lab.Families[1].Server) {
		t.Errorf("nslookup www.example:\n%s", out)
	}

	t.Log("weft tells who has which address")
	if !slices.ContainsFunc(w.Leases(), func(l api.Lease) bool {
		return l.Network == "default" && l.MAC.String() == mac && l.Port == "vm1" && l.State == "bound"
	}) {
		t.Errorf("weft lease list: %+v, want one of vm1", w.Leases())
	}
}

// A bridged network and one with NAT share one NIC: guests of the first stand on the
// segment outside, those of the second are the host there, also to the first.
func TestBridgedAndNATOnOneNIC(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	bridged := map[string]string{"-4": "192.0.2.20", "-6": "2001:db8:1::20"}
	n := s.plug("ct2")
	for _, f := range lab.Families {
		n.Addresses("eth0", f.Prefix(bridged[f.Version]))
		n.Run("ip %s route add default via %s", f.Version, f.Router)
	}
	n.Tells()
	s.hv.Tells()
	w := s.weftd(`
networks:
  - name: default
    forwards: [{proto: tcp, port: 7001, to: "192.168.150.10:7001"}, {proto: tcp, port: 7001, to: "[fd5a:150::10]:7001"}]
  - {name: lan, mode: bridged, uplink: nic0}
ports:
  - {name: ct1, type: device}
  - {name: ct2, network: lan, type: device}
`)
	ct := s.static("ct1", 10)
	ct.Tells()
	w.Up("ct1", "ct2", "nic0:wire", "nic0:host")
	for _, f := range lab.Families {
		t.Logf("%s: to the server", f.Name)
		s.looks(ct, f, f.Host)
		s.looks(n, f, bridged[f.Version])
		s.looks(s.hv, f, f.Host)

		t.Logf("%s: from one network to the other", f.Name)
		if seen := s.Asks(ct, "udp", bridged[f.Version]); seen.Addr() != parse(f.Host) {
			t.Errorf("the bridged guest sees %v, want the host", seen)
		}
	}
}

// A daemon that is killed takes nothing from the host, not one packet, and from its guests
// only what lies between its end and its start. Connections through NAT go on after a
// restart, and after a crash if they have kept their port outside. The capabilities that
// the systemd unit leaves weftd suffice.
func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.hv.NewWeftd(twoGuests)
	w.Wrapper = append(s.hv.Own(), "setpriv", "--no-new-privs", "--bounding-set="+s.UnitCapabilities())
	w.Start()
	a, b := s.containers("ct1", "ct2")
	for _, end := range []struct {
		name  string
		call  func()
		ports []int // whose connections go on
	}{{"kill -9", w.Kill, []int{50010}}, {"systemctl restart", w.Leave, []int{50020, 40020}}} {
		t.Log(end.name)
		conns := s.connections(a, end.ports)
		leases := addressesOf(w)
		s.Together(
			func() { s.LosesNothing(s.hv, lab.Families[0].Server) },
			func() { s.LosesNothing(s.Server, lab.Families[1].Host) },
			func() {
				end.call()
				s.NotReaches(a, lab.Families[0].Server)
				w.Start()
				s.reconnected(a, b)
			},
		)
		if got := addressesOf(w); !slices.Equal(got, leases) {
			t.Errorf("leases after the start: %v, want %v", got, leases)
		}
		for _, c := range conns {
			if _, err := lab.Exchange(c, "?"); err != nil {
				t.Errorf("the connection of %v: %v", c.LocalAddr(), err)
			}
		}
	}
	t.Log("a guest that asks again has what it had")
	again := a.addr["-4"]
	a.Run("ip addr flush dev eth0")
	a.Ask(lab.Clients[0], "eth0")
	if got := s.Holds(a, "eth0", lab.Families[0]); !slices.Equal(got, []string{again}) {
		t.Errorf("it has %v, want %s", got, again)
	}
}

// connections opens some to the server, in both families, from the ports.
func (s *site) connections(from *container, ports []int) []net.Conn {
	s.Helper()
	var all []net.Conn
	for _, f := range lab.Families {
		for _, port := range ports {
			c, err := from.DialFrom("tcp", at(from.addr[f.Version], port), at(f.Server, 7001))
			if err == nil {
				_, err = lab.Exchange(c, "?")
			}
			if err != nil {
				s.Fatalf("%v", err)
			}
			all = append(all, c)
		}
	}
	return all
}

// reconnected waits until two guests reach each other, the outside and the host, which
// reaches them.
func (s *site) reconnected(a, b *container) {
	s.Helper()
	for _, f := range lab.Families {
		for _, from := range []*container{a, b} {
			s.Reaches(from, f.Server)
			s.looks(from, f, f.Host)
		}
		s.Reaches(a, b.addr[f.Version])
		s.Reaches(s.hv, a.addr[f.Version])
	}
}

// addressesOf lists who has what.
func addressesOf(w *lab.Weftd) []string {
	var all []string
	for _, l := range w.Leases() {
		all = append(all, l.MAC.String()+" "+l.Address.String())
	}
	slices.Sort(all)
	return all
}
