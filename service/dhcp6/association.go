package dhcp6

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"weft/service/lease"
)

// probes is how many addresses are looked at for one offer before the client has to ask
// again.
const probes = 3

var errInUse = fmt.Errorf("hosts without a lease use the last %d addresses that were to be offered", probes)

// client returns who asks for an association's addresses.
func (x *exchange) client(ia *association) lease.Client {
	return lease.Client{
		Family: lease.IPv6, ID: string(x.m.client), IAID: binary.BigEndian.Uint32(ia.id[:]),
		MAC: x.q.MAC, Port: x.q.Port, Name: x.m.name,
	}
}

// offer finds an address for an association: its own, the first one it asks for, or any.
func (x *exchange) offer(ia *association) (lease.Lease, error) {
	var want netip.Addr
	if len(ia.addresses) > 0 {
		want = ia.addresses[0]
	}
	for range probes {
		l, err := x.c.Book.Offer(x.now, x.client(ia), want)
		if err != nil || l.State == lease.Bound || x.c.Probe == nil || !x.c.Probe(l.Address, x.q.MAC) {
			return l, err
		}
		if err := x.c.Book.Quarantine(x.now, l.Address); err != nil {
			return lease.Lease{}, err
		}
	}
	return lease.Lease{}, errInUse
}

// assign gives an association an address.
func (x *exchange) assign(ia *association) (lease.Lease, error) {
	l, err := x.offer(ia)
	if err == nil {
		l, err = x.c.Book.Bind(x.now, l.Client, l.Address, x.v.Lease)
	}
	return l, err
}

// request answers for an association that the client wants addresses for (RFC 8415
// 18.3.2).
func (x *exchange) request(ia *association) error {
	if off := x.off(ia.addresses); off != nil {
		x.state(ia, iana.StatusNotOnLink, fmt.Sprintf("%s is not of %s", off[0], x.v.Subnet))
		return nil
	}
	l, err := x.assign(ia)
	if err != nil {
		return x.refuse(ia, err)
	}
	x.give(ia, l)
	return nil
}

// extend answers for an association that the client wants to keep: RENEW and REBIND
// (RFC 8415 18.3.4, 18.3.5). One that the book does not know, as it was lost, keeps an
// address that is nobody else's.
func (x *exchange) extend(ia *association) error {
	c := x.client(ia)
	had, known := x.c.Book.Find(x.now, c)
	if !known && len(ia.addresses) > 0 {
		had.Address = ia.addresses[0]
	}
	err := error(lease.ErrNoLease)
	var l lease.Lease
	if had.Address.IsValid() {
		l, err = x.c.Book.Bind(x.now, c, had.Address, x.v.Lease)
	}
	if known && (errors.Is(err, lease.ErrNotHere) || errors.Is(err, lease.ErrTaken)) {
		// It has to move, as the settings have changed.
		l, err = x.assign(ia)
	}
	switch {
	case err == nil:
		x.give(ia, l)
	case errors.Is(err, lease.ErrNotHere), errors.Is(err, lease.ErrTaken):
		x.withdraw(ia) // an address that it may not use
	case errors.Is(err, lease.ErrNoLease):
		x.state(ia, iana.StatusNoBinding, "no address is known")
	default:
		return x.refuse(ia, err)
	}
	return nil
}

// end answers RELEASE and DECLINE (RFC 8415 18.3.7, 18.3.8).
func (x *exchange) end() (Reply, error) {
	var ended []string
	var failed error
	for i := range x.m.associations {
		ia := &x.m.associations[i]
		if ia.code != dhcpv6.OptionIANA {
			x.none(ia)
			continue
		}
		known := false
		for _, a := range ia.addresses {
			var err error
			if x.m.kind == dhcpv6.MessageTypeRelease {
				err = x.c.Book.Free(x.now, x.client(ia), a)
			} else {
				err = x.c.Book.Decline(x.now, x.client(ia), a)
			}
			if errors.Is(err, lease.ErrNoLease) {
				continue
			}
			known = true
			ended = append(ended, a.String())
			failed = errors.Join(failed, err)
		}
		if !known {
			x.state(ia, iana.StatusNoBinding, "no such lease")
		}
	}
	if failed != nil {
		return Reply{}, failed
	}
	if x.m.kind == dhcpv6.MessageTypeDecline && len(ended) > 0 {
		x.note = fmt.Sprintf("another host uses %s, says the client: it is not given out for a while", strings.Join(ended, ", "))
	}
	x.told.Add(status(iana.StatusSuccess, ""))
	return x.reply(dhcpv6.MessageTypeReply), nil
}

