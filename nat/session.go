package nat

import "weft/frame"

// A session is what is known about an internal endpoint and a remote one that speak to
// each other: one cache line. What its mapping knows of the endpoints stands here again,
// so that a packet touches no more than this and its host.
//
//	internal host:port ─┐
//	                    ├─ mapping ─ external address:port ◂─▸ remote address:port
//	                    └──────────────── session ──────────────────┘
type session struct {
	remote       address
	windows      [2]window // of TCP, by side
	host         uint32
	mapping      uint32 // and offered
	next, prev   uint32 // of its mapping's sessions; next also links free records
	deadline     uint32 // in ticks: it ends there if no packet comes
	remotePort   uint16
	internalPort uint16
	externalPort uint16
	external     uint16
	port         frame.PortID // of entry of the packet that opened it
	state        State        // zero: the record is free
	scales       uint8
}

func (s *session) link() *uint32 { return &s.next }

// offered is a bit of session.mapping: decisions that rest on the session may be remembered.
const offered = 1 << 31

func (s *session) offered() bool     { return s.mapping&offered != 0 }
func (s *session) mappingOf() uint32 { return s.mapping &^ offered }

func (s *session) far() endpoint { return endpoint{s.remote, s.remotePort} }

// A State is that of a session.
type State uint8

// The states. Those of TCP follow RFC 7857 2; between opening and established both
// ends have yet to acknowledge each other's SYN, so that nobody makes a long-lived
// session by a forged one.
const (
	_           State = iota
	active            // UDP
	queried           // ICMP
	internalSYN       // inside sent a SYN
	externalSYN       // outside sent a SYN
	bothSYN           // both did, nobody acknowledged
	internalACK       // both did, inside acknowledged
	externalACK       // both did, outside acknowledged
	established       // both acknowledged
	internalFIN       // inside has nothing more to say
	externalFIN       // outside has nothing more to say
	closed            // neither has
	resetSeen         // one sent a RST that the other will have taken
	states            // how many there are
)

var stateNames = [states]string{
	active: "active", queried: "active", internalSYN: "syn-sent", externalSYN: "syn-received",
	bothSYN: "opening", internalACK: "opening", externalACK: "opening", established: "established",
	internalFIN: "fin-sent", externalFIN: "fin-received", closed: "closing", resetSeen: "reset",
}

// String returns the state's name, as inside sees it.
func (s State) String() string { return stateNames[s] }

func (s State) proto() proto {
	switch s {
	case active:
		return udp
	case queried:
		return icmp
	}
	return tcp
}

func (t *Table) tagOutward(r Realm, p Pool, f *flow) uint32 {
	word := uint64(r)<<48 | uint64(p)<<32 | uint64(f.src.port)<<16 | uint64(f.proto.far(f.dst.port))
	return t.index.tag(byOutward, f.proto, word^t.index.mix(f.src.address), f.dst.address)
}

func (t *Table) tagInward(external uint16, p proto, port uint16, remote endpoint) uint32 {
	return t.index.tag(byInward, p, uint64(external)<<32|uint64(port)<<16|uint64(p.far(remote.port)), remote.address)
}

// sessionOutward finds the session of a packet from inside of a realm that goes outside
// by a pool; 0 is none.
func (t *Table) sessionOutward(r Realm, p Pool, f *flow) uint32 {
	for i := range t.index.all(t.tagOutward(r, p, f), byOutward) {
		s := t.sessions.at(i)
		h := t.hosts.at(s.host)
		if s.remote == f.dst.address && s.remotePort == f.proto.far(f.dst.port) && s.internalPort == f.src.port &&
			h.address == f.src.address && h.realm == r && h.pool == p && s.state.proto() == f.proto {
			return i
		}
	}
	return 0
}

// sessionInward finds the session of a packet for an external address; 0 is none.
func (t *Table) sessionInward(external uint16, f *flow) uint32 {
	for i := range t.index.all(t.tagInward(external, f.proto, f.dst.port, f.src), byInward) {
		s := t.sessions.at(i)
		if s.remote == f.src.address && s.remotePort == f.proto.far(f.src.port) &&
			s.externalPort == f.dst.port && s.external == external && s.state.proto() == f.proto {
			return i
		}
	}
	return 0
}

