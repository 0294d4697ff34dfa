package dhcp6

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"weft/service/lease"
)

// An exchange is one message and its answer in the making.
type exchange struct {
	*Server
	v   *Settings
	now time.Time
	q   Request
	m   *message

	told   dhcpv6.Options // of the answer
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
	switch x.m.kind {
	case dhcpv6.MessageTypeSolicit:
		return &c.Solicit
	case dhcpv6.MessageTypeRequest:
		return &c.Request
	case dhcpv6.MessageTypeConfirm:
		return &c.Confirm
	case dhcpv6.MessageTypeRenew:
		return &c.Renew
	case dhcpv6.MessageTypeRebind:
		return &c.Rebind
	case dhcpv6.MessageTypeRelease:
		return &c.Release
	case dhcpv6.MessageTypeDecline:
		return &c.Decline
	default:
		return &c.Information
	}
}

// unicast answers what was sent to the server alone, which it never allowed (RFC 8415
// 18.3.2 and others; 16: some messages are not answered at all).
func (x *exchange) unicast() (Reply, error) {
	if !x.m.forOne() {
		return Reply{}, ignored("%s was sent to %s alone", x.m.kind, x.q.To)
	}
	x.told.Add(status(iana.StatusUseMulticast, "send to ff02::1:2"))
	return x.reply(dhcpv6.MessageTypeReply), nil
}

func (x *exchange) answer() (Reply, error) {
	switch x.m.kind {
	case dhcpv6.MessageTypeSolicit:
		return x.solicit()
	case dhcpv6.MessageTypeConfirm:
		return x.confirm()
	case dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline:
		return x.end()
	}
	for i := range x.m.associations {
		ia := &x.m.associations[i]
		var err error
		switch {
		case ia.code != dhcpv6.OptionIANA:
			x.none(ia)
		case x.m.extends():
			err = x.extend(ia)
		default:
			err = x.request(ia)
		}
		if err != nil {
			return Reply{}, err
		}
	}
	x.tell()
	return x.reply(dhcpv6.MessageTypeReply), nil
}

// solicit offers an address for each association, or gives them at once to a client that
// would have it so (RFC 8415 18.3.1).
func (x *exchange) solicit() (Reply, error) {
	for i := range x.m.associations {
		ia := &x.m.associations[i]
		if ia.code != dhcpv6.OptionIANA {
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
		x.told.Add(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
		return x.reply(dhcpv6.MessageTypeReply), nil
	}
	// The highest preference: no guest waits for other servers (RFC 8415 18.2.9), as
	// there is none on this network.
	x.told.Add(dhcpv6.OptPreference(255))
	return x.reply(dhcpv6.MessageTypeAdvertise), nil
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
		x.told.Add(status(iana.StatusNotOnLink, "not all are of "+x.v.Subnet.String()))
	} else {
		x.told.Add(status(iana.StatusSuccess, "all are of "+x.v.Subnet.String()))
	}
	return x.reply(dhcpv6.MessageTypeReply), nil
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
	if len(x.v.DNS) > 0 && x.m.wants(dhcpv6.OptionDNSRecursiveNameServer) {
		var servers []net.IP
		for _, a := range x.v.DNS {
			servers = append(servers, a.AsSlice())
		}
		x.told.Add(dhcpv6.OptDNS(servers...))
	}
	if len(x.v.Search) > 0 && x.m.wants(dhcpv6.OptionDomainSearchList) {
		x.told.Add(dhcpv6.OptDomainSearchList(x.v.search()))
	}
}
