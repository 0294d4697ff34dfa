package route

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weft/frame"
)

const (
	maxNeighbors     = 16384 // in all
	maxPortNeighbors = 256   // that frames of one port of entry made: its stations, and those it looked for; few of Linux's 1,024 (gc_thresh3)
	buckets          = 8192  // a power of two

	maxHeld      = 256       // packets that wait for neighbors, in all
	maxPortHeld  = 64        // of these, for neighbors that frames of one port of entry made
	heldMore     = 16        // memory is made for so many at a time
	maxWaiting   = 3         // for one neighbor
	maxWaitBytes = 128 << 10 // for one neighbor

	// RFC 4861 10, RFC 1122 2.3.2.1.
	reachableTime = 30 * time.Second // a station's word is believed for so long
	retransTimer  = time.Second      // between two requests for one address
	maxSolicits   = 3
	failedTime    = 3 * time.Second // how long one that did not answer is not asked again
	unusedTime    = 5 * time.Minute // until a neighbor that nobody sends to is forgotten
	refreshTime   = 20 * time.Second
	lockTime      = time.Second // for so long after a station's word, another's for the same address is not believed
)

// A neighborState says how much is known of a neighbor.
type neighborState uint8

const (
	incomplete neighborState = iota // asked for, and no answer yet
	resolved
	probed // resolved some time ago, and asked whether it still is there
	failed // did not answer
)

// A neighbor is a station's address at an interface. Workers find it without a lock.
type neighbor struct {
	handle uint32       // names it to who remembers decisions; never zero
	at     frame.PortID // the interface
	addr   netip.Addr
	next   atomic.Pointer[neighbor] // in its bucket
	mac    atomic.Uint64            // zero unless it can be sent to
	used   atomic.Uint32            // when a packet was last for it, in seconds

	// guarded by neighbors.mu:
	place     int  // in neighbors.all
	kernel    bool // the host's kernel knows it
	state     neighborState
	cause     frame.PortID  // port of entry of the frame that made it; zero: none
	heard     time.Duration // when its station last spoke for it
	confirmed time.Duration // when it last answered
	asked     time.Duration // when it was last asked for; in state failed, when that was given up
	tries     int           // requests since then
	waiting   []*frame.Buf  // packets, as they came in, or ready but for the MAC of the destination
	bytes     int           // of waiting
}

// neighbors is the table of all interfaces' neighbors (RFC 826, RFC 4861 5.1).
type neighbors struct {
	seed    [2]uint64
	buckets [buckets]atomic.Pointer[neighbor]

	changed func(handle uint32)

	mu     sync.Mutex           // for all that is not a look-up; before the locks behind Inject and Resolve
	all    []*neighbor          // guarded by mu
	named  map[uint32]*neighbor // all, by handle; guarded by mu
	last   uint32               // handle that was given; guarded by mu
	caused map[frame.PortID]int // how many of all, by cause; guarded by mu
	held   map[frame.PortID]int // how many packets wait for these; guarded by mu
	spare  []*frame.Buf         // to hold packets in; guarded by mu
	made   int                  // how many of these there are in all; guarded by mu
}

func (t *neighbors) init(changed func(uint32)) {
	if t.changed = changed; changed == nil {
		t.changed = func(uint32) {}
	}
	t.named = make(map[uint32]*neighbor)
	t.seed = [2]uint64{rand.Uint64(), rand.Uint64()}
	t.caused, t.held = make(map[frame.PortID]int), make(map[frame.PortID]int)
}

// bucket returns where neighbors of the address are chained. The seed keeps guests from
// choosing addresses that meet in one.
func (t *neighbors) bucket(at frame.PortID, a netip.Addr) *atomic.Pointer[neighbor] {
	v := a.As16()
	hi, lo := bits.Mul64(
		binary.LittleEndian.Uint64(v[:])^t.seed[0]^uint64(at)<<32,
		binary.LittleEndian.Uint64(v[8:])^t.seed[1])
	return &t.buckets[(hi^lo)&(buckets-1)]
}

// find returns the neighbor, or nil.
func (t *neighbors) find(at frame.PortID, a netip.Addr) *neighbor {
	for n := t.bucket(at, a).Load(); n != nil; n = n.next.Load() {
		if n.addr == a && n.at == at {
			return n
		}
	}
	return nil
}

// seconds returns now in full seconds, from 1 on: 0 stands for never.
func seconds(now time.Duration) uint32 { return uint32(now/time.Second) + 1 }

// lastUsed returns when a packet was last for the neighbor, less a second at most.
func (n *neighbor) lastUsed() time.Duration {
	if s := n.used.Load(); s != 0 {
		return time.Duration(s-1) * time.Second
	}
	return never
}

// never is long before anything.
const never = -1 << 60

