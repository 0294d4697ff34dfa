package vswitch

import (
	"slices"

	"weft/frame"
)

// A snapshot is all that the workers know of ports and networks. It never changes:
// a worker loads it once per batch, a control function publishes another.
type snapshot struct {
	ports []*port    // by portIndex
	polls [][]*queue // by worker, the queues it reads

	interfaces map[frame.PortID]*port // those with a Router
}

// port returns the port that an entry of network id points to, or nil if this
// snapshot does not know it there: the entry is of another snapshot's time.
func (s *snapshot) port(i portIndex, id FID) *port {
	if int(i) < len(s.ports) && s.ports[i] != nil && s.ports[i].Network == id {
		return s.ports[i]
	}
	return nil
}

// byID returns the port of that id, or nil. It searches: not for every frame.
func (s *snapshot) byID(id frame.PortID) *port {
	for _, p := range s.ports {
		if p != nil && p.id == id {
			return p
		}
	}
	return nil
}

// publishLocked makes a new snapshot and returns when all workers go by it, so
// that what is no longer in it is no longer in use.
func (s *Switch) publishLocked() {
	next := &snapshot{
		ports: make([]*port, len(s.ports)), polls: make([][]*queue, len(s.polls)),
		interfaces: map[frame.PortID]*port{},
	}
	networks := make([]*network, len(s.networks))
	for i, n := range s.networks {
		if n != nil {
			view := *n
			view.grain = ScopeL2
			for _, stage := range n.Stages {
				view.grain = min(view.grain, stage.Scope())
			}
			networks[i] = &view
		}
	}
	for i, p := range s.ports {
		if p == nil {
			continue
		}
		view := *p
		view.network = networks[p.Network]
		next.ports[i] = &view
		if p.Router != nil {
			next.interfaces[p.id] = &view
		}
		if p.State == Forwarding {
			view.network.members = append(view.network.members, &view)
		}
	}
	for i, list := range s.polls {
		next.polls[i] = slices.Clone(list)
	}
	s.snap.Store(next)
	for _, w := range s.running {
		w.poller.wake()
	}
	for _, w := range s.running {
		select {
		case <-w.followed:
		case <-w.left:
		}
	}
}
