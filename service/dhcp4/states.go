package dhcp4

import (
	"errors"
	"fmt"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"weft/service/lease"
)

// probes is how many addresses are looked at for one offer before the client has to ask
// again.
const probes = 3

// An exchange is one message and all that is needed to answer it.
type exchange struct {
	*Server
	v   *Settings
	now time.Time
	q   Request
	m   *message
}

func (s *Server) handle(now time.Time, q Request) (Reply, error) {
	v := s.settings.Load()
	if v == nil {
		return Reply{}, fmt.Errorf("%w: the server is off", ErrIgnored)
	}
	m, err := parse(q)
	if err != nil {
		return Reply{}, err
	}
	x := &exchange{Server: s, v: v, now: now, q: q, m: m}
	if err := x.admit(); err != nil {
		return Reply{}, err
	}
	switch m.kind {
	case dhcpv4.MessageTypeDiscover:
		s.add(&s.count.Discover)
		return x.discover()
	case dhcpv4.MessageTypeRequest:
		s.add(&s.count.Request)
		return x.request()
	case dhcpv4.MessageTypeDecline:
		s.add(&s.count.Decline)
		return x.decline()
	case dhcpv4.MessageTypeRelease:
		s.add(&s.count.Release)
		return x.release()
	default:
		s.add(&s.count.Inform)
		return x.inform()
	}
}

func ignored(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrIgnored, fmt.Errorf(format, args...))
}

// admit refuses what a port may not say.
func (x *exchange) admit() error {
	if x.m.giaddr.IsValid() {
		for _, a := range x.v.Relays {
			if a == x.m.giaddr {
				return nil
			}
		}
		return ignored("%s is not one of the network's relay agents", x.m.giaddr)
	}
	// RFC 3046 2.1: what relay agents say of a client is not to be believed if there
	// was none.
	x.m.Options.Del(dhcpv4.OptionRelayAgentInformation)
	if x.m.client.MAC != x.q.MAC {
		return ignored("the client is %s, and the frame came from %s", x.m.client.MAC, x.q.MAC)
	}
	return nil
}

// ours reports whether the message names this server, or none.
func (x *exchange) ours() bool {
	return !x.m.server.IsValid() || x.m.server == x.v.Server.Addr()
}

// term returns how long a lease the client gets.
func (x *exchange) term() time.Duration {
	if x.m.term == 0 {
		return x.v.Lease
	}
	return max(min(x.m.term, x.v.Lease), min(minLease, x.v.Lease))
}

// discover offers an address (RFC 2131 4.3.1).
func (x *exchange) discover() (Reply, error) {
	for range probes {
		l, err := x.c.Book.Offer(x.now, x.m.client, x.m.requested)
		if err != nil {
			return Reply{}, err
		}
		if l.State == lease.Bound || x.c.Probe == nil || !x.c.Probe(l.Address, x.m.client.MAC) {
			return x.offer(l), nil
		}
		// RFC 2131 2.2: another host uses it, without a lease.
		if err := x.c.Book.Quarantine(x.now, l.Address); err != nil {
			return Reply{}, err
		}
	}
	return Reply{}, ignored("hosts without a lease use the last %d addresses that were to be offered", probes)
}

// request answers what a client asks for, in whichever state it is (RFC 2131 4.3.2,
// table 4).
func (x *exchange) request() (Reply, error) {
	switch m := x.m; {
	case !x.ours():
		x.c.Book.Withdraw(x.now, m.client)
		return Reply{}, ignored("the client has chosen the server %s", m.server)
	case m.ciaddr.IsValid():
		return x.extend()
	case m.server.IsValid() && m.requested.IsValid():
		return x.bind("SELECTING")
	case m.requested.IsValid():
		return x.reboot()
	default:
		return Reply{}, fmt.Errorf("%w: a DHCPREQUEST of no address", ErrMalformed)
	}
}

// reboot answers a client in the state INIT-REBOOT: it remembers an address.
func (x *exchange) reboot() (Reply, error) {
	if !x.v.Server.Contains(x.m.requested) {
		return x.refuse("%s is not of this network, %s", x.m.requested, x.v.Server.Masked()), nil
	}
	l, known := x.c.Book.Find(x.now, x.m.client)
	if !known {
		return Reply{}, ignored("the client remembers %s, and the book does not", x.m.requested)
	}
	if l.Address != x.m.requested {
		return x.refuse("the client has %s, not %s", l.Address, x.m.requested), nil
	}
	return x.bind("INIT-REBOOT")
}

// extend answers a client in the state RENEWING or REBINDING. One whom the book does not
// know, as it was lost, keeps its address if nobody else has it.
func (x *exchange) extend() (Reply, error) {
	if !x.v.Server.Contains(x.m.ciaddr) {
		return x.refuse("%s is not of this network, %s", x.m.ciaddr, x.v.Server.Masked()), nil
	}
	if l, known := x.c.Book.Find(x.now, x.m.client); known && l.Address != x.m.ciaddr {
		return x.refuse("the client has %s, not %s", l.Address, x.m.ciaddr), nil
	}
	x.m.requested = x.m.ciaddr
	return x.bind("RENEWING")
}

// bind gives the client the address it asks for, or says that it cannot have it.
func (x *exchange) bind(state string) (Reply, error) {
	l, err := x.c.Book.Bind(x.now, x.m.client, x.m.requested, x.term())
	switch {
	case errors.Is(err, lease.ErrNotHere), errors.Is(err, lease.ErrTaken):
		return x.refuse("%s, in state %s: %w", x.m.requested, state, err), nil
	case err != nil:
		return Reply{}, err
	}
	return x.ack(l), nil
}

// decline takes an address out of use that the client found in use (RFC 2131 4.3.3).
func (x *exchange) decline() (Reply, error) {
	if !x.ours() || !x.m.requested.IsValid() {
		return Reply{}, ignored("a DHCPDECLINE for the server %s, of address %s", x.m.server, x.m.requested)
	}
	l, _ := x.c.Book.Find(x.now, x.m.client)
	err := x.c.Book.Decline(x.now, x.m.client, x.m.requested)
	if errors.Is(err, lease.ErrNoLease) {
		return Reply{}, ignored("%s declined, and %w", x.m.requested, err)
	}
	return Reply{
		Kind: nameOf(x.m.kind), Lease: l,
		Note: fmt.Sprintf("another host uses %s, says the client: it is not given out for a while", x.m.requested),
	}, err
}

// release ends the client's lease (RFC 2131 4.3.4).
func (x *exchange) release() (Reply, error) {
	if !x.ours() || !x.m.ciaddr.IsValid() {
		return Reply{}, ignored("a DHCPRELEASE for the server %s, of address %s", x.m.server, x.m.ciaddr)
	}
	l, _ := x.c.Book.Find(x.now, x.m.client)
	err := x.c.Book.Free(x.now, x.m.client, x.m.ciaddr)
	if errors.Is(err, lease.ErrNoLease) {
		return Reply{}, ignored("%s released, and %w", x.m.ciaddr, err)
	}
	return Reply{Kind: nameOf(x.m.kind), Lease: l}, err
}

// inform tells a client that has an address the rest (RFC 2131 4.3.5).
func (x *exchange) inform() (Reply, error) {
	if !x.ours() || !x.v.Server.Contains(x.m.ciaddr) {
		return Reply{}, ignored("a DHCPINFORM for the server %s, from address %s", x.m.server, x.m.ciaddr)
	}
	return x.ack(lease.Lease{}), nil
}
