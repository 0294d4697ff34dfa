package lease

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
)

// maxPool bounds the addresses of one family, as each takes a bit of memory.
const maxPool = 1 << 24

// A pool knows which addresses of one family's ranges are free. Addresses have numbers,
// counted through all ranges.
type pool struct {
	spans []span
	size  int
	free  bitmap
}

// A span is a range and the number of its first address.
type span struct {
	Range
	base, size int
}

// newPool returns a pool of ranges of one family, all addresses free. The ranges are
// valid and do not overlap.
func newPool(ranges []Range) (*pool, error) {
	p := &pool{}
	for _, r := range ranges {
		n, ok := distance(r.First, r.Last)
		if !ok || n >= maxPool || p.size+int(n)+1 > maxPool {
			return nil, fmt.Errorf("range %s-%s has too many addresses (want at most %d of one family)", r.First, r.Last, maxPool)
		}
		p.spans = append(p.spans, span{Range: r, base: p.size, size: int(n) + 1})
		p.size += int(n) + 1
	}
	slices.SortFunc(p.spans, func(a, b span) int { return a.First.Compare(b.First) })
	p.free = newBitmap(p.size)
	return p, nil
}

// number returns an address's number.
func (p *pool) number(a netip.Addr) (int, bool) {
	i, found := slices.BinarySearchFunc(p.spans, a, func(s span, a netip.Addr) int { return s.First.Compare(a) })
	if !found {
		i--
	}
	if i < 0 || p.spans[i].Last.Less(a) {
		return 0, false
	}
	n, ok := distance(p.spans[i].First, a)
	return p.spans[i].base + int(n), ok
}

// address returns the address of a number.
func (p *pool) address(n int) netip.Addr {
	for _, s := range p.spans {
		if n >= s.base && n < s.base+s.size {
			return offset(s.First, uint64(n-s.base))
		}
	}
	return netip.Addr{}
}

// contains reports whether the address is in the ranges.
func (p *pool) contains(a netip.Addr) bool {
	_, ok := p.number(a)
	return ok
}

// isFree reports whether the address is in the ranges and free.
func (p *pool) isFree(a netip.Addr) bool {
	n, ok := p.number(a)
	return ok && p.free.has(n)
}

// set makes an address of the ranges free, or not. Others are none of its business.
func (p *pool) set(a netip.Addr, free bool) {
	if n, ok := p.number(a); ok {
		p.free.set(n, free)
	}
}

// next returns the first free address from that with number hash, modulo the pool's
// size, on.
func (p *pool) next(hash uint64) (netip.Addr, bool) {
	if p.size == 0 {
		return netip.Addr{}, false
	}
	n, ok := p.free.next(int(hash % uint64(p.size)))
	if !ok {
		n, ok = p.free.next(0)
	}
	return p.address(n), ok
}

// distance returns last - first, if it is not negative and fits.
func distance(first, last netip.Addr) (uint64, bool) {
	a, b := first.As16(), last.As16()
	low, borrow := bits.Sub64(binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(a[8:]), 0)
	high, borrow := bits.Sub64(binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(a[:]), borrow)
	return low, high == 0 && borrow == 0
}

// offset returns the address n after a, of a's family.
func offset(a netip.Addr, n uint64) netip.Addr {
	b := a.As16()
	low, carry := bits.Add64(binary.BigEndian.Uint64(b[8:]), n, 0)
	binary.BigEndian.PutUint64(b[8:], low)
	binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])+carry)
	if a.Is4() {
		return netip.AddrFrom16(b).Unmap()
	}
	return netip.AddrFrom16(b)
}

// overlap returns two ranges of one family that share an address.
func overlap(ranges []Range) (a, b Range, found bool) {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.First.BitLen(), b.First.BitLen()), a.First.Compare(b.First))
	})
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if a.First.BitLen() == b.First.BitLen() && !a.Last.Less(b.First) {
			return a, b, true
		}
	}
	return Range{}, Range{}, false
}

// A bitmap is a set of numbers. Each bit of a level tells whether a word of the level
// below has any, so that the next number is found in one step a level.
type bitmap [][]uint64

// newBitmap returns the set of all numbers below n.
func newBitmap(n int) bitmap {
	var b bitmap
	for {
		level := make([]uint64, (n+63)/64)
		for i := range level {
			level[i] = ^uint64(0)
		}
		if n%64 != 0 {
			level[len(level)-1] = 1<<(n%64) - 1
		}
		b = append(b, level)
		if n = len(level); n <= 1 {
			return b
		}
	}
}

func (b bitmap) has(n int) bool { return b[0][n/64]>>(n%64)&1 == 1 }

func (b bitmap) set(n int, in bool) {
	for _, level := range b {
		word := &level[n/64]
		if in {
			*word |= 1 << (n % 64)
		} else if *word &^= 1 << (n % 64); *word != 0 {
			return
		}
		n /= 64
	}
}

// next returns the lowest number from n on.
func (b bitmap) next(n int) (int, bool) {
	for level := 0; level < len(b); level++ {
		if n/64 >= len(b[level]) {
			return 0, false
		}
		if word := b[level][n/64] >> (n % 64); word != 0 {
			n += bits.TrailingZeros64(word)
			for ; level > 0; level-- {
				n = n*64 + bits.TrailingZeros64(b[level-1][n])
			}
			return n, true
		}
		n = n/64 + 1
	}
	return 0, false
}
