package nat

// A mapping ties an internal endpoint to an external one (RFC 4787 4.1). It is there
// while it has sessions, and serves all of them: it does not depend on the remote.
type mapping struct {
	host         uint32 // links free records too
	sessions     uint32 // the first of the list
	internalPort uint16
	externalPort uint16
	external     uint16
	proto        proto
	flags        mappingFlags
}

func (m *mapping) link() *uint32 { return &m.host }

type mappingFlags uint8

const (
	forwarding mappingFlags = 1 << iota // a Forward's: its port is not from the pool
	claimed                             // the host's kernel knows of it
	primary                             // the internal endpoint's, by which it opens sessions
	withPeers                           // the addresses of its remotes are counted
)

// A host is an internal host as one pool shows it, while it has mappings.
type host struct {
	address  // internal
	realm    Realm
	pool     Pool
	external uint16 // the same for all that it opens (RFC 4787 REQ-2, paired)
	mappings uint32 // links free records too
}

func (h *host) link() *uint32 { return &h.mappings }

func (t *Table) tagHost(r Realm, p Pool, a address) uint32 {
	return t.index.tag(byHost, 0, uint64(r)<<16|uint64(p), a)
}

func (t *Table) findHost(r Realm, p Pool, a address) uint32 {
	for i := range t.index.all(t.tagHost(r, p, a), byHost) {
		if h := t.hosts.at(i); h.address == a && h.realm == r && h.pool == p {
			return i
		}
	}
	return 0
}

func (t *Table) addHost(r Realm, p Pool, a address) uint32 {
	i := t.hosts.take()
	*t.hosts.at(i) = host{address: a, realm: r, pool: p}
	t.index.add(t.tagHost(r, p, a), byHost, i)
	return i
}

// dropHost forgets a host that has no mappings.
func (t *Table) dropHost(i uint32) {
	h := t.hosts.at(i)
	if h.mappings == 0 {
		t.index.remove(t.tagHost(h.realm, h.pool, h.address), byHost, i)
		t.hosts.give(i)
	}
}

func (t *Table) tagInternal(host uint32, p proto, port uint16) uint32 {
	return t.index.tag(byInternal, p, uint64(host)<<16|uint64(port), address{})
}

func (t *Table) tagMapped(external uint16, p proto, port uint16) uint32 {
	return t.index.tag(byMapped, p, uint64(external)<<16|uint64(port), address{})
}

// mappingOf finds the mapping of an internal endpoint.
func (t *Table) mappingOf(host uint32, p proto, port uint16) uint32 {
	for i := range t.index.all(t.tagInternal(host, p, port), byInternal) {
		if m := t.mappings.at(i); m.host == host && m.internalPort == port && m.proto == p {
			return i
		}
	}
	return 0
}

// mappingAt finds the mapping of an external endpoint.
func (t *Table) mappingAt(external uint16, p proto, port uint16) uint32 {
	for i := range t.index.all(t.tagMapped(external, p, port), byMapped) {
		if m := t.mappings.at(i); m.external == external && m.externalPort == port && m.proto == p {
			return i
		}
	}
	return 0
}

// addMapping makes a mapping, whose port was taken.
func (t *Table) addMapping(m mapping) uint32 {
	h := t.hosts.at(m.host)
	if t.mappingOf(m.host, m.proto, m.internalPort) == 0 {
		m.flags |= primary
	}
	if t.realms[h.realm].filtering == AddressDependent {
		m.flags |= withPeers
	}
	i := t.mappings.take()
	*t.mappings.at(i) = m
	h.mappings++
	t.externals[m.external].mappings++
	if m.flags&primary != 0 {
		t.index.add(t.tagInternal(m.host, m.proto, m.internalPort), byInternal, i)
	}
	t.index.add(t.tagMapped(m.external, m.proto, m.externalPort), byMapped, i)
	return i
}

// closeMapping ends a mapping without sessions, and gives back what is its own.
func (t *Table) closeMapping(i uint32) {
	m := t.mappings.at(i)
	if m.flags&primary != 0 {
		t.index.remove(t.tagInternal(m.host, m.proto, m.internalPort), byInternal, i)
	}
	t.index.remove(t.tagMapped(m.external, m.proto, m.externalPort), byMapped, i)
	h, e := m.host, m.external
	if m.flags&forwarding == 0 {
		t.givePort(e, m.proto, m.externalPort, m.flags&claimed != 0)
	}
	t.mappings.give(i)
	t.hosts.at(h).mappings--
	t.dropHost(h)
	t.externals[e].mappings--
	t.dropExternal(e)
}
