// Package fastpath lets the kernel carry the frames on which the switch would decide as
// it did before.
//
// Two eBPF programs stand in front of weft's own on each netdev (bpf/cache.c), the same ones
// on all. They look a frame up in a table that the process fills:
//
//	            ┌ a record that may be used ─▸ rewrite ▸ redirect to the device it is for
//	frame ▸ find ┤
//	            └ none ─▸ weft's own program ▸ queue ▸ switch ─▸ … ─▸ Remember
//
// A record is found by where the frame came by and its two stations, or by its flow if the
// decision looked at that. It may be used while nothing changed that the decision rests on
// (Changed), while frames come often enough (Basis.Idle), and when no earlier frame is
// still on its way through the switch (Arrived, Drained). A few kinds of frames go to the
// switch all the same.
//
// Records lie in memory that the kernel and the process share. Who remembers writes a free
// record first and makes it findable then, by one store; who removes takes it out of the
// table first, and uses it again only after a grace period (settle). So the programs never see half a
// record, and take no lock. The process looks at all records now and then (Harvest): what they count,
// whether they still hold, when they were last used.
//
// docs/adr/0016-flow-cache.md tells why it is so.
package fastpath

import (
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"

	"weft/frame"
)

// A Config describes a Cache.
type Config struct {
	Flows int       // how many decisions it keeps; 0: 131,072. Each takes some 320 bytes of the kernel's memory
	Used  func(Use) // told by Harvest of what was used since the last; nil: nobody is
}

// A Use says that a decision was used which still holds: those who decided would have
// seen a frame as it was, and sent it as it is.
type Use struct {
	In, Out frame.PortID
	Was, Is frame.Flow // hops are not known
	Basis   frame.Basis
	At      time.Duration // the last time, before now
}

// A Cache holds decisions of the switch and repeats them in the kernel. It implements
// vswitch.Memory. All its methods may be called at once, also by Config.Used; Close only when no other runs.
type Cache struct {
	*kernel
	used    func(Use)
	clock   clock
	changes atomic.Uint64 // how many there were
	served  [1 << 16 / 64]atomic.Uint64

	mu       sync.Mutex // a leaf: nothing is called under it
	ports    map[frame.PortID]*port
	counters map[frame.PortID]*Counters // also of ports that were removed
	kinds    [cachePlaces][2]int        // how many records of stations and of flows there are for places that hash there
	free     []uint32                   // records
	held     map[frame.PortID]int       // records that are not free, by port of entry
	share    int                        // how many of them a port could have when there was last no room for all
	unused   uint32                     // the first record that never was
	retired  []retirement
	sessions map[direction]heard
	stats    counts

	flows     int
	harvested atomic.Uint32 // when, in ticks
	refusals  refusals
}

const (
	defaultFlows = 1 << 17
	cachePlaces  = len(cacheCommon{}.Kinds)
	cacheGroups  = len(cacheCommon{}.Ids)
	cacheSlots   = len(cacheBucket{}.Slots)
)

// counts are what Stats tells, but for what the programs count.
type counts struct {
	flows              int
	hits               uint64
	installed, evicted uint64
}

// New loads the programs and makes the maps of a cache, which is empty and serves no port.
// The error tells what the kernel lacks.
func New(c Config) (*Cache, error) {
	flows := c.Flows
	if flows <= 0 {
		flows = defaultFlows
	}
	now, err := newClock()
	if err != nil {
		return nil, err
	}
	// Two decisions for a bucket of eight: of ten thousand buckets two overflow.
	k, err := load(1+flows+flows/8+1, 1<<bits.Len(uint(flows-1)/2))
	if err != nil {
		return nil, err
	}
	k.common.Epoch = 1
	return &Cache{
		kernel: k, flows: flows, used: c.Used, clock: now, unused: 1,
		ports: map[frame.PortID]*port{}, counters: map[frame.PortID]*Counters{}, held: map[frame.PortID]int{}, sessions: map[direction]heard{},
	}, nil
}

// Programs returns the programs for the ingress and for the egress of devices. They serve
// whatever ports are set, and live as long as they are attached.
func (c *Cache) Programs() (ingress, egress *ebpf.Program) { return c.ingress, c.egress }

// Close lets go of the programs and maps. They stay as they are wherever the programs are
// attached, and what is known goes directly from now on, as when the process ends.
func (c *Cache) Close() error {
	return errors.Join(c.life.Close(), c.ingress.Close(), c.egress.Close(), c.xdp.Close(), c.misses.Close(), c.taps.Close())
}

// Mark implements vswitch.Memory.
func (c *Cache) Mark() uint64 { return c.changes.Load() }

// Changed implements vswitch.Memory. It takes no lock.
func (c *Cache) Changed(s frame.Subject) {
	// What is remembered was decided after a mark: it holds if no number of a change
	// of its subjects is greater. Those who change number the change after making it.
	number := c.changes.Add(1)
	last := &c.common.Changes[c.slot(s)]
	for {
		before := atomic.LoadUint64(last)
		if before >= number || atomic.CompareAndSwapUint64(last, before, number) {
			break
		}
	}
	atomic.AddUint32(&c.common.Epoch, 2)
}

// slot returns where the changes of a subject are noted; Everything has a place of its
// own. That two subjects share one does no harm, but who can choose addresses should not
// find two that do.
func (c *Cache) slot(s frame.Subject) uint16 {
	if s == frame.Everything {
		return 0
	}
	return max(1, uint16(mix(mix(c.seed, uint64(s)), c.seed)>>48))
}

// holds reports whether nothing changed that the record's decision rests on. So do the
// programs.
func (c *Cache) holds(r *record) bool {
	last := atomic.LoadUint64(&c.common.Changes[0])
	for _, s := range r.Subjects {
		last = max(last, atomic.LoadUint64(&c.common.Changes[s]))
	}
	return last <= r.Stamp
}
