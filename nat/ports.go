package nat

import (
	"math/bits"
	"net/netip"
)

// maxExternals is how many external addresses there may be, the zeroth, which is none,
// included.
const maxExternals = 1 << 12

const (
	wellKnown    = 1024  // ports below stay below, others above (RFC 4787 REQ-3)
	hostChosen   = 32768 // from here on Linux chooses ports for its own sockets
	maxRefusals  = 32    // of ports by the host's kernel, for one mapping
	anyParity    = ^uint64(0)
	evenPorts    = 0x5555_5555_5555_5555
	wordsOfPorts = 65536 / 64
)

// An external is an external address and its ports.
type external struct {
	address
	pool       Pool
	shared     bool
	configured bool // the settings have it; else it ends with its last mapping
	mappings   uint32
	used       [protos]bitmap
	forwarded  [protos]bitmap
}

// A bitmap is a set of ports.
type bitmap [wordsOfPorts]uint64

func (b *bitmap) has(port uint16) bool { return b[port/64]>>(port%64)&1 != 0 }
func (b *bitmap) set(port uint16)      { b[port/64] |= 1 << (port % 64) }
func (b *bitmap) clear(port uint16)    { b[port/64] &^= 1 << (port % 64) }

// setAll sets all ports from first to last.
func (b *bitmap) setAll(first, last uint16) {
	for w := first / 64; w <= last/64; w++ {
		b[w] |= within(w, first, last)
	}
}

// within returns the bits of word w of a bitmap that stand for ports from first to last.
func within(w, first, last uint16) uint64 {
	bits := ^uint64(0)
	if w == first/64 {
		bits &= ^uint64(0) << (first % 64)
	}
	if w == last/64 {
		bits &= ^uint64(0) >> (63 - last%64)
	}
	return bits
}

func (t *Table) findExternal(a address) uint16 {
	if e := t.externals[t.recent]; e != nil && e.address == a { // of few, mostly
		return t.recent
	}
	for i := range t.index.all(t.index.tag(byExternal, 0, 0, a), byExternal) {
		if t.externals[i].address == a {
			t.recent = uint16(i)
			return t.recent
		}
	}
	return 0
}

// addExternal notes that the settings have an external address. It returns 0 if
// another pool has it already, or if there are too many.
func (t *Table) addExternal(a address, p Pool, shared bool) uint16 {
	i := t.findExternal(a)
	if i == 0 {
		for i = 1; int(i) < len(t.externals) && t.externals[i] != nil; i++ {
		}
		if i == maxExternals {
			return 0
		}
		t.externals = put(t.externals, int(i), &external{address: a})
		t.index.add(t.index.tag(byExternal, 0, 0, a), byExternal, uint32(i))
	}
	e := t.externals[i]
	if e.configured {
		return 0
	}
	e.pool, e.shared, e.configured = p, shared, true
	return i
}

// dropExternal forgets an external address that neither settings nor mappings have.
func (t *Table) dropExternal(i uint16) {
	if e := t.externals[i]; e != nil && !e.configured && e.mappings == 0 {
		t.index.remove(t.index.tag(byExternal, 0, 0, e.address), byExternal, uint32(i))
		t.externals[i] = nil
	}
}

func (t *Table) pool(p Pool) *pool {
	if int(p) >= len(t.pools) {
		return nil
	}
	return t.pools[p]
}

// pair chooses the external address of an internal host: always the same of the same
// pool. It returns 0 if the pool has none of the family.
func (p *pool) pair(internal address) uint16 {
	list := p.externals(internal)
	if len(list) == 0 {
		return 0
	}
	return list[(internal.hi^internal.hi>>32^internal.lo)&0xffff_ffff%uint64(len(list))]
}

// claims reports whether the host's kernel is to know of an address's mappings.
func (t *Table) claims(e *external) bool { return e.shared && t.host != nil }

// takePort takes a port of an external address for the internal port want: the same if
// it is free, else a random one (RFC 6056 3.3.1) of the same range and, as RTP has its
// ports in pairs, of the same parity for UDP (RFC 4787 REQ-4, RFC 7857 8). Two internal
// endpoints never share one (RFC 4787 REQ-3).
func (t *Table) takePort(i uint16, p proto, want uint16) (port uint16, ok bool) {
	e := t.externals[i]
	pool := t.pools[e.pool]
	kept := !e.shared || p == icmp || want < hostChosen || pool.first <= want && want <= pool.last
	if kept && !e.used[p].has(want) && !e.forwarded[p].has(want) && t.grab(e, p, want) {
		return want, true
	}
	parity := anyParity
	if p == udp {
		parity = evenPorts << (want & 1)
	}
	switch {
	case p == icmp:
		return t.search(e, p, 0, 65535, parity)
	case want < wellKnown:
		return t.search(e, p, 1, wellKnown-1, parity)
	}
	if port, ok = t.search(e, p, pool.first, pool.last, parity); !ok && e.shared {
		port, ok = t.search(e, p, wellKnown, hostChosen-1, parity)
	}
	return port, ok
}

// search takes a free port from first to last, from a random one on.
func (t *Table) search(e *external, p proto, first, last uint16, parity uint64) (uint16, bool) {
	from := first + uint16(t.random.Uint64N(uint64(last-first)+1))
	for range maxRefusals {
		port, ok := e.free(p, from, last, parity)
		if !ok && from > first {
			port, ok = e.free(p, first, from-1, parity)
		}
		if !ok {
			return 0, false
		}
		if t.grab(e, p, port) {
			return port, true
		}
		if from = port + 1; port == last {
			from = first
		}
	}
	return 0, false
}

// free returns the first free port of a parity from first to last.
func (e *external) free(p proto, first, last uint16, parity uint64) (uint16, bool) {
	for w := first / 64; w <= last/64; w++ {
		if free := parity & within(w, first, last) &^ e.used[p][w] &^ e.forwarded[p][w]; free != 0 {
			return w*64 + uint16(bits.TrailingZeros64(free)), true
		}
	}
	return 0, false
}

// grab takes a free port, if the host's kernel agrees. It is asked for ports that may be
// a socket's; the pool's own range is reserved, and of identifiers there is no telling.
func (t *Table) grab(e *external, p proto, port uint16) bool {
	if t.claims(e) {
		number, at := p.number(e.address), netip.AddrPortFrom(e.addr(), port)
		pool := t.pools[e.pool]
		reserved := p == icmp || pool.first <= port && port <= pool.last
		if !reserved && !t.host.Free(number, at) || t.host.Claim(number, at) != nil {
			return false
		}
	}
	e.used[p].set(port)
	return true
}

// givePort gives back what takePort took.
func (t *Table) givePort(i uint16, p proto, port uint16, claimed bool) {
	e := t.externals[i]
	e.used[p].clear(port)
	if claimed {
		t.host.Release(p.number(e.address), netip.AddrPortFrom(e.addr(), port))
	}
}
