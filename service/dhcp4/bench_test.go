package dhcp4

import (
	"testing"
	"time"

	"github.com/google/gopacket/layers"

	"weft/service/lease"
)

// The disk is left out, as far as the system has a disk in memory: for what it takes see
// BenchmarkBindOnDisk of package lease.
func BenchmarkHandle(b *testing.B) {
	for name, a := range map[string]*ask{
		"discover":  client(1, discoverMsg).wants(1, 3, 6, 15, 26, 28, 42, 119, 121),
		"renew":     client(1, requestMsg).ciaddr("192.0.2.10").wants(1, 3, 6, 15, 26, 28, 42, 119, 121),
		"refuse":    client(1, requestMsg).ciaddr("198.51.100.1"),
		"malformed": client(1, layers.DHCPMsgTypeAck),
	} {
		b.Run(name, func(b *testing.B) {
			book, err := lease.Open(memory(b), "net")
			if err != nil {
				b.Fatal(err)
			}
			s := New(Config{Book: book})
			if err := s.Set(defaults); err != nil {
				b.Fatal(err)
			}
			if err := book.Set(pool); err != nil {
				b.Fatal(err)
			}
			q, now := a.request(b), start
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
