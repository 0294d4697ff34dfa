package daemon

import (
	"maps"

	"github.com/cilium/ebpf"

	"weft/config"
	"weft/fastpath"
	"weft/frame"
)

// A driven is a device whose driver can run the cache's XDP program.
type driven interface{ SetXDP(*ebpf.Program) error }

// A driver is the TAP of a port that says so. The program is there only while small frames
// make up for what it costs superframes: see fastpath.SuitsXDP.
type driver struct {
	at     driven
	on     bool
	fault  error             // why it is not, though it should be
	before fastpath.Counters // when it was last judged
}

// steerLocked judges anew, every second, at which of the ports that want it XDP pays.
func (d *Daemon) steerLocked() {
	f := &d.flows
	cache := f.cache.Load()
	if cache == nil || len(f.drivers) == 0 {
		return
	}
	carried := cache.Counters()
	for id, v := range f.drivers {
		now := carried[id]
		since := fastpath.Counters{RxFrames: now.RxFrames - v.before.RxFrames, RxBytes: now.RxBytes - v.before.RxBytes}
		v.before = now
		if want := fastpath.SuitsXDP(since, v.on); want != v.on && v.fault == nil {
			v.set(cache, want)
			d.warn(v.fault, "XDP is left off", d.portNameLocked(id))
		}
	}
}

func (v *driver) set(cache *fastpath.Cache, on bool) {
	var p *ebpf.Program
	if on {
		p = cache.XDP()
	}
	if v.fault = v.at.SetXDP(p); v.fault == nil {
		v.on = on
	}
}

// driveLocked keeps the drivers those of the ports that want XDP and are served.
func (d *Daemon) driveLocked(cache *fastpath.Cache) {
	f := &d.flows
	want := map[frame.PortID]driven{}
	for _, p := range d.ports {
		at, ok := p.att.(driven)
		if _, served := f.ports[p.id]; ok && served && p.cfg.Fastpath == config.FastpathXDP && cache != nil && cache.XDP() != nil {
			want[p.id] = at
		}
	}
	maps.DeleteFunc(f.drivers, func(id frame.PortID, v *driver) bool {
		if want[id] == v.at {
			return false
		}
		if v.on && f.attached(v.at) {
			v.set(nil, false)
		}
		return true
	})
	for id, at := range want {
		if f.drivers[id] == nil {
			f.drivers[id] = &driver{at: at}
		}
	}
}

// at returns what carries a port's frames of known flows at the moment, in the words of the
// document.
func (f *flows) at(id frame.PortID) string {
	_, served := f.ports[id]
	switch v := f.drivers[id]; {
	case !served:
		return string(config.FastpathOff)
	case v != nil && v.on:
		return string(config.FastpathXDP)
	}
	return string(config.FastpathOn)
}

// attached reports whether the device is one of those that were just looked at.
func (f *flows) attached(at driven) bool {
	front, ok := at.(fronted)
	_, there := f.fronts[front]
	return ok && there
}

// portNameLocked returns the name of a port, by its number.
func (d *Daemon) portNameLocked(id frame.PortID) string { return (*d.layer3.portNames.Load())[id] }
