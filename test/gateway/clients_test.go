package gateway

import (
	"slices"
	"testing"

	"weft/internal/control/api"
	"weft/test/lab"
)

// The DHCP clients of the field are content with what weft says: addresses, routes and
// resolvers of both families, and the way outside.
func TestClientsOfTheField(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	document := "networks:\n  - {name: default}\nports:\n"
	for _, c := range lab.Clients {
		document += "  - {name: " + c.Name + ", type: device}\n"
	}
	w := s.weftd(document)
	clients := make([]*lab.NS, len(lab.Clients))
	var ask []func()
	for i, c := range lab.Clients {
		ask = append(ask, func() {
			clients[i] = s.plug(c.Name)
			clients[i].Ask(c, "eth0")
		})
	}
	s.Together(ask...)
	for i, c := range lab.Clients {
		t.Log(c.Name)
		servers := clients[i].Nameservers()
		for _, f := range lab.Families {
			own := s.Holds(clients[i], "eth0", f)
			for _, a := range own {
				if p, err := parse(f.Gateway).Prefix(f.Bits); err != nil || !p.Contains(parse(a)) {
					t.Errorf("%s: %s is not of the network", c.Name, a)
				}
			}
			// The kernel asks nobody for names.
			if want := f.Gateway; !slices.Contains(servers, want) && (f.Version == "-4" || !c.Kernel) {
				t.Errorf("%s: name servers %v, want %s", c.Name, servers, want)
			}
			s.looks(clients[i], f, f.Host)
		}
		v4 := s.Holds(clients[i], "eth0", lab.Families[0])[0]
		if !slices.ContainsFunc(w.Leases(), func(l api.Lease) bool { return l.Address == parse(v4) && l.Port == c.Name }) {
			t.Errorf("%s: weft lease list: %+v, want %s", c.Name, w.Leases(), v4)
		}
	}
}
