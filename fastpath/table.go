package fastpath

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"weft/frame"
)

// mix and hash are those of bpf/record.h and bpf/cache.c.
func mix(hash, word uint64) uint64 {
	hash = (hash ^ word) * 0x9e3779b97f4a7c15
	return hash ^ hash>>32
}

// hash returns the hash of what the record is found by.
func (c *Cache) hash(r *record) uint64 {
	if r.Version == 0 {
		h := mix(c.seed^uint64(r.Place), uint64(r.Stations[0])|uint64(r.Stations[1])<<32)
		return mix(h, uint64(r.Stations[2])|uint64(r.Tag)<<32)
	}
	f := &r.Was
	h := ^c.seed ^ uint64(r.Place)
	for _, word := range [...]uint64{f.Source.Half[0], f.Source.Half[1], f.Destination.Half[0], f.Destination.Half[1], f.last()} {
		h = mix(h, word)
	}
	return h
}

// last returns the last eight bytes of a flow as one word.
func (f *cacheFlow) last() uint64 {
	var p [8]byte
	binary.NativeEndian.PutUint16(p[:], f.Ports[0])
	binary.NativeEndian.PutUint16(p[2:], f.Ports[1])
	p[4], p[5] = f.Version, f.Protocol
	return binary.NativeEndian.Uint64(p[:])
}

// isFor reports whether two records are found by the same key.
func (r *record) isFor(o *record) bool {
	if r.Place != o.Place || r.Version != o.Version {
		return false
	}
	if r.Version != 0 {
		return r.Was == o.Was
	}
	return r.Stations == o.Stations && r.Tag == o.Tag
}

// bucket returns the slots in which a record of that hash may be.
func (c *Cache) bucket(hash uint64) []uint64 { return c.buckets[c.bucketIndex(hash)].Slots[:] }

func (c *Cache) bucketIndex(hash uint64) int { return int(hash) & (len(c.buckets) - 1) }

// find returns the slot and the index of the record that is found by what r is found by.
func (c *Cache) find(hash uint64, r *record) (slot *uint64, index uint32) {
	slots := c.bucket(hash)
	for i := range slots {
		index := uint32(slots[i])
		if slots[i]>>32 == hash>>32 && index != 0 && c.records[index].isFor(r) {
			return &slots[i], index
		}
	}
	return nil, 0
}

// vacancy returns a free slot for a record of that hash. If there is none it makes
// one, of the record that was longest unused.
func (c *Cache) vacancy(hash uint64) *uint64 {
	slots := c.bucket(hash)
	now := c.clock.now()
	oldest, age := 0, int32(-1)
	for i := range slots {
		if slots[i] == 0 {
			return &slots[i]
		}
		if a := int32(now - c.records[uint32(slots[i])].Used); a > age {
			oldest, age = i, a
		}
	}
	c.retire(uint32(slots[oldest]))
	c.stats.evicted++
	return &slots[oldest]
}

// publish lets the programs find the record.
func publish(slot *uint64, hash uint64, index uint32) {
	atomic.StoreUint64(slot, hash>>32<<32|uint64(index))
}

// take returns the index of a free record, or zero. One port could fill the table in no time:
// what is left in the end is for ports that have less than their share, or than is left.
func (c *Cache) take(in frame.PortID) uint32 {
	left := len(c.free) + len(c.records) - int(c.unused)
	if left == 0 || left <= (len(c.records)-c.flows)/2 && c.held[in] >= max(left, c.share) {
		return 0
	}
	i := c.unused
	switch n := len(c.free); {
	case n > 0:
		i, c.free = c.free[n-1], c.free[:n-1]
	case c.windows.records.reach(int(i)) != nil:
		return 0
	default:
		c.unused++
	}
	c.held[in]++
	return i
}

// install makes a record the one for what it is about. It returns false if there is no
// room.
func (c *Cache) install(hash uint64, r *record) bool {
	if c.windows.buckets.reach(c.bucketIndex(hash)) != nil {
		return false
	}
	i := c.take(frame.PortID(r.In))
	if i == 0 {
		return false
	}
	slot, old := c.find(hash, r)
	if old != 0 {
		c.inherit(r, &c.records[old])
	} else {
		slot = c.vacancy(hash)
	}
	c.records[i] = *r
	publish(slot, hash, i)
	if old != 0 {
		c.bury(old)
	}
	c.note(i, 1)
	c.listen(i)
	c.stats.installed++
	return true
}

// note counts a record for its place, or takes it off that count, and tells the programs
// if it is the first or the last of its kind.
func (c *Cache) note(i uint32, n int) {
	r := &c.records[i]
	at := r.Place % uint32(cachePlaces)
	kind := min(r.Version, 1)
	counts := &c.kinds[at]
	counts[kind] += n
	c.stats.flows += n
	var bits uint8
	for k := range counts {
		if counts[k] > 0 {
			bits |= 1 << k
		}
	}
	c.common.Kinds[at] = bits
}

// retire makes the programs find a record no more.
func (c *Cache) retire(i uint32) {
	r := &c.records[i]
	if slot, found := c.find(c.hash(r), r); found == i {
		atomic.StoreUint64(slot, 0)
	}
	c.bury(i)
}

// bury gives up a record that is in no slot. A program may be at it still: it is free
// after a grace period.
func (c *Cache) bury(i uint32) {
	r := &c.records[i]
	c.note(i, -1)
	c.silence(i)
	atomic.StoreUint32(&r.Place, 0)
	c.retired = append(c.retired, retirement{i, c.clock.now()})
}

// A retirement is a record that is about to be free.
type retirement struct {
	index uint32
	since uint32 // in ticks
}

// settle frees the records that were retired before. Their last frames are counted
// now, when there will be no more.
func (c *Cache) settle() {
	c.mu.Lock()
	left := c.retired
	c.retired = nil
	c.mu.Unlock()
	if len(left) == 0 {
		return
	}
	over, now := grace(), c.clock.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range left {
		if !over && now-r.since <= uint32(c.clock.in(time.Second)) {
			c.retired = append(c.retired, r)
			continue
		}
		c.account(&c.records[r.index])
		c.release(r.index)
	}
}

// release makes a record free.
func (c *Cache) release(i uint32) {
	in := frame.PortID(c.records[i].In)
	if c.held[in]--; c.held[in] == 0 {
		delete(c.held, in)
	}
	c.free = append(c.free, i)
}
