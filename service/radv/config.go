package radv

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weft/frame"
)

const (
	// Bounds and defaults of the router's variables (RFC 4861 6.2.1, RFC 8319 4).
	minMaxInterval     = 4 * time.Second
	maxMaxInterval     = 1800 * time.Second
	defaultMaxInterval = 600 * time.Second
	minMinInterval     = 3 * time.Second
	maxLifetime        = 9000 * time.Second

	// RFC 4861 has 30 and 7 days, for networks that are never renumbered. These are
	// renewed every ten minutes and need not outlive the host by far (RFC 9096 3.4).
	defaultValid     = 24 * time.Hour
	defaultPreferred = 4 * time.Hour

	minMTU = 1280 // RFC 8200 5
)

// A Config says what is advertised. What has no lifetime of its own lives three times
// MaxInterval (RFC 8106 5.1).
type Config struct {
	MAC    frame.MAC  // of the router
	Source netip.Addr // its link-local address

	MaxInterval time.Duration // between multicast advertisements; zero: 600 s
	MinInterval time.Duration // zero: a third of MaxInterval

	Lifetime time.Duration // as default router, MaxInterval to 9000 s; zero: it is none
	Managed  bool          // M: addresses by DHCPv6
	Other    bool          // O: other things by DHCPv6

	MTU      int // zero: not told
	Prefixes []Prefix
	Routes   []netip.Prefix // that lead by this router, beside the default route (RFC 4191)
	DNS      []netip.Addr   // RFC 8106 5.1
	Search   []string       // domains (RFC 8106 5.2)
}

// A Prefix is one that the link's addresses are of (RFC 4861 4.6.2).
type Prefix struct {
	Prefix     netip.Prefix
	OnLink     bool          // L: its addresses are neighbors
	Autonomous bool          // A: hosts make addresses of it (SLAAC), which wants a /64
	Valid      time.Duration // zero: 24 h
	Preferred  time.Duration // zero: 4 h, or Valid if that is less
}

// complete returns c with its defaults, or says what is wrong with it.
func (c Config) complete() (Config, error) {
	if c.MaxInterval == 0 {
		c.MaxInterval = defaultMaxInterval
	}
	if c.MinInterval == 0 {
		c.MinInterval = max(c.MaxInterval/3, minMinInterval)
	}
	switch {
	case c.MAC == 0 || c.MAC.IsGroup():
		return c, fmt.Errorf("%v is not the MAC of a station", c.MAC)
	case !c.Source.Is6() || !c.Source.IsLinkLocalUnicast():
		return c, fmt.Errorf("%v is not a link-local address (want one such as fe80::1)", c.Source)
	case c.MaxInterval < minMaxInterval || c.MaxInterval > maxMaxInterval:
		return c, fmt.Errorf("interval of at most %v (want %v to %v)", c.MaxInterval, minMaxInterval, maxMaxInterval)
	case c.MinInterval < minMinInterval || c.MinInterval > max(c.MaxInterval*3/4, minMinInterval):
		return c, fmt.Errorf("interval of at least %v (want %v to three quarters of %v)", c.MinInterval, minMinInterval, c.MaxInterval)
	case c.Lifetime != 0 && (c.Lifetime < c.MaxInterval || c.Lifetime > maxLifetime):
		return c, fmt.Errorf("lifetime of %v (want none, or %v to %v)", c.Lifetime, c.MaxInterval, maxLifetime)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > 65535):
		return c, fmt.Errorf("MTU of %d (want %d to 65535)", c.MTU, minMTU)
	}
	c.Prefixes = slices.Clone(c.Prefixes)
	for i := range c.Prefixes {
		if err := c.Prefixes[i].complete(); err != nil {
			return c, err
		}
	}
	return c, c.check()
}

// complete gives p its defaults, or says what is wrong with it.
func (p *Prefix) complete() error {
	if p.Valid == 0 {
		p.Valid = defaultValid
	}
	if p.Preferred == 0 {
		p.Preferred = min(defaultPreferred, p.Valid)
	}
	switch {
	case !isPrefix6(p.Prefix) || p.Prefix.Addr().IsLinkLocalUnicast():
		return fmt.Errorf("prefix %v (want one of IPv6, not link-local, such as fd00:1::/64)", p.Prefix)
	case p.Autonomous && p.Prefix.Bits() != 64:
		return fmt.Errorf("prefix %v is not a /64, of which alone hosts can make addresses (RFC 4862 5.5.3)", p.Prefix)
	case p.Preferred > p.Valid:
		return fmt.Errorf("prefix %v is preferred for %v and valid for less, %v", p.Prefix, p.Preferred, p.Valid)
	}
	p.Prefix = p.Prefix.Masked()
	return nil
}

// check says what is wrong with routes, resolvers and domains, and whether all is too
// much.
func (c *Config) check() error {
	for _, r := range c.Routes {
		if !isPrefix6(r) {
			return fmt.Errorf("route to %v (want a prefix of IPv6)", r)
		}
	}
	for _, a := range c.DNS {
		if !a.Is6() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("resolver %v (want an IPv6 address)", a)
		}
	}
	for _, d := range c.Search {
		for label := range strings.SplitSeq(d, ".") {
			if label == "" || len(label) > 63 || len(d) > 253 {
				return fmt.Errorf("domain %q (want labels of 1 to 63 characters, such as vm.internal)", d)
			}
		}
	}
	p, err := c.frame(all, c.Lifetime, nil)
	if err == nil && len(p) > maxFrame {
		err = fmt.Errorf("%d bytes of prefixes, routes, resolvers and domains are too many for one packet (want %d, headers included)", len(p), maxFrame)
	}
	return err
}

func isPrefix6(p netip.Prefix) bool {
	return p.IsValid() && p.Addr().Is6() && !p.Addr().Is4In6() && !p.Addr().IsMulticast()
}
