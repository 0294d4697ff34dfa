package dns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// guests are Names by a table.
type guests map[string][]netip.Addr

func (g guests) Lookup(label string) []netip.Addr { return g[label] }

func (g guests) Reverse(a netip.Addr) string {
	for label, addresses := range g {
		if slices.Contains(addresses, a) {
			return label
		}
	}
	return ""
}

func addresses(texts ...string) (a []netip.Addr) {
	for _, s := range texts {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

func servers(texts ...string) (a []netip.AddrPort) {
	for _, s := range texts {
		a = append(a, netip.MustParseAddrPort(s))
	}
	return a
}

var (
	siteResolver   = servers("10.9.9.9:53")
	publicResolver = servers("192.0.0.9:53", "[2600::1]:53")
)

// network returns a server's settings for the network of the tests.
func network(t *testing.T, resolvers ...netip.AddrPort) *settings {
	t.Helper()
	s := New(Config{Names: guests{
		"web":  addresses("192.168.150.10", "fd5a:150::10"),
		"db":   addresses("192.168.150.11"),
		"tiny": addresses("10.1.1.130"),
		"wide": addresses("172.20.5.9"),
	}})
	err := s.Set(Settings{
		Addresses: addresses("192.168.150.1", "fd5a:150::1", "fe80::1"),
		Domain:    "VM.internal",
		Subnets:   prefixes("192.168.150.0/24", "fd5a:150::/64", "10.1.1.128/26", "172.20.0.0/20"),
		Servers:   resolvers,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.settings.Load()
}

// tell returns a result in one line: rcode, answers, and the owner of the SOA.
func tell(r result, ok bool) string {
	if !ok {
		return "forward"
	}
	words := []string{dns.RcodeToString[r.rcode]}
	for _, rr := range r.answers {
		f := strings.Fields(rr.String()) // owner, TTL, class, type, data
		words = append(words, strings.Join(f[3:min(len(f), 5)], " "))
	}
	if r.soa != nil {
		words = append(words, "of "+r.soa.Header().Name)
	}
	return strings.Join(words, ", ")
}

const (
	noName6 = "NXDOMAIN, of 0.0.0.0.0.0.0.0.0.5.1.0.a.5.d.f.ip6.arpa."
	web6    = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.1.0.a.5.d.f.ip6.arpa."
)

func TestZone(t *testing.T) {
	v := network(t, siteResolver...)
	for _, c := range []struct{ name, qtype, want string }{
		// The domain (RFC 1035, RFC 2308, RFC 8020).
		{"web.vm.internal.", "A", "NOERROR, A 192.168.150.10"},
		{"WEB.Vm.Internal.", "A", "NOERROR, A 192.168.150.10"},
		{"web.vm.internal.", "AAAA", "NOERROR, AAAA fd5a:150::10"},
		{"web.vm.internal.", "ANY", "NOERROR, A 192.168.150.10, AAAA fd5a:150::10"},
		{"db.vm.internal.", "AAAA", "NOERROR, of vm.internal."},
		{"db.vm.internal.", "MX", "NOERROR, of vm.internal."},
		{"nobody.vm.internal.", "A", "NXDOMAIN, of vm.internal."},
		{`1\..ip6.arpa.`, "PTR", "forward"},
		{"a.web.vm.internal.", "A", "NXDOMAIN, of vm.internal."},
		{`we\.b.vm.internal.`, "A", "NXDOMAIN, of vm.internal."},
		{"vm.internal.", "A", "NOERROR, of vm.internal."},
		{"vm.internal.", "SOA", "NOERROR, SOA gateway.vm.internal."},
		{"vm.internal.", "NS", "NOERROR, NS gateway.vm.internal."},
		{"vm.internal.", "AXFR", "REFUSED"},
		{"gateway.vm.internal.", "A", "NOERROR, A 192.168.150.1"},
		{"host.vm.internal.", "A", "NOERROR, A 192.168.150.1"},
		{"host.vm.internal.", "AAAA", "NOERROR, AAAA fd5a:150::1"},
		{"host.vm.internal.", "MX", "NOERROR, of vm.internal."},
		{"xvm.internal.", "A", "forward"},
		{"internal.", "A", "forward"},
		{"example.com.", "A", "forward"},
		{".", "NS", "forward"},

		// Reverse names of the subnets.
		{"10.150.168.192.in-addr.arpa.", "PTR", "NOERROR, PTR web.vm.internal."},
		{"10.150.168.192.IN-ADDR.arpa.", "PTR", "NOERROR, PTR web.vm.internal."},
		{"10.150.168.192.in-addr.arpa.", "A", "NOERROR, of 150.168.192.in-addr.arpa."},
		{"1.150.168.192.in-addr.arpa.", "PTR", "NOERROR, PTR gateway.vm.internal."},
		{"77.150.168.192.in-addr.arpa.", "PTR", "NXDOMAIN, of 150.168.192.in-addr.arpa."},
		{"5.10.150.168.192.in-addr.arpa.", "PTR", "NXDOMAIN, of 150.168.192.in-addr.arpa."},
		{"010.150.168.192.in-addr.arpa.", "PTR", "NXDOMAIN, of 150.168.192.in-addr.arpa."},
		{"256.150.168.192.in-addr.arpa.", "PTR", "NXDOMAIN, of 150.168.192.in-addr.arpa."},
		{"150.168.192.in-addr.arpa.", "SOA", "NOERROR, SOA gateway.vm.internal."},
		{"150.168.192.in-addr.arpa.", "NS", "NOERROR, NS gateway.vm.internal."},
		{"150.168.192.in-addr.arpa.", "PTR", "NOERROR, of 150.168.192.in-addr.arpa."},
		{"151.168.192.in-addr.arpa.", "PTR", "forward"},
		{"168.192.in-addr.arpa.", "NS", "forward"},
		{web6, "PTR", "NOERROR, PTR web.vm.internal."},
		{"1" + web6[1:], "PTR", noName6},
		{"xx." + web6, "PTR", noName6},
		{web6[2:], "PTR", "NOERROR" + noName6[8:]},
		{web6[32:], "SOA", "NOERROR, SOA gateway.vm.internal."},
		{web6[34:], "SOA", "forward"},

		// Subnets that do not end between labels.
		{"130.1.1.10.in-addr.arpa.", "PTR", "NOERROR, PTR tiny.vm.internal."},
		{"131.1.1.10.in-addr.arpa.", "PTR", "NXDOMAIN, of 1.1.10.in-addr.arpa."},
		{"192.1.1.10.in-addr.arpa.", "PTR", "forward"},
		{"1.1.10.in-addr.arpa.", "SOA", "forward"},
		{"9.5.20.172.in-addr.arpa.", "PTR", "NOERROR, PTR wide.vm.internal."},
		{"8.5.20.172.in-addr.arpa.", "PTR", "NXDOMAIN, of 5.20.172.in-addr.arpa."},
		{"5.20.172.in-addr.arpa.", "SOA", "NOERROR, SOA gateway.vm.internal."},
		{"16.20.172.in-addr.arpa.", "SOA", "forward"},

		// Names of special use (RFC 6761, 7686, 9462, 6303).
		{"localhost.", "A", "NOERROR, A 127.0.0.1"},
		{"localhost.", "AAAA", "NOERROR, AAAA ::1"},
		{"app.localhost.", "A", "NOERROR, A 127.0.0.1"},
		{"localhost.", "MX", "NOERROR, of localhost."},
		{"x.invalid.", "A", "NXDOMAIN, of invalid."},
		{"x.onion.", "A", "NXDOMAIN, of onion."},
		{"_dns.resolver.arpa.", "SVCB", "NXDOMAIN, of resolver.arpa."},
		{"resolver.arpa.", "A", "NOERROR, of resolver.arpa."},
		{"resolver.arpa.", "SOA", "NOERROR, SOA resolver.arpa."},
		{"resolver.arpa.", "NS", "NOERROR, NS resolver.arpa."},
		{"1.0.0.127.in-addr.arpa.", "PTR", "NOERROR, PTR localhost."},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.", "PTR", "NOERROR, PTR localhost."},
		{"1.0.0.127.in-addr.arpa.", "A", "NXDOMAIN, of 127.in-addr.arpa."},
		{"1.1.254.169.in-addr.arpa.", "PTR", "NXDOMAIN, of 254.169.in-addr.arpa."},
		{"8.e.f.ip6.arpa.", "SOA", "NOERROR, SOA 8.e.f.ip6.arpa."},
		{"1.0.b.e.f.ip6.arpa.", "PTR", "NXDOMAIN, of b.e.f.ip6.arpa."},
		{"c.e.f.ip6.arpa.", "SOA", "forward"},
		{"test.", "A", "forward"},
		{"local.", "A", "forward"},
	} {
		q := dns.Question{Name: c.name, Qtype: dns.StringToType[c.qtype], Qclass: dns.ClassINET}
		if got := tell(v.resolve(&query{question: q})); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.name, c.qtype, got, c.want)
		}
	}
	chaos := dns.Question{Name: "version.bind.", Qtype: dns.TypeTXT, Qclass: dns.ClassCHAOS}
	if got := tell(v.resolve(&query{question: chaos})); got != "REFUSED" {
		t.Errorf("class CHAOS: %s", got)
	}
}

// RFC 6303: what is private is asked of the site's resolvers, never of public ones.
func TestPrivateReverseNamesStayInTheSite(t *testing.T) {
	for _, c := range []struct{ name, site, public string }{
		{"9.0.0.10.in-addr.arpa.", "forward", "NXDOMAIN, of 10.in-addr.arpa."},
		{"10.in-addr.arpa.", "forward", "NOERROR, of 10.in-addr.arpa."},
		{"1.2.31.172.in-addr.arpa.", "forward", "NXDOMAIN, of 31.172.in-addr.arpa."},
		{"1.2.32.172.in-addr.arpa.", "forward", "forward"},
		{"1.1.168.192.in-addr.arpa.", "forward", "NXDOMAIN, of 168.192.in-addr.arpa."},
		{"1.1.100.100.in-addr.arpa.", "forward", "NXDOMAIN, of 100.100.in-addr.arpa."},
		{"1.0.d.f.ip6.arpa.", "forward", "NXDOMAIN, of d.f.ip6.arpa."},
		{"8.8.8.8.in-addr.arpa.", "forward", "forward"},
	} {
		q := dns.Question{Name: c.name, Qtype: dns.TypePTR, Qclass: dns.ClassINET}
		if got := tell(network(t, siteResolver...).resolve(&query{question: q})); got != c.site {
			t.Errorf("%s, resolver of the site: %s, want %s", c.name, got, c.site)
		}
		if got := tell(network(t, publicResolver...).resolve(&query{question: q})); got != c.public {
			t.Errorf("%s, public resolver: %s, want %s", c.name, got, c.public)
		}
		both := network(t, append(slices.Clone(publicResolver), siteResolver...)...)
		if c.site != c.public && !slices.Equal(both.resolversFor(q), siteResolver) {
			t.Errorf("%s would be asked of %v", c.name, both.resolversFor(q))
		}
	}
}

func TestPublicAddresses(t *testing.T) {
	for _, a := range addresses("8.8.8.8", "2600::1") {
		if !isPublic(a) {
			t.Errorf("%v is not public", a)
		}
	}
	for _, a := range addresses("127.0.0.53", "10.1.1.1", "169.254.1.1", "100.64.0.1", "::1", "fe80::1%eth0", "fd00::1", "fc00::1") {
		if isPublic(a) {
			t.Errorf("%v is public", a)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	own := addresses("192.168.150.1")
	for want, v := range map[string]Settings{
		`DNS domain ""`:          {Addresses: own},
		`DNS domain "."`:         {Addresses: own, Domain: "."},
		`DNS domain "a..b"`:      {Addresses: own, Domain: "a..b"},
		"answer the whole world": {Domain: "vm.internal", Addresses: addresses("0.0.0.0")},
	} {
		if err := New(Config{Names: guests{}}).Set(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one that has %q", err, want)
		}
	}
}

// Names and prefixes are two ways to say one thing.
func FuzzReverse(f *testing.F) {
	f.Add([]byte{192, 168, 150, 10}, 32)
	f.Add(make([]byte, 16), 60)
	f.Fuzz(func(t *testing.T, address []byte, bits int) {
		a, ok := netip.AddrFromSlice(address)
		if !ok || bits < 0 || bits > a.BitLen() {
			return
		}
		step := 8
		if a.Is6() {
			step = 4
		}
		p := netip.PrefixFrom(a, bits/step*step).Masked()
		name := reverseName(p)
		if p.Bits() > 0 {
			if got, whole := parseReverse(name); got != p || !whole {
				t.Errorf("%s: %v, %v, want %v", name, got, whole, p)
			}
		}
		if p.IsSingleIP() {
			if want, err := dns.ReverseAddr(a.String()); err == nil && want != name && !a.Is4In6() {
				t.Errorf("%v is %s, want %s", a, name, want)
			}
		}
	})
}

func FuzzParseReverse(f *testing.F) {
	f.Add("10.150.168.192.in-addr.arpa.")
	f.Add(web6)
	f.Add("..in-addr.arpa.")
	f.Add(".ip6.arpa.")
	f.Add(".0.ip6.arpa.")
	f.Add(`1\..ip6.arpa.`)
	f.Fuzz(func(t *testing.T, name string) {
		p, whole := parseReverse(name)
		if whole && reverseName(p) != name {
			t.Errorf("%q is %v, which is %q", name, p, reverseName(p))
		}
	})
}
