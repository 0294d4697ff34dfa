package service

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"weft/service/lease"
)

// names are a network's names in DNS. What the operator named goes first, so that no
// guest can take the name of another: reservations, then ports. A port is the guest that
// has held its address by that port the longest. Then come the names that guests give
// themselves.
type names struct {
	book  *lease.Book
	stale atomic.Bool // the tables are not those of the book

	mu        sync.Mutex
	reserved  map[string]bool         // labels of reservations; guarded by mu
	addresses map[string][]netip.Addr // by label; guarded by mu
	labels    map[netip.Addr]string   // by address; guarded by mu
}

func newNames(b *lease.Book) *names {
	n := &names{book: b}
	n.stale.Store(true)
	b.OnChange(func() { n.stale.Store(true) })
	return n
}

// reserve tells the names which labels are those of reservations.
func (n *names) reserve(list []lease.Reservation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reserved = make(map[string]bool)
	for _, r := range list {
		n.reserved[r.Name] = true
	}
	n.stale.Store(true)
}

// Lookup implements dns.Names.
func (n *names) Lookup(label string) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	return n.addresses[label]
}

// Reverse implements dns.Names.
func (n *names) Reverse(a netip.Addr) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refreshLocked()
	return n.labels[a]
}

// refreshLocked makes the tables anew if the book has changed.
func (n *names) refreshLocked() {
	if !n.stale.Swap(false) {
		return
	}
	n.addresses, n.labels = make(map[string][]netip.Addr), make(map[netip.Addr]string)
	ports := portLabels(n.book.List())
	for _, name := range n.book.Names() {
		if _, port := ports[name.Label]; !port || n.reserved[name.Label] {
			n.addresses[name.Label] = append(n.addresses[name.Label], name.Address)
			n.labels[name.Address] = name.Label
		}
	}
	for label, holders := range ports {
		if n.reserved[label] {
			continue
		}
		for _, f := range []lease.Family{lease.IPv4, lease.IPv6} {
			l, ok := holders[f]
			if !ok {
				continue
			}
			n.addresses[label] = append(n.addresses[label], l.Address)
			if n.labels[l.Address] == "" { // what a guest calls itself says more
				n.labels[l.Address] = label
			}
		}
	}
}

// portLabels returns the leases that ports' names stand for: of each family the oldest.
func portLabels(leases []lease.Lease) map[string]map[lease.Family]lease.Lease {
	ports := make(map[string]map[lease.Family]lease.Lease)
	for _, l := range leases {
		label := lease.Label(l.Client.Port)
		if l.State != lease.Bound || label == "" {
			continue
		}
		if ports[label] == nil {
			ports[label] = make(map[lease.Family]lease.Lease)
		}
		f := lease.FamilyOf(l.Address)
		if other, ok := ports[label][f]; !ok || l.Start.Before(other.Start) {
			ports[label][f] = l
		}
	}
	return ports
}
