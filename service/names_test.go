package service

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
	"weft/service/lease"
)

var morning = time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)

// A book of leases, and the names made of it.
type book struct {
	*testing.T
	*lease.Book
	names *names
}

func newBook(t *testing.T, reservations ...lease.Reservation) *book {
	t.Helper()
	b, err := lease.Open(t.TempDir(), "default")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	v := all()
	err = b.Set(lease.Settings{Ranges: v.ranges(), Reservations: reservations})
	if err != nil {
		t.Fatal(err)
	}
	n := newNames(b)
	n.reserve(reservations)
	return &book{t, b, n}
}

// bind gives an address to the nth station, at a port and with a name of its own.
func (b *book) bind(at time.Time, station uint8, port, name, address string) {
	b.Helper()
	a := netip.MustParseAddr(address)
	mac := frametest.Station(station).MAC
	c := lease.Client{Family: lease.FamilyOf(a), ID: mac.String(), MAC: mac, Port: port, Name: name}
	if _, err := b.Offer(at, c, a); err != nil {
		b.Fatal(err)
	}
	if _, err := b.Bind(at, c, a, time.Hour); err != nil {
		b.Fatal(err)
	}
}

func (b *book) want(label string, addresses ...string) {
	b.Helper()
	var want []netip.Addr
	for _, a := range addresses {
		want = append(want, netip.MustParseAddr(a))
	}
	if got := b.names.Lookup(label); !slices.Equal(got, want) {
		b.Errorf("%s: %v, want %v", label, got, want)
	}
}

func (b *book) wantReverse(address, label string) {
	b.Helper()
	if got := b.names.Reverse(netip.MustParseAddr(address)); got != label {
		b.Errorf("%s: %q, want %q", address, got, label)
	}
}

func TestGuestIsKnownByItsNameAndItsPort(t *testing.T) {
	b := newBook(t)
	b.want("web")
	b.bind(morning, 1, "vm_1", "web", "192.168.150.101")
	b.bind(morning, 1, "vm_1", "web", "fd5a:150::1:1")
	b.bind(morning, 2, "vm2", "", "192.168.150.102")
	b.want("web", "192.168.150.101", "fd5a:150::1:1")
	b.want("vm-1", "192.168.150.101", "fd5a:150::1:1")
	b.want("vm2", "192.168.150.102")
	b.wantReverse("192.168.150.101", "web")
	b.wantReverse("192.168.150.102", "vm2")
	b.wantReverse("192.168.150.103", "")

	b.Expire(morning.Add(2 * time.Hour))
	b.want("web")
	b.want("vm2")
	b.wantReverse("192.168.150.102", "")
}

func TestPortStandsForItsFirstGuest(t *testing.T) {
	b := newBook(t)
	b.bind(morning, 1, "vm1", "outer", "192.168.150.150")
	b.bind(morning.Add(time.Minute), 2, "vm1", "inner", "192.168.150.101")
	b.want("vm1", "192.168.150.150")
	b.want("inner", "192.168.150.101")
	b.wantReverse("192.168.150.101", "inner")
}

// No guest takes a name that the operator gave to another.
func TestOperatorsNamesGoFirst(t *testing.T) {
	b := newBook(t, lease.Reservation{MAC: frametest.Station(9).MAC, Address: netip.MustParseAddr("192.168.150.9"), Name: "db"})
	b.want("db", "192.168.150.9") // before it came
	b.bind(morning, 1, "vm1", "vm2", "192.168.150.101")
	b.want("vm2", "192.168.150.101") // while nobody else is called so
	b.bind(morning.Add(time.Minute), 2, "vm2", "", "192.168.150.102")
	b.want("vm2", "192.168.150.102")
	b.wantReverse("192.168.150.101", "vm1")
	b.wantReverse("192.168.150.102", "vm2")

	b.bind(morning, 3, "db", "", "192.168.150.103") // a port of that name
	b.want("db", "192.168.150.9")
	b.wantReverse("192.168.150.103", "")
	b.bind(morning, 4, "vm4", "db", "192.168.150.104")
	b.want("db", "192.168.150.9")
	b.wantReverse("192.168.150.104", "vm4")
}

func TestOfferedAddressHasNoName(t *testing.T) {
	b := newBook(t)
	c := lease.Client{Family: lease.IPv4, ID: "x", MAC: frame.MAC(0x5254_0000_0001), Port: "vm1", Name: "web"}
	if _, err := b.Offer(morning, c, netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	b.want("vm1")
	b.want("web")
}
