package dhcp4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/service/lease"
)

const (
	discoverMsg = layers.DHCPMsgTypeDiscover
	requestMsg  = layers.DHCPMsgTypeRequest
	declineMsg  = layers.DHCPMsgTypeDecline
	releaseMsg  = layers.DHCPMsgTypeRelease
	informMsg   = layers.DHCPMsgTypeInform
)

func seconds(d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(d/time.Second))
}

func wantErr(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %v with %q", err, want, text)
	}
}

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

func TestXidFlagsGiaddrChaddrAreCopied(t *testing.T) {
	v := defaults
	v.Relays = []netip.Addr{addr("192.0.2.7")}
	r := newRig(t, v, pool, nil)
	for name, a := range map[string]*ask{
		"plain":     client(1, discoverMsg),
		"broadcast": client(2, discoverMsg).broadcast(),
		"relayed":   client(3, discoverMsg).giaddr("192.0.2.7"),
		"refused":   client(4, requestMsg).requested("198.51.100.1").broadcast(),
	} {
		a.p.Secs, a.p.HardwareOpts = 7, 3
		n := r.say(a)
		if n.p.Xid != a.p.Xid || n.p.Flags != a.p.Flags || !bytes.Equal(n.p.ClientHWAddr, a.p.ClientHWAddr) ||
			a.p.RelayAgentIP != nil && !n.p.RelayAgentIP.Equal(a.p.RelayAgentIP) || n.p.Secs != 0 || n.p.HardwareOpts != 0 {
			t.Errorf("%s:\nasked %+v\n got %+v", name, a.p, n.p)
		}
	}
}

func TestReplyGoesToRelayElseCiaddrElseBroadcastElseClient(t *testing.T) {
	v := defaults
	v.Relays = []netip.Addr{addr("192.0.2.7")}
	r := newRig(t, v, pool, nil)
	a := r.join(1).String()
	for _, row := range []struct {
		name string
		a    *ask
		kind string
		mac  frame.MAC
		to   string
	}{
		{"giaddr", client(1, discoverMsg).giaddr("192.0.2.7").by(mac(77)), "DHCPOFFER", mac(77), "192.0.2.7:67"},
		{"giaddr before broadcast", client(1, discoverMsg).giaddr("192.0.2.7").by(mac(77)).broadcast(), "DHCPOFFER", mac(77), "192.0.2.7:67"},
		{"ciaddr", client(1, requestMsg).ciaddr(a), "DHCPACK", mac(1), a + ":68"},
		{"ciaddr before broadcast", client(1, requestMsg).ciaddr(a).broadcast(), "DHCPACK", mac(1), a + ":68"},
		{"broadcast", client(1, discoverMsg).broadcast(), "DHCPOFFER", frame.Broadcast, "255.255.255.255:68"},
		{"client", client(1, discoverMsg), "DHCPOFFER", mac(1), a + ":68"},
		{"NAK", client(1, requestMsg).requested("198.51.100.1"), "DHCPNAK", frame.Broadcast, "255.255.255.255:68"},
		{"NAK of ciaddr", client(1, requestMsg).ciaddr("198.51.100.1"), "DHCPNAK", frame.Broadcast, "255.255.255.255:68"},
		{"NAK by giaddr", client(1, requestMsg).requested("198.51.100.1").giaddr("192.0.2.7").by(mac(77)), "DHCPNAK", mac(77), "192.0.2.7:67"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := r.say(row.a).kind(row.kind)
			n.T = t
			n.goesTo(row.mac, row.to)
		})
	}
	if n := r.say(client(1, requestMsg).requested("198.51.100.1").giaddr("192.0.2.7")); n.p.Flags&0x8000 == 0 {
		t.Error("the relay agent is not told to pass the NAK on by broadcast (RFC 2131 4.3.2)")
	}
}

