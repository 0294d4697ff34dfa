package lease

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/frame"
)

// A promise is what a client was told: the address is its own until then.
type promise struct {
	address netip.Addr
	until   time.Time
	port    string // by which the client got it
}

// A world is a book and clients that remember what they were told. The one rule: no two
// clients may believe in the same address at one time, whatever happens to the daemon.
type world struct {
	root     string
	book     *Book
	settings Settings
	now      time.Time
	clients  []Client
	told     []promise // by client
	offers   []netip.Addr
	durable  int // bytes of the file that were on disk when somebody was last told
	crashes  int
}

func newWorld(t *rapid.T, root string) *world {
	w := &world{
		root: root, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		settings: Settings{
			Ranges: []Range{span4("192.0.2.10", "192.0.2.14"), span4("2001:db8::1000", "2001:db8::1002")},
		},
	}
	for i := range 8 {
		c := Client{Family: IPv4, ID: fmt.Sprint("id", i), MAC: frame.MAC(0x525400000000 + i), Port: fmt.Sprint("vm", i/2), Name: fmt.Sprint("host", i%3)}
		switch i {
		case 4, 5: // two machines of one image
			c.ID, c.Port = "clone", fmt.Sprint("clone", i)
		case 6, 7: // one machine with two identity associations
			c.Family, c.ID, c.IAID, c.MAC = IPv6, "duid", uint32(i), 0x525400000006
		}
		w.clients = append(w.clients, c)
	}
	w.told = make([]promise, len(w.clients))
	w.offers = make([]netip.Addr, len(w.clients))
	w.open(t, root)
	return w
}

func (w *world) path() string { return filepath.Join(w.root, "net.leases") }

func (w *world) open(t *rapid.T, root string) {
	w.root = root
	var err error
	if w.book, err = Open(root, "net"); err != nil {
		t.Fatal(err)
	}
	if err := w.book.Set(w.settings); err != nil {
		t.Fatal(err)
	}
	w.synced(t)
}

// synced notes that all of the file is on disk.
func (w *world) synced(t *rapid.T) {
	fi, err := os.Stat(w.path())
	if err != nil {
		t.Fatal(err)
	}
	w.durable = int(fi.Size())
}

// bind has a client ask for an address, and remember if it got it.
func (w *world) bind(t *rapid.T, i int, a netip.Addr, term time.Duration) {
	l, err := w.book.Bind(w.now, w.clients[i], a, term)
	if err != nil {
		return
	}
	w.synced(t)
	if l.Address != a || l.State != Bound || l.Expiry.After(w.now.Add(term)) || l.Expiry.Before(w.now.Add(term-term/8)) {
		t.Fatalf("client %d asked for %s for %s at %s and got %+v", i, a, term, w.now, l)
	}
	for j, p := range w.told {
		if j != i && p.address == a && p.until.After(w.now) {
			t.Fatalf("%s was client %d's until %s and is client %d's at %s", a, j, p.until, i, w.now)
		}
	}
	w.told[i] = promise{a, l.Expiry, w.clients[i].Port}
}

// crash has the machine lose power: of what is in the file, what was synced survives,
// and anything of the rest.
func (w *world) crash(t *rapid.T) {
	content, err := os.ReadFile(w.path())
	if err != nil {
		t.Fatal(err)
	}
	cut := rapid.IntRange(w.durable, len(content)).Draw(t, "cut")
	w.crashes++
	root := fmt.Sprintf("%s-%d", w.root, w.crashes)
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "net.leases"), content[:cut], 0o600); err != nil {
		t.Fatal(err)
	}
	half := content[:rapid.IntRange(0, len(content)).Draw(t, "half made anew")]
	if err := os.WriteFile(filepath.Join(root, "net.leases.new"), half, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.book.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(t, root)
	if cut == len(content) != (w.book.Damage() == nil) && content[cut-1] != '\n' {
		t.Fatalf("cut %d of %d bytes: damage %v", cut, len(content), w.book.Damage())
	}
}

func TestNoTwoClientsHoldOneAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "lease")
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, filepath.Join(root, "book"))
		defer func() {
			if err := errors.Join(w.book.Close(), os.RemoveAll(root)); err != nil {
				t.Error(err)
			}
		}()
		actions := map[string]func(*rapid.T){
			"crash": w.crash,
			"":      func(t *rapid.T) { verify(t, w.book.table) },
		}
		maps.Copy(actions, w.coming())
		maps.Copy(actions, w.going())
		maps.Copy(actions, w.around())
		t.Repeat(actions)
	})
}

var (
	someAddress = rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "v6") {
			return offset(addr("2001:db8::fff"), uint64(rapid.IntRange(0, 4).Draw(t, "n")))
		}
		return offset(addr("192.0.2.9"), uint64(rapid.IntRange(0, 6).Draw(t, "n")))
	})
	someTerm = rapid.Map(rapid.IntRange(60, 600), func(s int) time.Duration { return time.Duration(s) * time.Second })
)

func (w *world) some(t *rapid.T, who string) int {
	return rapid.IntRange(0, len(w.clients)-1).Draw(t, who)
}

// coming returns what clients do to get addresses.
func (w *world) coming() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"offer": func(t *rapid.T) {
			i := w.some(t, "client")
			l, err := w.book.Offer(w.now, w.clients[i], someAddress.Draw(t, "want"))
			if err == nil {
				w.offers[i] = l.Address
			}
		},
		"join": func(t *rapid.T) {
			i := w.some(t, "client")
			if l, err := w.book.Offer(w.now, w.clients[i], netip.Addr{}); err == nil {
				w.bind(t, i, l.Address, someTerm.Draw(t, "term"))
			}
		},
		"take the offer": func(t *rapid.T) {
			if i := w.some(t, "client"); w.offers[i].IsValid() {
				w.bind(t, i, w.offers[i], someTerm.Draw(t, "term"))
			}
		},
		"take any": func(t *rapid.T) {
			w.bind(t, w.some(t, "client"), someAddress.Draw(t, "address"), someTerm.Draw(t, "term"))
		},
		"renew": func(t *rapid.T) {
			if i := w.some(t, "client"); w.told[i].until.After(w.now) {
				w.bind(t, i, w.told[i].address, someTerm.Draw(t, "term"))
			}
		},
	}
}

// going returns what ends leases.
func (w *world) going() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"free": func(t *rapid.T) {
			i := w.some(t, "client")
			if a := w.told[i].address; a.IsValid() && w.book.Free(w.now, w.clients[i], a) == nil {
				w.told[i] = promise{}
			}
		},
		"free another's": func(t *rapid.T) {
			i, j := w.some(t, "client"), w.some(t, "victim")
			c := w.clients[j]
			if c.Port = w.clients[i].Port; c.Port != w.told[j].port && w.book.Free(w.now, c, w.told[j].address) == nil {
				t.Fatal("a lease was freed from another port")
			}
		},
		"decline": func(t *rapid.T) {
			i := w.some(t, "client")
			if a := w.told[i].address; a.IsValid() && w.book.Decline(w.now, w.clients[i], a) == nil {
				w.told[i] = promise{}
			}
		},
		"quarantine": func(t *rapid.T) { _ = w.book.Quarantine(w.now, someAddress.Draw(t, "address")) },
		"withdraw":   func(t *rapid.T) { w.book.Withdraw(w.now, w.clients[w.some(t, "client")]) },
		"release": func(t *rapid.T) {
			a := someAddress.Draw(t, "address")
			if w.book.Release(w.now, a) == nil {
				w.synced(t)
				for i, p := range w.told {
					if p.address == a {
						w.told[i] = promise{}
					}
				}
			}
		},
	}
}

