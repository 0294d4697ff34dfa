package lease

import (
	"fmt"
	"net/netip"
	"time"
)

// Offer finds the address for a client, the one it has or had or wants (may be zero) if
// possible, and holds it for the client for a minute. The State of what it returns is
// Bound if the client has the address already.
func (b *Book) Offer(now time.Time, c Client, want netip.Addr) (Lease, error) {
	now = wall(now)
	defer b.begin(now)()
	t := b.table
	e, k := t.find(c)
	a, reserved := t.reservation(c)
	var err error
	if !reserved {
		if e != nil && t.fits(c, e.Address) {
			a = e.Address
		} else {
			b.change(func(t *table) {
				if e == nil || e.Client.Port != c.Port {
					err = t.room(c)
				}
				if err == nil {
					a, err = t.choose(k, want)
				}
			})
		}
	}
	if err != nil {
		return Lease{}, err
	}
	l := b.lease(c, e, a)
	b.change(func(t *table) { t.hold(now, k, l) })
	if o := t.addresses[a]; o != nil && o.State == Bound && o == e {
		l.State = Bound
	}
	return l, nil
}

// lease returns the lease of an address as the client would get it now, before its times.
func (b *Book) lease(c Client, e *entry, a netip.Addr) Lease {
	before := ""
	if e != nil {
		before = e.Client.Name
	}
	c.Name = b.table.label(c, before)
	_, reserved := b.table.reserved[a]
	return Lease{Network: b.network, Address: a, Client: c, State: Offered, Reserved: reserved}
}

// hold keeps the address of an offer from others, unless somebody has it, which is the
// client itself or the same station under another ID, or the client has another one,
// which is its own until it has this one. (Then a second client may be offered the same.
// One of them gets it, the other is refused and asks again.)
func (t *table) hold(now time.Time, k key, l Lease) {
	e, o := t.clients[k], t.addresses[l.Address]
	switch {
	case o != nil && o.State == Bound, e != nil && e.State == Bound:
	case o != nil && o == e && o.State == Idle:
		o.leave()
		o.until = now.Add(hold)
		t.due.add(o)
	default:
		l.Start, l.Expiry = now, now.Add(hold)
		t.put(&entry{Lease: l, key: k, until: l.Expiry})
	}
}

// Bind gives the address to the client for term, beginning now, and returns when it is
// on disk. The lease may end sooner: one that was renewed a moment ago stays as it is,
// so that nobody can keep the disk busy by asking again and again.
func (b *Book) Bind(now time.Time, c Client, a netip.Addr, term time.Duration) (Lease, error) {
	if term <= 0 {
		return Lease{}, fmt.Errorf("a lease of %s ends before it begins", term)
	}
	now = wall(now)
	defer b.begin(now)()
	t := b.table
	e, k := t.find(c)
	if r, reserved := t.reservation(c); reserved && r != a || !plain(a) || !t.fits(c, a) {
		return Lease{}, ErrNotHere
	} else if o := t.addresses[a]; o != nil && o != e && !reserved {
		return Lease{}, ErrTaken
	}
	l := b.lease(c, e, a)
	l.State, l.Start, l.Expiry = Bound, now, now.Add(term)
	if e != nil && e.State == Bound && e.Address == a {
		if l.Start = e.Start; e.Client == l.Client && e.Reserved == l.Reserved &&
			!e.Expiry.After(l.Expiry) && e.Expiry.Sub(now) >= term-term/8 {
			return e.Lease, nil
		}
	}
	if e == nil || e.Client.Port != c.Port {
		var err error
		if b.change(func(t *table) { err = t.room(c) }); err != nil {
			return Lease{}, err
		}
	}
	if !b.pace.allow(c.Port, now) {
		return Lease{}, ErrPace
	}
	next := &entry{Lease: l, key: k, until: l.Expiry}
	if err := b.write(true, recordOf(next)); err != nil {
		return Lease{}, err
	}
	b.change(func(t *table) { t.put(next) })
	b.tidy()
	b.tell()
	return l, nil
}

// Find returns what the client has or had, in any state.
func (b *Book) Find(now time.Time, c Client) (Lease, bool) {
	defer b.begin(now)()
	if e, _ := b.table.find(c); e != nil {
		return e.Lease, true
	}
	return Lease{}, false
}

// begin begins an operation at a time: it returns what ends it.
func (b *Book) begin(now time.Time) (end func()) {
	b.writing.Lock()
	ended := false
	if due := b.table.due; len(due) > 0 && !due[0].until.After(now) {
		b.change(func(t *table) { ended = t.expire(now) })
	}
	return func() {
		b.writing.Unlock()
		if ended {
			b.tell()
		}
	}
}

// wall takes the reading of the monotonic clock off: leases end by the wall clock, which
// goes on while the host sleeps, and which is all that a file can say.
func wall(now time.Time) time.Time { return now.Round(0).UTC() }