// fairShare is the part of the table that a port of entry may have in any case.
const fairShare = 64

// mayOpen returns why no session more may be opened by packets of a port of entry, of
// which quota are allowed; 0 is any number. A fair one leaves others as much as it has.
func (t *Table) mayOpen(in frame.PortID, quota int, fair bool) frame.Reason {
	opened, free := int(t.opened[in]), t.capacity-t.sessions.used
	switch {
	case quota != 0 && opened >= quota:
		return frame.DropNATQuota
	case free == 0:
		return frame.DropNATFull
	case fair && opened >= max(free, t.capacity/fairShare):
		return frame.DropNATQuota
	}
	return 0
}

// open makes a session of a mapping, for a packet from a side.
func (t *Table) open(m uint32, remote endpoint, k *packet, from side) uint32 {
	mp := t.mappings.at(m)
	i := t.sessions.take()
	s := t.sessions.at(i)
	*s = session{
		remote: remote.address, remotePort: mp.proto.far(remote.port), port: k.buf.In,
		host: mp.host, mapping: m, internalPort: mp.internalPort,
		external: mp.external, externalPort: mp.externalPort,
	}
	s.begin(mp.proto, from, &k.segment)
	if s.next = mp.sessions; s.next != 0 {
		t.sessions.at(s.next).prev = i
	}
	mp.sessions = i
	h := t.hosts.at(s.host)
	t.index.add(t.tagOutward(h.realm, h.pool, &flow{mp.proto, endpoint{h.address, s.internalPort}, remote}), byOutward, i)
	t.index.add(t.tagInward(s.external, mp.proto, s.externalPort, remote), byInward, i)
	if mp.flags&withPeers != 0 {
		t.addPeer(m, remote.address)
	}
	t.opened[s.port]++
	t.counters.Opened++
	return i
}

// begin puts a session into the state in which its first packet finds it.
func (s *session) begin(p proto, from side, g *segment) {
	switch {
	case p == udp:
		s.state = active
	case p == icmp:
		s.state = queried
	case g.begins() == midway:
		s.adopt(from, g)
	case from == inside:
		s.state, s.scales = internalSYN, scalesNone
	default:
		s.state, s.scales = externalSYN, scalesNone
	}
}

// touch brings a session up to date with a packet, and starts its timer anew.
func (t *Table) touch(i uint32, s *session, k *packet, r *realm, from side) {
	was, g, refreshes := s.state, &k.segment, true
	switch {
	case was == active, was == queried:
		refreshes = from == inside || r.inboundRefresh || s.deadline == 0 // RFC 4787 REQ-6
	case s.offered() && g.plain() && s.acknowledge(from, g): // all that there is to follow
	case s.offered():
		t.catchUp(i, s, from, g)
		fallthrough
	default:
		refreshes = s.follow(from, g)
	}
	if refreshes {
		s.deadline = ticksUp(k.now) + r.idle[s.state]
	}
	if s.state != was {
		t.revoke(i, s)
	}
	t.offer(i, s, k, r)
}

// close ends a session, and its mapping if that has no other.
func (t *Table) close(i uint32) {
	s := t.sessions.at(i)
	m, known := s.mappingOf(), s.offered()
	h, mp, remote := t.hosts.at(s.host), t.mappings.at(m), s.far()
	t.index.remove(t.tagOutward(h.realm, h.pool, &flow{mp.proto, endpoint{h.address, s.internalPort}, remote}), byOutward, i)
	t.index.remove(t.tagInward(s.external, mp.proto, s.externalPort, remote), byInward, i)
	if mp.flags&withPeers != 0 {
		t.removePeer(m, s.remote)
	}
	if s.next != 0 {
		t.sessions.at(s.next).prev = s.prev
	}
	if s.prev != 0 {
		t.sessions.at(s.prev).next = s.next
	} else if mp.sessions = s.next; s.next == 0 {
		t.closeMapping(m)
	}
	t.opened[s.port]--
	t.counters.Closed++
	t.sessions.give(i)
	if known {
		t.changed(i)
	}
}
