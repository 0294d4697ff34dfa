package gateway

import (
	"net"
	"testing"

	"weft/test/lab"
)

// Connections through NAT go on after a restart, each by the port outside that it had,
// whichever that was.
func TestConnectionsOutliveARestart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(oneGuest)
	a := s.container("ct1")
	type connection struct {
		net.Conn
		seen string // the address that the server sees
	}
	var all []connection
	for _, f := range lab.Families {
		for range 6 {
			c, err := a.Dial("tcp", at(f.Server, 7001))
			if err != nil {
				t.Fatal(err)
			}
			seen, err := lab.Exchange(c, "?")
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, connection{c, seen})
		}
	}
	w.Leave()
	w.Start()
	for _, c := range all {
		if seen, err := lab.Exchange(c, "?"); err != nil || seen != c.seen {
			t.Errorf("from %v the server saw %q before and sees %q now: %v", c.LocalAddr(), c.seen, seen, err)
		}
	}
	s.looks(a, lab.Families[0], lab.Families[0].Host)
}
