package lease

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// hold is how long an offered address is kept for its client.
const hold = time.Minute

// slack is how many lines of a file may be outdated before it is made anew, beside one
// for each that holds.
const slack = 1024

// A Book holds one network's leases. All methods may be called at once.
type Book struct {
	network string
	damage  error

	writing sync.Mutex // held while the book changes, and while it is written to disk; before mu
	journal journal    // guarded by writing
	limit   int        // lines that make the file due to be made anew; guarded by writing
	closed  bool       // guarded by writing
	pace    pace       // guarded by writing

	mu      sync.RWMutex
	table   *table   // guarded by mu; whoever holds writing may read it without
	changed []func() // guarded by mu
}

// Open reads the book of a network, or begins a new one, in the folder dir, which is
// made if it is missing. What was not readable is told by Damage; the book can be used.
// An error means that nothing can be kept there.
func Open(dir, network string) (*Book, error) {
	if network == "" || network[0] == '.' || strings.ContainsRune(network, filepath.Separator) {
		return nil, fmt.Errorf("%q cannot be the name of a file of leases", network)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("leases of %s: %w", network, err)
	}
	t, err := newTable(Settings{})
	if err != nil {
		return nil, err
	}
	b := &Book{
		network: network,
		table:   t,
		pace:    make(pace),
		journal: journal{path: filepath.Join(dir, network+".leases"), open: create},
	}
	if err := b.restore(); err != nil {
		return nil, fmt.Errorf("leases of %s: %w (make room, or repair the disk)", network, err)
	}
	return b, nil
}

// Close closes the file. The book can still be read.
func (b *Book) Close() error {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.closed = true
	return b.journal.close()
}

// Damage tells what Open found broken and mended: a last line torn by a crash, or a
// file set aside. Nil: nothing.
func (b *Book) Damage() error { return b.damage }

// Set changes what is given out from now on. Leases stay until their clients come
// again. All faults are told, and nothing is changed if there is one.
func (b *Book) Set(s Settings) error {
	t, err := newTable(s)
	if err != nil {
		return fmt.Errorf("leases of %s: %w", b.network, err)
	}
	b.writing.Lock()
	defer b.writing.Unlock()
	for _, old := range b.table.addresses {
		t.adopt(old)
	}
	b.mu.Lock()
	b.table = t
	b.mu.Unlock()
	b.tell()
	return nil
}

// adopt enters a lease of an older table.
func (t *table) adopt(old *entry) {
	e := &entry{Lease: old.Lease, key: old.key, until: old.until}
	_, e.Reserved = t.reserved[e.Address]
	if own := t.stations[e.Client.MAC].Name; own != "" && e.State != Declined {
		e.Client.Name = own
	} else if _, others := t.labels[e.Client.Name]; others {
		e.Client.Name = ""
	}
	t.put(e)
}

// OnChange has f called after each change of the leases, by whoever caused it and
// without a lock that readers take. f must not block, nor change the book.
func (b *Book) OnChange(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed = append(b.changed, f)
}

func (b *Book) tell() {
	b.mu.RLock()
	changed := slices.Clone(b.changed)
	b.mu.RUnlock()
	for _, f := range changed {
		f()
	}
}

// change does something to the table, with writing held.
func (b *Book) change(do func(t *table)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do(b.table)
}

// write adds records to the file. After an earlier failure it first makes the file anew.
func (b *Book) write(sync bool, records ...record) error {
	lines := make([][]byte, len(records))
	for i := range records {
		lines[i] = line(&records[i])
	}
	var err error
	if b.closed {
		err = os.ErrClosed
	} else if b.journal.broken() {
		err = b.journal.rewrite(append(b.lines(), lines...))
	} else {
		err = b.journal.add(lines, sync)
	}
	if err != nil {
		return fmt.Errorf("%s: %w (until it can be written nobody gets a lease: make room, or repair the disk)", b.journal.path, err)
	}
	return nil
}

// lines returns the lines of a file that says what the table says.
func (b *Book) lines() [][]byte {
	lines := [][]byte{line(header{formatVersion})}
	for _, e := range b.table.sorted() {
		r := recordOf(e)
		lines = append(lines, line(&r))
	}
	return lines
}

// compact makes the file anew, without what is outdated.
func (b *Book) compact() error {
	lines := b.lines()
	b.limit = 2*len(lines) + slack
	return b.journal.rewrite(lines)
}

// tidy makes the file anew if most of it is outdated. If that fails the old one goes on
// to grow; the next attempt comes after as many lines again.
func (b *Book) tidy() {
	if !b.closed && !b.journal.broken() && b.journal.lines > b.limit {
		if b.compact() != nil {
			b.limit = b.journal.lines + slack
		}
	}
}

// List returns all leases in the order of their addresses, but no offers.
func (b *Book) List() []Lease {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var all []Lease
	for _, e := range b.table.sorted() {
		all = append(all, e.Lease)
	}
	return all
}

// Names returns the names in use, those of reservations included, ordered.
func (b *Book) Names() []Name {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.table.allNames()
}

// Lookup returns the addresses that a label (lower case) stands for.
func (b *Book) Lookup(label string) []netip.Addr {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.table.lookup(label)
}

// Reverse returns the label that stands for an address, or "".
func (b *Book) Reverse(a netip.Addr) string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.table.reverse(a)
}
