package vswitch

import (
	"slices"
	"sync/atomic"
	"time"

	"weft/frame"
)

// A portIndex is a port's place in the snapshot. Places are used again, PortIDs
// only after all others were: what arrives late under a PortID finds no stranger.
// Zero is no port.
type portIndex uint16

// books hold what writers of the filtering database must know of networks and
// ports: how many dynamic entries each has and may have, and whom to tell.
type books struct {
	memory   Memory
	ports    shelf[portBook]    // by portIndex
	networks shelf[networkBook] // by FID
}

func (b *books) port(i portIndex) *portBook  { return b.ports.at(int(i)) }
func (b *books) network(id FID) *networkBook { return b.networks.at(int(id)) }

// tell reports a transition of one station. The group's lock is held, so that
// those of one station are told in the order in which they happened.
func (b *books) tell(k key, from, to portIndex) {
	if from != 0 && from != to {
		b.memory.Changed(frame.StationSubject(uint16(k.network()), k.mac()))
	}
	if told := b.network(k.network()).told; told != nil {
		told(k.mac(), b.port(from).id, b.port(to).id)
	}
}

type portBook struct {
	quota
	id frame.PortID
}

type networkBook struct {
	quota
	ageing atomic.Uint32 // seconds
	told   func(mac frame.MAC, from, to frame.PortID)
}

// oldest returns the stamp that a dynamic entry must have to hold at now. Stamps
// are in seconds and ageing counts whole ones: an entry lives a little longer
// rather than shorter.
func (n *networkBook) oldest(now uint32) uint32 { return oldest(now, n.ageing.Load()) }

func oldest(now, ageing uint32) uint32 { return now - min(now, ageing) }

// seconds rounds up, so that a limit never comes early.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

// A quota counts dynamic entries. Exactly one give answers each take.
type quota struct{ used, limit atomic.Int32 }

// take counts one entry more, unless the limit is reached; limit 0 is none.
func (q *quota) take() bool {
	for {
		n, limit := q.used.Load(), q.limit.Load()
		if limit != 0 && n >= limit {
			return false
		}
		if q.used.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (q *quota) give() { q.used.Add(-1) }

// A shelf is a list that grows while others read it. It has a single writer.
type shelf[T any] struct{ list atomic.Pointer[[]*T] }

func (s *shelf[T]) at(i int) *T { return (*s.list.Load())[i] }

func (s *shelf[T]) set(i int, v *T) {
	var list []*T
	if old := s.list.Load(); old != nil {
		list = slices.Clone(*old)
	}
	for len(list) <= i {
		list = append(list, new(T))
	}
	list[i] = v
	s.list.Store(&list)
}
