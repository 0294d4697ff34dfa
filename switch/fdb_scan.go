package vswitch

// sweeps is how many calls of sweep go over the whole table.
const sweeps = 10

// sweep removes the entries that expired by now, in seconds, from the next part of
// the table. Lookups take them for absent already. Of the stations there that are in
// use it tells once more.
func (f *fdb) sweep(now uint32) {
	part := (len(f.buckets) + sweeps - 1) / sweeps
	from := min(f.swept, len(f.buckets))
	to := min(from+part, len(f.buckets))
	f.swept = to % len(f.buckets)
	if f.dynamic.Load() == 0 {
		return
	}
	f.removeAll(from, to, func(k key, e entry) bool {
		return !e.alive(f.books.network(k.network()).oldest(now))
	})
	f.scan(from, to, func(k key, e entry) {
		if e.static() || e.seen()+sweeps >= now {
			f.confirm(k)
		}
	})
}

// confirm tells of a station where it is still.
func (f *fdb) confirm(k key) {
	first, second := f.pair(k)
	mu := f.lock(first)
	defer mu.Unlock()
	if s := f.find(k, first, second); s != nil {
		p := entry(s.entry.Load()).port()
		f.books.tell(k, p, p)
	}
}

// flush removes all entries that drop names and returns how many there were.
func (f *fdb) flush(drop func(key, entry) bool) int {
	return f.removeAll(0, len(f.buckets), drop)
}

func (f *fdb) removeAll(from, to int, drop func(key, entry) bool) (n int) {
	f.scan(from, to, func(k key, e entry) {
		if drop(k, e) && f.remove(k, drop) {
			n++
		}
	})
	return n
}

// scan calls do for every entry that is in buckets from to to-1 all the while, more
// than once if entries of its group are moved meanwhile.
func (f *fdb) scan(from, to int, do func(key, entry)) {
	per := int(f.perGroup)
	for from < to {
		g := &f.groups[from/per]
		end := min(to, from/per*per+per)
		moves := g.moves.Load()
		for i := range f.buckets[from:end] {
			f.buckets[from+i].each(do)
		}
		if g.moves.Load() == moves {
			from = end
		}
	}
}

func (b *bucket) each(do func(key, entry)) {
	for i := range b {
		s := &b[i]
		if k := s.key.Load(); k != 0 {
			if e := s.entry.Load(); s.key.Load() == k {
				do(key(k), entry(e))
			}
		}
	}
}
