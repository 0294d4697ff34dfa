package lease

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"time"

	"weft/frame"
)

// A key names a client as the book knows it.
type key struct {
	family Family
	id     string
	iaid   uint32
	// Zero, unless another station of another port held the ID first: cloned machines
	// have the same ID, and nobody may take over a lease by naming another's.
	station frame.MAC
}

// hash is the same after a restart, so that a client finds its old address free even
// if the book was lost.
func (k key) hash() uint64 {
	h := fnv.New64a()
	var fixed [13]byte
	fixed[0] = byte(k.family)
	binary.BigEndian.PutUint32(fixed[1:], k.iaid)
	binary.BigEndian.PutUint64(fixed[5:], uint64(k.station))
	h.Write(fixed[:])
	h.Write([]byte(k.id))
	return h.Sum64()
}

// An entry is a lease and where it stands.
type entry struct {
	Lease
	key   key       // zero: nobody's (declined)
	until time.Time // when its state ends; Idle: when it ended, or until when it is held for its client

	queue   *queue
	place   int      // in queue
	account *account // of its port; nil: not counted
	slot    int      // in account
}

// An account is what one port keeps from others in one family.
type account struct{ entries []*entry }

type accountKey struct {
	port   string
	family Family
}

// A table is what the book knows, in memory.
type table struct {
	settings Settings
	pools    map[Family]*pool
	stations map[frame.MAC]Reservation
	reserved map[netip.Addr]frame.MAC
	labels   map[string]frame.MAC // whose reservation has the name
	excluded map[netip.Addr]bool

	addresses map[netip.Addr]*entry
	clients   map[key]*entry
	names     map[string][]*entry // bound ones, by label
	accounts  map[accountKey]*account
	due       queue             // offered, bound, declined, and idle ones held for their clients
	idle      map[Family]*queue // those that others may get, the longest idle first
}

func newTable(s Settings) (*table, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	t := &table{
		settings:  s,
		pools:     make(map[Family]*pool),
		stations:  make(map[frame.MAC]Reservation),
		reserved:  make(map[netip.Addr]frame.MAC),
		labels:    make(map[string]frame.MAC),
		excluded:  make(map[netip.Addr]bool),
		addresses: make(map[netip.Addr]*entry),
		clients:   make(map[key]*entry),
		names:     make(map[string][]*entry),
		accounts:  make(map[accountKey]*account),
		idle:      map[Family]*queue{IPv4: {}, IPv6: {}},
	}
	for _, family := range []Family{IPv4, IPv6} {
		var err error
		if t.pools[family], err = newPool(s.rangesOf(family)); err != nil {
			return nil, err
		}
	}
	for _, a := range s.Exclude {
		t.excluded[a] = true
		t.refresh(a)
	}
	for _, r := range s.Reservations {
		t.stations[r.MAC] = r
		if r.Name != "" {
			t.labels[r.Name] = r.MAC
		}
		for _, a := range r.addresses() {
			t.reserved[a] = r.MAC
			t.refresh(a)
		}
	}
	return t, nil
}

// refresh sets whether the pool holds the address to be free.
func (t *table) refresh(a netip.Addr) {
	_, reserved := t.reserved[a]
	t.pools[FamilyOf(a)].set(a, t.addresses[a] == nil && !reserved && !t.excluded[a])
}

// poolable reports whether the address may go to anybody.
func (t *table) poolable(a netip.Addr) bool {
	_, reserved := t.reserved[a]
	return !reserved && !t.excluded[a] && t.pools[FamilyOf(a)].contains(a)
}

// fits reports whether the address is one for this client.
func (t *table) fits(c Client, a netip.Addr) bool {
	if FamilyOf(a) != c.Family {
		return false
	}
	if mac, reserved := t.reserved[a]; reserved {
		return mac == c.MAC
	}
	return t.poolable(a)
}

// reservation returns the address reserved for the client, if he can have it now.
func (t *table) reservation(c Client) (netip.Addr, bool) {
	r := t.stations[c.MAC]
	a := r.Address
	if c.Family == IPv6 {
		a = r.Address6
	}
	if !a.IsValid() {
		return netip.Addr{}, false
	}
	// One station may have several IDs, one after the other: firmware, then a system.
	// But of its identity associations (DHCPv6), one only gets the address.
	o := t.addresses[a]
	switch {
	case o == nil || o.State == Idle:
		return a, true
	case o.State == Declined || o.Client.MAC != c.MAC:
		return netip.Addr{}, false
	case c.Family == IPv6 && o.Client.ID == c.ID && o.Client.IAID != c.IAID:
		return netip.Addr{}, false
	}
	return a, true
}

// find returns the client's entry, if it has one, and the key under which it goes.
func (t *table) find(c Client) (*entry, key) {
	k := key{family: c.Family, id: c.ID, iaid: c.IAID, station: c.MAC}
	if e := t.clients[k]; e != nil {
		return e, k
	}
	common := k
	common.station = 0
	e := t.clients[common]
	if e != nil && e.State != Idle && e.Client.MAC != c.MAC && e.Client.Port != c.Port {
		return nil, k
	}
	return e, common
}

