package lease

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func wantNames(t *testing.T, b *Book, want ...string) {
	t.Helper()
	var got []string
	for _, n := range b.Names() {
		got = append(got, n.Label+" "+n.Address.String())
		if !slices.Contains(b.Lookup(n.Label), n.Address) || b.Reverse(n.Address) != n.Label {
			t.Errorf("%v: forward %v, reverse %q", n, b.Lookup(n.Label), b.Reverse(n.Address))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("names:\n got %q\nwant %q", got, want)
	}
}

func TestNamesFollowLeases(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir, ten)
	changes := 0
	b.OnChange(func() { changes++ })
	a := func(c Client) netip.Addr { t.Helper(); return join(t, b, start, c).Address }
	web := guest(1).named("Web.example.org")
	one, six := a(web), a(web.v6(1))
	a(guest(2)) // has no name
	wantNames(t, b, fmt.Sprint("web ", one), fmt.Sprint("web ", six))
	if changes != 3 {
		t.Errorf("told %d times, want 3", changes)
	}
	two := a(guest(2).named("mail")) // has one now
	a(guest(2))                      // and keeps it
	wantNames(t, b, fmt.Sprint("mail ", two), fmt.Sprint("web ", one), fmt.Sprint("web ", six))

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, dir, ten)
	wantNames(t, b, fmt.Sprint("mail ", two), fmt.Sprint("web ", one), fmt.Sprint("web ", six))
	if err := b.Free(start, guest(2), two); err != nil {
		t.Fatal(err)
	}
	wantNames(t, b, fmt.Sprint("web ", one), fmt.Sprint("web ", six))
	told := false
	b.OnChange(func() { told = true })
	b.Expire(start.Add(hour))
	if wantNames(t, b); !told {
		t.Error("nobody was told that names ended")
	}
	if found := b.Lookup("web"); found != nil || b.Reverse(one) != "" {
		t.Errorf("after the end: %v, %q", found, b.Reverse(one))
	}
}

func TestNameBelongsToWhoCameFirst(t *testing.T) {
	s := ten
	s.Reservations = []Reservation{{MAC: guest(5).MAC, Address: addr("192.0.2.10"), Address6: addr("2001:db8::10"), Name: "db"}}
	b := open(t, s)
	wantNames(t, b, "db 192.0.2.10", "db 2001:db8::10") // before it came
	first := join(t, b, start, guest(1).named("web"))
	for _, thief := range []Client{guest(2).named("web"), guest(3).named("db"), guest(4).named("wpad")} {
		if l := join(t, b, start, thief); l.Client.Name != "" {
			t.Errorf("%s got the name %q", thief.ID, l.Client.Name)
		}
	}
	db := join(t, b, start, guest(5).named("anything"))
	web := fmt.Sprint("web ", first.Address)
	wantNames(t, b, "db "+db.Address.String(), "db 2001:db8::10", web)
	later := start.Add(hour)
	if l := join(t, b, later, guest(2).named("web")); l.Client.Name != "web" {
		t.Errorf("after the first had gone: %+v", l)
	}
	if l := join(t, b, later, guest(1).named("web")); l.Client.Name != "" {
		t.Errorf("the first came back and got %+v", l)
	}
}

func TestReservedNameIsTakenFromWhoHasIt(t *testing.T) {
	b := open(t, ten)
	join(t, b, start, guest(1).named("db"))
	owner := join(t, b, start, guest(2).named("x"))
	s := ten
	s.Reservations = []Reservation{{MAC: guest(2).MAC, Address: addr("192.0.2.200"), Name: "db"}}
	set(t, b, s)
	// Until it comes again, the station has its old address.
	wantNames(t, b, "db "+owner.Address.String())
	join(t, b, start, guest(2))
	wantNames(t, b, "db 192.0.2.200")
}
