package vswitch

// vacancyLocked finds a slot for a new station: a free one, one whose entry expired,
// or one whose entry can stand elsewhere. It returns nil if there is none.
func (f *fdb) vacancyLocked(first, second uint64, now uint32) *slot {
	expired := func(_ uint64, s *slot) bool {
		if network := f.books.network(key(s.key.Load()).network()); entry(s.entry.Load()).alive(network.oldest(now)) {
			return false
		}
		f.removeLocked(s)
		return true
	}
	for _, fits := range []func(uint64, *slot) bool{isFree, expired, f.moveLocked} {
		if s := f.choose(first, second, fits); s != nil {
			return s
		}
	}
	return nil
}

// evictLocked removes a dynamic entry to make room for a static one.
func (f *fdb) evictLocked(first, second uint64) *slot {
	return f.choose(first, second, func(_ uint64, s *slot) bool {
		if entry(s.entry.Load()).static() {
			return false
		}
		f.removeLocked(s)
		return true
	})
}

// choose returns the first slot of two buckets that fits, or nil.
func (f *fdb) choose(first, second uint64, fits func(b uint64, s *slot) bool) *slot {
	for _, b := range [2]uint64{first, second} {
		for i := range f.buckets[b] {
			if s := &f.buckets[b][i]; fits(b, s) {
				return s
			}
		}
	}
	return nil
}

func isFree(_ uint64, s *slot) bool { return s.key.Load() == 0 }

// moveLocked copies the entry of slot s, which is in bucket b, to its second bucket,
// if b is its first and the second has room. The caller is to overwrite s.
func (f *fdb) moveLocked(b uint64, s *slot) bool {
	k := key(s.key.Load())
	first, second := f.pair(k)
	if first != b {
		return false
	}
	for i := range f.buckets[second] {
		if room := &f.buckets[second][i]; room.key.Load() == 0 {
			room.put(k, entry(s.entry.Load()))
			f.groups[b/f.perGroup].moves.Add(1)
			return true
		}
	}
	return false
}
