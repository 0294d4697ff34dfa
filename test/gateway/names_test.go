package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"weft/test/lab"
)

// names starts a name server outside, which the host asks. It knows www.example, and
// long.example, of which there is more than fits any datagram here.
func (s *site) names() {
	s.Helper()
	records := []string{
		"listen-address=" + lab.Families[0].Server, "listen-address=" + lab.Families[1].Server, "bind-interfaces",
		"address=/www.example/" + lab.Families[0].Server, "address=/www.example/" + lab.Families[1].Server,
	}
	for i := range 16 {
		records = append(records, fmt.Sprintf("txt-record=long.example,%d%s", i, strings.Repeat("x", 240)))
	}
	s.Server.Names(records...)
	s.hv.Resolvers(lab.Families[0].Server)
}

// Guests find each other by name, in both directions: by the names of reservations, and
// of ports.
func TestNamesOfGuests(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.weftd(`
networks:
  - name: default
    dhcp: {reservations: [{mac: "52:54:00:00:00:77", address: 192.168.150.20, address6: "fd5a:150::20", name: db}]}
ports:
  - {name: ct1, type: device}
  - {name: ct2, type: device}
`)
	a := s.container("ct1")
	b := s.plug("ct2")
	b.Run("ip link set eth0 address 52:54:00:00:00:77")
	b.Ask(lab.Clients[0], "eth0")
	if got := s.Holds(b, "eth0", lab.Families[0]); !slices.Equal(got, []string{"192.168.150.20"}) {
		t.Errorf("the guest of the reservation has %v", got)
	}
	for _, f := range lab.Families {
		s.knows(a, f.Gateway, "db.vm.internal", "192.168.150.20")
		s.knows(a, f.Gateway, "ct1.vm.internal", a.addr["-4"])
		for _, addr := range []string{"192.168.150.20", "fd5a:150::20"} {
			if got := s.Resolves(a, f.Gateway, addr, "-x"); !slices.Equal(got, []string{"db.vm.internal."}) {
				t.Errorf("%s is %v", addr, got)
			}
		}
		if out := s.Dig(a, f.Gateway, "nobody.vm.internal"); !strings.Contains(out, "NXDOMAIN") {
			t.Errorf("nobody.vm.internal:\n%s", out)
		}
	}
}

// The rest of the world's names are those of the host's resolver, whichever that is at
// the time, also by TCP and where an answer is long.
func TestNamesOfTheWorld(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.names()
	s.weftd(oneGuest)
	a := s.container("ct1")
	for _, f := range lab.Families {
		s.knows(a, f.Gateway, "www.example", lab.Families[0].Server)
		if out := s.Dig(a, f.Gateway, "www.example", "AAAA", "+tcp"); !strings.Contains(out, lab.Families[1].Server) {
			t.Errorf("www.example by TCP:\n%s", out)
		}
		if out := s.Dig(a, f.Gateway, "long.example", "TXT", "+ignore", "+bufsize=1232"); !strings.Contains(out, " tc") {
			t.Errorf("an answer of 4 KB by UDP is not marked as truncated:\n%s", out)
		}
		if out := s.Dig(a, f.Gateway, "long.example", "TXT", "+bufsize=1232"); strings.Count(out, "xxx") == 0 || !strings.Contains(out, "(TCP)") {
			t.Errorf("long.example, where UDP leads on to TCP:\n%s", out)
		}
	}

	t.Log("the host's resolver changes")
	s.Server.Background("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts", "--user=root",
		"--listen-address="+lab.Families[0].Second, "--bind-interfaces", "--address=/www.example/203.0.113.1")
	s.hv.Resolvers(lab.Families[0].Second)
	s.knows(a, lab.Families[0].Gateway, "www.example", "203.0.113.1")
}

// Nobody outside is answered, not even one who knows the way to the gateway.
func TestNamesAreNotForTheOutside(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.names()
	s.weftd(oneGuest)
	s.knows(s.container("ct1"), lab.Families[0].Gateway, "www.example", lab.Families[0].Server)
	s.Router.Run("ip route add 192.168.150.0/24 via %s && ip route add fd5a:150::/64 via %s", lab.Families[0].Host, lab.Families[1].Host)
	for _, f := range lab.Families {
		for _, server := range []string{f.Host, f.Gateway} {
			if out, err := s.Router.Sh(t.Context(), "dig @"+server+" +time=1 +tries=1 www.example"); err == nil {
				t.Errorf("%s answers outside:\n%s", server, out)
			}
		}
	}
}

// knows waits until the name has the address and no other of its family.
func (s *site) knows(from lab.Station, server, name, want string) {
	s.Helper()
	s.Until(name+" at "+server, func() error {
		got := s.Resolves(from, server, name, "A")
		if !slices.Equal(got, []string{want}) {
			return errors.New("it is " + strings.Join(got, " "))
		}
		return nil
	})
}
