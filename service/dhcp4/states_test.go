package dhcp4

import (
	"bytes"
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

// free returns an address of the pool that is not a.
func free(a netip.Addr) string {
	if first := addr("192.0.2.10"); a != first {
		return first.String()
	}
	return "192.0.2.11"
}

func TestInitReboot(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.say(client(1, requestMsg).requested(a.String())).kind("DHCPACK").gives(a)
	r.say(client(1, requestMsg).requested(free(a))).kind("DHCPNAK")        // not its own, though it is nobody's
	r.say(client(1, requestMsg).requested("192.0.2.99")).kind("DHCPNAK")   // of no range
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

	r.say(client(1, requestMsg).ciaddr(free(a))).kind("DHCPNAK") // not its own, though it is nobody's
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
