package radv_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/ndp"

	"weft/frame"
	"weft/frame/frametest"
	"weft/service/radv"
)

var (
	start    = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	gateway  = frametest.End{MAC: 0x0200_0000_0001, Addr: netip.MustParseAddr("fe80::1")}
	guest    = frametest.End{MAC: 0x5254_0000_0001, Addr: netip.MustParseAddr("fe80::5054:ff:fe00:1")}
	nobody   = frametest.End{MAC: guest.MAC, Addr: netip.IPv6Unspecified()}
	routers  = frametest.End{MAC: 0x3333_0000_0002, Addr: netip.MustParseAddr("ff02::2")}
	allNodes = frametest.End{MAC: 0x3333_0000_0001, Addr: netip.MustParseAddr("ff02::1")}
	prefix   = netip.MustParsePrefix("fd00:1::/64")
)

// plain is a small configuration.
func plain() radv.Config {
	return radv.Config{
		MAC: gateway.MAC, Source: gateway.Addr, Lifetime: 1800 * time.Second,
		Prefixes: []radv.Prefix{{Prefix: prefix, OnLink: true, Autonomous: true}},
	}
}

func newRadv(t *testing.T, c radv.Config) *radv.Radv {
	t.Helper()
	r, err := radv.New(start, c, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// An advert is an advertisement that was sent.
type advert struct {
	at   time.Time
	to   frametest.End
	what *ndp.RouterAdvertisement
}

// read checks the frame around an advertisement and returns the advertisement.
func read(t *testing.T, at time.Time, p []byte) advert {
	t.Helper()
	if err := frametest.Checksums(p); err != nil {
		t.Fatal(err)
	}
	l := frame.Parse(p)
	h := frame.IPv6(p[l.L3:])
	if l.Protocol != frame.ProtocolICMPv6 || h.HopLimit() != 255 || h.Src() != gateway.Addr || h.PayloadLen() != len(h)-40 {
		t.Fatalf("%v from %v, hop limit %d, %d of %d bytes", l.Protocol, h.Src(), h.HopLimit(), h.PayloadLen(), len(h)-40)
	}
	if frame.Ethernet(p).Src() != gateway.MAC {
		t.Fatalf("Ethernet source %v", frame.Ethernet(p).Src())
	}
	if p[l.L4+1] != 0 {
		t.Fatalf("code %d", p[l.L4+1])
	}
	m, err := ndp.ParseMessage(p[l.L4:])
	if err != nil {
		t.Fatal(err)
	}
	return advert{at, frametest.End{MAC: frame.Ethernet(p).Dst(), Addr: h.Dst()}, m.(*ndp.RouterAdvertisement)}
}

// watch returns what is advertised until a time.
func watch(t *testing.T, r *radv.Radv, until time.Time) (sent []advert) {
	t.Helper()
	for at := r.Next(); !at.After(until); at = r.Next() {
		if early := r.Poll(at.Add(-1)); len(early) != 0 {
			t.Fatalf("%d frames before their time", len(early))
		}
		frames := r.Poll(at)
		if len(frames) == 0 {
			t.Fatalf("nothing to send at %v, but Next says so", at.Sub(start))
		}
		for _, p := range frames {
			sent = append(sent, read(t, at, p))
		}
	}
	return sent
}

func TestAdvertisementTellsAllThatIsConfigured(t *testing.T) {
	c := plain()
	c.Managed, c.Other, c.MTU = true, true, 1500
	c.Prefixes = append(c.Prefixes, radv.Prefix{Prefix: netip.MustParsePrefix("2001:db8::1/48"), OnLink: true, Valid: time.Hour})
	c.Routes = []netip.Prefix{netip.MustParsePrefix("fd00:2::/48")}
	c.DNS = []netip.Addr{netip.MustParseAddr("fd00:1::1")}
	c.Search = []string{"vm.internal"}
	sent := watch(t, newRadv(t, c), start)
	if len(sent) != 1 || sent[0].to != allNodes {
		t.Fatalf("%+v", sent)
	}
	mac := []byte{2, 0, 0, 0, 0, 1}
	want := &ndp.RouterAdvertisement{
		CurrentHopLimit: 64, ManagedConfiguration: true, OtherConfiguration: true, RouterLifetime: 1800 * time.Second,
		Options: []ndp.Option{
			&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac},
			ndp.NewMTU(1500),
			&ndp.PrefixInformation{PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true, ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour, Prefix: prefix.Addr()},
			&ndp.PrefixInformation{PrefixLength: 48, OnLink: true, ValidLifetime: time.Hour, PreferredLifetime: time.Hour, Prefix: netip.MustParseAddr("2001:db8::")},
			&ndp.RouteInformation{PrefixLength: 48, RouteLifetime: 1800 * time.Second, Prefix: netip.MustParseAddr("fd00:2::")},
			&ndp.RecursiveDNSServer{Lifetime: 1800 * time.Second, Servers: c.DNS},
			&ndp.DNSSearchList{Lifetime: 1800 * time.Second, DomainNames: c.Search},
		},
	}
	if diff := cmp.Diff(want, sent[0].what, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func TestAdvertisementSaysNothingThatIsNotConfigured(t *testing.T) {
	c := radv.Config{MAC: gateway.MAC, Source: gateway.Addr}
	ra := watch(t, newRadv(t, c), start)[0].what
	if ra.RouterLifetime != 0 || ra.ManagedConfiguration || ra.OtherConfiguration || len(ra.Options) != 1 {
		t.Errorf("%+v", ra)
	}
}

// RFC 4861 6.2.4.
func TestMulticastComesAtRandomBetweenMinAndMax(t *testing.T) {
	for _, c := range []struct {
		name     string
		change   func(*radv.Config)
		min, max time.Duration
	}{
		{"by default", func(*radv.Config) {}, 200 * time.Second, 600 * time.Second},
		{"as configured", func(c *radv.Config) { c.MinInterval, c.MaxInterval = 10*time.Second, 20*time.Second }, 10 * time.Second, 20 * time.Second},
		{"shortest", func(c *radv.Config) { c.MaxInterval = 4 * time.Second }, 3 * time.Second, 4 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := plain()
			c.change(&config)
			sent := watch(t, newRadv(t, config), start.Add(100*c.max))
			if sent[0].at != start {
				t.Errorf("the first came after %v", sent[0].at.Sub(start))
			}
			shortest, longest := time.Duration(1<<62), time.Duration(0)
			for i := 1; i < len(sent); i++ {
				gap := sent[i].at.Sub(sent[i-1].at)
				if i < 3 {
					if gap > 16*time.Second || gap < 3*time.Second {
						t.Errorf("advertisement %d came after %v", i+1, gap)
					}
					continue
				}
				shortest, longest = min(shortest, gap), max(longest, gap)
			}
			span := c.max - c.min
			if shortest < c.min || longest > c.max || shortest > c.min+span/4 || longest < c.max-span/4 {
				t.Errorf("gaps of %v to %v, want all from %v to %v", shortest, longest, c.min, c.max)
			}
		})
	}
}

// settled returns a Radv past its first advertisements, and a time when the next is far
// away.
func settled(t *testing.T, c radv.Config) (*radv.Radv, time.Time) {
	t.Helper()
	r := newRadv(t, c)
	sent := watch(t, r, start.Add(time.Hour))
	return r, sent[len(sent)-1].at.Add(10 * time.Second)
}

// RFC 4861 6.2.6.
func TestSolicitationIsAnsweredWithinHalfASecond(t *testing.T) {
	shortest, longest := time.Second, time.Duration(0)
	r, now := settled(t, plain())
	for range 50 {
		if err := r.Solicit(now, solicitation(guest, 1, 1, 0x52, 0x54, 0, 0, 0, 1)); err != nil {
			t.Fatal(err)
		}
		sent := watch(t, r, now.Add(time.Second))
		if len(sent) != 1 || sent[0].to != guest || sent[0].what.RouterLifetime != 1800*time.Second {
			t.Fatalf("%+v", sent)
		}
		delay := sent[0].at.Sub(now)
		shortest, longest = min(shortest, delay), max(longest, delay)
		now = now.Add(time.Second)
	}
	if longest > 500*time.Millisecond || longest < 400*time.Millisecond || shortest > 100*time.Millisecond {
		t.Errorf("delays of %v to %v", shortest, longest)
	}
}

func TestSolicitationWithoutSourceIsAnsweredByMulticast(t *testing.T) {
	r, now := settled(t, plain())
	if err := r.Solicit(now, solicitation(nobody)); err != nil {
		t.Fatal(err)
	}
	sent := watch(t, r, now.Add(500*time.Millisecond))
	if len(sent) != 1 || sent[0].to != allNodes {
		t.Errorf("%+v", sent)
	}
}

// RFC 4861 6.2.6: consecutive multicast advertisements are three seconds apart.
func TestMulticastAnswersAreThreeSecondsApart(t *testing.T) {
	r, now := settled(t, plain())
	var sent []advert
	for range 600 {
		if err := r.Solicit(now, solicitation(nobody)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(50 * time.Millisecond)
		sent = append(sent, watch(t, r, now)...)
	}
	if len(sent) < 8 {
		t.Fatalf("%d advertisements in 30 s", len(sent))
	}
	for i := 1; i < len(sent); i++ {
		if gap := sent[i].at.Sub(sent[i-1].at); gap < 3*time.Second || gap > 3600*time.Millisecond {
			t.Errorf("%v apart", gap)
		}
	}
}

func TestOneAnswerForManySolicitations(t *testing.T) {
	t.Run("of one guest", func(t *testing.T) {
		r, now := settled(t, plain())
		for range 10 {
			if err := r.Solicit(now, solicitation(guest)); err != nil {
				t.Fatal(err)
			}
		}
		if sent := watch(t, r, now.Add(time.Second)); len(sent) != 1 {
			t.Errorf("%d answers", len(sent))
		}
	})
	t.Run("of a crowd", func(t *testing.T) {
		r, now := settled(t, plain())
		for i := range 1000 {
			from := guest
			from.Addr = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)})
			if err := r.Solicit(now, solicitation(from)); err != nil {
				t.Fatal(err)
			}
		}
		sent := watch(t, r, now.Add(time.Second))
		groups := slices.DeleteFunc(slices.Clone(sent), func(a advert) bool { return a.to != allNodes })
		if len(sent) > 65 || len(groups) != 1 || groups[0].at.After(now.Add(500*time.Millisecond)) {
			t.Errorf("%d answers, %d of them for all", len(sent), len(groups))
		}
	})
	t.Run("when one for all comes anyway", func(t *testing.T) {
		r := newRadv(t, plain())
		if err := r.Solicit(start, solicitation(guest)); err != nil {
			t.Fatal(err)
		}
		if sent := watch(t, r, start.Add(time.Second)); len(sent) != 1 || sent[0].to != allNodes {
			t.Errorf("%+v", sent)
		}
	})
}

