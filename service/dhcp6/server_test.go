package dhcp6

import (
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
	solicitMsg  = layers.DHCPv6MsgTypeSolicit
	requestMsg  = layers.DHCPv6MsgTypeRequest
	confirmMsg  = layers.DHCPv6MsgTypeConfirm
	renewMsg    = layers.DHCPv6MsgTypeRenew
	rebindMsg   = layers.DHCPv6MsgTypeRebind
	releaseMsg  = layers.DHCPv6MsgTypeRelease
	declineMsg  = layers.DHCPv6MsgTypeDecline
	informMsg   = layers.DHCPv6MsgTypeInformationRequest
	na          = layers.DHCPv6OptIANA
	ta          = layers.DHCPv6OptIATA
	pd          = layers.DHCPv6OptIAPD
	inSubnet    = "2001:db8::abcd"
	offSubnet   = "2001:db8:1::1"
	dnsOption   = layers.DHCPv6Opt(23)
	searchOpt   = layers.DHCPv6Opt(24)
	searchBytes = "\x02vm\x08internal\x00\x07example\x03org\x00"
)

func dnsBytes() []byte {
	return append(addr("2001:db8::1").AsSlice(), addr("2001:db8::2").AsSlice()...)
}

func wantErr(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want %v with %q", err, want, text)
	}
}

func TestSolicitIsAnsweredByAdvertise(t *testing.T) {
	r := standard(t)
	n := r.say(client(1, solicitMsg).na(7).wants(23, 24)).kind("ADVERTISE").
		has(layers.DHCPv6OptClientID, duidOf(1)).has(dnsOption, dnsBytes()).has(searchOpt, []byte(searchBytes)).
		has(layers.DHCPv6OptPreference, []byte{255})
	if a := n.gives(7); !defaults.Subnet.Contains(a) {
		t.Errorf("offers %s", a)
	}
	if l := r.book.List(); len(l) != 0 {
		t.Errorf("the book has %+v before anything was requested", l)
	}
	if again := r.say(client(1, solicitMsg).na(7)); again.gives(7) != n.gives(7) {
		t.Error("another address was offered the second time")
	}
}

func TestSolicitWithRapidCommitIsAnsweredByReply(t *testing.T) {
	r := standard(t)
	n := r.say(client(1, solicitMsg).na(1).rapid()).kind("REPLY").has(layers.DHCPv6OptRapidCommit, []byte{})
	if a := n.gives(1); r.state(1) != lease.Bound || len(n.Leases) != 1 || n.Leases[0].Address != a {
		t.Errorf("%s is %s, told %+v", a, r.state(1), n.Leases)
	}
	r.say(client(2, solicitMsg).na(1)).kind("ADVERTISE").has(layers.DHCPv6OptRapidCommit, nil)
	// Nothing can be given: then nothing is committed.
	r.say(client(3, solicitMsg).ia(pd, 1).rapid()).kind("ADVERTISE").has(layers.DHCPv6OptRapidCommit, nil)
}

func TestRequestGivesWhatWasOffered(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	if r.state(1) != lease.Bound {
		t.Errorf("%s is %s", a, r.state(1))
	}
	// Two associations are two addresses.
	n := r.say(client(2, requestMsg).ours().na(1).na(2))
	if n.gives(1) == n.gives(2) || len(n.Leases) != 2 {
		t.Errorf("got %+v", n.Leases)
	}
	// What it would have, if it is free.
	want := addr("2001:db8::1009")
	if got := r.say(client(3, requestMsg).ours().na(1, want)).gives(1); got != want {
		t.Errorf("wanted %s, got %s", want, got)
	}
	if got := r.say(client(4, requestMsg).ours().na(1, want)).gives(1); got == want {
		t.Errorf("got %s, which is another's", got)
	}
	r.say(client(5, requestMsg).ours().na(1, addr(offSubnet))).state(na, 1, 4) // NotOnLink
}

func TestT1T2AndLifetimes(t *testing.T) {
	v := defaults
	v.Lease = 1000 * time.Second
	r := newRig(t, v, pool, nil)
	for _, a := range []*ask{client(1, solicitMsg).na(1), client(1, requestMsg).ours().na(1)} {
		n := r.say(a)
		if got := n.ias[iaKey{na, 1}]; got.t1 != 500 || got.t2 != 800 || got.addresses[n.gives(1)] != 1000 {
			t.Errorf("%+v", got)
		}
	}
}

