package daemon

import (
	"sync/atomic"

	"weft/fastpath"
	"weft/frame"
	vswitch "weft/switch"
)

// A memory is the flow cache as the switch, the router and the table of sessions know
// it: there may be none, and it may come and go while they run.
type memory struct {
	cache atomic.Pointer[fastpath.Cache]
}

var _ vswitch.Memory = (*memory)(nil)

// Serves implements vswitch.Memory.
func (m *memory) Serves(p frame.PortID) bool {
	c := m.cache.Load()
	return c != nil && c.Serves(p)
}

// Mark implements vswitch.Memory.
func (m *memory) Mark() uint64 {
	if c := m.cache.Load(); c != nil {
		return c.Mark()
	}
	return 0
}

// Remember implements vswitch.Memory.
func (m *memory) Remember(d *frame.Decision, since uint64) {
	if c := m.cache.Load(); c != nil {
		c.Remember(d, since)
	}
}

// Refuse implements vswitch.Memory.
func (m *memory) Refuse(in frame.PortID, f *frame.Flow, why frame.Refusal) {
	if c := m.cache.Load(); c != nil {
		c.Refuse(in, f, why)
	}
}

// Changed implements vswitch.Memory.
func (m *memory) Changed(s frame.Subject) {
	if c := m.cache.Load(); c != nil {
		c.Changed(s)
	}
}

// Arrived implements vswitch.Memory.
func (m *memory) Arrived(p frame.PortID) (n uint64, waits bool) {
	if c := m.cache.Load(); c != nil {
		return c.Arrived(p)
	}
	return 0, false
}

// Drained implements vswitch.Memory.
func (m *memory) Drained(p frame.PortID, n uint64) {
	if c := m.cache.Load(); c != nil {
		c.Drained(p, n)
	}
}

// session says that what rests on a session of the translator's no longer holds.
func (m *memory) session(handle uint32) { m.Changed(frame.SessionSubject(handle)) }

// neighbor says the same of a neighbor of the router's.
func (m *memory) neighbor(handle uint32) { m.Changed(frame.NeighborSubject(handle)) }

// seen returns what the cache saw of a connection last.
func (m *memory) seen(session uint32, outside bool) (frame.TCPSeen, bool) {
	if c := m.cache.Load(); c != nil {
		return c.Seen(session, outside)
	}
	return frame.TCPSeen{}, false
}
