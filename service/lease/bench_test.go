package lease

import (
	"fmt"
	"testing"
	"time"
)

// A ramFile is a file whose disk takes no time.
type ramFile struct{}

func (ramFile) Write(p []byte) (int, error) { return len(p), nil }
func (ramFile) Sync() error                 { return nil }
func (ramFile) Truncate(int64) error        { return nil }
func (ramFile) Close() error                { return nil }

// One client comes, gets an address and leaves, in a pool of 65,536 of which so many are
// another's.
func BenchmarkJoin(b *testing.B) {
	for _, taken := range []int{0, 65000, 65535} {
		b.Run(fmt.Sprint("taken-", taken), func(b *testing.B) {
			book, err := Open(b.TempDir(), "net")
			if err != nil {
				b.Fatal(err)
			}
			disk := book.journal.file
			book.journal.file, book.limit = ramFile{}, 1<<40
			if err := book.Set(Settings{Ranges: []Range{span4("10.0.0.0", "10.0.255.255")}}); err != nil {
				b.Fatal(err)
			}
			for n := range taken {
				if _, err := tryJoin(book, start, guest(n)); err != nil {
					b.Fatal(err)
				}
			}
			now := start
			for n := 0; b.Loop(); n++ {
				now = now.Add(time.Microsecond)
				c := guest(1e6 + n)
				l, err := tryJoin(book, now, c)
				if err == nil {
					err = book.Free(now, c, l.Address)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			book.journal.file = disk
			if err := book.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// With the disk that temporary files are on.
func BenchmarkBindOnDisk(b *testing.B) {
	book, err := Open(b.TempDir(), "net")
	if err != nil {
		b.Fatal(err)
	}
	if err := book.Set(ten); err != nil {
		b.Fatal(err)
	}
	now := start
	for b.Loop() {
		now = now.Add(time.Hour)
		if _, err := tryJoin(book, now, guest(1)); err != nil {
			b.Fatal(err)
		}
	}
	if err := book.Close(); err != nil {
		b.Fatal(err)
	}
}
