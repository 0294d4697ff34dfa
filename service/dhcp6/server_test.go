package dhcp6

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

const (
	solicitMsg  = layers.DHCPv6MsgTypeSolicit
	requestMsg  = layers.DHCPv6MsgTypeRequest
	confirmMsg  = layers.DHCPv6MsgTypeConfirm
	renewMsg    = layers.DHCPv6MsgTypeRenew
	rebindMsg   = layers.DHCPv6MsgTypeRebind
	releaseMsg  = layers.DHCPv6MsgTypeRelease
	declineMsg  = layers.DHCPv6MsgTypeDecline
	informMsg   = layers.DHCPv6MsgTypeInformationRequest
	iana        = layers.DHCPv6OptIANA
	iata        = layers.DHCPv6OptIATA
	iapd        = layers.DHCPv6OptIAPD
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
	r.say(client(3, solicitMsg).ia(iapd, 1).rapid()).kind("ADVERTISE").has(layers.DHCPv6OptRapidCommit, nil)
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
	r.say(client(5, requestMsg).ours().na(1, addr(offSubnet))).state(iana, 1, 4) // NotOnLink
}

func TestT1T2AndLifetimes(t *testing.T) {
	v := defaults
	v.Lease = 1000 * time.Second
	r := newRig(t, v, pool, nil)
	for _, a := range []*ask{client(1, solicitMsg).na(1), client(1, requestMsg).ours().na(1)} {
		n := r.say(a)
		if got := n.ias[iaKey{iana, 1}]; got.t1 != 500 || got.t2 != 800 || got.addresses[n.gives(1)] != 1000 {
			t.Errorf("%+v", got)
		}
	}
}

func TestRenewExtends(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.now = r.now.Add(30 * time.Minute)
	n := r.say(client(1, renewMsg).ours().na(1, a, addr(offSubnet))).kind("REPLY").takes(1, addr(offSubnet))
	if n.gives(1) != a || n.ias[iaKey{iana, 1}].addresses[a] != 3600 {
		t.Errorf("had %s, got %+v", a, n.ias)
	}
	r.say(client(1, renewMsg).ours().na(2)).state(iana, 2, 3) // NoBinding
	r.say(client(2, renewMsg).ours().na(1, a)).takes(1, a)    // another's
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
	r.say(client(2, rebindMsg).na(1)).state(iana, 1, 3)
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
	r.say(client(2, releaseMsg).ours().na(1, a)).status(0).state(iana, 1, 3)           // another's
	r.say(client(1, releaseMsg).ours().na(1, a).on("vm9")).status(0).state(iana, 1, 3) // by another port
	if r.state(1) != lease.Bound {
		t.Fatal("somebody else ended the lease")
	}
	n := r.say(client(1, releaseMsg).ours().na(1, a)).kind("REPLY").status(0)
	if r.state(1) != lease.Idle || len(n.ias) != 0 {
		t.Errorf("%s, %+v", r.state(1), n.ias)
	}
	r.say(client(1, releaseMsg).ours().na(1, a)).status(0).state(iana, 1, 3)
	r.say(client(1, releaseMsg).ours().na(1).ia(iapd, 2)).status(0).state(iana, 1, 3).state(iapd, 2, 3)
	if again := r.join(1); again != a {
		t.Errorf("had %s, got %s", a, again)
	}
}