// RFC 4861 6.2.5.
func TestFarewellHasLifetimeZero(t *testing.T) {
	c := plain()
	c.DNS = []netip.Addr{netip.MustParseAddr("fd00:1::1")}
	a := read(t, start, newRadv(t, c).Farewell())
	if a.to != allNodes || a.what.RouterLifetime != 0 || len(a.what.Options) != 3 {
		t.Errorf("%+v", a)
	}
}

func TestChangeIsAdvertisedSoonAndOldThingsTakenBack(t *testing.T) {
	old := plain()
	old.DNS, old.Search = []netip.Addr{netip.MustParseAddr("fd00:1::1")}, []string{"old.internal"}
	old.Routes = []netip.Prefix{netip.MustParsePrefix("fd00:9::/48")}
	r, now := settled(t, old)
	changed := plain()
	changed.Prefixes[0].Prefix = netip.MustParsePrefix("fd00:2::/64")
	if err := r.Set(now, changed); err != nil {
		t.Fatal(err)
	}
	sent := watch(t, r, now.Add(32*time.Second))
	if len(sent) != 3 || sent[0].at != now {
		t.Fatalf("%d advertisements, the first after %v", len(sent), sent[0].at.Sub(now))
	}
	want := []ndp.Option{
		&ndp.PrefixInformation{PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true, ValidLifetime: 24 * time.Hour, PreferredLifetime: 4 * time.Hour, Prefix: netip.MustParseAddr("fd00:2::")},
		&ndp.PrefixInformation{PrefixLength: 64, OnLink: true, AutonomousAddressConfiguration: true, Prefix: prefix.Addr()},
		&ndp.RouteInformation{PrefixLength: 48, Prefix: netip.MustParseAddr("fd00:9::")},
		&ndp.RecursiveDNSServer{Servers: old.DNS},
		&ndp.DNSSearchList{DomainNames: old.Search},
	}
	if diff := cmp.Diff(want, sent[2].what.Options[1:], cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}

	if err := r.Set(now.Add(time.Minute), old); err != nil { // there again
		t.Fatal(err)
	}
	sent = watch(t, r, now.Add(time.Minute))
	if len(sent) != 1 || len(sent[0].what.Options) != 6 { // its four, the MAC, and the prefix in between
		t.Fatalf("%+v", sent)
	}
	sent = watch(t, r, now.Add(3*time.Hour))
	if last := sent[len(sent)-1]; len(last.what.Options) != 5 {
		t.Errorf("after three hours still %d options", len(last.what.Options))
	}
}

