package vswitch

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"weft/frame"
)

// A Station is an entry of the filtering database.
type Station struct {
	Network FID
	MAC     frame.MAC
	Port    frame.PortID
	Static  bool
	Age     time.Duration // since it was last seen as a source, in whole seconds; 0 if static
}

// stamp is the time that entries carry, in seconds.
func stamp(now time.Duration) uint32 { return uint32(now / time.Second) }

// Stations returns the entries of a network, of all if id is 0, by network and
// address.
func (s *Switch) Stations(id FID) []Station {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	var list []Station
	now := stamp(s.now())
	s.db.scan(0, len(s.db.buckets), func(k key, e entry) {
		network := s.db.books.network(k.network())
		if id != 0 && k.network() != id || !e.alive(network.oldest(now)) {
			return
		}
		st := Station{Network: k.network(), MAC: k.mac(), Port: s.db.books.port(e.port()).id, Static: e.static()}
		if !st.Static {
			st.Age = time.Duration(max(now, e.seen())-e.seen()) * time.Second
		}
		list = append(list, st)
	})
	slices.SortFunc(list, func(a, b Station) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.MAC, b.MAC))
	})
	// Those of a group in which entries were moved meanwhile were seen twice.
	return slices.CompactFunc(list, func(a, b Station) bool { return a.Network == b.Network && a.MAC == b.MAC })
}

// checkStation refuses what no station may have as its address (IEEE 802.1Q 8.8.1).
func checkStation(mac frame.MAC) error {
	if mac == 0 || mac.IsGroup() || mac > frame.Broadcast {
		return fmt.Errorf("station %s: no individual address", mac)
	}
	return nil
}

// AddStation makes a static entry, in place of a dynamic one. A static entry of
// another port stays, and is an error: delete that first.
func (s *Switch) AddStation(id FID, mac frame.MAC, port frame.PortID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.networkLocked(id)
	if err != nil {
		return err
	}
	p, err := s.portLocked(port)
	if err != nil {
		return err
	}
	if p.Network != id {
		return fmt.Errorf("port %s: not in network %s", p.Name, n.Name)
	}
	if err := checkStation(mac); err != nil {
		return err
	}
	return s.addStatic(p, []frame.MAC{mac})
}

// DeleteStation removes an entry; it reports whether there was one.
func (s *Switch) DeleteStation(id FID, mac frame.MAC) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	now := stamp(s.now())
	there := false
	defer s.memory.Changed(frame.Everything)
	s.db.remove(keyOf(id, mac), func(k key, e entry) bool {
		there = e.alive(s.db.books.network(id).oldest(now))
		return true
	})
	return there
}

// FlushStations removes the dynamic entries of a network, of one port if port is
// not 0, and returns how many there were.
func (s *Switch) FlushStations(id FID, port frame.PortID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0
	}
	return s.db.flush(func(k key, e entry) bool {
		return k.network() == id && !e.static() && (port == 0 || s.db.books.port(e.port()).id == port)
	})
}

// Touch notes that a station spoke at a port so long ago, behind the switch's back: its
// entry does not age meanwhile. Of one that is unknown there, or static, nothing changes.
func (s *Switch) Touch(port frame.PortID, mac frame.MAC, ago time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, err := s.portLocked(port); err == nil {
		s.db.touch(keyOf(p.Network, mac), p.index, stamp(max(0, s.now()-ago)))
	}
}

// Learn makes a dynamic entry, as if the station had spoken at a forwarding port, within
// the limits that hold for those (IEEE 802.1Q 8.7). One that the station has stays.
func (s *Switch) Learn(port frame.PortID, mac frame.MAC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.portLocked(port)
	if err != nil || p.State != Forwarding || checkStation(mac) != nil {
		return
	}
	now := stamp(s.now())
	k := keyOf(p.Network, mac)
	if e := s.db.get(k); e == 0 || !e.alive(s.db.books.network(p.Network).oldest(now)) {
		s.db.learn(k, p.index, now)
	}
}