func TestNakSaysWhyAndNothingMore(t *testing.T) {
	r := standard(t)
	n := r.say(client(1, requestMsg).ciaddr("198.51.100.1").opt(layers.DHCPOptClientID, 0, 'x')).kind("DHCPNAK")
	n.gives(netip.AddrFrom4([4]byte{}))
	if !n.p.ClientIP.Equal(n.p.YourClientIP) {
		t.Errorf("ciaddr is %s", n.p.ClientIP)
	}
	n.has(layers.DHCPOptServerID, []byte{192, 0, 2, 1}).has(layers.DHCPOptClientID, []byte{0, 'x'})
	for o := range n.options {
		switch o {
		case layers.DHCPOptMessageType, layers.DHCPOptServerID, layers.DHCPOptMessage, layers.DHCPOptClientID:
		default:
			t.Errorf("option %d is in a NAK (RFC 2131 table 3)", o)
		}
	}
	const why = "198.51.100.1 is not of this network, 192.0.2.0/24"
	if n.Note != why || string(n.options[layers.DHCPOptMessage]) != why {
		t.Errorf("told %q, to the client %q", n.Note, n.options[layers.DHCPOptMessage])
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
	for n := range 80 {
		v.Routes = append(v.Routes, Route{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, 0}), 16), addr("192.0.2.5")})
	}
	for _, row := range []struct {
		asked []byte
		max   int
		fits  bool
	}{
		{nil, 576, false},
		{[]byte{0, 10}, 576, false}, // fewer than the least (RFC 2132 9.10)
		{[]byte{700 >> 8, 700 & 0xff}, 700, false},
		{[]byte{1400 >> 8, 1400 & 0xff}, 1400, true},
		{[]byte{0xff, 0xff}, 1450, true}, // not longer than the MTU
	} {
		r := newRig(t, v, pool, nil)
		a := client(1, discoverMsg)
		if row.asked != nil {
			a.opt(layers.DHCPOptMaxMessageSize, row.asked...)
		}
		n := r.say(a)
		if got := int(n.ip.Length); got > row.max {
			t.Errorf("asked %v: %d bytes, want at most %d", row.asked, got, row.max)
		}
		told := v.withDefaults()
		if whole := len(n.options[121]) == len(told.classless()); whole != row.fits {
			t.Errorf("asked %v: the routes are there: %t", row.asked, whole)
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
	copy(a.p.File, []byte{byte(optMessageType), 1, byte(request), byte(optServer), 4, 192, 0, 2, 1, byte(optEnd)})
	a.p.ServerName = make([]byte, 64)
	copy(a.p.ServerName, []byte{byte(optRequested), 4, 192, 0, 2, 13, byte(optHostName), 3, 'w', 'e', 'b'})
	if n := r.say(a).kind("DHCPACK").gives(addr("192.0.2.13")); n.Lease.Client.Name != "web" {
		t.Errorf("name %q", n.Lease.Client.Name)
	}
}

func TestSelectingUs(t *testing.T) {
	r := standard(t)
	o := r.say(client(1, discoverMsg))
	if r.state(1) != lease.Offered {
		t.Errorf("after the offer: %s", r.state(1))
	}
	n := r.say(client(1, requestMsg).server("192.0.2.1").requested(o.yiaddr().String())).kind("DHCPACK").gives(o.yiaddr())
	if r.state(1) != lease.Bound || n.Lease.Address != o.yiaddr() || n.Lease.Client.Port != "vm1" {
		t.Errorf("after the request: %s, %+v", r.state(1), n.Lease)
	}
	// What nobody offered, but is free; what is another's; what is of no range.
	r.say(client(2, requestMsg).server("192.0.2.1").requested("192.0.2.19")).kind("DHCPACK")
	r.say(client(3, requestMsg).server("192.0.2.1").requested("192.0.2.19")).kind("DHCPNAK")
	r.say(client(3, requestMsg).server("192.0.2.1").requested("192.0.2.20")).kind("DHCPNAK")
	r.say(client(3, requestMsg).server("192.0.2.1").requested("192.0.2.1")).kind("DHCPNAK")
	wantErr(t, r.silent(client(3, requestMsg).server("192.0.2.1")), ErrMalformed, "no address")
	wantErr(t, r.silent(client(3, requestMsg)), ErrMalformed, "no address")
}

func TestSelectingAnotherServerFreesTheOffer(t *testing.T) {
	r := newRig(t, defaults, lease.Settings{Ranges: []lease.Range{{First: addr("192.0.2.10"), Last: addr("192.0.2.10")}}}, nil)
	r.say(client(1, discoverMsg))
	wantErr(t, r.silent(client(2, discoverMsg)), lease.ErrExhausted, "")
	wantErr(t, r.silent(client(1, requestMsg).server("192.0.2.99").requested("192.0.2.10")), ErrIgnored, "192.0.2.99")
	if r.state(1) != 0 {
		t.Errorf("the offer is %s", r.state(1))
	}
	r.say(client(2, discoverMsg)).gives(addr("192.0.2.10"))
}

func TestInitReboot(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.say(client(1, requestMsg).requested(a.String())).kind("DHCPACK").gives(a)
	r.say(client(1, requestMsg).requested("192.0.2.99")).kind("DHCPNAK")   // not its own
	r.say(client(1, requestMsg).requested("198.51.100.1")).kind("DHCPNAK") // wrong net
	r.say(client(2, requestMsg).requested("198.51.100.1")).kind("DHCPNAK") // unknown, on a wrong net
	wantErr(t, r.silent(client(2, requestMsg).requested("192.0.2.15")), ErrIgnored, "the book does not")
	r.now = r.now.Add(2 * time.Hour) // it has ended, and is free
	r.say(client(1, requestMsg).requested(a.String())).kind("DHCPACK").gives(a)
}

// RENEWING and REBINDING differ in where the message is sent to, of which the server
// does not know.
func TestRenewAndRebind(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.now = r.now.Add(30 * time.Minute)
	n := r.say(client(1, requestMsg).ciaddr(a.String())).kind("DHCPACK").gives(a).
		has(layers.DHCPOptLeaseTime, seconds(time.Hour)).goesTo(mac(1), a.String()+":68")
	if !n.p.ClientIP.Equal(n.p.YourClientIP) {
		t.Errorf("ciaddr is %s (RFC 2131 table 3)", n.p.ClientIP)
	}
	r.now = r.now.Add(time.Minute) // asked again at once: not written again, and told what is left
	r.say(client(1, requestMsg).ciaddr(a.String())).kind("DHCPACK").has(layers.DHCPOptLeaseTime, seconds(59*time.Minute))

	r.say(client(1, requestMsg).ciaddr("192.0.2.99")).kind("DHCPNAK")
	r.say(client(1, requestMsg).ciaddr("198.51.100.1")).kind("DHCPNAK")
	r.say(client(2, requestMsg).ciaddr(a.String())).kind("DHCPNAK") // another's
	wantErr(t, r.silent(client(1, requestMsg).ciaddr(a.String()).server("192.0.2.99")), ErrIgnored, "192.0.2.99")
	// The book was lost: who has an address that is nobody else's keeps it.
	r.say(client(3, requestMsg).ciaddr("192.0.2.17")).kind("DHCPACK").gives(addr("192.0.2.17"))
	r.now = r.now.Add(2 * time.Hour) // ended, and free
	r.say(client(1, requestMsg).ciaddr(a.String())).kind("DHCPACK").gives(a)
}

func TestDeclineTakesTheAddressOutOfUse(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	for name, bad := range map[string]*ask{
		"of another server": client(1, declineMsg).server("192.0.2.99").requested(a.String()),
		"of no address":     client(1, declineMsg).server("192.0.2.1"),
		"of another's":      client(2, declineMsg).server("192.0.2.1").requested(a.String()),
		"by another port":   client(1, declineMsg).server("192.0.2.1").requested(a.String()).on("vm9"),
	} {
		wantErr(t, r.silent(bad), ErrIgnored, "")
		if r.state(1) != lease.Bound {
			t.Fatalf("a DECLINE %s ended the lease", name)
		}
	}
	d, err := r.s.Handle(r.now, client(1, declineMsg).server("192.0.2.1").requested(a.String()).request(t))
	if err != nil || d.Frame != nil || d.Kind != "DHCPDECLINE" || d.Lease.Client.Port != "vm1" || !strings.Contains(d.Note, a.String()) {
		t.Fatalf("%+v, %v", d, err)
	}
	if again := r.join(1); again == a {
		t.Errorf("%s was given out again", a)
	}
	if l := r.book.List(); len(l) != 2 || l[0].State != lease.Declined && l[1].State != lease.Declined {
		t.Errorf("the book has %+v", l)
	}
}

func TestReleaseFreesAndRemembers(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	for name, bad := range map[string]*ask{
		"of another server": client(1, releaseMsg).server("192.0.2.99").ciaddr(a.String()),
		"of no address":     client(1, releaseMsg).server("192.0.2.1"),
		"of another's":      client(2, releaseMsg).server("192.0.2.1").ciaddr(a.String()),
		"by another port":   client(1, releaseMsg).server("192.0.2.1").ciaddr(a.String()).on("vm9"),
	} {
		wantErr(t, r.silent(bad), ErrIgnored, "")
		if r.state(1) != lease.Bound {
			t.Fatalf("a RELEASE %s ended the lease", name)
		}
	}
	if err := r.silent(client(1, releaseMsg).server("192.0.2.1").ciaddr(a.String())); err != nil || r.state(1) != lease.Idle {
		t.Fatalf("%v, %s", err, r.state(1))
	}
	if again := r.join(1); again != a {
		t.Errorf("had %s, got %s", a, again)
	}
}

func TestInformIsToldAllButALease(t *testing.T) {
	r := standard(t)
	n := r.say(client(1, informMsg).ciaddr("192.0.2.200").broadcast()).kind("DHCPACK").goesTo(mac(1), "192.0.2.200:68")
	n.gives(netip.AddrFrom4([4]byte{})).has(layers.DHCPOptDNS, []byte{192, 0, 2, 1, 192, 0, 2, 2}).
		has(layers.DHCPOptLeaseTime, nil).has(layers.DHCPOptT1, nil).has(layers.DHCPOptT2, nil)
	if l := r.book.List(); len(l) != 0 {
		t.Errorf("the book has %+v", l)
	}
	for _, bad := range []*ask{client(1, informMsg), client(1, informMsg).ciaddr("198.51.100.1"), client(1, informMsg).ciaddr("192.0.2.200").server("192.0.2.99")} {
		wantErr(t, r.silent(bad), ErrIgnored, "DHCPINFORM")
	}
}

func TestClientIsKnownByOption61ElseChaddr(t *testing.T) {
	r := standard(t)
	id := func(a *ask, id ...byte) *ask { return a.opt(layers.DHCPOptClientID, id...) }
	first := r.say(id(client(1, discoverMsg), 0, 'a')).yiaddr()
	if n := r.say(id(client(1, discoverMsg), 0, 'b')); n.yiaddr() == first {
		t.Error("another ID of the same MAC got the same address")
	}
	r.say(id(client(2, discoverMsg).on("vm1"), 0, 'a')).gives(first) // the same ID, a new MAC
	third := r.say(client(3, discoverMsg)).yiaddr()
	r.say(id(client(3, discoverMsg), append([]byte{1}, hardware(mac(3))...)...)).gives(third) // says what is known
	r.say(client(3, discoverMsg).opt(layers.DHCPOptClientID)).gives(third)                    // says nothing
	// RFC 4361: type 255, IAID, DUID.
	long := append([]byte{255, 1, 2, 3, 4}, bytes.Repeat([]byte{7}, 130)...)
	r.say(id(client(4, discoverMsg), long...)).has(layers.DHCPOptClientID, long)
}

func TestClientIdentifierComesBack(t *testing.T) { // RFC 6842
	r := standard(t)
	r.say(client(1, discoverMsg).opt(layers.DHCPOptClientID, 0, 9, 9)).has(layers.DHCPOptClientID, []byte{0, 9, 9})
	r.say(client(2, discoverMsg)).has(layers.DHCPOptClientID, nil)
}

func TestSameClientGetsTheSameAddress(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.say(client(1, discoverMsg).requested("192.0.2.18")).gives(a)
	r.now = r.now.Add(5 * time.Hour)
	r.join(2)
	if again := r.join(1); again != a {
		t.Errorf("had %s, got %s", a, again)
	}
}

func TestNoAckUnlessTheLeaseIsOnDisk(t *testing.T) {
	r := standard(t)
	a := r.say(client(1, discoverMsg)).yiaddr()
	if err := r.book.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, r.silent(client(1, requestMsg).server("192.0.2.1").requested(a.String())), os.ErrClosed, "until it can be written")
	if c := r.s.Counters(); c.Failed != 1 || c.Ack != 0 {
		t.Errorf("counted %+v", c)
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

func TestOption82ComesBackToARelayAgentOnly(t *testing.T) { // RFC 3046
	v := defaults
	v.Relays = []netip.Addr{addr("192.0.2.7")}
	r := newRig(t, v, pool, nil)
	info := []byte{1, 3, 'e', 't', 'h'}
	n := r.say(client(1, discoverMsg).giaddr("192.0.2.7").opt(82, info...)).has(82, info)
	last := n.p.Options[len(n.p.Options)-1]
	if last.Type == layers.DHCPOptEnd {
		last = n.p.Options[len(n.p.Options)-2]
	}
	if last.Type != 82 {
		t.Errorf("option %d stands last (RFC 3046 2.1: option 82 does)", last.Type)
	}
	r.say(client(2, requestMsg).requested("198.51.100.1").giaddr("192.0.2.7").opt(82, info...)).kind("DHCPNAK").has(82, info)
	r.say(client(3, discoverMsg).opt(82, info...)).has(82, nil) // a guest's
	wantErr(t, r.silent(client(3, discoverMsg).giaddr("192.0.2.8").opt(82, info...)), ErrIgnored, "192.0.2.8 is not one of the network's relay agents")
}

func TestChaddrIsTheFramesSource(t *testing.T) {
	r := standard(t)
	wantErr(t, r.silent(client(1, discoverMsg).by(mac(2))), ErrIgnored, "the frame came from 52:54:00:00:00:02")
}

func TestExhaustedPoolIsSilentAndCounted(t *testing.T) {
	r := standard(t)
	for n := range 10 {
		r.join(n)
	}
	wantErr(t, r.silent(client(10, discoverMsg)), lease.ErrExhausted, "")
	if c := r.s.Counters(); c.Exhausted != 1 || c.Discover != 11 || c.Offer != 10 || c.Request != 10 || c.Ack != 10 {
		t.Errorf("counted %+v", c)
	}
}

func TestQuotaIsSilentAndCounted(t *testing.T) {
	l := pool
	l.Quota = 1
	r := newRig(t, defaults, l, nil)
	r.join(1)
	wantErr(t, r.silent(client(2, discoverMsg).on("vm1")), lease.ErrQuota, "")
	if c := r.s.Counters(); c.Quota != 1 {
		t.Errorf("counted %+v", c)
	}
}

func TestAddressInUseIsNotOffered(t *testing.T) {
	inUse := map[netip.Addr]bool{addr("192.0.2.13"): true}
	var asked []frame.MAC
	r := newRig(t, defaults, pool, func(a netip.Addr, m frame.MAC) bool { asked = append(asked, m); return inUse[a] })
	n := r.say(client(1, discoverMsg).requested("192.0.2.13"))
	if n.yiaddr() == addr("192.0.2.13") || len(asked) != 2 || asked[0] != mac(1) {
		t.Errorf("offered %s, asked about %v", n.yiaddr(), asked)
	}
	r.say(client(1, requestMsg).server("192.0.2.1").requested(n.yiaddr().String())).kind("DHCPACK")
	inUse[n.yiaddr()] = true
	r.say(client(1, discoverMsg)).gives(n.yiaddr()) // the client itself, under another MAC perhaps
	for n := range 10 {
		inUse[addr("192.0.2.10").Next()] = true
		inUse[netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + n)})] = true
	}
	wantErr(t, r.silent(client(2, discoverMsg)), ErrIgnored, "hosts without a lease use the last 3 addresses")
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

