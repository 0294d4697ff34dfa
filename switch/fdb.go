package vswitch

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"unsafe"

	"weft/frame"
)

// fdb is the filtering database of all networks (IEEE 802.1Q 8.8): one flat table
// outside the collector's heap.
//
// A station has two buckets it may stand in, both in one group, so that a writer
// takes a single lock and holds it for one entry. Readers take none. Most stations
// stand in their first bucket. To make room one may be moved from its first to its
// second, the copy made first, so readers, who look in this order, never miss it.
//
//	hash(FID, MAC) ──▸ group ──▸ first bucket  ┐ one cache line each:
//	                         └─▸ second bucket ┘ 4 × {key, entry}
type fdb struct {
	memory  []byte
	buckets []bucket
	groups  []group
	books   books
	seed    [4]uint64
	dynamic atomic.Int64 // dynamic entries of all networks, expired ones included

	perGroup uint64
	shift    uint // hash >> shift is the group
	swept    int  // where the next sweep goes on
}

// A key is a station's FID and MAC in one word. Zero is no station's key, as there
// is no FID 0.
type key uint64

func keyOf(id FID, mac frame.MAC) key { return key(id)<<48 | key(mac) }
func (k key) network() FID            { return FID(k >> 48) }
func (k key) mac() frame.MAC          { return frame.MAC(k & (1<<48 - 1)) }

// An entry is what is known about a station. The zero entry says: nothing.
//
//	63      32 31   17    16    15    0
//	| seen, s |  –  | static |  port  |
type entry uint64

const static entry = 1 << 16

func dynamic(p portIndex, now uint32) entry { return entry(now)<<32 | entry(p) }
func (e entry) port() portIndex             { return portIndex(e & 0xffff) }
func (e entry) static() bool                { return e&static != 0 }
func (e entry) seen() uint32                { return uint32(e >> 32) }

// alive reports whether the entry holds: it is static, or was seen at oldest, in
// seconds, or later.
func (e entry) alive(oldest uint32) bool { return e.static() || e.seen() >= oldest }

// A group is perGroup buckets that are written under one lock.
type group struct {
	mu    sync.Mutex
	moves atomic.Uint32 // entries moved within the group; guarded by mu, read by scans
}

type bucket [4]slot

// A slot holds one station; key 0: none. Its entry is written before its key and
// outlives it, so a reader that sees the same key before and after has its entry.
type slot struct{ key, entry atomic.Uint64 }

func (s *slot) put(k key, e entry) {
	s.key.Store(0)
	s.entry.Store(uint64(e))
	s.key.Store(uint64(k))
}

const (
	maxStations  = 1 << 26
	maxGroups    = 256 // many more than workers, so that two rarely meet
	groupBuckets = 512 // at least: smaller groups fill too unevenly
)

// newFDB makes a table with room for at least so many stations.
func newFDB(stations int) (*fdb, error) {
	if stations < 1 || stations > maxStations {
		return nil, fmt.Errorf("filtering database: %d stations (want 1 to %d)", stations, maxStations)
	}
	// 2.4 slots a station: most find their first bucket free, and the first that
	// finds no place comes after the last that was promised one.
	n := stations*6/10 + 2
	f := &fdb{shift: 64, books: books{memory: forgetful{}}}
	groups := 1
	for groups < maxGroups && n/groups >= 2*groupBuckets {
		groups *= 2
		f.shift--
	}
	f.groups = make([]group, groups)
	f.perGroup = uint64((n + groups - 1) / groups)
	var err error
	if f.memory, err = mapMemory(int(f.perGroup) * groups * int(unsafe.Sizeof(bucket{}))); err != nil {
		return nil, fmt.Errorf("filtering database for %d stations: %w", stations, err)
	}
	f.buckets = unsafe.Slice((*bucket)(unsafe.Pointer(unsafe.SliceData(f.memory))), int(f.perGroup)*groups)
	f.books.ports.set(0, new(portBook))
	f.books.networks.set(0, new(networkBook))
	var random [32]byte
	rand.Read(random[:]) // never fails
	for i := range f.seed {
		f.seed[i] = binary.LittleEndian.Uint64(random[8*i:]) | 1
	}
	return f, nil
}

func (f *fdb) close() error {
	f.buckets = nil
	return unmapMemory(f.memory)
}

// hash mixes in a secret twice, so that a tenant who picks addresses cannot aim
// them at one bucket.
func (f *fdb) hash(k key) uint64 {
	hi, lo := bits.Mul64(uint64(k)^f.seed[0], f.seed[1])
	hi, lo = bits.Mul64(hi^lo^f.seed[2], f.seed[3])
	return hi ^ lo
}

// pair returns the two buckets of a station.
func (f *fdb) pair(k key) (first, second uint64) {
	h := f.hash(k)
	n := f.perGroup
	// Three independent parts of the hash: bits 56–63, 0–31 and 32–55.
	base := h >> f.shift * n
	first = h & 0xffff_ffff * n >> 32
	second = first + 1 + h>>32&0xff_ffff*(n-1)>>24
	if second >= n {
		second -= n
	}
	return base + first, base + second
}

// fetchAbove is how many stations make a table that no longer lies in a processor's
// own cache: 2.4 slots of 16 bytes each.
const fetchAbove = 1 << 14

