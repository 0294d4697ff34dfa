package dhcp6

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"weft/service/lease"
)

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
		"Advertise":                     {client(1, layers.DHCPv6MsgTypeAdverstise).ours(), ErrMalformed, "message type 2 is none of a client"},
		"Reply":                         {client(1, layers.DHCPv6MsgTypeReply).ours(), ErrMalformed, "message type 7 is none"},
		"Reconfigure":                   {client(1, layers.DHCPv6MsgTypeReconfigure).ours(), ErrMalformed, "message type 10 is none"},
		"of no type":                    {client(1, 99), ErrMalformed, "message type 99"},
		"two client IDs":                {client(1, solicitMsg).opt(layers.DHCPv6OptClientID, duidOf(2)...), ErrMalformed, "twice"},
		"short client ID":               {anonymous(1, solicitMsg).opt(layers.DHCPv6OptClientID, 0, 1), ErrMalformed, "a DUID of 2 bytes"},
		"long client ID":                {anonymous(1, solicitMsg).opt(layers.DHCPv6OptClientID, make([]byte, 131)...), ErrMalformed, "a DUID of 131 bytes"},
		"short association":             {client(1, solicitMsg).opt(na, make([]byte, 11)...), ErrMalformed, "of 11 bytes"},
		"short address":                 {client(1, solicitMsg).opt(na, append(make([]byte, 12), 0, 5, 0, 2, 1, 1)...), ErrMalformed, "of 2 bytes"},
		"one association twice":         {client(1, solicitMsg).na(1).na(1), ErrMalformed, "00000001 is there twice"},
		"too many associations":         {client(1, solicitMsg).na(1).na(2).na(3).na(4).na(5).na(6).na(7), ErrMalformed, "more than 6"},
		"too many addresses":            {client(1, solicitMsg).na(1, addr("::1"), addr("::2"), addr("::3"), addr("::4")), ErrMalformed, "address 4"},
		"half an option request":        {client(1, solicitMsg).opt(layers.DHCPv6OptOro, 0), ErrMalformed, "option 6: "},
		"too much requested":            {client(1, solicitMsg).opt(layers.DHCPv6OptOro, make([]byte, 258)...), ErrMalformed, "more than 128 options"},
		"from somewhere":                {client(1, solicitMsg).na(1).sentBy(addr(offSubnet)), ErrIgnored, "not an address of this link"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &rig{t, r.s, r.book, r.now}
			wantErr(t, r.silent(row.a), row.why, row.text)
		})
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
		n := r.say(q.na(1).ia(pd, 2).ia(ta, 3)).state(pd, 2, 6).state(ta, 3, 2)
		n.gives(1) // the rest is given
	}
	for _, q := range []*ask{client(1, renewMsg).ours(), client(1, rebindMsg)} {
		r.say(q.ia(pd, 2).ia(ta, 3)).state(pd, 2, 3).state(ta, 3, 3)
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
