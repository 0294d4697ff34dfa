package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// A subnet is a sound one, with where it stands.
type subnet struct {
	prefix  netip.Prefix // the gateway's address in it
	network int
	path    string
}

// subnetsOf notes the network's subnets: those of different networks must not overlap,
// since the host and the router tell networks by them.
func (k *checker) subnetsOf(at string, i int) {
	n, list := &k.c.Networks[i], at+".subnets"
	want := "want the gateway's address in each subnet, such as [" + k.freeSubnets(n.Mode) + "]"
	switch {
	case !n.Mode.HasGateway():
		return
	case len(n.Subnets) > 0:
	case n.Mode == ModeNAT && !k.given(list):
		k.complain(list, "", "missing, and another network has the default ones already (%s)", want)
	default:
		k.complain(list, "", "missing (%s)", want)
	}
	for j, p := range n.Subnets {
		path := index(list, j)
		k.named(path, p.String(), subnetFault(p))
		if !k.sound(path) {
			continue
		}
		if o := slices.IndexFunc(k.subnets, func(s subnet) bool { return s.prefix.Overlaps(p) }); o >= 0 {
			k.complain(path, p.String(), "%v overlaps %v of %s", p, k.subnets[o].prefix, k.subnets[o].path)
			continue
		}
		k.subnets = append(k.subnets, subnet{p, i, path})
	}
}

// freeSubnets names subnets that no network of the document has.
func (k *checker) freeSubnets(m Mode) string {
	var taken []netip.Prefix
	for i := range k.c.Networks {
		taken = append(taken, k.c.Networks[i].Subnets...)
	}
	taken = slices.DeleteFunc(taken, func(p netip.Prefix) bool { return subnetFault(p) != "" })
	free := func(forms ...string) string {
		for _, form := range forms {
			for n := 150; n < 255; n++ {
				p := netip.MustParsePrefix(fmt.Sprintf(form, n))
				if !slices.ContainsFunc(taken, p.Overlaps) {
					return p.String()
				}
			}
		}
		return fmt.Sprintf(forms[0], 150)
	}
	v4 := free("192.168.%d.1/24", "10.150.%d.1/24", "172.16.%d.1/24")
	if m == ModeRouted {
		return v4
	}
	return v4 + `, "` + free("fd5a:%d::1/64", "fd5b:%d::1/64") + `"`
}

// subnetOf returns the network's subnet that a host with address a is in.
func subnetOf(n *Network, a netip.Addr) (netip.Prefix, bool) {
	i := slices.IndexFunc(n.Subnets, func(p netip.Prefix) bool { return hosts(p, a) })
	if i < 0 {
		return netip.Prefix{}, false
	}
	return n.Subnets[i], true
}

// guest complains unless a can be the address of one of the network's guests.
func (k *checker) guest(path string, n *Network, a netip.Addr) {
	p, ok := subnetOf(n, a)
	switch {
	case slices.ContainsFunc(n.Subnets, func(s netip.Prefix) bool { return !s.IsValid() }): // that is the fault
	case !ok:
		k.complain(path, a.String(), "%v is no guest's address in the network's subnets (%s)", a, list(n.Subnets))
	case p.Addr() == a:
		k.complain(path, a.String(), "%v is the gateway's own address (want a guest's)", a)
	}
}

// list joins values as they stand in a document.
func list[T any](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}

// gateways checks what needs to know the names and subnets of all networks.
func (k *checker) gateways() {
	for i := range k.c.Networks {
		n, at := &k.c.Networks[i], index("networks", i)
		if !n.Mode.HasGateway() {
			continue
		}
		if k.sound(at + ".subnets") {
			k.dhcp(at+".dhcp", n)
			k.dns(at+".dns", n)
			k.routesOf(at+".routes", n)
		}
		k.reach(at+".reach", n)
		if n.Mode == ModeNAT {
			k.nat(at+".nat", n)
		}
	}
	for i := range k.c.Networks {
		n, at := &k.c.Networks[i], index("networks", i)
		if n.Mode == ModeNAT && k.sound(at+".subnets") {
			k.forwardsOf(at+".forwards", n)
		}
	}
}

// required complains of a key that a list's entry cannot leave out.
func (k *checker) required(path, want string) {
	if !k.given(path) {
		k.complain(path, "", "missing (want %s)", want)
	}
}

func (k *checker) routesOf(list string, n *Network) {
	for i, r := range n.Routes {
		at := index(list, i)
		k.required(at+".to", "a prefix such as 10.7.0.0/16")
		k.required(at+".via", "a guest's address")
		k.routeTo(at+".to", r.To)
		switch path := at + ".via"; {
		case !k.given(path) || !k.sound(path):
		case k.given(at+".to") && k.sound(at+".to") && r.To.Addr().BitLen() != r.Via.BitLen():
			k.complain(path, r.Via.String(), "%v is not of the family of %v", r.Via, r.To)
		default:
			k.guest(path, n, r.Via)
		}
	}
}

func (k *checker) routeTo(path string, to netip.Prefix) {
	if !k.given(path) || !k.sound(path) {
		return
	}
	if to != to.Masked() {
		k.complain(path, to.String(), "%v has bits behind its prefix length (want %v)", to, to.Masked())
		return
	}
	if to.Bits() >= 4 && unicastFault(to.Addr()) != "" {
		k.complain(path, to.String(), "%v is not routed (want a prefix such as 10.7.0.0/16)", to)
		return
	}
	if was, twice := k.routes[to]; twice {
		k.complain(path, to.String(), "%v is also %s", to, was)
		return
	}
	k.routes[to] = path
	for _, s := range k.subnets {
		if s.prefix.Contains(to.Addr()) && to.Bits() >= s.prefix.Bits() {
			k.complain(path, to.String(), "%v is in %v of %s, which is reached without a route", to, s.prefix, s.path)
		}
	}
}

func (k *checker) reach(list string, n *Network) {
	var names []string
	for _, o := range k.c.Networks {
		if o.Mode.HasGateway() && o.Name != "" && o.Name != n.Name {
			names = append(names, o.Name)
		}
	}
	want := "want one of " + strings.Join(names, ", ")
	if len(names) == 0 {
		want = "there is no other network of mode nat or routed"
	}
	for i, name := range n.Reach {
		path := index(list, i)
		j, known := k.networks[name]
		switch {
		case slices.Contains(n.Reach[:i], name):
			k.complain(path, name, "%q is given twice", name)
		case name == n.Name:
			k.complain(path, name, "%q is the network itself, whose guests reach each other anyway", name)
		case !known:
			k.complain(path, name, "no network %q in this document (%s)", name, want)
		case !k.c.Networks[j].Mode.HasGateway():
			k.complain(path, name, "%q is a network of mode %s, which has no gateway (%s)", name, k.c.Networks[j].Mode, want)
		}
	}
}