func TestRenewExtends(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.now = r.now.Add(30 * time.Minute)
	n := r.say(client(1, renewMsg).ours().na(1, a, addr(offSubnet))).kind("REPLY").takes(1, addr(offSubnet))
	if n.gives(1) != a || n.ias[iaKey{na, 1}].addresses[a] != 3600 {
		t.Errorf("had %s, got %+v", a, n.ias)
	}
	r.say(client(1, renewMsg).ours().na(2)).state(na, 2, 3) // NoBinding
	r.say(client(2, renewMsg).ours().na(1, a)).takes(1, a)  // another's
	r.say(client(2, renewMsg).ours().na(1, addr(offSubnet))).takes(1, addr(offSubnet))
	// The book was lost: who has an address that is nobody else's keeps it.
	if got := r.say(client(3, renewMsg).ours().na(1, addr("2001:db8::1009"))).gives(1); got != addr("2001:db8::1009") {
		t.Errorf("got %s", got)
	}
}

func TestRebindExtendsOrTakesBack(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.now = r.now.Add(50 * time.Minute)
	if got := r.say(client(1, rebindMsg).na(1, a)).kind("REPLY").gives(1); got != a {
		t.Errorf("had %s, got %s", a, got)
	}
	r.say(client(2, rebindMsg).na(1, a)).takes(1, a)
	r.say(client(2, rebindMsg).na(1, addr(inSubnet))).takes(1, addr(inSubnet)) // of no range
	r.say(client(2, rebindMsg).na(1)).state(na, 1, 3)
}

func TestClientThatHasToMoveIsTold(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	v := defaults
	v.Subnet = netip.MustParsePrefix("2001:db8:2::/64")
	if err := errors.Join(r.s.Set(v), r.book.Set(lease.Settings{Ranges: []lease.Range{{First: addr("2001:db8:2::10"), Last: addr("2001:db8:2::10")}}})); err != nil {
		t.Fatal(err)
	}
	if got := r.say(client(1, renewMsg).ours().na(1, a)).takes(1, a).gives(1); got != addr("2001:db8:2::10") {
		t.Errorf("got %s", got)
	}
	if l := r.book.List(); len(l) != 1 {
		t.Errorf("the book has %+v", l)
	}
}

func TestReleaseFrees(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.say(client(2, releaseMsg).ours().na(1, a)).status(0).state(na, 1, 3)           // another's
	r.say(client(1, releaseMsg).ours().na(1, a).on("vm9")).status(0).state(na, 1, 3) // by another port
	if r.state(1) != lease.Bound {
		t.Fatal("somebody else ended the lease")
	}
	n := r.say(client(1, releaseMsg).ours().na(1, a)).kind("REPLY").status(0)
	if r.state(1) != lease.Idle || len(n.ias) != 0 {
		t.Errorf("%s, %+v", r.state(1), n.ias)
	}
	r.say(client(1, releaseMsg).ours().na(1, a)).status(0).state(na, 1, 3)
	r.say(client(1, releaseMsg).ours().na(1).ia(pd, 2)).status(0).state(na, 1, 3).state(pd, 2, 3)
	if again := r.join(1); again != a {
		t.Errorf("had %s, got %s", a, again)
	}
}

func TestDeclineTakesTheAddressOutOfUse(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.say(client(2, declineMsg).ours().na(1, a)).status(0).state(na, 1, 3)
	n := r.say(client(1, declineMsg).ours().na(1, a)).kind("REPLY").status(0)
	if !strings.Contains(n.Note, a.String()) {
		t.Errorf("told %q", n.Note)
	}
	if again := r.join(1); again == a {
		t.Errorf("%s was given out again", a)
	}
}

func TestConfirm(t *testing.T) {
	r := standard(t)
	r.say(client(1, confirmMsg).na(1, addr(inSubnet))).kind("REPLY").status(0)
	r.say(client(1, confirmMsg).ia(ta, 1, addr(inSubnet))).status(0)
	r.say(client(1, confirmMsg).na(1, addr(inSubnet), addr(offSubnet))).status(4)
	wantErr(t, r.silent(client(1, confirmMsg).na(1)), ErrIgnored, "no address")
}

func TestInformationRequest(t *testing.T) {
	r := standard(t)
	r.say(client(1, informMsg).wants(23)).kind("REPLY").has(dnsOption, dnsBytes()).has(searchOpt, nil)
	r.say(anonymous(1, informMsg)).has(layers.DHCPv6OptClientID, nil).has(dnsOption, dnsBytes()).has(searchOpt, []byte(searchBytes))
	r.say(anonymous(1, informMsg).ours()).kind("REPLY")
	if l := r.book.List(); len(l) != 0 {
		t.Errorf("the book has %+v", l)
	}
}

