package dns

import (
	"net/netip"
	"sync"
)

// How much is done at once, in all and for one client.
const (
	maxQueries, maxQueriesOfOne = 512, 64
	maxConns, maxConnsOfOne     = 128, 16
)

// A gate lets in so many at once, and not too many of one client.
type gate struct {
	most, mostOfOne int

	mu     sync.Mutex
	all    int                // guarded by mu
	inside map[netip.Addr]int // guarded by mu
}

// enter lets a client in, who must leave, or reports that there are too many.
func (g *gate) enter(client netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= g.most || g.inside[client] >= g.mostOfOne {
		return false
	}
	if g.inside == nil {
		g.inside = make(map[netip.Addr]int)
	}
	g.all++
	g.inside[client]++
	return true
}

// leave lets a client out.
func (g *gate) leave(client netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.inside[client]--; g.inside[client] == 0 {
		delete(g.inside, client)
	}
}
