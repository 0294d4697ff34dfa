package dhcp4

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"weft/service/lease"
)

func TestOfferAndAckCarryTypeServerLeaseTimeAndWhatWasAsked(t *testing.T) {
	r := standard(t)
	o := r.say(client(1, discoverMsg).wants(1, 3, 6, 15, 26, 28, 42, 119)).kind("DHCPOFFER")
	k := r.say(client(1, requestMsg).server("192.0.2.1").requested(o.yiaddr().String()).wants(1, 3, 6, 15, 26, 28, 42, 119)).kind("DHCPACK")
	for _, n := range []*answer{o, k} {
		n.has(layers.DHCPOptServerID, []byte{192, 0, 2, 1})
		n.has(layers.DHCPOptLeaseTime, seconds(time.Hour))
		n.has(layers.DHCPOptSubnetMask, []byte{255, 255, 255, 0})
		n.has(layers.DHCPOptRouter, []byte{192, 0, 2, 1})
		n.has(layers.DHCPOptDNS, []byte{192, 0, 2, 1, 192, 0, 2, 2})
		n.has(layers.DHCPOptDomainName, []byte("vm.internal"))
		n.has(layers.DHCPOptInterfaceMTU, []byte{1450 >> 8, 1450 & 0xff})
		n.has(layers.DHCPOptBroadcastAddr, []byte{192, 0, 2, 255})
		n.has(layers.DHCPOptNTPServers, []byte{192, 0, 2, 3})
		n.has(119, []byte("\x02vm\x08internal\x00\x07example\x03org\x00"))
	}
	o.has(layers.DHCPOptMessageType, []byte{2})
	k.has(layers.DHCPOptMessageType, []byte{5})
}

func TestOnlyWhatWasAskedIsTold(t *testing.T) {
	r := standard(t)
	r.say(client(1, discoverMsg).wants(3, 99)).has(layers.DHCPOptRouter, []byte{192, 0, 2, 1}).
		has(layers.DHCPOptSubnetMask, []byte{255, 255, 255, 0}). // without it the address is of little use
		has(layers.DHCPOptDNS, nil).has(layers.DHCPOptDomainName, nil).has(99, nil)
	r.say(client(2, discoverMsg)).has(layers.DHCPOptDNS, []byte{192, 0, 2, 1, 192, 0, 2, 2}) // who says nothing wants all
}

func TestNothingIsToldThatIsNotSet(t *testing.T) {
	r := newRig(t, Settings{MAC: gatewayMAC, Server: netip.MustParsePrefix("192.0.2.1/31")}, lease.Settings{Ranges: pool.Ranges}, nil)
	n := r.say(client(1, discoverMsg))
	for _, o := range []layers.DHCPOpt{layers.DHCPOptDNS, layers.DHCPOptDomainName, layers.DHCPOptInterfaceMTU, layers.DHCPOptNTPServers, layers.DHCPOptBroadcastAddr, layers.DHCPOptHostname, 119, 121} {
		n.has(o, nil)
	}
}

func TestT1AndT2(t *testing.T) {
	v := defaults
	v.Lease = 1000 * time.Second
	r := newRig(t, v, pool, nil)
	r.say(client(1, discoverMsg)).has(layers.DHCPOptLeaseTime, seconds(1000*time.Second)).
		has(layers.DHCPOptT1, seconds(500*time.Second)).has(layers.DHCPOptT2, seconds(875*time.Second))
}

func TestLeaseTimeAskedFor(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		0:                        time.Hour,
		time.Second:              2 * time.Minute,
		10 * time.Minute:         10 * time.Minute,
		24 * time.Hour:           time.Hour,
		0xffffffff * time.Second: time.Hour,
	} {
		r := standard(t)
		n := r.say(client(1, discoverMsg).opt(layers.DHCPOptLeaseTime, seconds(asked)...)).has(layers.DHCPOptLeaseTime, seconds(want))
		r.say(client(1, requestMsg).server("192.0.2.1").requested(n.yiaddr().String()).opt(layers.DHCPOptLeaseTime, seconds(asked)...)).
			kind("DHCPACK").has(layers.DHCPOptLeaseTime, seconds(want))
	}
}

