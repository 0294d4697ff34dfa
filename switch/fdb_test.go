package vswitch

import (
	"fmt"
	"math/rand/v2"
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
		i := 0
		for b.Loop() {
			if f.get(keys[i]) == 0 {
				b.Fatal("lost")
			}
			if i++; i == n {
				i = 0
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
