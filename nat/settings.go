package nat

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"weft/frame"
)

// Settings is what an operator may change while the table works.
type Settings struct {
	Realms map[Realm]Policy    // not of 0, the outside
	Pools  map[Pool]PoolConfig // not of 0, none
}

// A PoolConfig names external addresses and their ports.
type PoolConfig struct {
	Addresses   []netip.Addr // of either family
	Shared      bool         // they are the host's own: its sockets have ports there too
	First, Last uint16       // ports to choose from; none: 49152–65535 if Shared, else 1024–65535
}

// A Policy says how a realm is translated.
type Policy struct {
	Filtering Filtering
	Timers    Timers
	Quota     int  // sessions that frames of one port of entry may open; 0: any number
	Fair      bool // and no more of them than are left free for others, but for a small part of the table
	Forwards  []Forward
}

// Filtering says from whom an internal endpoint with a mapping gets packets
// (RFC 4787 5, RFC 5382 REQ-3).
type Filtering uint8

// The filterings.
const (
	AddressAndPortDependent Filtering = iota // from whom it sent to
	AddressDependent                         // also from other ports of those
	EndpointIndependent                      // from everybody
)

// Timers say how long a session without packets lives, at least. Zero values are the
// defaults of the RFCs. A change holds for a session from its next packet on.
type Timers struct {
	TCPEstablished time.Duration // 2 h 4 min (RFC 5382 REQ-5)
	TCPTransitory  time.Duration // opening: 4 min (RFC 5382 REQ-5)
	TCPClosing     time.Duration // after both FINs, or a RST: 4 min (RFC 7857 2.1, 2.2)
	UDP            time.Duration // 5 min (RFC 4787 REQ-5)
	ICMP           time.Duration // 60 s (RFC 5508 REQ-2)
	InboundRefresh bool          // packets from outside keep UDP and ICMP sessions alive too (RFC 4787 REQ-6)
}

// A Forward sends what comes for external ports to an internal endpoint, from outside
// and from inside. The client's address stays. What the endpoint itself sends appears
// with the external port.
type Forward struct {
	Protocol    frame.Protocol // TCP or UDP
	Pool        Pool
	Address     netip.Addr // zero: all of the pool's that are of To's family
	First, Last uint16
	To          netip.AddrPort // of First; Last goes to the port as many above
}

// A realm is a Policy as packets want it.
type realm struct {
	filtering      Filtering
	inboundRefresh bool
	quota          int
	fair           bool
	idle           [states]uint32 // ticks that a session lives without packets
}

func newRealm(p Policy) *realm {
	r := &realm{filtering: p.Filtering, inboundRefresh: p.Timers.InboundRefresh, quota: p.Quota, fair: p.Fair}
	set := func(d, otherwise time.Duration, of ...State) {
		if d <= 0 {
			d = otherwise
		}
		for _, s := range of {
			r.idle[s] = ticksUp(d)
		}
	}
	set(p.Timers.UDP, 5*time.Minute, active)
	set(p.Timers.ICMP, time.Minute, queried)
	set(p.Timers.TCPTransitory, 4*time.Minute, internalSYN, externalSYN, bothSYN, internalACK, externalACK)
	set(p.Timers.TCPEstablished, 124*time.Minute, established, internalFIN, externalFIN)
	set(p.Timers.TCPClosing, 4*time.Minute, closed, resetSeen)
	return r
}

// A pool is a PoolConfig with the forwards of all realms that lead through it.
type pool struct {
	v4, v6      []uint16 // externals
	first, last uint16
	forwards    []forward
}

// add puts an external address, if it is one, in the list of its family.
func (p *pool) add(i uint16, a address) {
	switch {
	case i == 0:
	case a.is4():
		p.v4 = append(p.v4, i)
	default:
		p.v6 = append(p.v6, i)
	}
}

// externals returns those of the family of a.
func (p *pool) externals(a address) []uint16 {
	if a.is4() {
		return p.v4
	}
	return p.v6
}

func newPool(c PoolConfig) *pool {
	p := &pool{first: c.First, last: c.Last}
	if p.first == 0 || p.last < p.first {
		p.first, p.last = 1024, 65535
		if c.Shared {
			p.first = 49152
		}
	}
	return p
}

// Configure sets what the table goes by from now on. Sessions and mappings that no
// longer fit end; all others stay.
func (t *Table) Configure(_ time.Duration, s Settings) {
	t.install(s)
	t.closeWhere(func(s *session) bool {
		m := t.mappings.at(s.mappingOf())
		if !t.fits(m) {
			return true
		}
		if t.realms[t.hosts.at(m.host).realm].filtering == AddressDependent && m.flags&withPeers == 0 {
			t.countPeers(s.mappingOf())
		}
		return false
	})
}

// install replaces the settings. Maps are gone through in order, so that of two
// settings that contradict each other always the same wins.
func (t *Table) install(s Settings) {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.realms)
	clear(t.pools)
	for _, e := range t.externals[1:] {
		if e != nil {
			e.configured, e.forwarded = false, [protos]bitmap{}
		}
	}
	for _, id := range inOrder(s.Pools) {
		c := s.Pools[id]
		p := newPool(c)
		for _, a := range c.Addresses {
			p.add(t.addExternal(addressOf(a), id, c.Shared), addressOf(a))
		}
		t.pools = put(t.pools, int(id), p)
	}
	for _, id := range inOrder(s.Realms) {
		t.realms = put(t.realms, int(id), newRealm(s.Realms[id]))
		for _, f := range s.Realms[id].Forwards {
			t.addForward(id, f)
		}
	}
	for i := range t.externals[1:] {
		t.dropExternal(uint16(i + 1))
	}
}

// inOrder returns the keys of a map but 0, which stands for none.
func inOrder[T any](m map[uint16]T) []uint16 {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(id uint16) bool { return id == 0 })
}

// put sets an element of a list that grows as need be.
func put[T any](list []*T, i int, v *T) []*T {
	for len(list) <= i {
		list = append(list, nil)
	}
	list[i] = v
	return list
}

// fits reports whether the settings would make the mapping again.
func (t *Table) fits(m *mapping) bool {
	h, e := t.hosts.at(m.host), t.externals[m.external]
	if t.realm(h.realm) == nil || !e.configured || e.pool != h.pool {
		return false
	}
	if m.flags&forwarding != 0 {
		f, to := t.forwardAt(m.external, m.proto, m.externalPort)
		return f != nil && f.realm == h.realm && to == endpoint{h.address, m.internalPort}
	}
	return (m.flags&claimed != 0) == t.claims(e) && !e.forwarded[m.proto].has(m.externalPort)
}

// realm returns the policy of a realm, nil if there is no such.
func (t *Table) realm(r Realm) *realm {
	if int(r) >= len(t.realms) {
		return nil
	}
	return t.realms[r]
}
