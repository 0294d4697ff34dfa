package dns

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	first, second, third = netip.MustParseAddrPort("10.0.0.1:53"), netip.MustParseAddrPort("10.0.0.2:53"), netip.MustParseAddrPort("10.0.0.3:53")
	three                = []netip.AddrPort{first, second, third}
)

// A panel is what resolvers do, and who was asked when.
type panel struct {
	does  map[netip.AddrPort]func(ctx context.Context) ([]byte, error)
	mu    sync.Mutex
	asked []netip.AddrPort
}

func (p *panel) exchange(ctx context.Context, server netip.AddrPort, _ request) ([]byte, error) {
	p.mu.Lock()
	p.asked = append(p.asked, server)
	does := p.does[server]
	p.mu.Unlock()
	return does(ctx)
}

func (p *panel) take() []netip.AddrPort {
	asked := p.asked
	p.asked = nil
	return asked
}

func says(rcode byte) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte{0, 0, flagQR, rcode, 0, 1, 0, 0, 0, 0, 0, 0}, nil }
}

func silent(ctx context.Context) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func refused(context.Context) ([]byte, error) { return nil, errors.New("connection refused") }

type does = map[netip.AddrPort]func(context.Context) ([]byte, error)

func TestForwarderFailsOver(t *testing.T) {
	for _, c := range []struct {
		name  string
		does  does
		asked []netip.AddrPort
		rcode int // -1: an error
		after time.Duration
	}{
		{"the first answers", does{first: says(0)}, three[:1], 0, 0},
		{"that a name is none is an answer", does{first: says(3)}, three[:1], 3, 0},
		{"the first is silent", does{first: silent, second: says(0)}, three[:2], 0, 2 * time.Second},
		{"the first is not there", does{first: refused, second: says(0)}, three[:2], 0, 0},
		{"the first cannot", does{first: says(2), second: says(0)}, three[:2], 0, 0},
		{"the first will not", does{first: says(5), second: says(0)}, three[:2], 0, 0},
		{"nobody can", does{first: says(2), second: refused, third: says(5)}, three, 5, 0},
		{"nobody is there", does{first: refused, second: refused, third: refused}, slices.Concat(three, three), -1, 0},
		{"all are silent", does{first: silent, second: silent, third: silent}, slices.Concat(three, three[:2]), -1, 9 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &panel{does: c.does}
				start := time.Now()
				answer, err := newForwarder(p.exchange).resolve(t.Context(), three, request{wire: "q"})
				rcode := -1
				if err == nil {
					rcode = int(answer[3])
				}
				if rcode != c.rcode || !slices.Equal(p.asked, c.asked) || time.Since(start) != c.after {
					t.Errorf("%d (%v) after %v by %v, want %d after %v by %v", rcode, err, time.Since(start), p.asked, c.rcode, c.after, c.asked)
				}
			})
		})
	}
}

func TestForwarderWithoutResolverSaysSo(t *testing.T) {
	_, err := newForwarder(nil).resolve(t.Context(), nil, request{})
	if !errors.Is(err, errNoResolver) {
		t.Error(err)
	}
}

func TestSilentResolverComesLastForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &panel{does: does{first: silent, second: says(0)}}
		f := newForwarder(p.exchange)
		ask := func(want ...netip.AddrPort) {
			t.Helper()
			if _, err := f.resolve(t.Context(), three, request{wire: "q"}); err != nil {
				t.Fatal(err)
			}
			if got := p.take(); !slices.Equal(got, want) {
				t.Errorf("asked %v, want %v", got, want)
			}
		}
		ask(first, second)
		ask(second)
		time.Sleep(restTime)
		ask(first, second)
		p.does[first] = says(0)
		time.Sleep(restTime)
		ask(first)
	})
}

func TestSameQuestionIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &panel{does: does{first: func(context.Context) ([]byte, error) {
			time.Sleep(time.Second)
			return says(0)(nil)
		}}}
		f := newForwarder(p.exchange)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if answer, err := f.resolve(t.Context(), three, request{wire: "q"}); err != nil || len(answer) == 0 {
					t.Errorf("%v, %v", answer, err)
				}
			})
		}
		all.Go(func() { f.resolve(t.Context(), three, request{wire: "another"}) })
		all.Go(func() { f.resolve(t.Context(), three, request{wire: "q", tcp: true}) })
		all.Wait()
		if len(p.asked) != 3 {
			t.Errorf("asked %d times", len(p.asked))
		}
	})
}

// A resolver that asks this server what this server asks it.
func TestLoopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *forwarder
		asked := 0
		f = newForwarder(func(ctx context.Context, _ netip.AddrPort, r request) ([]byte, error) {
			asked++
			back := make(chan error, 1)
			go func() {
				_, err := f.resolve(ctx, three[:1], r)
				back <- err
			}()
			select {
			case err := <-back:
				return nil, err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		start := time.Now()
		if _, err := f.resolve(t.Context(), three[:1], request{wire: "q"}); err == nil {
			t.Error("an answer out of nowhere")
		}
		if asked != 2 || time.Since(start) > queryTimeout {
			t.Errorf("asked %d times, for %v", asked, time.Since(start))
		}
	})
}

