package fastpath

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
)

// A pair is two worlds to which the same happens. One has a flow cache.
type pair struct {
	testing.TB
	cached, plain *world
	gateways      map[string]frame.MAC // by network
	barriers      uint32
	story         []string        // what happened so far
	compared      int             // frames that were the same
	undo          map[int]func()  // what ends a change, by length of the story
	ways          map[string]bool // by which frames were seen to go through the cache
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{TB: t, gateways: map[string]frame.MAC{}, undo: map[int]func(){}, ways: map[string]bool{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("What happened:\n%s", strings.Join(p.story[max(0, len(p.story)-storyTail):], "\n"))
		}
	})
	p.cached, p.plain = newWorld(t, "on"), newWorld(t, "off")
	for _, network := range []string{"default", "dmz"} {
		p.gateways[network] = p.plain.gateway(network)
		if other := p.cached.gateway(network); other != p.gateways[network] {
			t.Fatalf("the gateways of %s have the addresses %v and %v", network, p.gateways[network], other)
		}
	}
	return p
}

// gateway returns the address of a network's gateway.
func (v *world) gateway(network string) frame.MAC {
	v.Helper()
	m, err := frame.ParseMAC(strings.TrimSpace(v.hv.Run("ip -br link show wf-g-%s | awk '{print $3}'", network)))
	if err != nil {
		v.Fatalf("%v", err)
	}
	return m
}

// both does something in the two worlds at once.
func (p *pair) both(f func(v *world)) {
	p.Helper()
	p.plain.Together(func() { f(p.plain) }, func() { f(p.cached) })
}

// tell notes what happens.
func (p *pair) tell(format string, args ...any) {
	p.story = append(p.story, fmt.Sprintf("%d: ", len(p.story)+1)+fmt.Sprintf(format, args...))
}

// storyTail is how much is told of what happened before a failure.
const storyTail = 60

// exchange sends frames of the station's in both worlds, and compares what comes of it.
func (p *pair) exchange(from *station, frames ...sent) {
	p.Helper()
	for _, v := range []*world{p.plain, p.cached} {
		for _, f := range frames {
			v.send(from, f)
		}
	}
	p.settle(from)
}

// deadline is how long a frame may be on its way, on a machine that has much to do.
const deadline = 10 * time.Second

// settle waits until what came in where the station is has come out again, and compares
// what came out so far.
func (p *pair) settle(at *station) {
	p.Helper()
	p.barriers++
	for _, v := range []*world{p.plain, p.cached} {
		j := v.jack(at)
		switch {
		case j.name == "nic1":
			v.send(server3, routedBarrier(p.barriers))
		case v.audience(j):
			v.send(at, barrier(0x5254_0000_ba00+frame.MAC(j.name[2])<<8+frame.MAC(j.name[len(j.name)-1]), p.barriers))
		}
	}
	late := time.NewTimer(deadline)
	defer late.Stop()
	for !p.plain.passed(at, p.barriers) || !p.cached.passed(at, p.barriers) || !p.same() {
		select {
		case <-p.plain.heard:
		case <-p.cached.heard:
		case <-late.C:
			p.Fatalf("what comes out is not the same: barrier %d passed: %v without, %v with\n%s%s", p.barriers,
				p.plain.passed(at, p.barriers), p.cached.passed(at, p.barriers), p.difference(), p.sessions())
		}
	}
	if p.Failed() {
		p.FailNow()
	}
}

// audience reports whether anybody hears what is said to all there.
func (v *world) audience(j *jack) bool { return j.name != "vm2" || !v.apart }

// passed reports whether the barrier came through, or there is none to come.
func (v *world) passed(at *station, n uint32) bool {
	j := v.jack(at)
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.barriers[n] || !v.audience(j)
}

// same compares what came out, and forgets it if it is the same.
func (p *pair) same() bool {
	a, b := p.plain, p.cached
	a.mu.Lock()
	defer a.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !maps.Equal(a.got, b.got) {
		return false
	}
	for _, n := range a.got {
		p.compared += n
	}
	clear(a.got)
	clear(b.got)
	return true
}

// difference describes what came out of one world only.
func (p *pair) difference() string {
	a, b := p.plain.got, p.cached.got
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if n := a[k] - b[k]; n > 0 {
			fmt.Fprintf(&text, "%d times without the cache only: %s\n", n, described(k))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if n := b[k] - a[k]; n > 0 {
			fmt.Fprintf(&text, "%d times with the cache only: %s\n", n, described(k))
		}
	}
	return text.String()
}

// sessions describes the sessions that only one of the worlds has, or has in another state.
func (p *pair) sessions() string {
	p.Helper()
	list := func(v *world) (all []string) {
		for _, n := range v.w.Sessions() {
			all = append(all, fmt.Sprintf("%s %v %v %v %s by %s\n", n.Protocol, n.Inside, n.Outside, n.Remote, n.State, n.Port))
		}
		return all
	}
	a, b := list(p.plain), list(p.cached)
	var text strings.Builder
	for _, s := range a {
		if !slices.Contains(b, s) {
			text.WriteString("a session without the cache only: " + s)
		}
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			text.WriteString("a session with the cache only: " + s)
		}
	}
	return text.String()
}

// described makes a normalised frame readable.
func described(k string) string {
	words := strings.Fields(k)
	f, err := hex.DecodeString(words[len(words)-1])
	if err != nil {
		return k
	}
	var all []string
	for _, l := range gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default).Layers() {
		all = append(all, gopacket.LayerString(l))
	}
	return strings.Join(words[:len(words)-1], " ") + ":\n  " + strings.Join(all, "\n  ") + "\n  " + hex.EncodeToString(f[:min(len(f), 120)])
}

// look notes by which ways the cache carries frames.
func (p *pair) look() {
	p.Helper()
	for _, e := range p.cached.w.Fastpath().Entries {
		if e.Frames > 1 {
			p.ways[e.In+" "+e.Out+" "+e.Kind] = true
		}
	}
}
