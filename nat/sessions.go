package nat

import (
	"net/netip"
	"time"

	"weft/frame"
)

// A Session is what the table knows about two endpoints that speak to each other.
type Session struct {
	Protocol frame.Protocol
	Realm    Realm
	Port     frame.PortID   // port of entry of the packet that opened it
	Inside   netip.AddrPort // of ICMP, ports are the query's identifier
	External netip.AddrPort // what Remote sees of Inside
	Remote   netip.AddrPort
	State    State
	Expires  time.Duration // when it ends if no packet comes
}

// Sessions yields the sessions, as they are while it goes on. The table is not locked
// meanwhile.
func (t *Table) Sessions(yield func(Session) bool) { each(t, t.describe, yield) }

// each yields what of says about each session.
func each[T any](t *Table, of func(*session) T, yield func(T) bool) {
	some := make([]T, 0, visits)
	for i := uint32(1); ; {
		some = some[:0]
		t.mu.Lock()
		next, _ := t.sweep(i, func(s *session) bool {
			some = append(some, of(s))
			return false
		})
		done := next > t.sessions.made
		t.mu.Unlock()
		for _, s := range some {
			if !yield(s) {
				return
			}
		}
		if i = next; done {
			return
		}
	}
}

func (t *Table) describe(s *session) Session {
	h, e := t.hosts.at(s.host), t.externals[s.external]
	d := Session{
		Protocol: s.state.proto().number(s.remote),
		Realm:    h.realm,
		Port:     s.port,
		Inside:   endpoint{h.address, s.internalPort}.addrPort(),
		External: endpoint{e.address, s.externalPort}.addrPort(),
		Remote:   s.far().addrPort(),
		State:    s.state,
		Expires:  time.Duration(s.deadline) * tick,
	}
	if s.state == queried {
		d.Remote = netip.AddrPortFrom(d.Remote.Addr(), s.externalPort)
	}
	return d
}

// Flush ends the sessions of the internal address inside of r, or of all if it is
// zero, and returns how many there were.
func (t *Table) Flush(r Realm, inside netip.Addr) int {
	var a address
	if inside.IsValid() {
		a = addressOf(inside)
	}
	return t.closeWhere(func(s *session) bool {
		h := t.hosts.at(s.host)
		return h.realm == r && (!inside.IsValid() || h.address == a)
	})
}

// ForgetPort ends the sessions that packets of a port of entry opened and returns how
// many there were.
func (t *Table) ForgetPort(p frame.PortID) int {
	return t.closeWhere(func(s *session) bool { return s.port == p })
}
