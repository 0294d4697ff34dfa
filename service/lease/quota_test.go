package lease

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"weft/frame"
)

// stranger returns the n-th of many clients that one port pretends to be.
func stranger(n int) Client {
	return Client{Family: IPv4, ID: fmt.Sprint("stranger", n), MAC: frame.MAC(0x020000000000 + n), Port: "evil", Name: fmt.Sprint("evil", n)}
}

// One port asks under a thousand names, in each way there is to keep an address from
// others. Those who come after find theirs.
func TestOnePortCannotExhaustThePool(t *testing.T) {
	for name, attack := range map[string]func(b *Book, now time.Time, c Client){
		"offers":     func(b *Book, now time.Time, c Client) { _, _ = b.Offer(now, c, netip.Addr{}) },
		"leases":     func(b *Book, now time.Time, c Client) { _, _ = tryJoin(b, now, c) },
		"unoffered":  func(b *Book, now time.Time, c Client) { _, _ = b.Bind(now, c, addr("192.0.2.13"), hour) },
		"two a port": func(b *Book, now time.Time, c Client) { _, _ = tryJoin(b, now, c.v6(uint32(len(c.ID)))) },
		"short leases": func(b *Book, now time.Time, c Client) {
			if l, err := b.Offer(now, c, netip.Addr{}); err == nil {
				_, _ = b.Bind(now, c, l.Address, time.Nanosecond)
			}
		},
		"released": func(b *Book, now time.Time, c Client) {
			if l, err := tryJoin(b, now, c); err == nil {
				_ = b.Free(now, c, l.Address)
			}
		},
		"declined": func(b *Book, now time.Time, c Client) {
			if l, err := b.Offer(now, c, netip.Addr{}); err == nil {
				_ = b.Decline(now, c, l.Address)
			}
		},
		"declined leases": func(b *Book, now time.Time, c Client) {
			if l, err := tryJoin(b, now, c); err == nil {
				_ = b.Decline(now, c, l.Address)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := ten
			s.Quota = 3
			b := open(t, s)
			now := start
			regular := join(t, b, now, guest(1)) // left, but to come again
			if err := b.Free(now, guest(1), regular.Address); err != nil {
				t.Fatal(err)
			}
			for n := range 1000 {
				now = now.Add(100 * time.Millisecond)
				attack(b, now, stranger(n))
				kept := map[Family]int{}
				for _, e := range b.table.addresses {
					if e.Client.Port == "evil" {
						kept[e.Client.Family]++
					}
				}
				if kept[IPv4] > 3 || kept[IPv6] > 3 {
					t.Fatalf("after %d: the port keeps %v", n+1, kept)
				}
			}
			if l := join(t, b, now, guest(1)); l.Address != regular.Address {
				t.Errorf("the guest that was there before had %s and got %s", regular.Address, l.Address)
			}
			for n := 2; n <= 7; n++ {
				join(t, b, now, guest(n))
			}
		})
	}
}

func TestQuota(t *testing.T) {
	s := ten
	s.Quota = 2
	s.Reservations = []Reservation{{MAC: guest(9).MAC, Address: addr("192.0.2.10")}}
	b := open(t, s)
	join(t, b, start, guest(1).on("vm"))
	second := join(t, b, start, guest(2).on("vm"))
	_, err := b.Offer(start, guest(3).on("vm"), netip.Addr{})
	wantErr(t, err, ErrQuota)
	_, err = b.Bind(start, guest(3).on("vm"), addr("192.0.2.15"), hour)
	wantErr(t, err, ErrQuota)
	join(t, b, start, guest(1).on("vm"))       // those that are there stay
	join(t, b, start, guest(3).on("vm").v6(1)) // the other family has its own
	join(t, b, start, guest(9).on("vm"))       // what the operator reserved is not counted
	join(t, b, start, guest(3).on("other"))
	if l, err := b.Bind(start, guest(3).on("vm"), addr("192.0.2.15"), hour); err == nil {
		t.Errorf("moved onto a full port: %+v", l)
	}
	if err := b.Free(start, guest(2).on("vm"), second.Address); err != nil {
		t.Fatal(err)
	}
	join(t, b, start, guest(4).on("vm")) // in place of what is idle
	_, err = b.Offer(start, guest(2).on("vm"), netip.Addr{})
	wantErr(t, err, ErrQuota)
	s.Quota = 0
	set(t, b, s)
	join(t, b, start, guest(2).on("vm"))
}
