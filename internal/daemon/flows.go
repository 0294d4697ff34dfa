package daemon

import (
	"context"
	"errors"
	"reflect"
	"time"

	"go.uber.org/zap"

	"weft/config"
	"weft/fastpath"
	"weft/frame"
	"weft/internal/control/api"
	"weft/tap"
)

// flows is the flow cache, and the places in the kernel where it stands. Under Daemon.mu,
// but for memory.
type flows struct {
	memory
	ready  bool                           // weft knows all that an earlier process's cache knew
	fault  error                          // why there is none, though the document wants one
	ports  map[frame.PortID]fastpath.Port // as last told to the cache
	fronts map[fronted]bool               // whether its programs stand there, of all that were looked at
	places map[fronted]place              // what was found when they were looked at

	drivers map[frame.PortID]*driver // TAPs whose ports want XDP
}

// A place is where in the kernel a device is, as it was with that link.
type place struct {
	link tap.Link
	port fastpath.Port
}

// A fronted is what the cache's programs can stand in front of.
type fronted interface{ SetFront(tap.Front) error }

// A seat is a port's place in the kernel.
type seat struct {
	at     fronted
	port   fastpath.Port
	wanted bool // by the document
}

// harvestEvery is how often what the cache forwarded is taken into account. To look through
// many flows takes long: of a processor's time one part in harvestShare, unless what was used
// would be heard of later than harvestLatest.
const (
	harvestEvery  = time.Second
	harvestLatest = 4 * time.Second
	harvestShare  = 50
)

// rememberLocked puts the cache in front of the ports that are attached now, and of no
// others. It cannot fail as a whole: weft is complete without it.
func (d *Daemon) rememberLocked() {
	f := &d.flows
	if !f.ready {
		return
	}
	cache := d.cacheLocked()
	seats := d.seatsLocked()
	for id := range f.ports {
		if s, ok := seats[id]; cache != nil && (!ok || !s.wanted) {
			cache.RemovePort(id)
			delete(f.ports, id)
			if !ok {
				cache.Forget(id) // the port is gone
			}
		}
	}
	var front tap.Front
	if cache != nil {
		front.Ingress, front.Egress = cache.Programs()
	}
	looked := map[fronted]bool{}
	for id, s := range seats {
		on := cache != nil && s.wanted
		if was, known := f.ports[id]; on && (!known || was != s.port) {
			if err := cache.SetPort(id, s.port); err != nil {
				d.log.Warn("the flow cache does without a port", zap.Uint16(keyPort, uint16(id)), zap.Error(err))
				on = false
			} else {
				f.ports[id] = s.port
			}
		}
		looked[s.at] = looked[s.at] || on
	}
	for at, on := range looked {
		if was, known := f.fronts[at]; !known || was != on {
			err := setFront(at, front, on, !known)
			d.warn(err, "placing the flow cache failed", "host")
			looked[at] = on && err == nil
		}
	}
	f.fronts = looked
	d.driveLocked(cache)
}

// setFront puts the programs in front of a device, or takes them off it. first says that
// the device was not looked at before: there may be those of an earlier start.
func setFront(at fronted, front tap.Front, on, first bool) error {
	var err error
	if x, ok := at.(driven); ok && first {
		err = x.SetXDP(nil)
	}
	if !on {
		front = tap.Front{}
	}
	return errors.Join(err, at.SetFront(front))
}

// cacheLocked returns the cache, made when it is first wanted; nil if there is to be
// none, or can be none. One that is wanted no more serves no port: workers may be at it.
func (d *Daemon) cacheLocked() *fastpath.Cache {
	f := &d.flows
	if off(d.cfg.Switch) || f.fault != nil {
		f.stopLocked()
		return nil
	}
	if c := f.cache.Load(); c != nil {
		return c
	}
	c, err := d.kernel.NewCache(fastpath.Config{Used: d.flowUsed})
	if err != nil {
		f.fault = err
		d.log.Warn("no flow cache: all frames come to the switch", zap.Error(err))
		return nil
	}
	f.cache.Store(c)
	return c
}