func TestDeclineTakesTheAddressOutOfUse(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	r.say(client(2, declineMsg).ours().na(1, a)).status(0).state(iana, 1, 3)
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
	r.say(client(1, confirmMsg).ia(iata, 1, addr(inSubnet))).status(0)
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

// RFC 8415 16.
func TestWhatIsNotValidIsDropped(t *testing.T) {
	r := standard(t)
	for name, row := range map[string]struct {
		a    *ask
		why  error
		text string
	}{
		"Solicit without client ID":     {anonymous(1, solicitMsg).na(1), ErrIgnored, "no client identifier"},
		"Request without client ID":     {anonymous(1, requestMsg).ours().na(1), ErrIgnored, "no client identifier"},
		"Rebind without client ID":      {anonymous(1, rebindMsg).na(1), ErrIgnored, "no client identifier"},
		"Confirm without client ID":     {anonymous(1, confirmMsg).na(1, addr(inSubnet)), ErrIgnored, "no client identifier"},
		"Solicit with server ID":        {client(1, solicitMsg).ours().na(1), ErrIgnored, "for all servers"},
		"Confirm with server ID":        {client(1, confirmMsg).ours().na(1, addr(inSubnet)), ErrIgnored, "for all servers"},
		"Rebind with server ID":         {client(1, rebindMsg).ours().na(1), ErrIgnored, "for all servers"},
		"Request for another server":    {client(1, requestMsg).theirs().na(1), ErrIgnored, "it is for the server 0003"},
		"Renew for another server":      {client(1, renewMsg).theirs().na(1), ErrIgnored, "it is for the server 0003"},
		"Release for another server":    {client(1, releaseMsg).theirs().na(1), ErrIgnored, "it is for the server 0003"},
		"Decline for another server":    {client(1, declineMsg).theirs().na(1), ErrIgnored, "it is for the server 0003"},
		"Information of another server": {client(1, informMsg).theirs(), ErrIgnored, "it is for the server 0003"},
		"Request without server ID":     {client(1, requestMsg).na(1), ErrIgnored, "no server identifier"},
		"Renew without server ID":       {client(1, renewMsg).na(1), ErrIgnored, "no server identifier"},
		"Release without server ID":     {client(1, releaseMsg).na(1), ErrIgnored, "no server identifier"},
		"Decline without server ID":     {client(1, declineMsg).na(1), ErrIgnored, "no server identifier"},
		"Information with addresses":    {client(1, informMsg).na(1), ErrIgnored, "an identity association"},
		"Advertise":                     {client(1, layers.DHCPv6MsgTypeAdverstise).ours(), ErrMalformed, "ADVERTISE is none of a client"},
		"Reply":                         {client(1, layers.DHCPv6MsgTypeReply).ours(), ErrMalformed, "REPLY is none of a client"},
		"Reconfigure":                   {client(1, layers.DHCPv6MsgTypeReconfigure).ours(), ErrMalformed, "RECONFIGURE is none of a client"},
		"of no type":                    {client(1, 99), ErrMalformed, "message type 99"},
		"two client IDs":                {client(1, solicitMsg).opt(layers.DHCPv6OptClientID, duidOf(2)...), ErrMalformed, "twice"},
		"short client ID":               {anonymous(1, solicitMsg).opt(layers.DHCPv6OptClientID, 0, 1), ErrMalformed, "a DUID of 2 bytes"},
		"long client ID":                {anonymous(1, solicitMsg).opt(layers.DHCPv6OptClientID, make([]byte, 131)...), ErrMalformed, "a DUID of 131 bytes"},
		"short association":             {client(1, solicitMsg).opt(iana, make([]byte, 11)...), ErrMalformed, "of 11 bytes"},
		"short address":                 {client(1, solicitMsg).opt(iana, append(make([]byte, 12), 0, 5, 0, 2, 1, 1)...), ErrMalformed, "of 2 bytes"},
		"one association twice":         {client(1, solicitMsg).na(1).na(1), ErrMalformed, "0x1 is there twice"},
		"too many associations":         {client(1, solicitMsg).na(1).na(2).na(3).na(4).na(5).na(6).na(7), ErrMalformed, "more than 6"},
		"too many addresses":            {client(1, solicitMsg).na(1, addr("::1"), addr("::2"), addr("::3"), addr("::4")), ErrMalformed, "address 4"},
		"half an option request":        {client(1, solicitMsg).opt(layers.DHCPv6OptOro, 0), ErrMalformed, "half an option code"},
		"from somewhere":                {client(1, solicitMsg).na(1).sentBy(addr(offSubnet)), ErrIgnored, "not an address of this link"},
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, r.silent(row.a), row.why, row.text) })
	}
	for _, payload := range [][]byte{nil, {1, 2, 3}, {1, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 1, 0, 9, 1}, make([]byte, 5000)} {
		_, err := r.s.Handle(start, Request{From: local(1), To: AllServers, Payload: payload})
		wantErr(t, err, ErrMalformed, "")
	}
	if l := r.book.List(); len(l) != 0 {
		t.Errorf("the book has %+v", l)
	}
}

func TestRelayedMessagesAreDropped(t *testing.T) {
	r := standard(t)
	inner := client(1, solicitMsg).na(1).bytes(t)
	payload := append([]byte{byte(layers.DHCPv6MsgTypeRelayForward), 0}, make([]byte, 32)...)
	payload = append(append(payload, 0, 9, 0, byte(len(inner))), inner...)
	_, err := r.s.Handle(start, Request{Port: "vm1", MAC: mac(1), From: local(1), To: AllServers, Payload: payload})
	wantErr(t, err, ErrMalformed, "a relayed message")
}

