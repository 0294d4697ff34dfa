package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// A cacher is a subject that may have a flow cache in the kernel.
type cacher interface {
	// cache returns what the cache has done since it began; nil if there is none.
	cache() (*cacheCount, error)
}

// A cacheCount counts frames from the ports that the cache serves.
type cacheCount struct {
	Enabled bool
	Detail  string            // why it is not
	Hits    uint64            // that the kernel carried
	Misses  map[string]uint64 // left to the daemon, by reason
}

func (c *cacheCount) misses() (n uint64) {
	for _, m := range c.Misses {
		n += m
	}
	return n
}

func (w *weftd) cache() (*cacheCount, error) {
	if w.fastpath == "off" {
		return nil, nil
	}
	var c cacheCount
	if err := w.get("/v1/fastpath?limit=1", &c); err != nil {
		return nil, err
	}
	if !c.Enabled {
		return nil, fmt.Errorf("the flow cache is off: %s", c.Detail)
	}
	return &c, nil
}

// cacheOf returns the count of the subject's cache; nil if it has none.
func cacheOf(s subject) (*cacheCount, error) {
	if c, ok := s.(cacher); ok {
		return c.cache()
	}
	return nil, nil
}

// share returns the share of the frames, in %, that the cache has carried since it
// had counted before. It adds nothing for a subject without a cache.
func (before *cacheCount) share(s subject, to sample) error {
	after, err := cacheOf(s)
	if err != nil || after == nil || before == nil {
		return err
	}
	hits, misses := after.Hits-before.Hits, after.misses()-before.misses()
	if hits+misses > 0 {
		to[cached.Name] = 100 * float64(hits) / float64(hits+misses)
	}
	return nil
}

// cached is a metric of those experiments whose traffic the cache is to carry.
var cached = metric{"cached", "%", "%.1f"}

// settleLimit is how long many flows may take until the cache knows them all.
const settleLimit = 40 * time.Second

// settle waits until the cache carries what runs over so many flows: as many frames
// one after the other, but for one in a hundred.
func (l *lab) settle(s subject, flows int) error {
	before, err := cacheOf(s)
	if err != nil || before == nil {
		return err
	}
	if w, ok := s.(*weftd); ok && w.fastpath == "xdp" {
		if err := w.driven(); err != nil {
			return err
		}
	}
	var failed error
	err = l.within(settleLimit, "frames by the flow cache", func() bool {
		now, err := cacheOf(s)
		if err != nil {
			failed = err
			return true
		}
		hits, misses := now.Hits-before.Hits, now.misses()-before.misses()
		enough := hits+misses >= uint64(max(flows, 1000))
		if enough && misses > hits/100 {
			before = now
		}
		return enough && misses <= hits/100
	})
	return cmp.Or(failed, err)
}

// driven waits until a driver runs the cache's program: it does when the daemon has seen
// that the frames are small.
func (w *weftd) driven() error {
	return w.lab.until("XDP program of a TAP", func() bool {
		out, err := w.lab.run("sw", "", "ip", "-j", "link", "show")
		return err == nil && strings.Contains(out, `"xdp"`)
	})
}
