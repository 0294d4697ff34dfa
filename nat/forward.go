package nat

// A forward is a Forward of a realm. Its ports are kept from other mappings; its own
// mappings come and go with their sessions as all do.
type forward struct {
	realm       Realm
	proto       proto
	everywhere  bool    // at all addresses of the pool that are of to's family
	external    address // else at this one
	first, last uint16
	to          endpoint
}

// addForward notes a forward, unless it is of a pool or of ports that there are not, or
// from one IP version to the other.
func (t *Table) addForward(r Realm, c Forward) {
	p, ok := protoOf(c.Protocol)
	pool := t.pool(c.Pool)
	if !ok || p == icmp || pool == nil || c.First == 0 || c.Last < c.First ||
		!c.To.IsValid() || c.To.Port() == 0 || int(c.To.Port())+int(c.Last-c.First) > 65535 ||
		c.Address.IsValid() && c.Address.Is4() != c.To.Addr().Is4() {
		return
	}
	f := forward{
		realm: r, proto: p, everywhere: !c.Address.IsValid(), first: c.First, last: c.Last,
		to: endpoint{addressOf(c.To.Addr()), c.To.Port()},
	}
	if !f.everywhere {
		f.external = addressOf(c.Address)
	}
	pool.forwards = append(pool.forwards, f)
	for _, i := range pool.externals(f.to.address) {
		if e := t.externals[i]; f.at(e.address) {
			e.forwarded[p].setAll(f.first, f.last)
		}
	}
}

// at reports whether the forward's ports are at an external address.
func (f *forward) at(external address) bool {
	return f.external == external || f.everywhere && f.to.is4() == external.is4()
}

// forwardAt finds the forward of an external endpoint and where it leads; nil if there
// is none.
func (t *Table) forwardAt(external uint16, p proto, port uint16) (*forward, endpoint) {
	e := t.externals[external]
	if !e.forwarded[p].has(port) {
		return nil, endpoint{}
	}
	forwards := t.pools[e.pool].forwards
	for i := range forwards {
		f := &forwards[i]
		if f.proto == p && f.first <= port && port <= f.last && f.at(e.address) {
			return f, endpoint{f.to.address, f.to.port + port - f.first}
		}
	}
	return nil, endpoint{}
}

// forwardOf finds the external endpoint that is forwarded to an internal one: of h, if
// need be that of the address that h is paired with.
func (t *Table) forwardOf(h *host, p proto, port uint16) (external, externalPort uint16, ok bool) {
	pool := t.pools[h.pool]
	for i := range pool.forwards {
		f := &pool.forwards[i]
		if f.realm != h.realm || f.proto != p || f.to.address != h.address || port < f.to.port || port-f.to.port > f.last-f.first {
			continue
		}
		at := h.external
		if !f.everywhere {
			at = t.findExternal(f.external)
		}
		if at != 0 && t.externals[at].pool == h.pool {
			return at, f.first + port - f.to.port, true
		}
	}
	return 0, 0, false
}
