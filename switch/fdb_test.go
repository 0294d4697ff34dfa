package vswitch

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"weft/frame"
)

// newTestFDB returns a table with networks 1 to networks, which age in 300 s, and
// ports 1 to ports.
func newTestFDB(t testing.TB, stations, networks, ports int) *fdb {
	t.Helper()
	f, err := newFDB(stations)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	for i := 1; i <= networks; i++ {
		book := new(networkBook)
		book.ageing.Store(300)
		f.books.networks.set(i, book)
	}
	for i := 1; i <= ports; i++ {
		f.books.ports.set(i, &portBook{id: frame.PortID(i)})
	}
	return f
}

// testMAC returns the i-th of many individual addresses in no order.
func testMAC(i int) frame.MAC {
	return frame.MAC(uint64(i)*0x9e37_79b9_7f4a_7c15>>16) &^ (1 << 40)
}

func TestFDBHoldsWhatItPromises(t *testing.T) {
	for _, stations := range []int{1, 10, 1000, 65536, 1_000_000} {
		t.Run(fmt.Sprint(stations), func(t *testing.T) {
			f := newTestFDB(t, stations, 1, 1)
			if stations == 1_000_000 && len(f.memory) > 40_000_000 {
				t.Errorf("%d bytes, want at most 40 MB", len(f.memory))
			}
			for i := range stations {
				if got := f.learn(keyOf(1, testMAC(i)), 1, 0); got != learned {
					t.Fatalf("station %d of %d: outcome %d, want learned", i, stations, got)
				}
			}
			for i := range stations {
				if f.get(keyOf(1, testMAC(i))).port() != 1 {
					t.Fatalf("station %d of %d is lost", i, stations)
				}
			}
		})
	}
}

func BenchmarkFDB(b *testing.B) {
	const n = 1_000_000
	fill := func(b *testing.B) (*fdb, []key) {
		f := newTestFDB(b, n, 1, 1)
		keys := make([]key, n)
		for i := range keys {
			keys[i] = keyOf(1, testMAC(i))
			f.learn(keys[i], 1, 0)
		}
		rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		return f, keys
	}
	b.Run("lookup-cold/1M", func(b *testing.B) {
		f, keys := fill(b)
		b.ResetTimer()
		// As the relay does: those of a batch are fetched first.
		for i := 0; i < b.N; i += batch {
			some := keys[i%(n-batch):][:batch]
			for _, k := range some {
				f.fetch(k)
			}
			for _, k := range some {
				if f.get(k) == 0 {
					b.Fatal("lost")
				}
			}
		}
		b.ReportMetric(float64(len(f.memory)), "table-bytes")
	})
	b.Run("lookup-warm/1M", func(b *testing.B) {
		f, keys := fill(b)
		for i := 0; b.Loop(); i++ {
			if f.get(keys[i%64]) == 0 {
				b.Fatal("lost")
			}
		}
	})
	b.Run("learn/1M", func(b *testing.B) {
		f, keys := fill(b)
		everything := func(key, entry) bool { return true }
		f.flush(everything)
		i := 0
		for b.Loop() {
			if f.learn(keys[i], 1, 0) != learned {
				b.Fatal("not learned")
			}
			if i++; i == n {
				b.StopTimer()
				f.flush(everything)
				i = 0
				b.StartTimer()
			}
		}
	})
	b.Run("refresh/1M", func(b *testing.B) {
		f, keys := fill(b)
		i, now := 0, uint32(1)
		for b.Loop() {
			f.learn(keys[i], 1, now)
			if i++; i == n {
				i = 0
				now++
			}
		}
	})
}

func TestFDBDoesNotAllocate(t *testing.T) {
	f := newTestFDB(t, 100, 1, 2)
	n := 0
	if got := testing.AllocsPerRun(1000, func() { // far beyond what there is room for
		n++
		f.learn(keyOf(1, testMAC(n)), 1, uint32(n))
		f.learn(keyOf(1, testMAC(n)), 2, uint32(n))
	}); got != 0 {
		t.Errorf("%v allocations for a station that is learned and moved", got)
	}
}

// TestFDBCountsDoNotDrift has many learn, move, refuse and flush the same stations
// at once. Readers must never see the entry of another network's station.
func TestFDBCountsDoNotDrift(t *testing.T) {
	const networks, each, macs = 4, 3, 40
	f := newTestFDB(t, 40, networks, networks*each) // small enough to be full and to move entries
	told := make([]map[frame.MAC]frame.PortID, networks+1)
	for id := 1; id <= networks; id++ {
		book := &networkBook{}
		book.ageing.Store(3)
		book.limit.Store(15)
		var mu sync.Mutex
		told[id] = map[frame.MAC]frame.PortID{}
		book.told = func(m frame.MAC, from, to frame.PortID) {
			mu.Lock()
			defer mu.Unlock()
			if told[id][m] != from {
				t.Errorf("told that %s went from %d to %d; it was at %d", m, from, to, told[id][m])
			}
			if told[id][m] = to; to == 0 {
				delete(told[id], m)
			}
		}
		f.books.networks.set(id, book)
	}
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			for n := range 20_000 {
				id := 1 + random.IntN(networks)
				k := keyOf(FID(id), mac(random.IntN(macs)))
				p := portIndex((id-1)*each + 1 + random.IntN(each))
				now := uint32(n / 500)
				switch random.IntN(100) {
				case 0:
					f.flush(func(_ key, e entry) bool { return e.port() == p })
				case 1:
					if seed == 0 { // as in Run, one goroutine sweeps
						f.sweep(now)
					}
				case 2:
					_ = f.setStatic(k, p, now) // may be taken
				case 3:
					f.remove(k, func(key, entry) bool { return true })
				default:
					f.learn(k, p, now)
				}
				if e := f.get(k); e != 0 && (int(e.port())-1)/each+1 != id {
					t.Errorf("a station of network %d is at port %d", id, e.port())
				}
			}
		})
	}
	wg.Wait()
	entries, dynamic := 0, make(map[any]int32)
	f.scan(0, len(f.buckets), func(k key, e entry) {
		entries++
		if told[k.network()][k.mac()] != frame.PortID(e.port()) {
			t.Errorf("%s is at %d, told %d", k.mac(), e.port(), told[k.network()][k.mac()])
		}
		if !e.static() {
			dynamic[k.network()]++
			dynamic[e.port()]++
		}
	})
	for id := FID(1); id <= networks; id++ {
		entries -= len(told[id])
		if got := f.books.network(id).used.Load(); got != dynamic[id] {
			t.Errorf("network %d: %d dynamic entries counted, want %d", id, got, dynamic[id])
		}
	}
	for p := portIndex(1); p <= networks*each; p++ {
		if got := f.books.port(p).used.Load(); got != dynamic[p] {
			t.Errorf("port %d: %d dynamic entries counted, want %d", p, got, dynamic[p])
		}
	}
	if entries != 0 {
		t.Errorf("%d entries more than told of", entries)
	}
}
