package fastpath

import (
	"errors"
	"fmt"
	"sync/atomic"

	"weft/frame"
)

// A Port is where a port's frames come by in the kernel, and where frames for it go.
type Port struct {
	Index  int // ifindex of the netdev
	Queue  int // ifindex of the netdev whose queue the switch reads for this port: its companion; of a HostTAP itself
	Side   Side
	Peer   bool // Device only: frames for it may go straight to the netdev's peer, past its qdisc
	XDP    bool // Device only: frames for it may be redirected by XDP, past its qdisc and all programs
	Shared bool // sessions there use addresses of the host's: its own sockets win
}

// A Side says on which side of its netdev a port is.
type Side uint8

// The sides. Frames for the first three pass a guard of weft's, which wants them marked.
const (
	Device   Side = iota // who is behind the netdev; frames come by at its ingress
	Wire                 // of a NIC, likewise
	HostSide             // the host's stack behind a NIC; frames come by at its egress
	HostTAP              // the host's stack behind a TAP of the switch's, likewise
)

// place is how the programs know where a frame came by.
func (p *Port) place() uint32 {
	if p.atIngress() {
		return uint32(p.Index) << 1
	}
	return uint32(p.Index)<<1 | 1
}

func (p *Port) atIngress() bool { return p.Side == Device || p.Side == Wire }

// Counters are what the kernel carried for a port: the switch has not seen it.
type Counters struct {
	RxFrames, RxBytes, RxSegments uint64 // segments: what superframes stand for
	TxFrames, TxBytes, TxSegments uint64
	Lost                          uint64 // frames of the port that were behind one that found the switch's queue full
}

// A port is a Port in use.
type port struct{ Port }

// SetPort makes the cache serve a port, or changes where it is.
func (c *Cache) SetPort(id frame.PortID, p Port) error {
	if p.Index <= 0 || p.Queue <= 0 {
		return fmt.Errorf("flow cache: port %d: want the indexes of netdevs, have %d and %d", id, p.Index, p.Queue)
	}
	if id == 0 {
		return errors.New("flow cache: port 0 is none")
	}
	c.mu.Lock()
	if err := c.windows.backlogs.reach(int(id)); err != nil {
		c.mu.Unlock()
		return fmt.Errorf("flow cache: port %d: %w", id, err)
	}
	known := c.ports[id]
	if known == nil {
		known = &port{}
		if c.counters[id] == nil {
			c.counters[id] = &Counters{}
		}
		c.ports[id] = known
		b := &c.backlogs[id] // of a port that had the number before
		atomic.StoreUint64(&b.Drained, atomic.LoadUint64(&b.Arrived))
	}
	changed := known.Port != p
	if changed {
		c.setTAP(known.Port, false)
		c.setTAP(p, p.XDP)
	}
	known.Port = p
	c.mu.Unlock()
	if changed {
		c.Changed(frame.PortSubject(id))
	}
	c.served[id/64].Or(1 << (id % 64))
	return nil
}

// RemovePort makes the cache forget a port. What comes after it returns takes no way that
// the port was on.
func (c *Cache) RemovePort(id frame.PortID) {
	c.served[id/64].And(^uint64(1 << (id % 64)))
	c.mu.Lock()
	if p := c.ports[id]; p != nil {
		c.setTAP(p.Port, false)
	}
	delete(c.ports, id)
	c.mu.Unlock()
	c.scan(func(i uint32, r *record) {
		if frame.PortID(r.In) == id || frame.PortID(r.To) == id {
			c.retire(i)
		}
	}, nothing)
}

// Serves implements vswitch.Memory.
func (c *Cache) Serves(id frame.PortID) bool { return c.served[id/64].Load()>>(id%64)&1 != 0 }

// Arrived implements vswitch.Memory.
func (c *Cache) Arrived(id frame.PortID) (n uint64, waits bool) {
	b := &c.backlogs[id]
	n = atomic.LoadUint64(&b.Arrived)
	return n, n > atomic.LoadUint64(&b.Drained)
}

// Drained implements vswitch.Memory.
func (c *Cache) Drained(id frame.PortID, n uint64) {
	if last := &c.backlogs[id].Drained; atomic.LoadUint64(last) < n {
		atomic.StoreUint64(last, n)
	}
}
