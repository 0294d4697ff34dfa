package lease

import (
	"errors"
	"net/netip"
	"time"
)

// A Book holds one network's leases. All methods may be called at once.
type Book struct{}

// Open reads the book of a network, or begins a new one, in the folder dir, which is
// made if it is missing. What was not readable is told by Damage; the book can be used.
// An error means that nothing can be kept there.
func Open(dir, network string) (*Book, error) { return nil, errors.ErrUnsupported }

// Close closes the file.
func (b *Book) Close() error { return nil }

// Damage tells what Open found broken and mended: a last line torn by a crash, or a
// file set aside. Nil: nothing.
func (b *Book) Damage() error { return nil }

// Set changes what is given out from now on. Leases stay until their clients come
// again. All faults are told, and nothing is changed if there is one.
func (b *Book) Set(s Settings) error { return nil }

// Offer finds the address for a client, the one it has or had or wants (may be zero) if
// possible, and holds it for the client for a short time.
func (b *Book) Offer(now time.Time, c Client, want netip.Addr) (Lease, error) {
	return Lease{}, errors.ErrUnsupported
}

// Bind gives the address to the client for term, beginning now, and returns when it is
// on disk. The lease may end sooner: one that was renewed a moment ago stays as it is.
func (b *Book) Bind(now time.Time, c Client, a netip.Addr, term time.Duration) (Lease, error) {
	return Lease{}, errors.ErrUnsupported
}

// Find returns what the client has or had.
func (b *Book) Find(now time.Time, c Client) (Lease, bool) { return Lease{}, false }

// Withdraw takes back what was offered to the client.
func (b *Book) Withdraw(now time.Time, c Client) {}

// Free ends the client's lease of the address. It remains the client's next one.
func (b *Book) Free(now time.Time, c Client, a netip.Addr) error { return nil }

// Decline puts the client's address out of use for a while: another host uses it.
func (b *Book) Decline(now time.Time, c Client, a netip.Addr) error { return nil }

// Release ends the lease of an address for good, by the operator's wish.
func (b *Book) Release(now time.Time, a netip.Addr) error { return nil }

// Expire ends the leases whose time has come. Once a second is often enough: it is for
// the names only, as no address is judged by it.
func (b *Book) Expire(now time.Time) {}

// List returns all leases in the order of their addresses, offers included.
func (b *Book) List() []Lease { return nil }

// Names returns the names in use, those of reservations included, ordered.
func (b *Book) Names() []Name { return nil }

// Lookup returns the addresses that a label (lower case) stands for.
func (b *Book) Lookup(label string) []netip.Addr { return nil }

// Reverse returns the label that stands for an address, or "".
func (b *Book) Reverse(a netip.Addr) string { return "" }

// OnChange has f called after each change of the leases, by whoever caused it and
// without a lock. f must not block.
func (b *Book) OnChange(f func()) {}