func TestNoAddrsAvail(t *testing.T) {
	l := pool
	l.Ranges = []lease.Range{{First: addr("2001:db8::1000"), Last: addr("2001:db8::1000")}}
	r := newRig(t, defaults, l, nil)
	r.join(1)
	r.say(client(2, solicitMsg).na(1)).kind("ADVERTISE").state(na, 1, 2)
	r.say(client(2, solicitMsg).na(1).rapid()).kind("ADVERTISE").state(na, 1, 2)
	n := r.say(client(2, requestMsg).ours().na(1)).kind("REPLY").state(na, 1, 2)
	if c := r.s.Counters(); c.Exhausted != 3 || c.Solicit != 3 || c.Advertise != 3 || c.Request != 2 || c.Reply != 2 || n.Note == "" {
		t.Errorf("counted %+v, told %q", c, n.Note)
	}
}

func TestQuotaOfOnePort(t *testing.T) {
	l := pool
	l.Quota = 2
	r := newRig(t, defaults, l, nil)
	n := r.say(client(1, requestMsg).ours().na(1).na(2).na(3)).state(na, 3, 2)
	n.gives(1)
	n.gives(2)
	r.say(client(2, solicitMsg).on("vm1").na(1)).state(na, 1, 2)
	r.say(client(2, solicitMsg).na(1)).gives(1)
	if c := r.s.Counters(); c.Quota != 2 {
		t.Errorf("counted %+v", c)
	}
}

func TestOnlyWhatWasAskedIsTold(t *testing.T) {
	r := standard(t)
	r.say(client(1, solicitMsg).na(1).wants(24)).has(dnsOption, nil).has(searchOpt, []byte(searchBytes))
	r.say(client(1, solicitMsg).na(1).wants()).has(dnsOption, nil).has(searchOpt, nil)
	r.say(client(1, solicitMsg).na(1).wants(99).wants(23)).has(dnsOption, dnsBytes()).has(99, nil)
	v := defaults
	v.DNS, v.Search = nil, nil
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	r.say(client(1, solicitMsg).na(1)).has(dnsOption, nil).has(searchOpt, nil)
}

func TestReservation(t *testing.T) {
	l := pool
	l.Reservations = []lease.Reservation{{MAC: mac(1), Address6: addr("2001:db8::d"), Name: "db"}}
	r := newRig(t, defaults, l, nil)
	if a := r.join(1); a != addr("2001:db8::d") || r.book.Reverse(a) != "db" {
		t.Errorf("got %s, %q", a, r.book.Reverse(a))
	}
}

func TestClientsName(t *testing.T) {
	r := standard(t)
	n := r.say(client(1, requestMsg).ours().na(1).opt(39, append([]byte{0}, "\x03Web\x07example\x00"...)...))
	if got := r.book.Reverse(n.gives(1)); got != "web" {
		t.Errorf("name %q", got)
	}
	for _, odd := range [][]byte{nil, {0}, {0, 0}, {0, 63, 'x'}} {
		r.say(client(2, requestMsg).ours().na(1).opt(39, odd...))
	}
}

func TestNoReplyUnlessTheLeaseIsOnDisk(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.now = r.now.Add(30 * time.Minute)
	if err := r.book.Close(); err != nil {
		t.Fatal(err)
	}
	for _, q := range []*ask{
		client(2, requestMsg).ours().na(1), client(2, solicitMsg).na(1).rapid(), client(1, renewMsg).ours().na(1, a),
		client(1, rebindMsg).na(1, a), client(1, releaseMsg).ours().na(1, a),
	} {
		wantErr(t, r.silent(q), os.ErrClosed, "until it can be written")
	}
	if c := r.s.Counters(); c.Failed != 5 {
		t.Errorf("counted %+v", c)
	}
}

func TestAddressInUseIsNotOffered(t *testing.T) {
	inUse := map[netip.Addr]bool{}
	r := newRig(t, defaults, pool, func(a netip.Addr, _ frame.MAC) bool { return inUse[a] })
	a := r.say(client(1, solicitMsg).na(1)).gives(1)
	inUse[a] = true
	if b := r.say(client(1, solicitMsg).na(1)).gives(1); b == a {
		t.Errorf("offered %s, which is in use", b)
	}
	for n := range 10 {
		inUse[netip.AddrFrom16([16]byte{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 14: 0x10, 15: byte(n)})] = true
	}
	n := r.say(client(2, solicitMsg).na(1)).state(na, 1, 2)
	if !strings.Contains(n.Note, "hosts without a lease use the last 3 addresses") {
		t.Errorf("told %q", n.Note)
	}
}