func TestMaximumMessageSize(t *testing.T) {
	v := defaults
	v.Search = []string{strings.Repeat("long.", 40) + "example"}
	for n := range 200 { // 1,405 bytes of option 121
		v.Routes = append(v.Routes, Route{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, 0}), 16), addr("192.0.2.5")})
	}
	for _, row := range []struct {
		asked  []byte
		mtu    int
		max    int
		routes bool // are told
	}{
		{nil, 0, 576, false},
		{[]byte{0, 10}, 0, 576, false}, // fewer than the least (RFC 2132 9.10)
		{[]byte{700 >> 8, 700 & 0xff}, 0, 700, false},
		{[]byte{0xff, 0xff}, 0, 1500, false}, // not longer than a frame
		{[]byte{0xff, 0xff}, 1450, 1450, false},
		{[]byte{2500 >> 8, 2500 & 0xff}, 9000, 2500, true},
	} {
		v.MTU = row.mtu
		r, told := newRig(t, v, pool, nil), v.withDefaults()
		a := client(1, discoverMsg)
		if row.asked != nil {
			a.opt(layers.DHCPOptMaxMessageSize, row.asked...)
		}
		n := r.say(a)
		if got := int(n.ip.Length); got > row.max {
			t.Errorf("%+v: %d bytes", row, got)
		}
		if whole := bytes.Equal(n.options[121], told.classless()); whole != row.routes {
			t.Errorf("%+v: the routes are there: %t", row, whole)
		}
		n.has(layers.DHCPOptRouter, []byte{192, 0, 2, 1}) // what is needed most is always there
	}
}

func TestOverload(t *testing.T) {
	v := defaults
	v.Domain = strings.Repeat("d", 60) + "." + strings.Repeat("e", 39) // for file
	v.Search = []string{strings.Repeat("s", 40) + ".example"}          // for sname
	for n := range 24 {
		v.Routes = append(v.Routes, Route{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, 0}), 24), addr("192.0.2.5")})
	}
	r, told := newRig(t, v, pool, nil), v.withDefaults()
	n := r.say(client(1, discoverMsg))
	n.has(52, []byte{3}).has(121, told.classless()).has(layers.DHCPOptDomainName, []byte(v.Domain)).has(119, told.search()).has(layers.DHCPOptNTPServers, []byte{192, 0, 2, 3})

	// And what clients write so is read.
	a := client(2, requestMsg)
	a.p.Options = layers.DHCPOptions{layers.NewDHCPOption(52, []byte{3})}
	a.p.File = make([]byte, 128)
	copy(a.p.File, []byte{53, 1, byte(requestMsg), 54, 4, 192, 0, 2, 1, 255})
	a.p.ServerName = make([]byte, 64)
	copy(a.p.ServerName, []byte{50, 4, 192, 0, 2, 13, 12, 3, 'w', 'e', 'b'})
	if n := r.say(a).kind("DHCPACK").gives(addr("192.0.2.13")); n.Lease.Client.Name != "web" {
		t.Errorf("name %q", n.Lease.Client.Name)
	}
}

func TestOption121HoldsTheDefaultRouteToo(t *testing.T) { // RFC 3442
	v := defaults
	v.Routes = []Route{
		{netip.MustParsePrefix("10.7.0.0/16"), addr("192.0.2.5")},
		{netip.MustParsePrefix("10.8.9.128/25"), addr("192.0.2.6")},
		{netip.MustParsePrefix("203.0.113.9/32"), addr("192.0.2.6")},
	}
	r := newRig(t, v, pool, nil)
	r.say(client(1, discoverMsg)).has(layers.DHCPOptRouter, []byte{192, 0, 2, 1}).has(121, []byte{
		0, 192, 0, 2, 1,
		16, 10, 7, 192, 0, 2, 5,
		25, 10, 8, 9, 128, 192, 0, 2, 6,
		32, 203, 0, 113, 9, 192, 0, 2, 6,
	})
	r.say(client(1, discoverMsg).wants(3)).has(121, nil)
}

func TestReservedNameIsTold(t *testing.T) {
	l := pool
	l.Reservations = []lease.Reservation{{MAC: mac(1), Address: addr("192.0.2.200"), Name: "db"}}
	r := newRig(t, defaults, l, nil)
	r.say(client(1, discoverMsg)).gives(addr("192.0.2.200")).has(layers.DHCPOptHostname, []byte("db"))
	r.say(client(2, discoverMsg).opt(layers.DHCPOptHostname, []byte("web")...)).has(layers.DHCPOptHostname, nil)
}

func TestClientsName(t *testing.T) {
	for name, a := range map[string]*ask{
		"web":   client(1, discoverMsg).opt(layers.DHCPOptHostname, []byte("Web.example.org")...),
		"text":  client(1, discoverMsg).opt(81, append([]byte{0, 0, 0}, "text.example"...)...),
		"wire":  client(1, discoverMsg).opt(81, append([]byte{4, 0, 0}, "\x04wire\x07example\x00"...)...),
		"short": client(1, discoverMsg).opt(81, append([]byte{4, 0, 0}, "\x3fshort"...)...),
		"":      client(1, discoverMsg).opt(81, 4, 0, 0),
	} {
		if n := standard(t).say(a); n.Lease.Client.Name != name {
			t.Errorf("got %q, want %q", n.Lease.Client.Name, name)
		}
	}
}
