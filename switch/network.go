package vswitch

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"weft/frame"
)

const (
	defaultAgeing = 300 * time.Second
	minAgeing     = 10 * time.Second
	maxAgeing     = 1_000_000 * time.Second
)

// A network as the control functions keep it, and, copied into a snapshot, as the
// workers see it.
type network struct {
	NetworkConfig
	id      FID
	ageing  uint32  // seconds
	members []*port // forwarding ports; in a snapshot only
	grain   Scope   // of all stages; in a snapshot only
}

// AddNetwork makes a network.
func (s *Switch) AddNetwork(c NetworkConfig) (FID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	if err := c.check(); err != nil {
		return 0, err
	}
	id, err := vacancy(&s.networks)
	if err != nil {
		return 0, fmt.Errorf("network %s: %w", c.Name, err)
	}
	n := &network{NetworkConfig: c, id: FID(id)}
	book := &networkBook{told: c.StationMoved}
	s.networks[id] = n
	s.db.books.networks.set(id, book)
	n.setLimits(book)
	s.publishLocked()
	return n.id, nil
}

func (c *NetworkConfig) check() error {
	if c.Ageing != 0 && (c.Ageing < minAgeing || c.Ageing > maxAgeing) {
		return fmt.Errorf("network %s: ageing %v (want %v to %v)", c.Name, c.Ageing, minAgeing, maxAgeing)
	}
	if c.Stations < 0 || c.Stations > math.MaxInt32 {
		return fmt.Errorf("network %s: %d stations (want 0 to %d)", c.Name, c.Stations, math.MaxInt32)
	}
	return nil
}

func (n *network) setLimits(book *networkBook) {
	n.ageing = seconds(cmp.Or(n.Ageing, defaultAgeing))
	book.ageing.Store(n.ageing)
	book.limit.Store(int32(n.Stations))
}

// UpdateNetwork changes Name, Ageing, Stations and Stages of a network in place.
func (s *Switch) UpdateNetwork(id FID, c NetworkConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.networkLocked(id)
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	c.StationMoved = n.StationMoved
	n.NetworkConfig = c
	n.setLimits(s.db.books.network(id))
	s.publishLocked()
	s.memory.Changed(frame.Everything)
	return nil
}

// RemoveNetwork removes a network that has no ports.
func (s *Switch) RemoveNetwork(id FID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.networkLocked(id)
	if err != nil {
		return err
	}
	for _, p := range s.ports {
		if p != nil && p.Network == id {
			return fmt.Errorf("network %s: port %s is in it: remove that first", n.Name, p.Name)
		}
	}
	s.networks[id] = nil
	s.publishLocked()
	return nil
}

func (s *Switch) networkLocked(id FID) (*network, error) {
	switch {
	case s.closed:
		return nil, ErrClosed
	case int(id) >= len(s.networks) || s.networks[id] == nil:
		return nil, fmt.Errorf("network %d: %w", id, ErrNoNetwork)
	}
	return s.networks[id], nil
}

// vacancy returns the lowest free place of list but 0, which it grows if need be.
func vacancy[T any](list *[]*T) (int, error) {
	if i := slices.Index((*list)[1:], nil); i >= 0 {
		return i + 1, nil
	}
	if len(*list) > math.MaxUint16 {
		return 0, errors.New("there are 65,535 already")
	}
	*list = append(*list, nil)
	return len(*list) - 1, nil
}
