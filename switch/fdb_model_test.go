package vswitch

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"weft/frame"
)

// A slowFDB is the filtering database as a map: what fdb must be like.
type slowFDB struct {
	entries    map[key]slowEntry
	now        uint32
	ageing     map[FID]uint32
	networkMax map[FID]int
	portMax    map[portIndex]int
}

type slowEntry struct {
	port   portIndex
	static bool
	seen   uint32
}

func (s *slowFDB) alive(k key) (slowEntry, bool) {
	e, ok := s.entries[k]
	return e, ok && (e.static || s.now-e.seen <= s.ageing[k.network()])
}

func (s *slowFDB) count(of func(key, slowEntry) bool) (n int) {
	for k, e := range s.entries {
		if !e.static && of(k, e) {
			n++
		}
	}
	return n
}

func (s *slowFDB) roomAt(p portIndex) bool {
	n := s.count(func(_ key, e slowEntry) bool { return e.port == p })
	return s.portMax[p] == 0 || n < s.portMax[p]
}

func (s *slowFDB) roomIn(id FID) bool {
	n := s.count(func(k key, _ slowEntry) bool { return k.network() == id })
	return s.networkMax[id] == 0 || n < s.networkMax[id]
}

func (s *slowFDB) learn(k key, p portIndex) outcome {
	e, ok := s.alive(k)
	if !ok {
		delete(s.entries, k)
	}
	switch {
	case !ok && (!s.roomIn(k.network()) || !s.roomAt(p)):
		return limited
	case ok && e.static && e.port != p:
		return spoofed
	case ok && e.static:
		return known
	case ok && e.port != p && !s.roomAt(p):
		return limited
	}
	s.entries[k] = slowEntry{port: p, seen: s.now}
	switch {
	case !ok:
		return learned
	case e.port != p:
		return moved
	}
	return known
}

// TestFDBModel compares the table with its slow twin, at first with room for all.
func TestFDBModel(t *testing.T) { rapid.Check(t, func(t *rapid.T) { checkFDB(t, 1000) }) }

// TestFDBModelFull does so with a table that is mostly full: it may know less than
// its twin, but nothing else, and no static entry less.
func TestFDBModelFull(t *testing.T) { rapid.Check(t, func(t *rapid.T) { checkFDB(t, 4) }) }

type fdbModel struct {
	f    *fdb
	slow *slowFDB
	told map[key]portIndex // what the hook says that the table holds
	full bool
}

func checkFDB(t *rapid.T, stations int) {
	f, err := newFDB(stations)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	const networks, ports = 3, 4
	m := &fdbModel{f: f, full: stations < 100, told: map[key]portIndex{}, slow: &slowFDB{
		entries: map[key]slowEntry{}, ageing: map[FID]uint32{}, networkMax: map[FID]int{}, portMax: map[portIndex]int{},
	}}
	limit := rapid.SampledFrom([]int{0, 0, 2, 5})
	for id := FID(1); id <= networks; id++ {
		m.slow.ageing[id] = rapid.Uint32Range(10, 30).Draw(t, "ageing")
		m.slow.networkMax[id] = limit.Draw(t, "network limit")
		book := &networkBook{told: m.hook(t, id)}
		book.ageing.Store(m.slow.ageing[id])
		book.limit.Store(int32(m.slow.networkMax[id]))
		f.books.networks.set(int(id), book)
	}
	for p := portIndex(1); p <= ports; p++ {
		m.slow.portMax[p] = limit.Draw(t, "port limit")
		book := &portBook{id: frame.PortID(p)}
		book.limit.Store(int32(m.slow.portMax[p]))
		f.books.ports.set(int(p), book)
	}
	drawKey := func(t *rapid.T) key {
		return keyOf(FID(rapid.IntRange(1, networks).Draw(t, "network")), mac(rapid.IntRange(1, 12).Draw(t, "mac")))
	}
	drawPort := func(t *rapid.T) portIndex { return portIndex(rapid.IntRange(1, ports).Draw(t, "port")) }
	t.Repeat(map[string]func(*rapid.T){
		"learn":  func(t *rapid.T) { m.learn(t, drawKey(t), drawPort(t)) },
		"static": func(t *rapid.T) { m.static(t, drawKey(t), drawPort(t)) },
		"delete": func(t *rapid.T) { m.delete(drawKey(t)) },
		"flush":  func(t *rapid.T) { m.flush(t, drawPort(t)) },
		"sweep":  func(*rapid.T) { m.sweep() },
		"time":   func(t *rapid.T) { m.slow.now += rapid.Uint32Range(1, 12).Draw(t, "seconds") },
		"":       m.check,
	})
}

