package dhcp6

import (
	"fmt"
	"net/netip"
	"time"

	"weft/service/lease"
)

// An exchange is one message and its answer in the making.
type exchange struct {
	*Server
	v   *Settings
	now time.Time
	q   Request
	m   *message

	body   []byte // options of the answer
	leases []lease.Lease
	note   string
}

func ignored(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrIgnored, fmt.Errorf(format, args...))
}

func (s *Server) handle(now time.Time, q Request) (Reply, error) {
	v := s.settings.Load()
	if v == nil {
		return Reply{}, ignored("the server is off")
	}
	m, err := parse(q.Payload)
	if err != nil {
		return Reply{}, err
	}
	if err := m.valid(s.c.DUID); err != nil {
		return Reply{}, ignored("%s: %w", m.kind, err)
	}
	if !q.From.IsLinkLocalUnicast() && !v.Subnet.Contains(q.From) {
		return Reply{}, ignored("%s is not an address of this link", q.From)
	}
	x := &exchange{Server: s, v: v, now: now, q: q, m: m}
	s.add(x.counter())
	if !q.To.IsMulticast() {
		return x.unicast()
	}
	return x.answer()
}

func (x *exchange) counter() *uint64 {
	c := &x.count
	return map[kind]*uint64{
		solicit: &c.Solicit, request: &c.Request, confirm: &c.Confirm, renew: &c.Renew, rebind: &c.Rebind,
		release: &c.Release, decline: &c.Decline, information: &c.Information,
	}[x.m.kind]
}

// unicast answers what was sent to the server alone, which it never allowed (RFC 8415
// 18.3.2 and others; 16: some messages are not answered at all).
func (x *exchange) unicast() (Reply, error) {
	switch x.m.kind {
	case request, renew, release, decline:
		x.body = appendStatus(x.body, useMulticast, "send to ff02::1:2")
		return x.reply(reply), nil
	}
	return Reply{}, ignored("%s was sent to %s alone", x.m.kind, x.q.To)
}

func (x *exchange) answer() (Reply, error) {
	switch x.m.kind {
	case solicit:
		return x.solicit()
	case confirm:
		return x.confirm()
	case release, decline:
		return x.end()
	case information:
		x.tell()
		return x.reply(reply), nil
	}
	for i := range x.m.associations {
		ia := &x.m.associations[i]
		var err error
		switch {
		case ia.code != optIANA:
			x.none(ia)
		case x.m.kind == request:
			err = x.request(ia)
		default:
			err = x.extend(ia)
		}
		if err != nil {
			return Reply{}, err
		}
	}
	x.tell()
	return x.reply(reply), nil
}

// solicit offers an address for each association, or gives them at once to a client that
// would have it so (RFC 8415 18.3.1).
func (x *exchange) solicit() (Reply, error) {
	for i := range x.m.associations {
		ia := &x.m.associations[i]
		if ia.code != optIANA {
			x.none(ia)
			continue
		}
		l, err := x.offer(ia)
		if err == nil && x.m.rapid {
			l, err = x.c.Book.Bind(x.now, l.Client, l.Address, x.v.Lease)
		}
		if err != nil {
			if err = x.refuse(ia, err); err != nil {
				return Reply{}, err
			}
			continue
		}
		if !x.m.rapid {
			l.Expiry = x.now.Add(x.v.Lease)
		}
		x.give(ia, l)
	}
	x.tell()
	if x.m.rapid && len(x.leases) > 0 {
		x.body = appendValue(x.body, optRapidCommit, nil)
		return x.reply(reply), nil
	}
	// The highest preference: no guest waits for other servers (RFC 8415 18.2.9), as
	// there is none on this network.
	x.body = appendValue(x.body, optPreference, []byte{255})
	return x.reply(advertise), nil
}

// confirm says whether the client's addresses are of this link (RFC 8415 18.3.3).
func (x *exchange) confirm() (Reply, error) {
	var all []netip.Addr
	for _, ia := range x.m.associations {
		all = append(all, ia.addresses...)
	}
	if len(all) == 0 {
		return Reply{}, ignored("CONFIRM of no address")
	}
	if x.off(all) != nil {
		x.body = appendStatus(x.body, notOnLink, "not all are of "+x.v.Subnet.String())
	} else {
		x.body = appendStatus(x.body, success, "all are of "+x.v.Subnet.String())
	}
	return x.reply(reply), nil
}

// off returns the addresses that are not of this link.
func (x *exchange) off(all []netip.Addr) (off []netip.Addr) {
	for _, a := range all {
		if !x.v.Subnet.Contains(a) {
			off = append(off, a)
		}
	}
	return off
}

// tell adds what the client asks for beside addresses.
func (x *exchange) tell() {
	if len(x.v.DNS) > 0 && x.m.wants(optDNS) {
		x.body = appendOption(x.body, optDNS, func(b []byte) []byte {
			for _, a := range x.v.DNS {
				b = append(b, a.AsSlice()...)
			}
			return b
		})
	}
	if len(x.v.Search) > 0 && x.m.wants(optSearch) {
		x.body = appendValue(x.body, optSearch, x.v.search())
	}
}
