package nat

import (
	"maps"
	"net/netip"
	"time"

	"weft/frame"
)

// A slowTable is the NAT as maps: what Table must be like, but for which random ports it
// chooses. It knows UDP, queries, and of TCP the SYNs.
type slowTable struct {
	now       time.Duration
	filtering Filtering
	refresh   bool
	quota     int
	capacity  int
	forward   map[netip.AddrPort]netip.AddrPort // external to internal; of two the first counts
	mappings  map[slowEnd]*slowMapping          // by external endpoint
	sessions  map[slowKey]*slowSession
	changed   []uint32 // handles of sessions that are over and had decisions
}

type slowEnd struct {
	proto proto
	at    netip.AddrPort
}

type slowMapping struct {
	internal netip.AddrPort
	main     bool // the internal endpoint opens sessions by it
	forward  bool
}

type slowKey struct {
	proto            proto
	internal, remote netip.AddrPort
}

type slowSession struct {
	external netip.AddrPort
	port     frame.PortID
	deadline time.Duration
	state    State
	handle   uint32 // zero: none is known
	offered  bool   // decisions may be remembered
}

func (s *slowTable) idle(st State) time.Duration {
	switch st {
	case active:
		return 5 * time.Minute
	case queried:
		return time.Minute
	}
	return 4 * time.Minute
}

// settle takes away what is over: sessions, and mappings without one.
func (s *slowTable) settle(over func(slowKey, *slowSession) bool) {
	maps.DeleteFunc(s.sessions, func(k slowKey, x *slowSession) bool {
		if !over(k, x) {
			return false
		}
		if x.offered {
			s.changed = append(s.changed, x.handle)
		}
		return true
	})
	maps.DeleteFunc(s.mappings, func(e slowEnd, m *slowMapping) bool {
		for k, x := range s.sessions {
			if k.proto == e.proto && x.external == e.at && k.internal == m.internal {
				return false
			}
		}
		return true
	})
}

func (s *slowTable) full(in frame.PortID, quota int) frame.Reason {
	n := 0
	for _, x := range s.sessions {
		if x.port == in {
			n++
		}
	}
	switch {
	case quota != 0 && n >= quota:
		return frame.DropNATQuota
	case len(s.sessions) == s.capacity:
		return frame.DropNATFull
	}
	return 0
}

// open opens a session that a mapping has.
func (s *slowTable) open(k slowKey, external netip.AddrPort, in frame.PortID, from side) *slowSession {
	x := &slowSession{external: external, port: in}
	switch {
	case k.proto == udp:
		x.state = active
	case k.proto == icmp:
		x.state = queried
	case from == inside:
		x.state = internalSYN
	default:
		x.state = externalSYN
	}
	x.deadline = s.now + s.idle(x.state)
	s.sessions[k] = x
	return x
}

// touch notes a packet of a session.
func (s *slowTable) touch(x *slowSession, from side) {
	if from == outside && !s.refresh && (x.state == active || x.state == queried) {
		return
	}
	if x.state == internalSYN && from == outside || x.state == externalSYN && from == inside {
		x.state = bothSYN
	}
	x.deadline = s.now + s.idle(x.state)
}

// remembered notes a packet of a session that the table did not see.
func (s *slowTable) remembered(x *slowSession, from side, ago time.Duration) {
	if x.offered && (from == inside || s.refresh) {
		x.deadline = max(x.deadline, s.now-ago+s.idle(x.state))
	}
}

// outward returns the session of a packet from inside, or why there is none. It does not
// foresee random ports: chosen, asked for a new mapping, says what was.
func (s *slowTable) outward(k slowKey, in frame.PortID, chosen func() netip.AddrPort) (*slowSession, frame.Reason) {
	if x := s.sessions[k]; x != nil {
		s.touch(x, inside)
		return x, 0
	}
	if why := s.full(in, s.quota); why != 0 {
		return nil, why
	}
	for e, m := range s.mappings {
		if e.proto == k.proto && m.internal == k.internal && m.main {
			return s.open(k, e.at, in, inside), 0
		}
	}
	external, isForward := netip.AddrPort{}, false
	for from, to := range s.forward {
		if to == k.internal && k.proto != icmp && (!isForward || from.Compare(external) < 0) {
			external, isForward = from, true
		}
	}
	if !isForward {
		external = chosen()
	}
	if s.mappings[slowEnd{k.proto, external}] == nil {
		s.mappings[slowEnd{k.proto, external}] = &slowMapping{k.internal, true, isForward}
	}
	return s.open(k, external, in, inside), 0
}

// inward returns the key and the session of a packet for an external endpoint.
func (s *slowTable) inward(p proto, remote, external netip.AddrPort, in frame.PortID, quota int) (k slowKey, x *slowSession, ours bool, why frame.Reason) {
	for k, x := range s.sessions {
		if k.proto == p && x.external == external && k.remote == remote {
			s.touch(x, outside)
			return k, x, true, 0
		}
	}
	m, to := s.mappings[slowEnd{p, external}], s.forward[external]
	switch {
	case p == icmp || m == nil && !to.IsValid():
		return k, nil, false, 0
	case m != nil && !m.forward && !s.admits(p, external, remote.Addr()):
		return k, nil, true, frame.DropNATFiltered
	}
	if why := s.full(in, quota); why != 0 {
		return k, nil, true, why
	}
	if m != nil {
		to = m.internal
	}
	k = slowKey{p, to, remote}
	if s.sessions[k] != nil {
		return k, nil, true, frame.DropNATInvalid
	}
	if m == nil {
		main := true
		for e, m := range s.mappings {
			main = main && !(e.proto == p && m.internal == to && m.main)
		}
		s.mappings[slowEnd{p, external}] = &slowMapping{to, main, true}
	}
	return k, s.open(k, external, in, outside), true, 0
}

func (s *slowTable) admits(p proto, external netip.AddrPort, remote netip.Addr) bool {
	for k, x := range s.sessions {
		if s.filtering == AddressDependent && k.proto == p && x.external == external && k.remote.Addr() == remote {
			return true
		}
	}
	return s.filtering == EndpointIndependent
}