// addLocked makes a neighbor because of a frame from port cause, or returns nil if
// there are too many.
func (t *neighbors) addLocked(at frame.PortID, a netip.Addr, cause frame.PortID) *neighbor {
	if len(t.all) >= maxNeighbors || cause != 0 && t.caused[cause] >= maxPortNeighbors {
		return nil
	}
	for t.last++; t.last == 0 || t.named[t.last] != nil; t.last++ {
	}
	n := &neighbor{handle: t.last, at: at, addr: a, place: len(t.all), cause: cause}
	t.all = append(t.all, n)
	t.named[n.handle] = n
	t.caused[cause]++
	b := t.bucket(at, a)
	n.next.Store(b.Load())
	b.Store(n)
	return n
}

// removeLocked forgets a neighbor and the packets that wait for it.
func (t *neighbors) removeLocked(n *neighbor) {
	t.discardLocked(n)
	take(t.caused, n.cause, 1)
	for p := t.bucket(n.at, n.addr); ; p = &p.Load().next {
		if p.Load() == n {
			p.Store(n.next.Load())
			break
		}
	}
	last := t.all[len(t.all)-1]
	t.all[n.place], last.place = last, n.place
	t.all = slices.Delete(t.all, len(t.all)-1, len(t.all))
	delete(t.named, n.handle)
	if n.mac.Load() != 0 {
		t.changed(n.handle)
	}
}

// resolveLocked sets the MAC of a neighbor.
func (t *neighbors) resolveLocked(n *neighbor, mac frame.MAC) {
	if was := frame.MAC(n.mac.Swap(uint64(mac))); was != 0 && was != mac {
		t.changed(n.handle)
	}
}

// use notes that a packet is for the neighbor.
func (n *neighbor) use(now time.Duration) {
	if s := seconds(now); n.used.Load() != s {
		n.used.Store(s)
	}
}

// Touch says that a packet went to a neighbor at the time now, by a decision that was
// remembered: it is in use, by the handle that the Basis has. A handle that names none any
// more it passes over.
func (r *Router) Touch(now time.Duration, handle uint32) {
	ns := &r.neighbors
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n := ns.named[handle]; n != nil && now > n.lastUsed() {
		n.use(now)
	}
}

// countLocked counts the neighbor, for which nothing waits any more, against another
// port, if there is room.
func (t *neighbors) countLocked(n *neighbor, port frame.PortID) {
	if n.cause == port || port != 0 && t.caused[port] >= maxPortNeighbors {
		return
	}
	take(t.caused, n.cause, 1)
	n.cause = port
	t.caused[port]++
}

// take lowers one of the counts.
func take(counts map[frame.PortID]int, port frame.PortID, n int) {
	if counts[port] -= n; counts[port] == 0 {
		delete(counts, port)
	}
}

// holdLocked keeps a copy of a packet until the neighbor is known.
func (t *neighbors) holdLocked(n *neighbor, b *frame.Buf) bool {
	if len(n.waiting) >= maxWaiting || n.bytes+b.Len() > maxWaitBytes || t.held[n.cause] >= maxPortHeld {
		return false
	}
	if len(t.spare) == 0 && t.made < maxHeld {
		t.spare = append(t.spare, frame.NewBufs(heldMore)...)
		t.made += heldMore
	}
	last := len(t.spare) - 1
	if last < 0 {
		return false
	}
	c := t.spare[last]
	t.spare = t.spare[:last]
	c.CopyFrom(b)
	n.waiting = append(n.waiting, c)
	n.bytes += b.Len()
	t.held[n.cause]++
	return true
}

// withdrawLocked returns the packets that wait. Their memory is to be recycled.
func (t *neighbors) withdrawLocked(n *neighbor) []*frame.Buf {
	list := n.waiting
	take(t.held, n.cause, len(list))
	n.waiting, n.bytes = nil, 0
	return list
}

// discardLocked ends the packets that wait.
func (t *neighbors) discardLocked(n *neighbor) {
	t.spare = append(t.spare, t.withdrawLocked(n)...)
}

// recycle gives packets' memory back.
func (t *neighbors) recycle(list []*frame.Buf) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spare = append(t.spare, list...)
}

// forget removes the neighbors of the interfaces that are gone or that lead elsewhere.
func (t *neighbors) forget(old, next *view) {
	t.mu.Lock()
	defer t.mu.Unlock()
	gone := func(at frame.PortID) bool {
		was, is := old.byPort[at], next.byPort[at]
		return was != nil && (is == nil || is.MAC != was.MAC || is.Outside != was.Outside)
	}
	for k := len(t.all) - 1; k >= 0; k-- {
		if n := t.all[k]; gone(n.at) {
			t.removeLocked(n)
		}
	}
}
