package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"weft/frame"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const hour = time.Hour

// ten has room for ten clients of IPv4 and ten of IPv6.
var ten = Settings{
	Ranges: []Range{span4("192.0.2.10", "192.0.2.19"), {addr("2001:db8::10"), addr("2001:db8::19")}},
}

func reopen(t *testing.T, dir string, s Settings) *Book {
	t.Helper()
	b, err := Open(dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	set(t, b, s)
	return b
}

func open(t *testing.T, s Settings) *Book { t.Helper(); return reopen(t, t.TempDir(), s) }

func set(t *testing.T, b *Book, s Settings) {
	t.Helper()
	if err := b.Set(s); err != nil {
		t.Fatal(err)
	}
}

// guest returns the n-th guest, on a port of its own.
func guest(n int) Client {
	return Client{Family: IPv4, ID: fmt.Sprint("guest", n), MAC: frame.MAC(0x525400000000 + n), Port: fmt.Sprint("vm", n)}
}

func (c Client) named(name string) Client   { c.Name = name; return c }
func (c Client) on(port string) Client      { c.Port = port; return c }
func (c Client) v6(iaid uint32) Client      { c.Family, c.IAID = IPv6, iaid; return c }
func (c Client) as(id string) Client        { c.ID = id; return c }
func (c Client) station(m frame.MAC) Client { c.MAC = m; return c }

func join(t *testing.T, b *Book, now time.Time, c Client) Lease {
	t.Helper()
	l, err := tryJoin(b, now, c)
	if err != nil {
		t.Fatalf("%s: %v", c.ID, err)
	}
	return l
}

func tryJoin(b *Book, now time.Time, c Client) (Lease, error) {
	l, err := b.Offer(now, c, netip.Addr{})
	if err != nil {
		return l, err
	}
	return b.Bind(now, c, l.Address, hour)
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func TestClientGetsTheSameAddressAgain(t *testing.T) {
	for name, between := range map[string]func(t *testing.T, dir string, b *Book, c Client, l Lease) *Book{
		"while it has it": func(_ *testing.T, _ string, b *Book, _ Client, _ Lease) *Book { return b },
		"after it was released": func(t *testing.T, _ string, b *Book, c Client, l Lease) *Book {
			if err := b.Free(start, c, l.Address); err != nil {
				t.Fatal(err)
			}
			return b
		},
		"after it expired, and others came": func(t *testing.T, _ string, b *Book, _ Client, _ Lease) *Book {
			for n := 2; n <= 10; n++ {
				join(t, b, start.Add(2*hour), guest(n))
			}
			return b
		},
		"after a restart": func(t *testing.T, dir string, b *Book, _ Client, _ Lease) *Book {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			return reopen(t, dir, ten)
		},
		"after its release and a restart": func(t *testing.T, dir string, b *Book, c Client, l Lease) *Book {
			if err := errors.Join(b.Free(start, c, l.Address), b.Close()); err != nil {
				t.Fatal(err)
			}
			return reopen(t, dir, ten)
		},
		"after the book was lost": func(t *testing.T, _ string, _ *Book, _ Client, _ Lease) *Book {
			return open(t, ten)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := reopen(t, dir, ten)
			c := guest(1)
			l := join(t, b, start, c)
			b = between(t, dir, b, c, l)
			if again := join(t, b, start.Add(3*hour), c); again.Address != l.Address {
				t.Errorf("had %s, got %s", l.Address, again.Address)
			}
		})
	}
}

func TestClientGetsTheAddressItWantsIfFree(t *testing.T) {
	b := open(t, ten)
	want := addr("192.0.2.17")
	if l, err := b.Offer(start, guest(1), want); err != nil || l.Address != want {
		t.Fatalf("%v, %v", l, err)
	}
	for _, taken := range []netip.Addr{want, addr("192.0.2.9"), addr("192.0.2.20"), addr("2001:db8::10")} {
		if l, err := b.Offer(start, guest(2), taken); err != nil || l.Address == taken || FamilyOf(l.Address) != IPv4 {
			t.Errorf("wanted %s: %v, %v", taken, l, err)
		}
	}
}

func TestOfferHoldsTheAddressForAMinute(t *testing.T) {
	s := ten
	s.Ranges = []Range{span4("192.0.2.10", "192.0.2.10")}
	b := open(t, s)
	if _, err := b.Offer(start, guest(1), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	_, err := b.Offer(start.Add(59*time.Second), guest(2), netip.Addr{})
	wantErr(t, err, ErrExhausted)
	_, err = b.Bind(start, guest(2), addr("192.0.2.10"), hour)
	wantErr(t, err, ErrTaken)
	if _, err := b.Offer(start.Add(time.Minute), guest(2), netip.Addr{}); err != nil {
		t.Error("after a minute:", err)
	}
}

func TestWithdrawFreesTheOffer(t *testing.T) {
	s := ten
	s.Ranges = []Range{span4("192.0.2.10", "192.0.2.10")}
	b := open(t, s)
	if _, err := b.Offer(start, guest(1), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	b.Withdraw(start, guest(1).on("vm9")) // another's port
	_, err := b.Offer(start, guest(2), netip.Addr{})
	wantErr(t, err, ErrExhausted)
	b.Withdraw(start, guest(1))
	join(t, b, start, guest(2))
	b.Withdraw(start, guest(2)) // a lease is no offer
	if _, found := b.Find(start, guest(2)); !found {
		t.Error("Withdraw ended a lease")
	}
}

func TestAddressIdleForLongestGoesFirst(t *testing.T) {
	b := open(t, ten)
	had := make([]Lease, 10)
	for n := range had {
		had[n] = join(t, b, start.Add(time.Duration(n)*time.Minute), guest(n))
	}
	_, err := tryJoin(b, start.Add(59*time.Minute), guest(11))
	wantErr(t, err, ErrExhausted)
	if l := join(t, b, start.Add(2*hour), guest(11)); l.Address != had[0].Address {
		t.Errorf("got %s, want %s, which was idle for longest", l.Address, had[0].Address)
	}
	if l := join(t, b, start.Add(2*hour), guest(9)); l.Address != had[9].Address {
		t.Errorf("guest 9 had %s and got %s", had[9].Address, l.Address)
	}
	if l := join(t, b, start.Add(2*hour), guest(12)); l.Address != had[1].Address {
		t.Errorf("got %s, want %s, which was idle for longest", l.Address, had[1].Address)
	}
}

func TestRenewalSoonAfterTheLastOneIsNotWritten(t *testing.T) {
	b := open(t, ten)
	l := join(t, b, start, guest(1))
	lines := b.journal.lines
	again, err := b.Bind(start.Add(7*time.Minute), guest(1), l.Address, hour)
	if err != nil || again != l || b.journal.lines != lines {
		t.Errorf("after 7 of 60 minutes: %v, %v, %d lines written", again, err, b.journal.lines-lines)
	}
	again, err = b.Bind(start.Add(8*time.Minute), guest(1), l.Address, hour)
	if err != nil || !again.Expiry.Equal(start.Add(68*time.Minute)) || again.Start != l.Start {
		t.Errorf("after 8 of 60 minutes: %v, %v", again, err)
	}
	for _, c := range []Client{guest(1).on("vm7"), guest(1).on("vm7").named("new"), guest(1).on("vm7").named("new").station(7)} {
		lines = b.journal.lines
		if _, err := b.Bind(start.Add(8*time.Minute), c, l.Address, hour); err != nil || b.journal.lines == lines {
			t.Errorf("as %+v: %v, %d lines written", c, err, b.journal.lines-lines)
		}
	}
	again, err = b.Bind(start.Add(8*time.Minute), guest(1).on("vm7").named("new").station(7), l.Address, time.Minute)
	if err != nil || !again.Expiry.Equal(start.Add(9*time.Minute)) {
		t.Errorf("for a shorter term: %v, %v", again, err)
	}
}

func TestBindRefuses(t *testing.T) {
	s := ten
	s.Exclude = []netip.Addr{addr("192.0.2.11")}
	s.Reservations = []Reservation{{MAC: guest(5).MAC, Address: addr("192.0.2.12")}}
	b := open(t, s)
	other := join(t, b, start, guest(2)).Address
	for _, row := range []struct {
		why  error
		c    Client
		a    netip.Addr
		term time.Duration
	}{
		{ErrNotHere, guest(1), addr("192.0.2.9"), hour},
		{ErrNotHere, guest(1), addr("192.0.2.11"), hour},
		{ErrNotHere, guest(1), addr("192.0.2.12"), hour},
		{ErrNotHere, guest(5), addr("192.0.2.13"), hour},
		{ErrNotHere, guest(1), addr("2001:db8::10"), hour},
		{ErrNotHere, guest(1).v6(1), addr("192.0.2.13"), hour},
		{ErrNotHere, guest(1), netip.Addr{}, hour},
		{ErrNotHere, guest(1).v6(1), addr("2001:db8::10%eth0"), hour},
		{ErrTaken, guest(1), other, hour},
	} {
		_, err := b.Bind(start, row.c, row.a, row.term)
		wantErr(t, err, row.why)
	}
	if _, err := b.Bind(start, guest(1), addr("192.0.2.13"), 0); err == nil {
		t.Error("a lease without a term: no error")
	}
}

func TestFreeDeclineOnlyByTheHolderOnItsPort(t *testing.T) {
	b := open(t, ten)
	a := join(t, b, start, guest(1)).Address
	for name, c := range map[string]Client{
		"another client":     guest(2).on("vm1"),
		"another port":       guest(1).on("vm2"),
		"another IAID":       guest(1).v6(9),
		"a clone of another": guest(2).as("guest1"),
	} {
		wantErr(t, b.Free(start, c, a), ErrNoLease)
		wantErr(t, b.Decline(start, c, a), ErrNoLease)
		if l, _ := b.Find(start, guest(1)); l.State != Bound {
			t.Fatalf("%s ended the lease: %+v", name, l)
		}
	}
	wantErr(t, b.Free(start, guest(1), addr("192.0.2.99")), ErrNoLease)
	if err := b.Free(start, guest(1), a); err != nil {
		t.Error(err)
	}
	wantErr(t, b.Free(start, guest(1), a), ErrNoLease)
}

func TestDeclinedAddressRests(t *testing.T) {
	dir := t.TempDir()
	s := ten
	s.Ranges = []Range{span4("192.0.2.10", "192.0.2.10")}
	b := reopen(t, dir, s)
	a := join(t, b, start, guest(1)).Address
	if err := b.Decline(start, guest(1), a); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Client{guest(1), guest(2)} {
		_, err := tryJoin(b, start.Add(9*time.Minute), c)
		wantErr(t, err, ErrExhausted)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, dir, s)
	_, err := tryJoin(b, start.Add(9*time.Minute), guest(2))
	wantErr(t, err, ErrExhausted)
	join(t, b, start.Add(10*time.Minute), guest(2))
}

func TestQuarantineOfWhatNobodyHas(t *testing.T) {
	b := open(t, ten)
	a := join(t, b, start, guest(1)).Address
	wantErr(t, b.Quarantine(start, a), ErrTaken)
	if err := b.Quarantine(start, addr("192.0.2.15")); err != nil {
		t.Fatal(err)
	}
	if l, err := b.Offer(start, guest(2), addr("192.0.2.15")); err != nil || l.Address == addr("192.0.2.15") {
		t.Errorf("%v, %v", l, err)
	}
	if l := b.List(); len(l) != 2 || l[0].State != Declined && l[1].State != Declined {
		t.Errorf("the book has %+v", l)
	}
}

func TestOperatorReleases(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir, ten)
	a := join(t, b, start, guest(1)).Address
	wantErr(t, b.Release(start, addr("192.0.2.99")), ErrNoLease)
	if err := errors.Join(b.Release(start, a), b.Close()); err != nil {
		t.Fatal(err)
	}
	if b = reopen(t, dir, ten); len(b.List()) != 0 {
		t.Errorf("after a restart: %+v", b.List())
	}
	if l, err := b.Bind(start, guest(2), a, hour); err != nil {
		t.Error(l, err)
	}
}

// Machines made from one image call themselves by one ID; and nobody may take over a
// lease by naming another's ID.
func TestSameIDOnOtherPortIsAnotherClient(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir, ten)
	first := join(t, b, start, guest(1).as("image"))
	second := join(t, b, start, guest(2).as("image"))
	if first.Address == second.Address {
		t.Fatalf("both got %s", first.Address)
	}
	_, err := b.Bind(start, guest(3).as("image"), first.Address, hour)
	wantErr(t, err, ErrTaken)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, dir, ten)
	for n, l := range map[int]Lease{1: first, 2: second} {
		if again := join(t, b, start.Add(30*time.Minute), guest(n).as("image")); again.Address != l.Address {
			t.Errorf("guest %d had %s and got %s", n, l.Address, again.Address)
		}
	}
	// A new card in the same machine, a port with a new name: these are the same.
	if l := join(t, b, start.Add(30*time.Minute), guest(1).as("image").station(77)); l.Address != first.Address {
		t.Errorf("with another MAC on its port: %s, had %s", l.Address, first.Address)
	}
	if l := join(t, b, start.Add(30*time.Minute), guest(1).as("image").station(77).on("vm50")); l.Address != first.Address || l.Client.Port != "vm50" {
		t.Errorf("with its MAC on another port: %+v, had %s", l, first.Address)
	}
}

func TestPaceOfOnePortLeavesTheDiskToOthers(t *testing.T) {
	b := open(t, ten)
	granted := 0
	for range 1000 {
		l, err := tryJoin(b, start, guest(1))
		if err != nil {
			wantErr(t, err, ErrPace)
			break
		}
		granted++
		if err := b.Free(start, guest(1), l.Address); err != nil {
			t.Fatal(err)
		}
	}
	if granted != paceBurst {
		t.Errorf("%d leases at once, want %d", granted, paceBurst)
	}
	join(t, b, start, guest(2))
	join(t, b, start.Add(paceInterval), guest(1))
	b.Expire(start.Add(hour))
	if len(b.pace) != 0 {
		t.Errorf("still kept: %v", b.pace)
	}
}