// sparse reports whether look-ups mostly wait for memory, so that fetch is worth it.
func (f *fdb) sparse() bool { return f.dynamic.Load() > fetchAbove }

// fetch brings a station's first bucket into the cache. Nothing depends on what it
// reads, so the processor waits for a batch of them at once; of get it waits for each.
func (f *fdb) fetch(k key) {
	first, _ := f.pair(k)
	f.buckets[first][0].key.Load()
}

// get returns what is known about a station, whether it still holds or not.
func (f *fdb) get(k key) entry {
	first, second := f.pair(k)
	if e := f.buckets[first].get(k); e != 0 {
		return e
	}
	return f.buckets[second].get(k)
}

func (b *bucket) get(k key) entry {
	for i := range b {
		if b[i].key.Load() == uint64(k) {
			if e := b[i].entry.Load(); b[i].key.Load() == uint64(k) {
				return entry(e)
			}
		}
	}
	return 0
}

// An outcome is what learn made of a source address.
type outcome uint8

const (
	known   outcome = iota
	learned         // a new dynamic entry
	moved           // a dynamic entry points to another port now
	limited         // not learned: a limit is reached or there is no room
	spoofed         // the address belongs to a static entry of another port
)

// learn notes that a station was seen on a port at now, in seconds
// (IEEE 802.1Q 8.7).
func (f *fdb) learn(k key, p portIndex, now uint32) outcome {
	first, second := f.pair(k)
	mu := f.lock(first)
	defer mu.Unlock()
	network, port := f.books.network(k.network()), f.books.port(p)
	if s := f.find(k, first, second); s != nil {
		switch e := entry(s.entry.Load()); {
		case !e.alive(network.oldest(now)):
			f.removeLocked(s)
		case e.port() == p:
			if !e.static() {
				s.entry.Store(uint64(dynamic(p, max(now, e.seen())))) // workers' clocks differ
			}
			return known
		case e.static():
			return spoofed
		case !port.take():
			return limited
		default:
			f.books.port(e.port()).give()
			s.entry.Store(uint64(dynamic(p, now)))
			f.books.tell(k, e.port(), p)
			return moved
		}
	}
	if !network.take() {
		return limited
	}
	if !port.take() {
		network.give()
		return limited
	}
	s := f.vacancyLocked(first, second, now)
	if s == nil {
		network.give()
		port.give()
		return limited
	}
	s.put(k, dynamic(p, now))
	f.dynamic.Add(1)
	f.books.tell(k, 0, p)
	return learned
}

// touch notes that a station was seen at seconds on the port where it is known to be.
func (f *fdb) touch(k key, p portIndex, seconds uint32) {
	first, second := f.pair(k)
	mu := f.lock(first)
	defer mu.Unlock()
	if s := f.find(k, first, second); s != nil {
		e := entry(s.entry.Load())
		if !e.static() && e.port() == p && e.seen() < seconds {
			s.entry.Store(uint64(dynamic(p, seconds)))
		}
	}
}

// errTaken says that an address has a static entry of another port.
var errTaken = errors.New("already a static entry of another port")

// setStatic makes a static entry, in place of a dynamic one (IEEE 802.1Q 8.8.1).
func (f *fdb) setStatic(k key, p portIndex, now uint32) error {
	first, second := f.pair(k)
	mu := f.lock(first)
	defer mu.Unlock()
	if s := f.find(k, first, second); s != nil {
		e := entry(s.entry.Load())
		if e.static() {
			if e.port() != p {
				return errTaken
			}
			return nil
		}
		f.forget(k, e)
		s.entry.Store(uint64(static | entry(p)))
		if e.port() != p {
			f.books.tell(k, e.port(), p)
		}
		return nil
	}
	s := f.vacancyLocked(first, second, now)
	if s == nil {
		s = f.evictLocked(first, second)
	}
	if s == nil {
		return ErrTableFull
	}
	s.put(k, static|entry(p))
	f.books.tell(k, 0, p)
	return nil
}

// remove removes an entry if drop agrees and reports whether it did.
func (f *fdb) remove(k key, drop func(key, entry) bool) bool {
	first, second := f.pair(k)
	mu := f.lock(first)
	defer mu.Unlock()
	s := f.find(k, first, second)
	if s == nil || !drop(k, entry(s.entry.Load())) {
		return false
	}
	f.removeLocked(s)
	return true
}

// lock locks the group of a bucket.
func (f *fdb) lock(b uint64) *sync.Mutex {
	mu := &f.groups[b/f.perGroup].mu
	mu.Lock()
	return mu
}

func (f *fdb) find(k key, first, second uint64) *slot {
	for _, b := range [2]*bucket{&f.buckets[first], &f.buckets[second]} {
		for i := range b {
			if b[i].key.Load() == uint64(k) {
				return &b[i]
			}
		}
	}
	return nil
}

func (f *fdb) removeLocked(s *slot) {
	k, e := key(s.key.Load()), entry(s.entry.Load())
	s.key.Store(0)
	if !e.static() {
		f.forget(k, e)
	}
	f.books.tell(k, e.port(), 0)
}

// forget takes a dynamic entry out of the books.
func (f *fdb) forget(k key, e entry) {
	f.dynamic.Add(-1)
	f.books.network(k.network()).give()
	f.books.port(e.port()).give()
}
