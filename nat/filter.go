package nat

// A peer is a remote address that a mapping has sessions with. They are counted where
// filtering goes by addresses; to look through the sessions could take long.
type peer struct {
	remote   address
	mapping  uint32 // links free records too
	sessions uint32
}

func (p *peer) link() *uint32 { return &p.mapping }

func (t *Table) tagPeer(m uint32, remote address) uint32 {
	return t.index.tag(byPeer, 0, uint64(m), remote)
}

func (t *Table) findPeer(m uint32, remote address) uint32 {
	for i := range t.index.all(t.tagPeer(m, remote), byPeer) {
		if p := t.peers.at(i); p.mapping == m && p.remote == remote {
			return i
		}
	}
	return 0
}

func (t *Table) addPeer(m uint32, remote address) {
	i := t.findPeer(m, remote)
	if i == 0 {
		i = t.peers.take()
		*t.peers.at(i) = peer{remote: remote, mapping: m}
		t.index.add(t.tagPeer(m, remote), byPeer, i)
	}
	t.peers.at(i).sessions++
}

func (t *Table) removePeer(m uint32, remote address) {
	i := t.findPeer(m, remote)
	p := t.peers.at(i)
	if p.sessions--; p.sessions == 0 {
		t.index.remove(t.tagPeer(m, remote), byPeer, i)
		t.peers.give(i)
	}
}

// countPeers has the remotes of a mapping counted from now on.
func (t *Table) countPeers(m uint32) {
	mp := t.mappings.at(m)
	mp.flags |= withPeers
	for i := mp.sessions; i != 0; i = t.sessions.at(i).next {
		t.addPeer(m, t.sessions.at(i).remote)
	}
}

// admits reports whether a packet from a remote that has no session with the mapping
// may pass (RFC 4787 5).
func (t *Table) admits(m uint32, remote address) bool {
	mp := t.mappings.at(m)
	r := t.realm(t.hosts.at(mp.host).realm)
	switch {
	case r == nil: // and about to end
		return false
	case mp.flags&forwarding != 0 || r.filtering == EndpointIndependent:
		return true
	}
	return r.filtering == AddressDependent && t.findPeer(m, remote) != 0
}
