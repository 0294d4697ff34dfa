package fastpath

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"weft/frame"
	"weft/internal/control/api"
)

const (
	talks  = 24   // conversations that go on at a time
	enough = 2000 // steps, for all kinds of them
)

// Two worlds, one with a flow cache and one without, in which the same happens, and what
// comes out of each port is the same, frame by frame. WEFT_SEED makes another run, WEFT_STEPS
// a longer one: not all come by every way, which is complained about too.
func TestCacheChangesNothing(t *testing.T) {
	t.Parallel()
	seed, steps := uint64(1), uint64(enough)
	for name, v := range map[string]*uint64{"WEFT_SEED": &seed, "WEFT_STEPS": &steps} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			*v = n
		}
	}
	t.Logf("WEFT_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	p := newPair(t)
	p.acquaint()
	p.run(r, int(steps))

	p.sameCounters()
	if other := p.sessions(); other != "" {
		t.Errorf("not the same sessions:\n%s", other)
	}
	f := p.cached.w.Fastpath()
	t.Logf("%d frames were the same; the cache carried %d, missed %v, refused %v", p.compared, f.Hits, f.Misses, f.Refused)
	if f.Hits < steps/2 {
		t.Errorf("the cache carried %d frames in %d steps: this proves little (enabled: %v %s)", f.Hits, steps, f.Enabled, f.Detail)
	}
	t.Logf("the cache served %v", slices.Sorted(maps.Keys(p.ways)))
	for _, way := range []string{
		"(vm1|ct1|vm2) (vm1|ct1|vm2) station", "(nic0:wire vm3|vm3 nic0:wire) station", "(vm4|ct2) (vm4|ct2) flow",
		"(vm4|ct2) nic.:wire flow", "nic.:wire (vm4|ct2) flow", "(vm5|ct3) nic.:wire flow", "nic.:wire (vm5|ct3) flow",
		"(vm4|ct2) (vm5|ct3) flow|(vm5|ct3) (vm4|ct2) flow", "default:gateway (vm4|ct2) flow", "(vm4|ct2) default:gateway flow",
	} {
		if steps >= enough && !slices.ContainsFunc(slices.Collect(maps.Keys(p.ways)), regexp.MustCompile("^("+way+")$").MatchString) {
			t.Errorf("the cache was never seen to carry frames by %q", way)
		}
	}
	if off := p.plain.w.Fastpath(); off.Enabled || off.Hits > 0 {
		t.Errorf("the world without a cache has one: %+v", off)
	}
}

// sameCounters compares what the two count: drops everywhere, and all else where nothing
// is said at its own time. What the cache carried shows when it has given up the entry.
func (p *pair) sameCounters() {
	p.Helper()
	for _, port := range []string{"vm1", "vm2", "ct1", "vm3", "vm4", "ct2", "vm5", "ct3", "nic0:wire", "nic1:wire"} {
		of := func(v *world) api.Counters {
			c := v.w.Counters(port)
			delete(c.Drops, frame.DropNeighborQueue.String()) // of questions that are asked until there is an answer
			if len(c.Drops) == 0 {
				c.Drops = nil
			}
			if c.Kernel = nil; v.homes[lab1.name] == port || v.homes[lab2.name] == port || v.homes[lab3.name] == port || v.homes[lab4.name] == port {
				return c
			}
			return api.Counters{Drops: c.Drops}
		}
		p.plain.Until("the counters of "+port+" are the same", func() error {
			if a, b := of(p.plain), of(p.cached); !reflect.DeepEqual(a, b) {
				return fmt.Errorf("without the cache\n%+v, with\n%+v", a, b)
			}
			return nil
		})
	}
}

// acquaint has all stations known.
func (p *pair) acquaint() {
	p.Helper()
	p.both(func(v *world) {
		for _, s := range stations {
			if s.behind == nil {
				v.announce(s)
			}
		}
	})
	for _, s := range stations {
		p.settle(s)
	}
	p.greet()
}

// greet has weft know who is next on the way to whom, so that nothing waits, is behind
// what comes later, or is too much.
func (p *pair) greet() {
	p.Helper()
	p.both(func(v *world) {
		for _, s := range []*station{nat1, nat2, nat3} {
			v.asks(s, gateway, p.gateways["default"])
		}
		for _, s := range []*station{dmz1, dmz2} {
			v.asks(s, dmzGateway, p.gateways["dmz"])
		}
	})
	for _, s := range []*station{nat1, nat2, dmz1, dmz2} {
		p.settle(s)
	}
	p.both(func(v *world) {
		for _, to := range []*station{server1, router2, neighbor, lan1, server3} {
			for _, q := range probe(dmz1, to, p.gateways["dmz"]) {
				v.comesOut(v.jack(to), q)
			}
		}
	})
}

// asks has a station ask for its gateway, which so learns of the station.
func (v *world) asks(s, gateway *station, mac frame.MAC) {
	v.Helper()
	own := v.mac(s)
	v.send(s, sent{bytes: arp(frame.Broadcast, own, frame.ARPRequest, s.v4, 0, gateway.v4)})
	v.send(s, sent{bytes: solicitation(mac, own, s.v6, gateway.v6)})
}

// run draws what happens.
func (p *pair) run(r *rand.Rand, steps int) {
	p.Helper()
	var all []*talk
	for n := range steps {
		for at, do := range p.undo {
			if at <= len(p.story) {
				delete(p.undo, at)
				p.tell("a change ends")
				do()
				p.greet()
			}
		}
		if n%100 == 99 {
			p.look()
		}
		switch {
		case len(all) < talks || r.IntN(20) == 0:
			t := newTalk(r, n)
			p.open(t)
			if len(all) < talks {
				all = append(all, t)
			} else {
				all[r.IntN(talks)] = t
			}
		case r.IntN(12) == 0:
			p.change(r)
			p.greet()
		default:
			t := all[r.IntN(len(all))]
			side := r.IntN(2)
			if t.mute {
				side = 0
			}
			for range 1 + r.IntN(3) {
				p.speak(r, t, side)
			}
		}
	}
}