func TestSetOfTheSameSendsNothing(t *testing.T) {
	r, now := settled(t, plain())
	next := r.Next()
	if err := r.Set(now, plain()); err != nil {
		t.Fatal(err)
	}
	if r.Next() != next {
		t.Error("the next advertisement has moved")
	}
}

func TestWithdrawalsFitInOnePacket(t *testing.T) {
	r, now := settled(t, plain())
	for i := range 50 {
		c := plain()
		c.Search = []string{strings.Repeat("x", 1+i) + ".internal"}
		if err := r.Set(now.Add(time.Duration(i)*time.Second), c); err != nil {
			t.Fatal(err)
		}
	}
	p := r.Poll(r.Next())[0]
	if len(p) > 1294 || len(p) < 1200 {
		t.Errorf("%d bytes", len(p))
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	change := func(f func(*radv.Config)) radv.Config {
		c := plain()
		f(&c)
		return c
	}
	for want, c := range map[string]radv.Config{
		"not the MAC":             change(func(c *radv.Config) { c.MAC = 0 }),
		"link-local":              change(func(c *radv.Config) { c.Source = netip.MustParseAddr("fd00::1") }),
		"interval of at most":     change(func(c *radv.Config) { c.MaxInterval = 1801 * time.Second }),
		"interval of at least":    change(func(c *radv.Config) { c.MinInterval = 2 * time.Second }),
		"three quarters":          change(func(c *radv.Config) { c.MinInterval = 500 * time.Second }),
		"lifetime":                change(func(c *radv.Config) { c.Lifetime = 599 * time.Second }),
		"to 2h30m":                change(func(c *radv.Config) { c.Lifetime = 9001 * time.Second }),
		"MTU of 1279":             change(func(c *radv.Config) { c.MTU = 1279 }),
		"one of IPv6":             change(func(c *radv.Config) { c.Prefixes[0].Prefix = netip.MustParsePrefix("10.0.0.0/24") }),
		"not a /64":               change(func(c *radv.Config) { c.Prefixes[0].Prefix = netip.MustParsePrefix("fd00::/48") }),
		"preferred for":           change(func(c *radv.Config) { c.Prefixes[0].Valid, c.Prefixes[0].Preferred = 1, 2 }),
		"route to":                change(func(c *radv.Config) { c.Routes = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }),
		"resolver":                change(func(c *radv.Config) { c.DNS = []netip.Addr{netip.MustParseAddr("10.0.0.1")} }),
		`domain "a..b"`:           change(func(c *radv.Config) { c.Search = []string{"a..b"} }),
		"too many for one packet": change(func(c *radv.Config) { c.DNS = make([]netip.Addr, 60); fill(c.DNS) }),
	} {
		if _, err := radv.New(start, c, rand.New(rand.NewPCG(1, 2))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that has %q", err, want)
		}
		r, now := settled(t, plain())
		next := r.Next()
		if err := r.Set(now, c); err == nil || r.Next() != next {
			t.Errorf("Set: %v", err)
		}
	}
}

func fill(a []netip.Addr) {
	for i := range a {
		a[i] = netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)})
	}
}