// put enters a lease, in place of what its address and its client had before.
func (t *table) put(e *entry) {
	if o := t.addresses[e.Address]; o != nil {
		t.remove(o)
	}
	t.addresses[e.Address] = e
	t.refresh(e.Address)
	if e.key != (key{}) {
		if o := t.clients[e.key]; o != nil {
			t.remove(o)
		}
		t.clients[e.key] = e
	}
	if e.State == Bound && e.Client.Name != "" {
		t.name(e)
	}
	if _, reserved := t.reserved[e.Address]; !reserved && e.Client.Port != "" {
		t.charge(e)
	}
	if e.State == Idle && !e.until.After(e.Expiry) {
		t.idle[FamilyOf(e.Address)].add(e)
	} else {
		t.due.add(e)
	}
}

// remove forgets a lease.
func (t *table) remove(e *entry) {
	delete(t.addresses, e.Address)
	t.refresh(e.Address)
	if t.clients[e.key] == e {
		delete(t.clients, e.key)
	}
	t.unname(e)
	if a := e.account; a != nil {
		last := len(a.entries) - 1
		moved := a.entries[last]
		a.entries[e.slot], moved.slot = moved, e.slot
		a.entries[last] = nil
		if a.entries = a.entries[:last]; last == 0 {
			delete(t.accounts, accountKey{e.Client.Port, FamilyOf(e.Address)})
		}
	}
	e.leave()
}

// charge counts the entry on its port's account.
func (t *table) charge(e *entry) {
	k := accountKey{e.Client.Port, FamilyOf(e.Address)}
	if t.accounts[k] == nil {
		t.accounts[k] = &account{}
	}
	e.account = t.accounts[k]
	e.slot = len(e.account.entries)
	e.account.entries = append(e.account.entries, e)
}

// name puts the entry's name to use. In a file that was just read others may have it
// still, whose time is over; then it is the last one's.
func (t *table) name(e *entry) {
	for _, o := range slices.Clone(t.names[e.Client.Name]) {
		if o.Client.MAC == e.Client.MAC {
			continue
		}
		if e.Expiry.Before(o.Expiry) {
			e.Client.Name = ""
			return
		}
		t.unname(o)
		o.Client.Name = ""
	}
	t.names[e.Client.Name] = append(t.names[e.Client.Name], e)
}

// unname takes the entry's name out of use.
func (t *table) unname(e *entry) {
	name := e.Client.Name
	t.names[name] = slices.DeleteFunc(t.names[name], func(o *entry) bool { return o == e })
	if len(t.names[name]) == 0 {
		delete(t.names, name)
	}
}

// expire ends what is due, and reports whether a lease was among it.
func (t *table) expire(now time.Time) (changed bool) {
	for len(t.due) > 0 && !t.due[0].until.After(now) {
		e := t.due[0]
		switch e.State {
		case Bound:
			t.unname(e)
			e.State = Idle
			e.leave()
			t.idle[FamilyOf(e.Address)].add(e)
			changed = true
		case Idle:
			e.leave()
			e.until = e.Expiry
			t.idle[FamilyOf(e.Address)].add(e)
		case Offered:
			t.remove(e)
		case Declined:
			t.remove(e)
			changed = true
		}
	}
	return changed
}

// choose finds an address of the pool for a client that has none: the one it wants, a
// free one, the one that was idle for longest.
func (t *table) choose(k key, want netip.Addr) (netip.Addr, error) {
	p := t.pools[k.family]
	if want.IsValid() && FamilyOf(want) == k.family && p.isFree(want) {
		return want, nil
	}
	if a, ok := p.next(k.hash()); ok {
		return a, nil
	}
	for idle := t.idle[k.family]; len(*idle) > 0; {
		e := (*idle)[0]
		t.remove(e)
		if t.poolable(e.Address) {
			return e.Address, nil
		}
	}
	return netip.Addr{}, ErrExhausted
}

// room makes room for one more address on a port's account: what was his and is idle
// goes first, then what was offered and not taken.
func (t *table) room(c Client) error {
	a := t.accounts[accountKey{c.Port, c.Family}]
	if a == nil || t.settings.Quota == 0 || len(a.entries) < t.settings.Quota {
		return nil
	}
	var victim *entry
	for _, e := range a.entries {
		if e.State != Offered && e.queue == &t.due {
			continue
		}
		if victim == nil || e.State > victim.State || e.State == victim.State && e.until.Before(victim.until) {
			victim = e
		}
	}
	if victim == nil {
		return ErrQuota
	}
	t.remove(victim)
	return nil
}

// label returns the name that a client gets: its reservation's, or what it asks for if
// no other station has it.
func (t *table) label(c Client, before string) string {
	if r := t.stations[c.MAC]; r.Name != "" {
		return r.Name
	}
	label := Label(c.Name)
	if label == "" {
		label = before
	}
	if _, reserved := t.labels[label]; reserved {
		return ""
	}
	for _, e := range t.names[label] {
		if e.Client.MAC != c.MAC {
			return ""
		}
	}
	return label
}

// sorted returns all entries but offers, in the order of their addresses.
func (t *table) sorted() []*entry {
	all := slices.DeleteFunc(slices.Collect(maps.Values(t.addresses)), func(e *entry) bool { return e.State == Offered })
	slices.SortFunc(all, func(a, b *entry) int { return a.Address.Compare(b.Address) })
	return all
}
