package nat

import (
	"iter"
	"math/bits"
)

// An index finds records by their keys: one table with open addressing for records of
// all kinds. Its size is fixed, as a table that grows would have to stop for it; of
// memory it takes what is touched.
type index struct {
	slots []slot
	seed  [3]uint64
}

// A slot points to a record. With 32 bits of the key's hash in it, few others are
// looked at in vain; the place follows from them too.
//
//	63   32 31  29 28      0
//	| tag  | kind | record |
type slot uint64

// A kind says what a slot points to and by which of its keys.
type kind uint8

const (
	byExternal kind = 1 + iota // external address
	byHost                     // realm, pool and address of an internal host
	byInternal                 // mapping by its internal endpoint
	byMapped                   // mapping by its external endpoint
	byOutward                  // session by internal endpoint and remote
	byInward                   // session by external endpoint and remote
	byPeer                     // mapping and remote address
)

const (
	recordBits = 29
	maxRecords = 1<<recordBits - 1

	// A session brings six slots at most: two for itself, two for a mapping, one each
	// for a host and a peer. With half a slot to spare, searches end soon also then.
	slotsPerTwo = 13
)

func slotOf(tag uint32, k kind, i uint32) slot {
	return slot(tag)<<32 | slot(k)<<recordBits | slot(i)
}

func (s slot) tag() uint32    { return uint32(s >> 32) }
func (s slot) record() uint32 { return uint32(s) & maxRecords }

func newIndex(sessions int, seed [3]uint64) index {
	return index{slots: make([]slot, sessions*slotsPerTwo/2+maxExternals), seed: seed}
}

// tag hashes a key: a word and an address. It mixes in secrets, so that a tenant who
// picks addresses and ports cannot aim them at one place.
func (x *index) tag(k kind, p proto, word uint64, a address) uint32 {
	hi, lo := bits.Mul64(word^x.seed[0], a.lo^x.seed[1])
	hi, lo = bits.Mul64(hi^lo^a.hi, x.seed[2]^uint64(k)<<8^uint64(p)<<16)
	return uint32((hi ^ lo) >> 32)
}

// mix hashes an address, for a key of two.
func (x *index) mix(a address) uint64 {
	hi, lo := bits.Mul64(a.hi^x.seed[1], a.lo^x.seed[0])
	return hi ^ lo
}

// home returns where the search for a tag begins.
func (x *index) home(tag uint32) int { return int(uint64(tag) * uint64(len(x.slots)) >> 32) }

func (x *index) after(i int) int {
	if i++; i < len(x.slots) {
		return i
	}
	return 0
}

// all yields the records that may have the key: those of the same kind and tag.
func (x *index) all(tag uint32, k kind) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		want := slotOf(tag, k, 0)
		for i := x.home(tag); x.slots[i] != 0; i = x.after(i) {
			if x.slots[i]&^maxRecords == want && !yield(x.slots[i].record()) {
				return
			}
		}
	}
}

func (x *index) add(tag uint32, k kind, record uint32) {
	i := x.home(tag)
	for x.slots[i] != 0 {
		i = x.after(i)
	}
	x.slots[i] = slotOf(tag, k, record)
}

// remove takes out what add put in.
func (x *index) remove(tag uint32, k kind, record uint32) {
	s := slotOf(tag, k, record)
	gap := x.home(tag)
	for x.slots[gap] != s {
		gap = x.after(gap)
	}
	// Move back those behind the gap that a search would no longer reach.
	for i := x.after(gap); x.slots[i] != 0; i = x.after(i) {
		home := x.home(x.slots[i].tag())
		if reached := gap < home && home <= i || i < gap && (gap < home || home <= i); !reached {
			x.slots[gap] = x.slots[i]
			gap = i
		}
	}
	x.slots[gap] = 0
}
