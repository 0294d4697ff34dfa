package lease

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// filled returns a folder with the closed book of three leases, and its lines.
func filled(t *testing.T) (dir string, lines []string) {
	t.Helper()
	dir = t.TempDir()
	b := reopen(t, dir, ten)
	for n := 1; n <= 3; n++ {
		join(t, b, start, guest(n))
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "net.leases"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, strings.SplitAfter(strings.TrimSuffix(string(content), "\n"), "\n")
}

func TestBrokenFileIsToldAndMended(t *testing.T) {
	flip := func(s string) string { return strings.Replace(s, "192.0.2.1", "192.0.2.2", 1) }
	for name, row := range map[string]struct {
		content func(lines []string) string
		leases  int
		told    string // empty: nothing
		aside   bool
	}{
		"whole":                    {func(l []string) string { return strings.Join(l, "") + "\n" }, 3, "", false},
		"empty":                    {func([]string) string { return "" }, 0, "", false},
		"only a header":            {func(l []string) string { return l[0] }, 0, "", false},
		"torn last line":           {func(l []string) string { return strings.Join(l, "")[:len(strings.Join(l, ""))-7] }, 2, "line 4 is broken (it does not end), as after a crash", false},
		"last line without end":    {func(l []string) string { return strings.Join(l, "") }, 2, "line 4 is broken (it does not end), as after a crash", false},
		"zeros at the end":         {func(l []string) string { return strings.Join(l[:3], "") + strings.Repeat("\x00", 5000) }, 2, "line 4 is broken (it is too long), as after a crash", false},
		"torn header":              {func(l []string) string { return l[0][:5] }, 0, "line 1 is broken (it does not end), as after a crash", false},
		"a bit of a line is wrong": {func(l []string) string { return l[0] + flip(l[1]) + l[2] + l[3] + "\n" }, 2, "line 2 is broken: its checksum is wrong; the file is kept as", true},
		"a line is missing half":   {func(l []string) string { return l[0] + l[1] + l[2][:20] + "\n" + l[3] + "\n" }, 2, "line 3 is broken: its checksum is wrong; the file is kept as", true},
		"a line far too long":      {func(l []string) string { return l[0] + strings.Repeat("x", 10000) + "\n" + l[1] }, 1, "line 2 is broken: it is too long", true},
		"something else":           {func([]string) string { return "# leases\nvm1 192.0.2.10\n" }, 0, "line 1 is broken: it has no checksum; the file is kept as", true},
		"of a later weft":          {func(l []string) string { return string(line(header{2})) + l[1] }, 1, "it is of format 2, and this weft knows format 1", true},
		"no header":                {func(l []string) string { return l[1] + l[2] }, 1, "it is of format 0", true},
		"a state nobody knows": {func(l []string) string {
			return l[0] + string(line(record{Address: addr("192.0.2.10"), State: "odd"})) + l[1]
		}, 1, `line 2 is broken: "odd" is not a state`, true},
		"no address": {func(l []string) string { return l[0] + string(line(record{State: "bound"})) + l[1] }, 1, "is not an address", true},
		"no client": {func(l []string) string {
			return l[0] + string(line(record{Address: addr("192.0.2.10"), State: "bound", ID: "x"}))
		}, 0, "client: ", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, lines := filled(t)
			path := filepath.Join(dir, "net.leases")
			content := row.content(lines)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			b := reopen(t, dir, ten)
			if got := b.List(); len(got) != row.leases {
				t.Errorf("%d leases, want %d: %+v", len(got), row.leases, got)
			}
			if got := fmt.Sprint(b.Damage()); row.told == "" && b.Damage() != nil || row.told != "" && !strings.Contains(got, row.told) {
				t.Errorf("told %q, want %q", got, row.told)
			}
			kept, err := os.ReadFile(path + ".damaged")
			if row.aside != (err == nil) || row.aside && string(kept) != content {
				t.Errorf("set aside: %q, %v", kept, err)
			}
			before := len(b.List())
			join(t, b, start, guest(7)) // it goes on
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = reopen(t, dir, ten)
			if b.Damage() != nil || len(b.List()) != before+1 {
				t.Errorf("opened once more: %v, %+v", b.Damage(), b.List())
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, name := range []string{"", ".", "../net", "a/b"} {
		if _, err := Open(t.TempDir(), name); err == nil || !strings.Contains(err.Error(), "cannot be the name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "net.leases"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "net"); err == nil || !strings.Contains(err.Error(), "leases of net: ") {
		t.Errorf("a folder for a file: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "net.leases", "file", "x"), "net"); err != nil {
		t.Errorf("folders are made: %v", err)
	}
}

func TestClosedBookGivesNothing(t *testing.T) {
	b := open(t, ten)
	a := join(t, b, start, guest(1)).Address
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := tryJoin(b, start, guest(2))
	wantErr(t, err, os.ErrClosed)
	wantErr(t, b.Release(start, a), os.ErrClosed)
	if len(b.List()) != 1 {
		t.Errorf("it cannot be read: %+v", b.List())
	}
}

func TestFileIsMadeAnewWhenMostOfItIsOutdated(t *testing.T) {
	dir := t.TempDir()
	b := reopen(t, dir, ten)
	now := start
	longest := 0
	for range 5000 {
		now = now.Add(time.Hour / 2)
		join(t, b, now, guest(1))
		longest = max(longest, b.journal.lines)
	}
	if longest > 2*slack {
		t.Errorf("the file had %d lines for one lease", longest)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, dir, ten)
	if l := b.List(); b.Damage() != nil || len(l) != 1 || !l[0].Expiry.Equal(now.Add(hour)) {
		t.Errorf("%v, %+v", b.Damage(), l)
	}
}

// A faulty is a file that fails as it is told, and notes what is done to it.
type faulty struct {
	file
	log                   *[]string
	write, sync, truncate error
	short                 int // bytes of a failing write that get there
}

func (f *faulty) Write(p []byte) (int, error) {
	*f.log = append(*f.log, "write")
	if f.write != nil {
		n, err := f.file.Write(p[:min(f.short, len(p))])
		return n, errors.Join(f.write, err)
	}
	return f.file.Write(p)
}

func (f *faulty) Sync() error {
	*f.log = append(*f.log, "sync")
	if f.sync != nil {
		return f.sync
	}
	return f.file.Sync()
}

func (f *faulty) Truncate(n int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.file.Truncate(n)
}

func TestLeaseIsOnDiskBeforeAnybodyIsTold(t *testing.T) {
	b := open(t, ten)
	var log []string
	b.journal.file = &faulty{file: b.journal.file, log: &log}
	b.OnChange(func() { log = append(log, "told") })
	l, err := b.Offer(start, guest(1), netip.Addr{})
	if err != nil || len(log) != 0 {
		t.Fatalf("an offer: %v, %v", log, err)
	}
	if _, err := b.Bind(start, guest(1), l.Address, hour); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(log, " "); got != "write sync told" {
		t.Errorf("a lease: %s", got)
	}
	log = nil
	if err := b.Free(start, guest(1), l.Address); err != nil || strings.Join(log, " ") != "write told" {
		t.Errorf("its end: %s, %v", log, err) // may be lost: the address only stays with its client for longer
	}
}

func TestNoLeaseWithoutTheDisk(t *testing.T) {
	broken := errors.New("broken")
	for name, row := range map[string]struct {
		fault  faulty
		anew   bool // the file has to be made anew
		failed bool // making it anew fails at first
	}{
		"nothing was written":            {faulty{write: broken}, false, false},
		"half was written":               {faulty{write: broken, short: 60}, false, false},
		"half was written and stays":     {faulty{write: broken, short: 60, truncate: broken}, true, false},
		"not synced":                     {faulty{sync: broken}, true, false},
		"not synced, nor anew":           {faulty{sync: broken}, true, true},
		"all written, and an error said": {faulty{write: broken, short: 1 << 20, truncate: broken}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := reopen(t, dir, ten)
			first := join(t, b, start, guest(1))
			offer, err := b.Offer(start, guest(2), netip.Addr{})
			if err != nil {
				t.Fatal(err)
			}
			row.fault.file, row.fault.log = b.journal.file, new([]string)
			b.journal.file = &row.fault
			_, err = b.Bind(start, guest(2), offer.Address, hour)
			if !errors.Is(err, broken) || !strings.Contains(err.Error(), "net.leases: ") || !strings.Contains(err.Error(), "make room, or repair the disk") {
				t.Fatalf("got %v", err)
			}
			if l := b.List(); len(l) != 1 || l[0] != first {
				t.Errorf("the book has %+v", l)
			}
			if b.journal.broken() != row.anew {
				t.Errorf("to be made anew: %t", b.journal.broken())
			}
			row.fault.write, row.fault.sync, row.fault.truncate = nil, nil, nil
			if row.failed {
				b.journal.open = func(string) (file, error) { return nil, broken }
				_, err = b.Bind(start, guest(2), offer.Address, hour)
				wantErr(t, err, broken)
				b.journal.open = create
			}
			if _, err := b.Bind(start, guest(2), offer.Address, hour); err != nil {
				t.Fatalf("when the disk is well again: %v", err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = reopen(t, dir, ten)
			if b.Damage() != nil || len(b.List()) != 2 {
				t.Errorf("after a restart: %v, %+v", b.Damage(), b.List())
			}
		})
	}
}

func TestFileThatCannotBeMadeAnewGoesOn(t *testing.T) {
	b := open(t, ten)
	b.journal.open = func(path string) (file, error) {
		f, err := create(path)
		return &faulty{file: f, log: new([]string), sync: errors.New("broken")}, err
	}
	b.limit = 0
	join(t, b, start, guest(1))
	if _, err := os.Stat(b.journal.path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a file is left: %v", err)
	}
	b.journal.open = create
	join(t, b, start, guest(2))
	if b.journal.lines != 3 {
		t.Errorf("%d lines: was it made anew at once?", b.journal.lines)
	}
}

// Whatever is in the file: what is read fits together, is written as it is read, and
// the book goes on.
func FuzzRead(f *testing.F) {
	head := line(header{formatVersion})
	bound := record{Address: addr("192.0.2.10"), State: "bound", ID: "01", Name: "x", Expiry: start.Add(hour)}
	six := record{Address: addr("2001:db8::10"), State: "declined", Expiry: start.Add(hour)}
	f.Add([]byte(nil))
	f.Add(head)
	f.Add(bytes.Join([][]byte{head, line(bound), line(six), line(record{Address: six.Address, State: gone})}, nil))
	f.Add(bytes.Join([][]byte{head, line(bound), line(bound)[:30]}, nil))
	f.Add(bytes.Join([][]byte{line(bound), {0, '\n'}, line(six)}, nil))
	raw := []byte("!{\"weft-leases\":1}\n")
	for _, r := range []record{bound, six, bound} {
		raw = append(append(raw, '!'), line(&r)[9:]...)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, content []byte) {
		// The fuzzer does not find checksums: after a '!' it need not.
		var file []byte
		for l := range bytes.Lines(content) {
			if body, ok := bytes.CutPrefix(l, []byte("!")); ok {
				body = bytes.TrimSuffix(body, []byte("\n"))
				l = fmt.Appendf(nil, "%08x %s\n", checksum(body), body)
			}
			file = append(file, l...)
		}
		b := inMemory(t, file)
		again := inMemory(t, bytes.Join(b.lines(), nil))
		if got, want := again.List(), b.List(); !slices.EqualFunc(got, want, sameLease) {
			t.Fatalf("read again:\n got %+v\nwant %+v", got, want)
		}
		if err := b.Set(ten); err != nil {
			t.Fatal(err)
		}
		if l, err := tryJoin(b, start, guest(1)); err == nil {
			if got, ok := b.Find(start, guest(1)); !ok || got != l {
				t.Fatalf("has %+v, want %+v", got, l)
			}
		}
		verify(t, b.table)
	})
}

func sameLease(a, b Lease) bool {
	same := a.Expiry.Equal(b.Expiry) && a.Start.Equal(b.Start)
	a.Start, a.Expiry = b.Start, b.Expiry
	return same && a == b
}

// inMemory returns a book as read from a file with such content, without a disk.
func inMemory(t *testing.T, content []byte) *Book {
	t.Helper()
	table, err := newTable(Settings{})
	if err != nil {
		t.Fatal(err)
	}
	b := &Book{network: "net", table: table, pace: make(pace), limit: 1 << 40, journal: journal{file: ramFile{}}}
	got, err := read(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.records {
		_ = b.replay(&got.records[i]) // told, if there were a file
	}
	verify(t, b.table)
	return b
}