func (f *flows) stopLocked() {
	for id := range f.ports {
		f.cache.Load().RemovePort(id)
	}
	clear(f.ports)
}

// seatsLocked returns where in the kernel the ports are.
func (d *Daemon) seatsLocked() map[frame.PortID]seat {
	seats := map[frame.PortID]seat{}
	add := func(id frame.PortID, at fronted, p fastpath.Port, wanted bool) {
		if p.Index != 0 {
			seats[id] = seat{at, p, wanted}
		}
	}
	for _, p := range d.ports {
		if p.att != nil && len(p.att.Queues()) == 1 {
			add(p.id, p.att, d.flows.place(p.att, p.link), p.cfg.Fastpath != config.FastpathOff)
		}
	}
	for _, n := range d.segmentsLocked() {
		if g := n.gateway; g != nil && g.att != nil {
			add(g.id, g.att, d.flows.place(g.att, g.link), true)
		}
		for _, u := range n.uplinks {
			if u.up != nil {
				wire, host := u.up.Places()
				add(u.wire, u.up, wire, true)
				add(u.host, u.up, host, true)
			}
		}
	}
	return seats
}

// place returns where the device of a port is. It is looked at again when its link
// changes, and now and then: no message tells of an operator's shaping.
func (f *flows) place(att attachment, l tap.Link) fastpath.Port {
	p, known := f.places[att]
	if !known || !reflect.DeepEqual(p.link, l) {
		p = place{l, att.Place()}
		f.places[att] = p
	}
	return p.port
}

// revisit has a few places looked at again, whichever.
func (f *flows) revisit() {
	n := 0
	for at := range f.places {
		if n++; n > revisited {
			return
		}
		delete(f.places, at)
	}
}

// revisited is how many places are looked at again every retryInterval.
const revisited = 16

// runFlows takes in what the cache forwarded, until ctx ends.
func (d *Daemon) runFlows(ctx context.Context) {
	tick := time.NewTicker(harvestEvery)
	defer tick.Stop()
	var due time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if c := d.flows.cache.Load(); c != nil {
				if begin := time.Now(); begin.After(due) {
					c.Harvest()
					due = begin.Add(min(harvestShare*time.Since(begin), harvestLatest) - harvestEvery/2) // of ticks that jitter
				}
				d.mu.Lock()
				d.steerLocked()
				d.mu.Unlock()
			}
		}
	}
}

// flowUsed keeps alive what a flow rests on that the cache carried.
func (d *Daemon) flowUsed(u fastpath.Use) {
	now := d.sw.Now()
	d.sw.Touch(u.In, u.Was.Src, u.At)
	if u.Basis.Session != 0 {
		d.layer3.table.Touch(now, u.Basis.Session, u.Basis.Outside, u.At)
	}
	if u.Basis.Neighbor != 0 {
		d.layer3.router.Touch(max(0, now-u.At), u.Basis.Neighbor)
	}
}

// carried returns what the cache carried, by port.
func (f *flows) carried() map[frame.PortID]fastpath.Counters {
	if c := f.cache.Load(); c != nil {
		return c.Counters()
	}
	return nil
}

// addCarried adds to a port's counters what the cache carried for it.
func addCarried(a *api.Counters, c fastpath.Counters) {
	a.RxFrames, a.RxBytes, a.RxSegments = a.RxFrames+c.RxFrames, a.RxBytes+c.RxBytes, a.RxSegments+c.RxSegments
	a.TxFrames, a.TxBytes, a.TxSegments = a.TxFrames+c.TxFrames, a.TxBytes+c.TxBytes, a.TxSegments+c.TxSegments
	if c.Lost > 0 {
		if a.Drops == nil {
			a.Drops = map[string]uint64{}
		}
		a.Drops[frame.DropOverrun.String()] += c.Lost
	}
}