func (m *fdbModel) hook(t *rapid.T, id FID) func(frame.MAC, frame.PortID, frame.PortID) {
	return func(mac frame.MAC, from, to frame.PortID) {
		k := keyOf(id, mac)
		if m.told[k] != portIndex(from) {
			t.Fatalf("told that %s went from %d to %d; it was at %d", mac, from, to, m.told[k])
		}
		if m.told[k] = portIndex(to); to == 0 {
			delete(m.told, k)
		}
	}
}

func (m *fdbModel) learn(t *rapid.T, k key, p portIndex) {
	got := m.f.learn(k, p, m.slow.now)
	if m.full {
		m.follow()
		return
	}
	if want := m.slow.learn(k, p); got != want {
		t.Fatalf("learn %s at %d: %d, want %d", k.mac(), p, got, want)
	}
}

func (m *fdbModel) static(t *rapid.T, k key, p portIndex) {
	e, ok := m.slow.entries[k]
	err := m.f.setStatic(k, p, m.slow.now)
	if taken := ok && e.static && e.port != p; taken != (err == errTaken) {
		t.Fatalf("static %s at %d: %v", k.mac(), p, err)
	}
	if err == ErrTableFull && !m.full {
		t.Fatal(err)
	}
	if err == nil {
		m.slow.entries[k] = slowEntry{port: p, static: true}
	}
	if m.full {
		m.follow()
	}
}

func (m *fdbModel) delete(k key) {
	m.f.remove(k, func(key, entry) bool { return true })
	delete(m.slow.entries, k)
}

func (m *fdbModel) flush(t *rapid.T, p portIndex) {
	got := m.f.flush(func(_ key, e entry) bool { return !e.static() && e.port() == p })
	before := len(m.slow.entries)
	maps.DeleteFunc(m.slow.entries, func(_ key, e slowEntry) bool { return !e.static && e.port == p })
	if want := before - len(m.slow.entries); got != want {
		t.Fatalf("flushed %d, want %d", got, want)
	}
}

func (m *fdbModel) sweep() {
	for range sweeps {
		m.f.sweep(m.slow.now)
	}
	maps.DeleteFunc(m.slow.entries, func(k key, _ slowEntry) bool { _, ok := m.slow.alive(k); return !ok })
}

// follow has the twin take over the dynamic entries of a full table. What is left to
// compare are the static ones, the counts and what was told.
func (m *fdbModel) follow() {
	maps.DeleteFunc(m.slow.entries, func(_ key, e slowEntry) bool { return !e.static })
	m.f.scan(0, len(m.f.buckets), func(k key, e entry) {
		if !e.static() {
			m.slow.entries[k] = slowEntry{port: e.port(), seen: e.seen()}
		}
	})
}

func (m *fdbModel) check(t *rapid.T) {
	dynamic := 0
	for k, want := range m.slow.entries {
		got := m.f.get(k)
		if got.port() != want.port || got.static() != want.static || got.seen() != want.seen {
			t.Fatalf("%s: %#x, want %+v", k.mac(), got, want)
		}
		if m.told[k] != want.port {
			t.Fatalf("%s: told port %d, want %d", k.mac(), m.told[k], want.port)
		}
		if !want.static {
			dynamic++
		}
	}
	n := 0
	m.f.scan(0, len(m.f.buckets), func(key, entry) { n++ })
	if n != len(m.slow.entries) || len(m.told) != n {
		t.Fatalf("%d entries, %d told of, want %d", n, len(m.told), len(m.slow.entries))
	}
	if got := m.f.dynamic.Load(); got != int64(dynamic) {
		t.Fatalf("%d dynamic entries, want %d", got, dynamic)
	}
	for id := range m.slow.ageing {
		want := m.slow.count(func(k key, _ slowEntry) bool { return k.network() == id })
		if got := m.f.books.network(id).used.Load(); int(got) != want {
			t.Fatalf("network %d: %d dynamic entries counted, want %d", id, got, want)
		}
	}
	for p := range m.slow.portMax {
		want := m.slow.count(func(_ key, e slowEntry) bool { return e.port == p })
		if got := m.f.books.port(p).used.Load(); int(got) != want {
			t.Fatalf("port %d: %d dynamic entries counted, want %d", p, got, want)
		}
	}
}
