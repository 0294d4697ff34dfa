package dhcp6

import (
	"testing"
	"time"

	"weft/service/lease"
)

// The disk is left out, as far as the system has a disk in memory: for what it takes see
// BenchmarkBindOnDisk of package lease.
func BenchmarkHandle(b *testing.B) {
	a := addr("2001:db8::1001")
	for name, q := range map[string]*ask{
		"solicit":   client(1, solicitMsg).na(1).wants(23, 24),
		"renew":     client(1, renewMsg).ours().na(1, a).wants(23, 24),
		"confirm":   client(1, confirmMsg).na(1, a),
		"malformed": client(1, 99).na(1),
	} {
		b.Run(name, func(b *testing.B) {
			book, err := lease.Open(memory(b), "net")
			if err != nil {
				b.Fatal(err)
			}
			s := New(Config{Book: book, DUID: serverDUID})
			if err := s.Set(defaults); err != nil {
				b.Fatal(err)
			}
			if err := book.Set(pool); err != nil {
				b.Fatal(err)
			}
			q, now := q.request(b), start
			for b.Loop() {
				now = now.Add(30 * time.Minute) // so that each renewal is written
				if r, err := s.Handle(now, q); (err != nil) != (name == "malformed") {
					b.Fatal(r, err)
				}
			}
			if err := book.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
