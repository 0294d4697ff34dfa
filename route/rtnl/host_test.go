package rtnl

import (
	"net/netip"
	"testing"
)

func TestSourceFor(t *testing.T) {
	const n0, n1 = 2, 3
	at := func(link int, prefix string, change ...func(*Address)) Address {
		a := Address{Link: link, Prefix: netip.MustParsePrefix(prefix)}
		for _, f := range change {
			f(&a)
		}
		return a
	}
	deprecated := func(a *Address) { a.Deprecated = true }
	temporary := func(a *Address) { a.Temporary = true }
	tentative := func(a *Address) { a.Tentative = true }
	linkScope := func(a *Address) { a.Scope = ScopeLink }
	way := func(prefix, gateway, source string, metric int) Route {
		r := Route{Prefix: netip.MustParsePrefix(prefix), Link: n0, Metric: metric}
		r.Gateway, _ = netip.ParseAddr(gateway)
		r.Source, _ = netip.ParseAddr(source)
		return r
	}
	for _, c := range []struct {
		name   string
		host   Host
		family Family
		want   string // "": none
	}{
		{"none", Host{}, IPv4, ""},
		{"that of another link", Host{Addresses: []Address{at(n1, "10.0.0.1/24")}}, IPv4, ""},
		{"that of another family", Host{Addresses: []Address{at(n0, "10.0.0.1/24")}}, IPv6, ""},
		{"first", Host{Addresses: []Address{at(n0, "10.0.0.1/24"), at(n0, "10.0.0.2/24")}}, IPv4, "10.0.0.1"},
		{"not link-local", Host{Addresses: []Address{at(n0, "fe80::1/64", linkScope)}}, IPv6, ""},
		{"not tentative", Host{Addresses: []Address{at(n0, "2001:db8::1/64", tentative)}}, IPv6, ""},
		{
			"the default route's",
			Host{
				Addresses: []Address{at(n0, "10.0.0.1/24")},
				Routes:    []Route{way("0.0.0.0/0", "", "10.0.0.5", 9), way("0.0.0.0/0", "", "10.0.0.6", 3), way("0.0.0.0/0", "", "10.0.0.7", 3)},
			},
			IPv4, "10.0.0.6",
		},
		{
			"no other route's",
			Host{Addresses: []Address{at(n0, "10.0.0.1/24")}, Routes: []Route{way("10.0.0.0/24", "", "10.0.0.5", 0)}},
			IPv4, "10.0.0.1",
		},
		{
			"in the gateway's subnet",
			Host{
				Addresses: []Address{at(n0, "10.0.0.1/24"), at(n0, "203.0.113.7/24")},
				Routes:    []Route{way("0.0.0.0/0", "203.0.113.1", "", 0)},
			},
			IPv4, "203.0.113.7",
		},
		{
			"stable before temporary before deprecated",
			Host{Addresses: []Address{at(n0, "2001:db8::1/64", deprecated), at(n0, "2001:db8::2/64", temporary), at(n0, "2001:db8::3/64")}},
			IPv6, "2001:db8::3",
		},
		{
			"temporary before deprecated",
			Host{Addresses: []Address{at(n0, "2001:db8::1/64", deprecated), at(n0, "2001:db8::2/64", temporary)}},
			IPv6, "2001:db8::2",
		},
		{"deprecated, if it must be", Host{Addresses: []Address{at(n0, "2001:db8::1/64", deprecated)}}, IPv6, "2001:db8::1"},
		{
			"not unique local",
			Host{Addresses: []Address{at(n0, "fd00::1/64"), at(n0, "2001:db8::1/64")}},
			IPv6, "2001:db8::1",
		},
		{"private, in IPv4", Host{Addresses: []Address{at(n0, "192.168.0.1/24"), at(n0, "203.0.113.7/24")}}, IPv4, "192.168.0.1"},
	} {
		got := SourceFor(c.host, n0, c.family)
		if want, _ := netip.ParseAddr(c.want); got != want {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}
