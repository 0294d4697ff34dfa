package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/frame"
)

// fits says which types of port have a key. Keys that are not here fit all.
var fits = []struct {
	key   string
	types []PortType
}{
	{"owner", []PortType{PortTAP}},
	{"group", []PortType{PortTAP}},
	{"queues", []PortType{PortTAP}},
	{"addresses", []PortType{PortHost}},
	{"netns", []PortType{PortHost}},
	{"offloads", []PortType{PortHost}},
}

func (k *checker) port(at string, i int) {
	p := &k.c.Ports[i]
	k.portName(at, i, p)
	k.portNetwork(at, p)
	switch p.Type {
	case PortTAP, PortDevice, PortHost:
		k.portDevice(at, p)
		k.fit(at, p.Type)
	case "socket", "vhost-user":
		k.complain(at+".type", string(p.Type), "%s is not available in this version (want tap, device or host)", p.Type)
	default:
		k.complain(at+".type", string(p.Type), "%q is not a type of port (want tap, device or host)", p.Type)
	}
	k.within(at+".queues", p.Queues, 1, maxQueues)
	k.stations(at+".stations", p.Stations)
	if k.given(at + ".owner") {
		k.named(at+".owner", p.Owner, accountFault(p.Owner))
	}
	if k.given(at + ".group") {
		k.named(at+".group", p.Group, accountFault(p.Group))
	}
	if k.given(at + ".netns") {
		k.named(at+".netns", p.NetNS, nameFault(p.NetNS, maxNetNS))
	}
	if k.given(at + ".mac") {
		k.mac(at+".mac", p)
	}
	k.addresses(at+".addresses", p)
	k.fastpath(at+".fastpath", p)
}

func (k *checker) portName(at string, i int, p *Port) {
	if !k.given(at + ".name") {
		k.complain(at+".name", "", "missing (want a name such as vm1)")
		return
	}
	most := maxName
	if !k.given(at + ".device") {
		most = maxDevice // it is the device's name too
	}
	k.named(at+".name", p.Name, nameFault(p.Name, most))
	if was, twice := k.ports[p.Name]; !twice {
		k.ports[p.Name] = i
	} else if p.Name != "" {
		k.complain(at+".name", p.Name, "%q is also the name of %s", p.Name, index("ports", was))
	}
}

func (k *checker) portNetwork(at string, p *Port) {
	if !k.sound("networks") || slices.ContainsFunc(k.c.Networks, func(n Network) bool { return n.Name == "" }) {
		return // what it names may well be there
	}
	_, known := k.networks[p.Network]
	names := k.networkNames()
	want := "want one of " + strings.Join(names, ", ")
	if len(names) == 0 {
		want = "want a network below networks:"
	}
	switch near := nearest(p.Network, names); {
	case known:
	case !k.given(at + ".network"):
		k.complain(at+".network", "", "missing (%s)", want)
	case near != "":
		k.complain(at+".network", p.Network, "no network %q in this document (did you mean %s?)", p.Network, near)
	default:
		k.complain(at+".network", p.Network, "no network %q in this document (%s)", p.Network, want)
	}
}

func (k *checker) portDevice(at string, p *Port) {
	path := at + ".device"
	if !k.given(path) {
		path = at + ".name"
	}
	if !k.given(path) || !k.sound(path) {
		return
	}
	if p.Type == PortDevice {
		k.named(path, p.Device, deviceFault(p.Device))
	} else {
		k.named(path, p.Device, madeFault(p.Device))
	}
	k.device(p.NetNS, p.Device, use{path: path, as: asPort})
}

// fit refuses keys that mean nothing for the type: somebody expects an effect.
func (k *checker) fit(at string, t PortType) {
	for _, f := range fits {
		if path := at + "." + f.key; k.given(path) && !slices.Contains(f.types, t) {
			k.complain(path, "", "does not fit a port of type %s (want type %s, or the key left out)", t, f.types[0])
		}
	}
}

// accountFault says why s cannot be a user or a group.
func accountFault(s string) string {
	switch {
	case s == "":
		return "empty (want a name or a number)"
	case isDecimal(s):
		if _, err := accountID(s); err != nil {
			return err.Error()
		}
	case strings.ContainsAny(s, " \t\n:,/") || s[0] == '-' || s[0] == '+':
		return fmt.Sprintf("%q is neither a name nor a number", s)
	}
	return ""
}

func (k *checker) mac(path string, p *Port) {
	switch {
	case p.MAC == 0:
		k.complain(path, p.MAC.String(), "%v is no address (leave it out to have none)", p.MAC)
	case p.MAC.IsGroup():
		k.complain(path, p.MAC.String(), "%v is a group address (want an even first byte such as 52)", p.MAC)
	}
	if !k.sound(path) {
		return
	}
	known := k.macs[p.Network]
	if known == nil {
		known = map[frame.MAC]string{}
		k.macs[p.Network] = known
	}
	if was, twice := known[p.MAC]; twice {
		k.complain(path, p.MAC.String(), "%v is also %s, on the same network", p.MAC, was)
		return
	}
	known[p.MAC] = path
}

func (k *checker) addresses(list string, p *Port) {
	known := k.addrs[p.NetNS]
	if known == nil {
		known = map[netip.Addr]string{}
		k.addrs[p.NetNS] = known
	}
	for i, a := range p.Addresses {
		path := index(list, i)
		k.named(path, a.String(), addressFault(a))
		if !k.sound(path) {
			continue
		}
		if was, twice := known[a.Addr()]; twice {
			k.complain(path, a.String(), "%v is also %s, in the same namespace", a.Addr(), was)
			continue
		}
		known[a.Addr()] = path
		k.besideGateways(path, p, a)
	}
}

// besideGateways complains of an address that the host, or a guest, cannot have
// beside those of the gateways.
func (k *checker) besideGateways(path string, p *Port, a netip.Prefix) {
	for _, s := range k.subnets {
		own := p.Network == k.c.Networks[s.network].Name
		switch {
		case p.NetNS == "" && s.prefix.Overlaps(a):
			k.complain(path, a.String(), "%v overlaps %v of %s, where the host has the gateway's address (want another subnet, or a namespace for the port)", a, s.prefix, s.path)
		case own && s.prefix.Addr() == a.Addr():
			k.complain(path, a.String(), "%v is the gateway's own address, of %s", a.Addr(), s.path)
		}
	}
}

// addressFault says why a cannot be an interface's address.
func addressFault(a netip.Prefix) string {
	addr := a.Addr()
	switch {
	case addr.Is4In6():
		return fmt.Sprintf("%v is an IPv4 address in IPv6 form (want %v)", a, addr.Unmap())
	case addr.IsMulticast():
		return fmt.Sprintf("%v is a multicast address (want a unicast one)", a)
	case addr.IsUnspecified():
		return fmt.Sprintf("%v is the unspecified address", a)
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("%v is the broadcast address", a)
	case a.Bits() == 0:
		return fmt.Sprintf("%v takes the whole internet for one link (want the prefix length of the link, such as 24 or 64)", a)
	case addr.Is4() && a.Bits() < 31 && addr == a.Masked().Addr():
		// RFC 1122 3.2.1.3: host number 0 is the network; RFC 3021 lets /31 use it.
		return fmt.Sprintf("%v is the address of the network itself (want one inside it such as %v)", a, netip.PrefixFrom(addr.Next(), a.Bits()))
	}
	return ""
}