// follow writes and follows a file of resolvers.
type follow struct {
	*testing.T
	path string
	f    *resolvConf
	told []error
	now  time.Time
}

func newFollow(t *testing.T) *follow {
	w := &follow{T: t, path: filepath.Join(t.TempDir(), "resolv.conf"), now: time.Unix(1e9, 0)}
	w.f = &resolvConf{path: w.path, report: func(err error) { w.told = append(w.told, err) }}
	return w
}

func (w *follow) write(text string) {
	w.Helper()
	if err := os.WriteFile(w.path+".new", []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(w.path+".new", w.path); err != nil {
		w.Fatal(err)
	}
}

func (w *follow) want(after time.Duration, texts ...string) {
	w.Helper()
	w.now = w.now.Add(after)
	if got := w.f.servers(w.now); !slices.Equal(got, servers(texts...)) {
		w.Errorf("%v, want %v", got, texts)
	}
}

func TestResolvConfIsFollowed(t *testing.T) {
	w := newFollow(t)
	w.write("nameserver 10.0.0.1\n")
	w.want(0, "10.0.0.1:53")
	w.write("nameserver 10.0.0.2\n")
	w.want(recheck-1, "10.0.0.1:53") // not looked at yet
	w.want(1, "10.0.0.2:53")

	// In place, and of the same length.
	if err := os.WriteFile(w.path, []byte("nameserver 10.0.0.3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(w.path, time.Time{}, time.Unix(2e9, 0)); err != nil {
		t.Fatal(err)
	}
	w.want(recheck, "10.0.0.3:53")
	if len(w.told) > 0 {
		t.Errorf("told of %v", w.told)
	}

	if err := os.Remove(w.path); err != nil {
		t.Fatal(err)
	}
	w.want(recheck, "10.0.0.3:53")
	w.want(recheck, "10.0.0.3:53")
	if len(w.told) != 1 || !errors.Is(w.told[0], os.ErrNotExist) {
		t.Errorf("told of %v", w.told)
	}
	w.write("nameserver 10.0.0.4\n")
	w.want(recheck, "10.0.0.4:53")
}

func TestResolvConfThatIsNotThereMeansTheHost(t *testing.T) {
	w := newFollow(t)
	w.want(0, "127.0.0.1:53")
	if len(w.told) != 1 {
		t.Errorf("told of %v", w.told)
	}
}

func TestParseResolvConf(t *testing.T) {
	for text, want := range map[string][]string{
		"":                         {"127.0.0.1:53"},
		"search example.com\n":     {"127.0.0.1:53"},
		"nameserver 10.0.0.1":      {"10.0.0.1:53"},
		"nameserver\t10.0.0.1 # x": {"10.0.0.1:53"},
		"# nameserver 10.0.0.1":    {"127.0.0.1:53"},
		"nameserver ::1\nnameserver fe80::1%eth0\noptions edns0\n": {"[::1]:53", "[fe80::1%eth0]:53"},
		"nameserver 0.0.0.0\nnameserver ::":                        {"127.0.0.1:53", "[::1]:53"},
		"nameserver ::ffff:10.0.0.1":                               {"10.0.0.1:53"},
		"nameserver nonsense\nnameserver":                          {"127.0.0.1:53"},
	} {
		if got := parseResolvConf([]byte(text)); !slices.Equal(got, servers(want...)) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// A gateway that the host asks for names must not ask itself.
func TestOwnAddressIsNoResolver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver 192.168.150.1\nnameserver fd5a:150::1\nnameserver 10.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := New(Config{Names: guests{}})
	v := Settings{Addresses: addresses("192.168.150.1", "fd5a:150::1"), Domain: "vm.internal", ResolvConf: path}
	if err := s.Set(v); err != nil {
		t.Fatal(err)
	}
	if got := s.settings.Load().resolvers.get(); !slices.Equal(got, servers("10.0.0.1:53")) {
		t.Errorf("resolvers: %v", got)
	}
	v.Servers = servers("192.168.150.1:53", "10.0.0.2:53")
	if err := s.Set(v); err != nil {
		t.Fatal(err)
	}
	if got := s.settings.Load().resolvers.get(); !slices.Equal(got, servers("10.0.0.2:53")) {
		t.Errorf("resolvers given: %v", got)
	}
}

func TestTroubleWithResolversIsReportedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		s := New(Config{Names: guests{}, Report: func(err error) { told = append(told, err.Error()) }})
		p := &panel{does: does{first: refused}}
		s.forwarder = newForwarder(p.exchange)
		if err := s.Set(Settings{Addresses: addresses("192.168.150.1"), Domain: "vm.internal", Servers: three[:1]}); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			s.answer(t.Context(), loopback4, ask("example.com.", nil), false)
			time.Sleep(time.Second)
		}
		if len(told) != 2 || !strings.Contains(told[0], "resolver 10.0.0.1:53: connection refused") {
			t.Errorf("told of %q", told)
		}
	})
}