// around returns what happens around them.
func (w *world) around() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"time": func(t *rapid.T) {
			w.now = w.now.Add(rapid.SampledFrom([]time.Duration{1, 20, 61, 200, 700}).Draw(t, "seconds") * time.Second)
		},
		"expire": func(*rapid.T) { w.book.Expire(w.now) },
		"move": func(t *rapid.T) {
			i, port := w.some(t, "client"), fmt.Sprint("vm", rapid.IntRange(0, 2).Draw(t, "port"))
			if w.clients[i].ID == "clone" { // on one port both would be one machine with a new card
				port = fmt.Sprint(port, "of", i)
			}
			w.clients[i].Port = port
		},
		"set": func(t *rapid.T) {
			w.settings.Quota = rapid.IntRange(0, 4).Draw(t, "quota")
			w.settings.Ranges[0].Last = offset(w.settings.Ranges[0].First, uint64(rapid.IntRange(0, 4).Draw(t, "size")))
			w.settings.Exclude = []netip.Addr{addr("192.0.2.12")}
			w.settings.Reservations = nil
			if rapid.Bool().Draw(t, "reserve") {
				w.settings.Reservations = []Reservation{
					{MAC: w.clients[3].MAC, Address: addr("192.0.2.11"), Name: "db"},
					{MAC: w.clients[6].MAC, Address: addr("192.0.2.15"), Address6: addr("2001:db8::1001"), Name: "host1"},
				}
			}
			if err := w.book.Set(w.settings); err != nil {
				t.Fatal(err)
			}
		},
		"make the file anew": func(t *rapid.T) {
			w.book.limit = 0
			w.book.tidy()
			w.synced(t)
		},
		"restart": func(t *rapid.T) {
			before := w.book.List()
			if err := w.book.Close(); err != nil {
				t.Fatal(err)
			}
			w.open(t, w.root)
			w.book.Expire(w.now)
			if err := w.book.Damage(); err != nil {
				t.Fatalf("after a clean end: %v", err)
			}
			for _, l := range before {
				if l.State == Bound && l.Expiry.After(w.now) && !slices.ContainsFunc(w.book.List(), func(o Lease) bool {
					l.Client.Name, o.Client.Name = "", "" // names may change by Set, and addresses not
					return o.Address == l.Address && o.State == Bound && o.Client == l.Client && o.Expiry.Equal(l.Expiry)
				}) {
					t.Fatalf("%+v did not survive the restart", l)
				}
			}
		},
	}
}

// verify checks that all that a table knows fits together.
func verify(t interface{ Fatalf(string, ...any) }, b *table) {
	queued := len(b.due) + len(*b.idle[IPv4]) + len(*b.idle[IPv6])
	if queued != len(b.addresses) {
		t.Fatalf("%d entries, %d queued", len(b.addresses), queued)
	}
	named, counted, keyed := 0, 0, 0
	for a, e := range b.addresses {
		_, reserved := b.reserved[a]
		switch {
		case e.Address != a || (*e.queue)[e.place] != e:
			t.Fatalf("%+v stands under %s", e, a)
		case b.pools[FamilyOf(a)].isFree(a):
			t.Fatalf("%s is free and %+v", a, e)
		case (e.account != nil) != (!reserved && e.Client.Port != ""), e.account != nil && e.account.entries[e.slot] != e:
			t.Fatalf("%+v is counted wrongly", e)
		case e.State == Bound && e.Client.Name != "" && !slices.Contains(b.names[e.Client.Name], e):
			t.Fatalf("%+v has no name", e)
		case (e.key == key{}) != (e.State == Declined) || e.State != Declined && b.clients[e.key] != e:
			t.Fatalf("%+v is not its client's", e)
		}
		if e.State == Bound && e.Client.Name != "" {
			named++
		}
		if e.account != nil {
			counted++
		}
		if e.State != Declined {
			keyed++
		}
	}
	for _, es := range b.names {
		named -= len(es)
		for _, e := range es {
			if e.Client.MAC != es[0].Client.MAC {
				t.Fatalf("%+v and %+v have one name", e, es[0])
			}
		}
	}
	for _, a := range b.accounts {
		counted -= len(a.entries)
	}
	if named != 0 || counted != 0 || keyed != len(b.clients) {
		t.Fatalf("%d names, %d counts, %d clients too few", named, counted, keyed-len(b.clients))
	}
	for _, p := range b.pools {
		for n := range p.size {
			if a := p.address(n); p.free.has(n) != (b.poolable(a) && b.addresses[a] == nil) {
				t.Fatalf("%s: free %t", a, p.free.has(n))
			}
		}
	}
}
