package lease

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weft/frame"
)

func TestReservation(t *testing.T) {
	s := ten
	s.Reservations = []Reservation{
		{MAC: guest(1).MAC, Address: addr("192.0.2.200"), Address6: addr("2001:db8::10"), Name: "db"},
		{MAC: guest(2).MAC, Address: addr("192.0.2.12")},
	}
	b := open(t, s)
	if l := join(t, b, start, guest(1).named("other")); l.Address != addr("192.0.2.200") || l.Client.Name != "db" || !l.Reserved {
		t.Errorf("outside the range: %+v", l)
	}
	if l := join(t, b, start, guest(1).v6(1)); l.Address != addr("2001:db8::10") || !l.Reserved {
		t.Errorf("IPv6: %+v", l)
	}
	if l := join(t, b, start, guest(1).v6(2)); l.Address == addr("2001:db8::10") || l.Reserved {
		t.Errorf("a second identity association: %+v", l)
	}
	for n := 10; n < 19; n++ {
		if l := join(t, b, start, guest(n)); l.Address == addr("192.0.2.12") {
			t.Errorf("a stranger got %s", l.Address)
		}
	}
	_, err := tryJoin(b, start, guest(19))
	wantErr(t, err, ErrExhausted)
	if l := join(t, b, start, guest(2)); l.Address != addr("192.0.2.12") {
		t.Errorf("inside the range: %+v", l)
	}
	// Firmware and the system it loads have different IDs and one MAC.
	if l := join(t, b, start, guest(2).as("system")); l.Address != addr("192.0.2.12") {
		t.Errorf("the station's second ID: %+v", l)
	}
}

func TestReservationMadeWhileAnotherHasTheAddress(t *testing.T) {
	b := open(t, ten)
	squatter := join(t, b, start, guest(1))
	old := join(t, b, start, guest(2))
	s := ten
	s.Reservations = []Reservation{{MAC: guest(2).MAC, Address: squatter.Address}}
	set(t, b, s)
	if _, err := b.Bind(start, guest(2), old.Address, hour); err != nil {
		t.Error("until it is free the owner keeps what it has:", err)
	}
	_, err := b.Bind(start, guest(2), squatter.Address, hour)
	wantErr(t, err, ErrTaken)
	_, err = b.Bind(start.Add(10*time.Minute), guest(1), squatter.Address, hour)
	wantErr(t, err, ErrNotHere) // refused: it has to move
	if l := join(t, b, start.Add(10*time.Minute), guest(1)); l.Address == squatter.Address {
		t.Errorf("the squatter got %s again", l.Address)
	}
	_, err = b.Bind(start.Add(10*time.Minute), guest(2), old.Address, hour)
	wantErr(t, err, ErrNotHere) // refused: its own address is free now
	if l := join(t, b, start.Add(10*time.Minute), guest(2)); l.Address != squatter.Address {
		t.Errorf("the owner got %+v", l)
	}
	if l := b.List(); len(l) != 2 {
		t.Errorf("left in the book: %+v", l)
	}
}

func TestSetKeepsLeasesUntilTheirClientsCome(t *testing.T) {
	b := open(t, ten)
	c := guest(1)
	l := join(t, b, start, c)
	set(t, b, Settings{Ranges: []Range{span4("198.51.100.10", "198.51.100.19")}})
	if got, ok := b.Find(start, c); !ok || got != l {
		t.Errorf("after Set: %+v, %t", got, ok)
	}
	_, err := b.Bind(start, c, l.Address, hour)
	wantErr(t, err, ErrNotHere)
	if got, ok := b.Find(start, c); !ok || got != l {
		t.Errorf("after it was refused: %+v, %t", got, ok)
	}
	moved := join(t, b, start, c)
	if !slices.Equal(b.List(), []Lease{moved}) || moved.Address.As4()[0] != 198 {
		t.Errorf("the book has %+v", b.List())
	}
}

func TestSetTellsAllFaults(t *testing.T) {
	b := open(t, ten)
	err := b.Set(Settings{
		Ranges:     []Range{span4("192.0.2.20", "192.0.2.10"), {addr("192.0.2.1"), addr("2001:db8::1")}, {}},
		Exclude:    []netip.Addr{{}, addr("192.0.2.1")},
		Quota:      -1,
		Quarantine: -1,
		Reservations: []Reservation{
			{},
			{MAC: frame.Broadcast, Address: addr("192.0.2.1")},
			{MAC: 1, Address: addr("192.0.2.30"), Name: "A b"},
			{MAC: 1, Address: addr("192.0.2.30"), Name: "x"},
			{MAC: 2, Address: addr("2001:db8::1"), Address6: addr("192.0.2.31"), Name: "x"},
		},
	})
	for _, want := range []string{
		"leases of net: ", "192.0.2.20-192.0.2.10 is not a range", "192.0.2.1-2001:db8::1 is not a range", "cannot be excluded", "negative",
		"no station has the MAC 00:00:00:00:00:00", "no station has the MAC ff:ff:ff:ff:ff:ff", "192.0.2.1 is reserved for ff:ff:ff:ff:ff:ff, but is the gateway's",
		`"A b" cannot be the name`, "two reservations", "192.0.2.30 is reserved twice", `the name "x" is reserved twice`, "want an IPv4 and an IPv6 address",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
	err = b.Set(Settings{Ranges: []Range{span4("192.0.2.10", "192.0.2.20"), span4("192.0.2.20", "192.0.2.30")}})
	if err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Error(err)
	}
	join(t, b, start, guest(1)) // what was set before holds
}
