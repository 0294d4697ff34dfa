// Package nat translates addresses and ports between inside and outside (NAPT, RFC
// 3022) with the behaviour of RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP) and 7857, for
// IPv4 and, in the same way, for IPv6.
package nat

import (
	crand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"weft/frame"
)

// A Realm is a network whose addresses are translated. Zero is the outside.
type Realm = uint16

// A Pool is a set of external addresses. Zero is none.
type Pool = uint16

// Host is what the table asks and tells the host's kernel about the addresses of shared
// pools, on which its sockets have ports too. The table's lock is held meanwhile: a
// short system call at most.
type Host interface {
	// Free reports whether no socket of the host is bound to at. It is not asked for
	// ports of the pool's own range, nor about ICMP.
	Free(p frame.Protocol, at netip.AddrPort) bool
	// Claim has the frames for at come to the table from now on. It is called before
	// the first frame from there leaves. An error makes the table choose another port.
	Claim(p frame.Protocol, at netip.AddrPort) error
	// Release ends a claim.
	Release(p frame.Protocol, at netip.AddrPort)
}

// Config is what a Table is made of.
type Config struct {
	Capacity int  // sessions; 0: DefaultCapacity
	Host     Host // nil: none
	// Emit has a copy of b come in by a port, soon, and reports whether there was room:
	// held fragments by their own port of entry; ICMP errors by the Out of the packet
	// that they are about. The table's lock is held: it must not call the table. It may
	// be nil; then held fragments are lost, and late errors not sent.
	Emit func(in frame.PortID, b *frame.Buf) bool
	Seed uint64 // of hashes and random ports; 0: random

	// Changed says that decisions which rest on a session (frame.Basis) hold no more. It is
	// called with the table's lock held, after the change. Nil: nobody remembers any.
	Changed func(session uint32)
	// Seen returns what the last segment from inside or outside said, of those that were
	// translated by remembered decisions which rest on a session; ok is false if there were
	// none. What Touch has told of it should forget once the decision holds no more: the
	// table sees what comes later. It is called with the table's lock held. Nil: nobody knows.
	Seen func(session uint32, outside bool) (said frame.TCPSeen, ok bool)
}

// DefaultCapacity is how many sessions a table holds if its Config does not say.
const DefaultCapacity = 1 << 18

// A Table is the NAT: its sessions and their mappings, and packets in fragments. Its
// methods may be called by many at once.
type Table struct {
	host     Host
	emit     func(in frame.PortID, b *frame.Buf) bool
	changed  func(session uint32)
	seen     func(session uint32, outside bool) (frame.TCPSeen, bool)
	capacity int

	mu        sync.Mutex // held for one packet or a short part of a sweep; guards all below
	index     index
	sessions  slab[session, *session]
	mappings  slab[mapping, *mapping]
	hosts     slab[host, *host]
	peers     slab[peer, *peer]
	externals []*external // the zeroth is none
	recent    uint16      // the external that was looked for last
	pools     []*pool     // by Pool; nil: not configured
	realms    []*realm    // by Realm; nil: not configured
	opened    []uint32    // sessions, by port of entry of the packets that opened them
	swept     uint32      // record of a session that the next sweep begins with
	fragments fragments
	syns      syns
	ids       [groupsOfIDs]uint32
	random    *rand.Rand
	counters  Counters
}

// New makes a table, in which nothing is configured yet.
func New(c Config) *Table {
	n := c.Capacity
	if n <= 0 {
		n = DefaultCapacity
	}
	n = min(n, maxRecords)
	t := &Table{
		host: c.Host, emit: c.Emit, changed: c.Changed, seen: c.Seen, capacity: n, swept: 1, externals: make([]*external, 1),
		sessions: newSlab[session](n), mappings: newSlab[mapping](n), hosts: newSlab[host](n), peers: newSlab[peer](n),
		opened: make([]uint32, 1<<16),
	}
	if t.changed == nil {
		t.changed = func(uint32) {}
	}
	if t.seen == nil {
		t.seen = func(uint32, bool) (said frame.TCPSeen, ok bool) { return said, false }
	}
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], c.Seed)
	if c.Seed == 0 {
		crand.Read(seed[:]) // never fails
	}
	t.random = rand.New(rand.NewChaCha8(seed)) // RFC 6056: nobody is to guess the next
	t.index = newIndex(n, [3]uint64{t.random.Uint64(), t.random.Uint64(), t.random.Uint64()})
	for i := range t.ids {
		t.ids[i] = t.random.Uint32()
	}
	return t
}

// Outbound translates a packet from inside r that leaves by a way whose external
// addresses are p. It returns zero if it did; frame.Taken if it keeps the packet (a
// fragment whose first has not come yet); else why the packet is lost.
//
// As in all three methods, b has been parsed and checked as far as the IP header, and
// the frame as CheckOffload does; its Layers fit again afterwards. Its Basis says what the
// translation rests on.
func (t *Table) Outbound(now time.Duration, b *frame.Buf, r Realm, p Pool) frame.Reason {
	_, why := t.pass(&packet{now: now, buf: b, inside: true, realm: r, pool: p})
	return why
}

// Inbound translates a packet from outside for an external address. It is not ours,
// but the host's, and untouched, if nobody inside has to do with it.
func (t *Table) Inbound(now time.Duration, b *frame.Buf) (ours bool, why frame.Reason) {
	return t.pass(&packet{now: now, buf: b, back: true})
}

// Hairpin translates a packet from inside r for an external address: its source as if
// it went outside, its destination as if it came from there (RFC 4787 REQ-9). It is not
// ours, but the host's, and untouched, if nobody inside has to do with the destination.
func (t *Table) Hairpin(now time.Duration, b *frame.Buf, r Realm) (ours bool, why frame.Reason) {
	return t.pass(&packet{now: now, buf: b, inside: true, back: true, realm: r})
}

func (t *Table) pass(k *packet) (ours bool, why frame.Reason) {
	t.mu.Lock()
	if k.buf.Layers.Fragment == frame.FragmentNone {
		ours, why = t.whole(k)
	} else {
		ours, why = t.fragment(k)
	}
	if k.buf.Basis.Session == 0 {
		k.buf.Basis.Once = true
	}
	t.mu.Unlock()
	return ours, why
}

// whole translates a whole packet, or a first fragment, which has all that is needed.
func (t *Table) whole(k *packet) (ours bool, why frame.Reason) {
	if why := k.read(); why != 0 {
		return k.lost(why)
	}
	if k.back && k.inside && !t.turnsBack(k) {
		return false, 0
	}
	if k.message == failure {
		return t.fail(k)
	}
	if k.inside {
		if why := t.outward(k); why != 0 {
			return true, why
		}
	}
	if k.back {
		if ours, why := t.inward(k); !ours || why != 0 {
			return ours, why
		}
	}
	rewrite(k.buf, &k.was, &k.is)
	t.identify(k.buf)
	return true, 0
}

// Counters are the table's numbers.
type Counters struct {
	Sessions, Mappings, Capacity int
	Opened, Closed               uint64 // sessions, since New
	FragmentsHeld                int
	FragmentsLost                uint64 // held, and their first did not come, or they found no room afterwards
}

// Counters returns the table's numbers.
func (t *Table) Counters() Counters {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counters
	c.Sessions, c.Mappings, c.Capacity = t.sessions.used, t.mappings.used, t.capacity
	for _, h := range t.fragments.held {
		if h.of != nil {
			c.FragmentsHeld++
		}
	}
	return c
}
