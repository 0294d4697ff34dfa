package gateway

import (
	"slices"
	"testing"
	"time"

	"weft/internal/control/api"
	"weft/test/lab"
	"weft/test/stun"
)

// The requirements of RFC 4787, RFC 5382 and RFC 5508 that a probe sees from outside, in
// both IP versions, with each kind of filtering.
func TestProbe(t *testing.T) {
	for _, row := range []struct{ filtering, kind, hairpin string }{
		{"address-and-port", stun.AddressAndPortDependent, stun.BothSpeak},
		{"address", stun.AddressDependent, stun.BothSpeak},
		{"endpoint-independent", stun.EndpointIndependent, stun.Hairpins},
	} {
		for _, f := range lab.Families {
			t.Run(row.filtering+" "+f.Name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				s.Server.Reflects(f.Server, f.Second)
				w := s.weftd(`
networks:
  - {name: default, nat: {filtering: ` + row.filtering + `}}
ports:
  - {name: ct1, type: device}
`)
				a := s.static("ct1", 10)
				other := map[string]string{"-4": "192.168.150.11", "-6": "fd5a:150::11"}[f.Version]
				a.Addresses("eth0", f.Prefix(other))
				w.Up("ct1")
				got := s.Probes(a, a.addr[f.Version], other, f.Server, f.Second)
				t.Logf("\n%s", got)
				for name, b := range map[string]stun.Behavior{"udp": got.UDP, "tcp": got.TCP, "icmp": got.ICMP} {
					kind := row.kind
					if name == "icmp" {
						kind = stun.AddressDependent // always: nobody answers but who was asked
					}
					for _, c := range []struct{ rule, got, want string }{
						{"U1/T1/I1 mapping", b.Mapping, stun.EndpointIndependent},
						{"U8/T3 filtering", b.Filtering, kind},
						{"external address", b.External.String(), f.Host},
						{"U3/T7 two hosts", b.Distinct, "always"},
						{"U9/T8 hairpinning", b.Hairpin, map[bool]string{true: row.hairpin}[name != "icmp"]},
					} {
						if c.got != c.want {
							t.Errorf("%s %s: %s, want %s", name, c.rule, c.got, c.want)
						}
					}
				}
				if !got.UDP.Parity {
					t.Error("udp U4: the parity of ports changes")
				}
				if !got.UDP.Range || !got.TCP.Range {
					t.Errorf("U3b: ports leave their range: %+v", got)
				}
			})
		}
	}
}

// What goes on is shown, and ended on request.
func TestSessionsAreShownAndEnded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(twoGuests)
	a, b := s.containers("ct1", "ct2")
	for _, f := range lab.Families {
		ours, err := a.Dial("tcp", at(f.Server, 7001))
		if err != nil {
			t.Fatal(err)
		}
		others, err := b.Dial("tcp", at(f.Server, 7001))
		if err != nil {
			t.Fatal(err)
		}
		seen, err := lab.Exchange(ours, "?")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(w.Sessions(), func(n api.NATSession) bool { return n.Inside.String() == ours.LocalAddr().String() })
		if i < 0 {
			t.Fatalf("weft nat show: %+v, want %v", w.Sessions(), ours.LocalAddr())
		}
		n := w.Sessions()[i]
		if n.Network != "default" || n.Protocol != "tcp" || n.Port != "ct1" || n.Outside.String()+"\n" != seen ||
			n.Remote.String() != at(f.Server, 7001) || n.State != "established" || n.Expires < time.Hour.Seconds() {
			t.Errorf("weft nat show: %+v; the server sees %s", n, seen)
		}

		w.MustWeft("nat", "flush", "default", a.addr[f.Version])
		if _, err := lab.Exchange(others, "?"); err != nil {
			t.Errorf("%s: another guest's connection after the flush: %v", f.Name, err)
		}
		for _, n := range w.Sessions() {
			if n.Inside.String() == ours.LocalAddr().String() {
				t.Errorf("%s: after the flush: %+v", f.Name, n)
			}
		}
		s.looks(a, f, f.Host)
	}
}

// A lease can be ended: its address is free, and its guest gets another or the same when
// it asks.
func TestLeasesAreReleased(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(oneGuest)
	a := s.container("ct1")
	v4 := a.addr["-4"]
	w.MustWeft("lease", "release", "default", v4)
	if slices.ContainsFunc(w.Leases(), func(l api.Lease) bool { return l.Address == parse(v4) && l.State == "bound" }) {
		t.Errorf("weft lease list after the release: %+v", w.Leases())
	}
	if _, err := w.Weft("lease", "release", "default", "192.168.150.99"); err == nil {
		t.Error("an address that nobody has is released")
	}
	a.Run("ip addr flush dev eth0")
	a.Ask(lab.Clients[0], "eth0")
	s.looks(a, lab.Families[0], lab.Families[0].Host)
}

// A network may have external addresses that are not the host's: weft answers for them
// on the segment outside, its guests go out by them, and nothing of them is the host's.
func TestOwnExternalAddresses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.weftd(`
networks:
  - name: default
    nat: {addresses: [192.0.2.50, "2001:db8:1::50"]}
    forwards:
      - {proto: tcp, port: 22, to: "192.168.150.10:7001"}
      - {proto: tcp, port: 22, to: "[fd5a:150::10]:7001"}
  - {name: other, subnets: [10.30.0.1/24, "fd10:30::1/64"]}
ports:
  - {name: ct1, type: device}
  - {name: ct2, network: other, type: device}
`)
	a := s.static("ct1", 10)
	a.Tells()
	b := s.container("ct2")
	w.Up("ct1", "ct2")
	s.hv.Tells()
	for _, f := range lab.Families {
		own := map[string]string{"-4": "192.0.2.50", "-6": "2001:db8:1::50"}[f.Version]
		s.looks(a, f, own)
		s.looks(b, f, f.Host)
		s.looks(s.hv, f, f.Host)
		t.Logf("%s: by forwards, from outside and from the other network", f.Name)
		s.seen(s.Server, "tcp", at(own, 22), f.Server)
		if seen, err := s.TriesAsking(b, "tcp", at(own, 22)); err != nil || seen.Addr() == parse(b.addr[f.Version]) {
			t.Errorf("%s: a guest of the other network is %v to it (%v), want an external address", f.Name, seen, err)
		}
		t.Logf("%s: the host's services are not there", f.Name)
		if seen, err := s.TriesAsking(s.Server, "tcp", at(own, 7001), "-wait 1s"); err == nil {
			t.Errorf("%s: somebody answers at %s, and sees %v", f.Name, own, seen)
		}
	}
}