// refuse says that there is no address for an association. An error that is none of
// that kind is returned: the message is not answered then, and the client asks again.
func (x *exchange) refuse(ia *association, why error) error {
	switch {
	case errors.Is(why, lease.ErrExhausted), errors.Is(why, errInUse), errors.Is(why, lease.ErrTaken), errors.Is(why, lease.ErrNotHere):
		x.add(&x.count.Exhausted)
	case errors.Is(why, lease.ErrQuota):
		x.add(&x.count.Quota)
	default:
		return why
	}
	x.note = why.Error()
	x.state(ia, iana.StatusNoAddrsAvail, why.Error())
	return nil
}

// none answers for an association of a kind that this server has nothing for: temporary
// addresses and prefixes.
func (x *exchange) none(ia *association) {
	switch {
	case !x.m.asksAnew():
		x.state(ia, iana.StatusNoBinding, "no such lease")
	case ia.code == dhcpv6.OptionIAPD:
		x.state(ia, iana.StatusNoPrefixAvail, "no prefixes are delegated")
	default:
		x.state(ia, iana.StatusNoAddrsAvail, "no temporary addresses are given")
	}
}

// give adds an association with its address, and takes back others that the client
// believes to have.
func (x *exchange) give(ia *association, l lease.Lease) {
	x.leases = append(x.leases, l)
	// Rounded down: the client must not think to have it for longer than it has.
	lifetime := l.Expiry.Sub(x.now).Truncate(time.Second)
	all := dhcpv6.Options{addressOf(l.Address, lifetime)}
	if x.m.extends() {
		all = append(all, taken(ia, l.Address)...)
	}
	// RFC 8415 21.4: 0.5 and 0.8 of the preferred lifetime.
	x.associate(ia, lifetime/2, lifetime-lifetime/5, all)
}

// withdraw adds an association of whose addresses the client may not use any.
func (x *exchange) withdraw(ia *association) { x.associate(ia, 0, 0, taken(ia, netip.Addr{})) }

// state adds an association with a status and nothing else.
func (x *exchange) state(ia *association, s iana.StatusCode, text string) {
	x.associate(ia, 0, 0, dhcpv6.Options{status(s, text)})
}

// associate adds an association with its options.
func (x *exchange) associate(ia *association, t1, t2 time.Duration, all dhcpv6.Options) {
	t1, t2 = t1.Truncate(time.Second), t2.Truncate(time.Second) // the codec would round up
	switch ia.code {
	case dhcpv6.OptionIATA:
		x.told.Add(&dhcpv6.OptIATA{IaId: ia.id, Options: dhcpv6.IdentityOptions{Options: all}})
	case dhcpv6.OptionIAPD:
		x.told.Add(&dhcpv6.OptIAPD{IaId: ia.id, T1: t1, T2: t2, Options: dhcpv6.PDOptions{Options: all}})
	default:
		x.told.Add(&dhcpv6.OptIANA{IaId: ia.id, T1: t1, T2: t2, Options: dhcpv6.IdentityOptions{Options: all}})
	}
}

// addressOf returns an address option.
func addressOf(a netip.Addr, lifetime time.Duration) dhcpv6.Option {
	return &dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: lifetime, ValidLifetime: lifetime}
}

// taken returns the addresses that the client believes to have, but one, with no time
// left.
func taken(ia *association, but netip.Addr) (all dhcpv6.Options) {
	for _, a := range ia.addresses {
		if a != but {
			all.Add(addressOf(a, 0))
		}
	}
	return all
}

// status returns a status code option.
func status(s iana.StatusCode, text string) dhcpv6.Option {
	return &dhcpv6.OptStatusCode{StatusCode: s, StatusMessage: text}
}
