package lease

import (
	"net/netip"
	"time"
)

// Withdraw takes back what was offered to the client: it has chosen another server.
func (b *Book) Withdraw(now time.Time, c Client) {
	defer b.begin(now)()
	if e, _ := b.table.find(c); e != nil && e.State == Offered && e.Client.Port == c.Port {
		b.change(func(t *table) { t.remove(e) })
	}
}

// Free ends the client's lease of the address. It is the client's next one, too, as long
// as nobody else needs it. An error of the disk comes after the fact: the address is
// free, but after a restart it is only at the lease's end.
func (b *Book) Free(now time.Time, c Client, a netip.Addr) error {
	now = wall(now)
	defer b.begin(now)()
	e, err := b.held(c, a)
	if err != nil || e.State != Bound {
		return ErrNoLease
	}
	idle := &entry{Lease: e.Lease, key: e.key, until: now}
	idle.State, idle.Expiry = Idle, now
	b.change(func(t *table) { t.put(idle) })
	err = b.write(false, recordOf(idle))
	b.tidy()
	b.tell()
	return err
}

// Decline puts an address that was offered or given to the client out of use for a
// while: the client found it in use by another host. An error of the disk comes after
// the fact.
func (b *Book) Decline(now time.Time, c Client, a netip.Addr) error {
	now = wall(now)
	defer b.begin(now)()
	if _, err := b.held(c, a); err != nil {
		return err
	}
	// The client answers for it with its port's quota, or it could decline one after
	// the other until none is left.
	return b.decline(now, c, a)
}

// Quarantine puts an address that nobody has been given out of use for a while, because
// a host was found to use it. Of one that is somebody's lease nothing is changed.
func (b *Book) Quarantine(now time.Time, a netip.Addr) error {
	now = wall(now)
	defer b.begin(now)()
	if e := b.table.addresses[a]; !plain(a) || e != nil && e.State == Bound {
		return ErrTaken
	}
	return b.decline(now, Client{}, a)
}

func (b *Book) decline(now time.Time, c Client, a netip.Addr) error {
	_, reserved := b.table.reserved[a]
	c = Client{Family: FamilyOf(a), MAC: c.MAC, Port: c.Port}
	e := &entry{Lease: Lease{
		Network: b.network, Address: a, Client: c, State: Declined, Reserved: reserved,
		Start: now, Expiry: now.Add(b.table.settings.quarantine()),
	}}
	e.until = e.Expiry
	b.change(func(t *table) { t.put(e) })
	err := b.write(false, recordOf(e))
	b.tidy()
	b.tell()
	return err
}

// held returns the entry of an address that was offered or given to the client, which
// came by the same port as then: nobody ends another's lease.
func (b *Book) held(c Client, a netip.Addr) (*entry, error) {
	e, _ := b.table.find(c)
	if e == nil || e.Address != a || e.State != Bound && e.State != Offered || e.Client.Port != c.Port {
		return nil, ErrNoLease
	}
	return e, nil
}

// Release ends the lease of an address for good, by the operator's wish, though the
// client does not know. A declined address can be used again.
func (b *Book) Release(now time.Time, a netip.Addr) error {
	defer b.begin(now)()
	e := b.table.addresses[a]
	if e == nil {
		return ErrNoLease
	}
	if err := b.write(true, record{Address: a, State: gone}); err != nil {
		return err
	}
	b.change(func(t *table) { t.remove(e) })
	b.tidy()
	b.tell()
	return nil
}

// Expire ends the leases whose time has come. Once a second is often enough: it is for
// List and the names only, as everything else looks at the time by itself.
func (b *Book) Expire(now time.Time) {
	end := b.begin(now)
	b.pace.forget(now)
	end()
}
