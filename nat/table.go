// Package nat translates addresses and ports between inside and outside (NAPT, RFC
// 3022) with the behaviour of RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP) and 7857, for
// IPv4 and, address for address, for IPv6.
package nat

import (
	"net/netip"
	"time"

	"weft/frame"
)

// A Realm is a network whose addresses are translated. Zero is the outside.
type Realm = uint16

// A Pool is a set of external addresses. Zero is none.
type Pool = uint16

// Host is what the table asks and tells the host's kernel, which shares the external
// addresses of shared pools with it. The table's lock is held: a short system call at
// most.
type Host interface {
	// Free reports whether no socket of the host is bound to at.
	Free(p frame.Protocol, at netip.AddrPort) bool
	// Claim has the frames for at come to the table from now on. It is called before
	// the first frame from there leaves. An error makes the table choose another port.
	Claim(p frame.Protocol, at netip.AddrPort) error
	// Release ends a claim.
	Release(p frame.Protocol, at netip.AddrPort)
}

// Config is what a Table is made of.
type Config struct {
	Capacity int                                      // sessions; 0: DefaultCapacity
	Host     Host                                     // nil: none
	Emit     func(in frame.PortID, b *frame.Buf) bool // has a copy of b come in by in anew, soon; false: no room
	Seed     uint64                                   // of hashes and random ports; 0: random
}

// DefaultCapacity is how many sessions a table holds if its Config does not say.
const DefaultCapacity = 1 << 18

// Settings is what an operator may change while the table works.
type Settings struct {
	Realms map[Realm]Policy
	Pools  map[Pool]PoolConfig
}

// A PoolConfig names external addresses and their ports.
type PoolConfig struct {
	Addresses   []netip.Addr // of either family
	Shared      bool         // they are the host's own: its sockets have ports there too
	First, Last uint16       // ports to choose from; 0: 49152–65535 if Shared, else 1024–65535
}

// A Policy says how a realm is translated.
type Policy struct {
	Filtering Filtering
	Timers    Timers
	Quota     int // sessions that frames of one port of entry may open; 0: any number
	Forwards  []Forward
}

// Filtering says from whom an internal endpoint with a mapping gets packets
// (RFC 4787 5).
type Filtering uint8

// The filterings.
const (
	AddressAndPortDependent Filtering = iota // from whom it sent to
	AddressDependent                         // also from other ports of those
	EndpointIndependent                      // from everybody
)

// Timers say how long a session without packets lives, at least. Zero values are the
// defaults of the RFCs.
type Timers struct {
	TCPEstablished time.Duration // 2 h 4 min (RFC 5382 REQ-5)
	TCPTransitory  time.Duration // opening: 4 min (RFC 5382 REQ-5)
	TCPClosing     time.Duration // after both FINs, or a RST: 4 min (RFC 7857 2.1, 2.2)
	UDP            time.Duration // 5 min (RFC 4787 REQ-5)
	ICMP           time.Duration // 60 s (RFC 5508 REQ-2)
	InboundRefresh bool          // packets from outside keep UDP and ICMP sessions alive too (RFC 4787 REQ-6)
}

// A Forward sends what comes for external ports to an internal endpoint. The client's
// address stays.
type Forward struct {
	Protocol    frame.Protocol // TCP or UDP
	Pool        Pool
	Address     netip.Addr // zero: all of the pool's that are of To's family
	First, Last uint16
	To          netip.AddrPort // of First; Last goes to the port as many above
}

// A Table is the NAT: its sessions, mappings and fragments. Its methods may be called
// by many at once.
type Table struct{}

// New makes a table, in which nothing is configured yet.
func New(Config) *Table { return new(Table) }

// Configure sets what the table goes by from now on. Sessions and mappings that no
// longer fit end; all others stay.
func (t *Table) Configure(time.Duration, Settings) {}

// Outbound translates a packet from inside r that leaves by a way whose external
// addresses are p. It returns zero if it did; frame.Taken if it keeps the packet (a
// fragment whose first has not come yet); else why the packet is lost.
func (t *Table) Outbound(time.Duration, *frame.Buf, Realm, Pool) frame.Reason {
	return frame.DropNATNoPort
}

// Inbound translates a packet from outside for an external address. It is not ours,
// but the host's, if nobody inside has to do with it.
func (t *Table) Inbound(time.Duration, *frame.Buf) (ours bool, why frame.Reason) { return false, 0 }

// Hairpin translates a packet from inside r for an external address, both its source
// and its destination (RFC 4787 6). It is not ours, but the host's, if nobody inside
// has to do with its destination.
func (t *Table) Hairpin(time.Duration, *frame.Buf, Realm) (ours bool, why frame.Reason) {
	return false, 0
}

// Expire ends sessions and fragments whose time is over: one bounded batch of them. It
// goes over the whole table in some 250 calls; call it every 10 ms.
func (t *Table) Expire(time.Duration) {}

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

// A State is that of a session.
type State uint8

// String returns the state's name.
func (s State) String() string { return "" }

// Sessions yields the sessions, as they are while it goes on.
func (t *Table) Sessions(func(Session) bool) {}

// Flush ends the sessions of the internal address inside of r, or of all if it is
// zero, and returns how many there were.
func (t *Table) Flush(Realm, netip.Addr) int { return 0 }

// ForgetPort ends the sessions that packets of a port of entry opened and returns how
// many there were.
func (t *Table) ForgetPort(frame.PortID) int { return 0 }

// Counters are the table's numbers.
type Counters struct {
	Sessions, Mappings, Capacity int
	Opened, Closed               uint64 // sessions, since New
	FragmentsHeld                int
	FragmentsExpired             uint64 // held fragments whose first did not come in time
}

// Counters returns the table's numbers.
func (t *Table) Counters() Counters { return Counters{} }