func TestSetTakesEffectAndKeepsLeases(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	v := defaults
	v.DNS, v.Lease = []netip.Addr{addr("192.0.2.53")}, 10*time.Minute
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(30 * time.Minute)
	r.say(client(1, requestMsg).ciaddr(a.String())).kind("DHCPACK").gives(a).
		has(layers.DHCPOptDNS, []byte{192, 0, 2, 53}).has(layers.DHCPOptLeaseTime, seconds(10*time.Minute))
	// Another subnet: clients are moved when they come.
	v.Server = netip.MustParsePrefix("198.51.100.1/24")
	if err := errors.Join(r.s.Set(v), r.book.Set(lease.Settings{Ranges: []lease.Range{{First: addr("198.51.100.10"), Last: addr("198.51.100.10")}}})); err != nil {
		t.Fatal(err)
	}
	r.say(client(1, requestMsg).ciaddr(a.String())).kind("DHCPNAK")
	r.say(client(1, discoverMsg)).kind("DHCPOFFER").gives(addr("198.51.100.10"))
}

func TestServerIsSilentBeforeSet(t *testing.T) {
	r := standard(t)
	_, err := New(Config{Book: r.book}).Handle(start, client(1, discoverMsg).request(t))
	wantErr(t, err, ErrIgnored, "off")
}

func TestSetTellsAllFaults(t *testing.T) {
	err := New(Config{}).Set(Settings{
		MAC: frame.Broadcast, Server: netip.MustParsePrefix("2001:db8::1/64"),
		DNS: []netip.Addr{addr("2001:db8::53"), {}}, Routers: make([]netip.Addr, 64),
		Domain: "a..b", Search: []string{strings.Repeat("x", 64)}, MTU: 10, Lease: -1,
		Routes: []Route{{}, {netip.MustParsePrefix("10.0.0.1/8"), addr("192.0.2.1")}},
	})
	for _, want := range []string{
		"DHCPv4: ", "ff:ff:ff:ff:ff:ff is no gateway's MAC", "2001:db8::1/64 is not a server's", "2001:db8::53 cannot be a DNS server",
		"64 addresses of a router", `"a..b" is not a domain`, "MTU 10 (want 68 to 65535)", "a lease of -1ns", "10.0.0.1/8 by 192.0.2.1 is not a route",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
}