func TestUnicastIsRefusedAsItWasNotAllowed(t *testing.T) {
	r := standard(t)
	a := r.join(1)
	for _, q := range []*ask{
		client(1, requestMsg).ours().na(1), client(1, renewMsg).ours().na(1, a),
		client(1, releaseMsg).ours().na(1, a), client(1, declineMsg).ours().na(1, a),
	} {
		n := r.say(q.sentTo(addr("fe80::1")).sentBy(a)).kind("REPLY").status(5)
		if len(n.ias) != 0 || r.state(1) != lease.Bound {
			t.Errorf("%+v, %s", n.ias, r.state(1))
		}
	}
	for _, q := range []*ask{client(1, solicitMsg).na(1), client(1, confirmMsg).na(1, a), client(1, rebindMsg).na(1, a), client(1, informMsg)} {
		wantErr(t, r.silent(q.sentTo(addr("fe80::1"))), ErrIgnored, "alone")
	}
}

func TestPrefixesAndTemporaryAddressesAreRefused(t *testing.T) {
	r := standard(t)
	for _, q := range []*ask{client(1, solicitMsg), client(1, requestMsg).ours()} {
		n := r.say(q.na(1).ia(iapd, 2).ia(iata, 3)).state(iapd, 2, 6).state(iata, 3, 2)
		n.gives(1) // the rest is given
	}
	for _, q := range []*ask{client(1, renewMsg).ours(), client(1, rebindMsg)} {
		r.say(q.ia(iapd, 2).ia(iata, 3)).state(iapd, 2, 3).state(iata, 3, 3)
	}
}

func TestNoAddrsAvail(t *testing.T) {
	l := pool
	l.Ranges = []lease.Range{{First: addr("2001:db8::1000"), Last: addr("2001:db8::1000")}}
	r := newRig(t, defaults, l, nil)
	r.join(1)
	r.say(client(2, solicitMsg).na(1)).kind("ADVERTISE").state(iana, 1, 2)
	r.say(client(2, solicitMsg).na(1).rapid()).kind("ADVERTISE").state(iana, 1, 2)
	n := r.say(client(2, requestMsg).ours().na(1)).kind("REPLY").state(iana, 1, 2)
	if c := r.s.Counters(); c.Exhausted != 3 || c.Solicit != 3 || c.Advertise != 3 || c.Request != 2 || c.Reply != 2 || n.Note == "" {
		t.Errorf("counted %+v, told %q", c, n.Note)
	}
}

func TestQuotaOfOnePort(t *testing.T) {
	l := pool
	l.Quota = 2
	r := newRig(t, defaults, l, nil)
	n := r.say(client(1, requestMsg).ours().na(1).na(2).na(3)).state(iana, 3, 2)
	n.gives(1)
	n.gives(2)
	r.say(client(2, solicitMsg).on("vm1").na(1)).state(iana, 1, 2)
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
	n := r.say(client(2, solicitMsg).na(1)).state(iana, 1, 2)
	if !strings.Contains(n.Note, "hosts without a lease use the last 3 addresses") {
		t.Errorf("told %q", n.Note)
	}
}

func TestServerIsSilentBeforeSet(t *testing.T) {
	r := standard(t)
	_, err := New(Config{Book: r.book, DUID: serverDUID}).Handle(start, client(1, solicitMsg).request(t))
	wantErr(t, err, ErrIgnored, "off")
}

func TestSetTellsAllFaults(t *testing.T) {
	err := New(Config{}).Set(Settings{
		Source: addr("2001:db8::1"), Subnet: netip.MustParsePrefix("192.0.2.0/24"),
		DNS: append(make([]netip.Addr, 16), addr("192.0.2.1")), Search: []string{"", "a..b", strings.Repeat("x.", 120) + "x", strings.Repeat("y", 63)}, Lease: time.Millisecond,
	})
	for _, want := range []string{
		"DHCPv6: ", "00:00:00:00:00:00 is no gateway's MAC", "2001:db8::1 is not a link-local address", "192.0.2.0/24 is not an IPv6 subnet",
		"192.0.2.1 cannot be a DNS server", "17 DNS servers", `"a..b" is not a domain`, "domains to search of", "a lease of 1ms",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
}

func TestLongestReplyFitsIntoAFrame(t *testing.T) {
	v := defaults
	for range 16 {
		v.DNS = append(v.DNS[:0:0], append(v.DNS, addr("2001:db8::53"))...)
	}
	v.DNS = v.DNS[:16]
	v.Search = []string{strings.Repeat("x.", 120) + "xxxxx"}
	r := newRig(t, v, pool, nil)
	a := anonymous(1, rebindMsg).opt(layers.DHCPv6OptClientID, bytes.Repeat([]byte{1}, 130)...)
	for id := range uint32(6) {
		a.na(id, addr("2001:db8:1::1"), addr("2001:db8:1::2"), addr("2001:db8:1::3"))
	}
	r.say(a) // which checks its length
}
