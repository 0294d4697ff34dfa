package vswitch

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"weft/frame"
)

// A port as the control functions keep it, and, copied into a snapshot, as the
// workers see it.
type port struct {
	PortConfig
	id       frame.PortID
	index    portIndex
	queues   []*queue
	mirror   Mirror
	counters []tally  // by worker
	network  *network // in a snapshot only
}

// A queue is a Queue at its port and at the one worker that reads it.
type queue struct {
	Queue
	port   portIndex
	number int // among its port's queues
	worker int
	place  int // in the worker's list
	fd     int
	dead   atomic.Bool

	drainage // written by the worker
}

// AddPort makes a port; its queues are read from now on. If it fails, the queues
// are still the caller's.
func (s *Switch) AddPort(c PortConfig) (frame.PortID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.networkLocked(c.Network); err != nil {
		return 0, fmt.Errorf("port %s: %w", c.Name, err)
	}
	if err := c.check(); err != nil {
		return 0, err
	}
	i, err := vacancy(&s.ports)
	if err != nil {
		return 0, fmt.Errorf("port %s: %w", c.Name, err)
	}
	p := &port{PortConfig: c, id: s.nextIDLocked(), index: portIndex(i), counters: make([]tally, s.workers)}
	book := &portBook{id: p.id}
	book.limit.Store(int32(c.Stations))
	s.db.books.ports.set(i, book)
	if err := s.addStatic(p, c.Static); err != nil {
		return 0, err
	}
	s.ports[i] = p
	s.enlistLocked(p)
	s.publishLocked()
	return p.id, nil
}

func (c *PortConfig) check() error {
	switch {
	case len(c.Queues) == 0:
		return fmt.Errorf("port %s: no queues", c.Name)
	case c.MTU < 0:
		return fmt.Errorf("port %s: MTU %d (want 0 or more)", c.Name, c.MTU)
	case c.Stations < 0 || c.Stations > math.MaxInt32:
		return fmt.Errorf("port %s: %d stations (want 0 to %d)", c.Name, c.Stations, math.MaxInt32)
	case c.State > Forwarding:
		return fmt.Errorf("port %s: state %d (want 0 to %d)", c.Name, c.State, Forwarding)
	}
	for _, mac := range c.Static {
		if err := checkStation(mac); err != nil {
			return fmt.Errorf("port %s: %w", c.Name, err)
		}
	}
	return nil
}

// nextIDLocked returns the PortID that was not in use for the longest time.
func (s *Switch) nextIDLocked() frame.PortID {
	for {
		s.lastID++
		taken := func(p *port) bool { return p != nil && p.id == s.lastID }
		if s.lastID != 0 && !slices.ContainsFunc(s.ports, taken) {
			return s.lastID
		}
	}
}

// enlistLocked gives each queue of a new port to the worker that has the fewest.
func (s *Switch) enlistLocked(p *port) {
	for n, device := range p.Queues {
		q := &queue{Queue: device, port: p.index, number: n, fd: device.FD()}
		load := make([]int, s.workers)
		for w, list := range s.polls {
			for _, other := range list {
				if other != nil {
					load[w]++
				}
			}
		}
		q.worker = slices.Index(load, slices.Min(load))
		list := &s.polls[q.worker]
		if q.place = slices.Index(*list, nil); q.place < 0 {
			q.place = len(*list)
			*list = append(*list, nil)
		}
		(*list)[q.place] = q
		p.queues = append(p.queues, q)
	}
}

// addStatic makes static entries for a port, all or none.
func (s *Switch) addStatic(p *port, list []frame.MAC) error {
	for i, mac := range list {
		if err := s.db.setStatic(keyOf(p.Network, mac), p.index, stamp(s.now())); err != nil {
			s.removeStatic(p, list[:i])
			return fmt.Errorf("port %s: station %s: %w", p.Name, mac, err)
		}
	}
	return nil
}

// removeStatic removes static entries of a port. Among them may be the address by which
// frames come to a router, which no decision of its names.
func (s *Switch) removeStatic(p *port, list []frame.MAC) {
	if len(list) > 0 {
		defer s.memory.Changed(frame.Everything)
	}
	own := func(_ key, e entry) bool { return e.static() && e.port() == p.index }
	for _, mac := range list {
		s.db.remove(keyOf(p.Network, mac), own)
	}
}

// UpdatePort changes Name, MTU, Group, Stations, Static, State, Features, Pad and Router
// in place; Network and Queues stay. Leaving Forwarding flushes the port's dynamic entries.
func (s *Switch) UpdatePort(id frame.PortID, c PortConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.portLocked(id)
	if err != nil {
		return err
	}
	c.Network, c.Queues = p.Network, p.Queues
	if err := c.check(); err != nil {
		return err
	}
	added := without(c.Static, p.Static)
	if err := s.addStatic(p, added); err != nil {
		return err
	}
	gone := without(p.Static, c.Static)
	p.PortConfig = c
	s.db.books.port(p.index).limit.Store(int32(c.Stations))
	s.publishLocked()
	s.memory.Changed(frame.PortSubject(id))
	s.removeStatic(p, gone)
	s.flushUnlessForwarding(p)
	return nil
}

func without(list, others []frame.MAC) []frame.MAC {
	return slices.DeleteFunc(slices.Clone(list), func(m frame.MAC) bool { return slices.Contains(others, m) })
}

// SetState changes a port's State only.
func (s *Switch) SetState(id frame.PortID, st State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.portLocked(id)
	if err != nil {
		return err
	}
	c := p.PortConfig
	c.State = st
	if err := c.check(); err != nil {
		return err
	}
	p.State = st
	s.publishLocked()
	s.memory.Changed(frame.PortSubject(id))
	s.flushUnlessForwarding(p)
	return nil
}

// flushUnlessForwarding comes after the new state was published: nothing is
// learned on the port any more (IEEE 802.1Q 8.4).
func (s *Switch) flushUnlessForwarding(p *port) {
	if p.State != Forwarding {
		s.db.flush(func(_ key, e entry) bool { return !e.static() && e.port() == p.index })
	}
}

// RemovePort takes a port out, waits until no worker uses it, flushes its entries
// and closes its queues. Its counters are gone.
func (s *Switch) RemovePort(id frame.PortID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.portLocked(id)
	if err != nil {
		return err
	}
	return s.removePortLocked(p)
}

func (s *Switch) removePortLocked(p *port) error {
	s.ports[p.index] = nil
	for _, q := range p.queues {
		s.polls[q.worker][q.place] = nil
	}
	s.publishLocked()
	s.memory.Changed(frame.PortSubject(p.id))
	s.db.flush(func(_ key, e entry) bool { return e.port() == p.index })
	var errs []error
	for _, q := range p.queues {
		if err := q.Close(); err != nil {
			errs = append(errs, fmt.Errorf("port %s: close queue %d: %w", p.Name, q.number, err))
		}
	}
	return errors.Join(errs...)
}

// SetMirror sends copies of the port's frames to m; nil ends it. When it returns,
// no worker uses the previous mirror any more.
func (s *Switch) SetMirror(id frame.PortID, m Mirror) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.portLocked(id)
	if err != nil {
		return err
	}
	p.mirror = m
	s.publishLocked()
	s.memory.Changed(frame.PortSubject(id))
	return nil
}

func (s *Switch) portLocked(id frame.PortID) (*port, error) {
	if s.closed {
		return nil, ErrClosed
	}
	for _, p := range s.ports {
		if p != nil && p.id == id {
			return p, nil
		}
	}
	return nil, fmt.Errorf("port %d: %w", id, ErrNoPort)
}
