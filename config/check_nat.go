package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
)

const (
	minTimer = Duration(time.Second)
	maxTimer = Duration(30 * 24 * time.Hour)

	// The ports that the NAT keeps of the host's own addresses must leave the host
	// some of what it takes for its own connections: Linux uses 32768 to 60999.
	firstShared = 36864
	firstOwn    = 1024 // RFC 4787 REQ-3: the ports below stay below
)

func (k *checker) nat(at string, n *Network) {
	switch n.NAT.Filtering {
	case FilterAddressAndPort, FilterAddress, FilterEndpointIndependent:
	default:
		k.complain(at+".filtering", string(n.NAT.Filtering), "%q is no way to filter (want %s, %s or %s)", n.NAT.Filtering, FilterAddressAndPort, FilterAddress, FilterEndpointIndependent)
	}
	k.natPorts(at+".ports", n)
	most := k.c.Switch.Sessions
	if !k.sound("switch.sessions") {
		most = maxSessions
	}
	if n.NAT.Quota < 0 || n.NAT.Quota > most {
		k.complain(at+".quota", fmt.Sprint(n.NAT.Quota), "%d is out of range (want 0 for none, or at most switch.sessions, %d)", n.NAT.Quota, most)
	}
	k.duration(at+".udp", n.NAT.UDP, minTimer, maxTimer)
	k.duration(at+".tcp-established", n.NAT.TCPEstablished, minTimer, maxTimer)
	k.duration(at+".tcp-transitory", n.NAT.TCPTransitory, minTimer, maxTimer)
	k.duration(at+".tcp-closing", n.NAT.TCPClosing, minTimer, maxTimer)
	k.duration(at+".icmp", n.NAT.ICMP, minTimer, maxTimer)
	for i, a := range n.NAT.Addresses {
		k.external(index(at+".addresses", i), a)
	}
}

// natPorts checks the range of external ports. Networks behind the host's own
// addresses share one.
func (k *checker) natPorts(path string, n *Network) {
	r := n.NAT.Ports
	if !k.given(path) || !k.sound(path) {
		return
	}
	least := uint16(firstShared)
	if len(n.NAT.Addresses) > 0 {
		least = firstOwn
	}
	if r.First < least {
		text := "the host needs those below for itself"
		if least == firstOwn {
			text = "those below are used for guests' own ports below only"
		}
		k.complain(path, r.String(), "%v begins too low (want %d to 65535: %s)", r, least, text)
		return
	}
	if len(n.NAT.Addresses) > 0 {
		return
	}
	if j, shared := k.c.sharedPorts(k.binder); shared != r {
		k.complain(path, r.String(), "%v differs from %s.nat.ports, %v: networks behind the host's addresses share one range", r, index("networks", j), shared)
	}
}

// external checks an address of NAT's own: nobody else may have it.
func (k *checker) external(path string, a netip.Addr) {
	k.named(path, a.String(), unicastFault(a))
	once(k, path, k.externals, a)
	for _, s := range k.subnets {
		if s.prefix.Contains(a) {
			k.complain(path, a.String(), "%v is in %v of %s (want an address outside)", a, s.prefix, s.path)
		}
	}
}

// unicastFault says why a cannot be the address that one host has outside.
func unicastFault(a netip.Addr) string {
	switch {
	case a.Is4In6():
		return fmt.Sprintf("%v is an IPv4 address in IPv6 form (want %v)", a, a.Unmap())
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback(), a.IsLinkLocalUnicast(), a.Zone() != "",
		a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240):
		return fmt.Sprintf("%v cannot be reached from outside (want a unicast address that is routed to this host)", a)
	}
	return ""
}

// A forward is a sound one, with where it stands.
type forward struct {
	Forward
	path     string
	external []netip.Addr // nil: all addresses of the host of To's family
}

// clashes reports whether a packet could be meant for both.
func (f forward) clashes(o forward, k *checker) bool {
	switch {
	case f.Proto != o.Proto || !f.Port.Overlaps(o.Port) || f.To.Addr().Is4() != o.To.Addr().Is4():
		return false
	case f.external == nil && o.external == nil:
		return true
	case f.external == nil:
		return o.clashes(f, k)
	case o.external == nil: // f's may be the host's, unless the document says otherwise
		return slices.ContainsFunc(f.external, func(a netip.Addr) bool { return k.externals[a] == "" })
	}
	return slices.ContainsFunc(f.external, func(a netip.Addr) bool { return slices.Contains(o.external, a) })
}

func (k *checker) forwardsOf(list string, n *Network) {
	for i, f := range n.Forwards {
		at := index(list, i)
		k.required(at+".proto", "tcp or udp")
		k.required(at+".port", "a port such as 2222, or a range such as 8000-8010")
		k.required(at+".to", `a guest's address and port such as "192.168.150.10:22"`)
		if f.Proto != TCP && f.Proto != UDP && k.given(at+".proto") {
			k.complain(at+".proto", string(f.Proto), "%q cannot be forwarded (want tcp or udp)", f.Proto)
		}
		k.forwardTo(at+".to", n, f)
		k.forwardAddress(at+".address", n, f)
		if !k.soundWithin(at, "proto", "port", "to", "address") {
			continue
		}
		next := forward{f, at, externals(n, f)}
		j := slices.IndexFunc(k.forwards, func(o forward) bool { return next.clashes(o, k) })
		if j >= 0 {
			o := k.forwards[j]
			k.complain(at+".port", f.Port.String(), "%s port %v is forwarded by %s already", f.Proto, f.Port, o.path)
			continue
		}
		k.forwards = append(k.forwards, next)
	}
}

// soundWithin reports whether the entry at path and the keys named have no fault.
func (k *checker) soundWithin(path string, keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return !k.sound(path + "." + key) })
}

// externals returns the addresses outside that f is about, nil for all of the host's.
func externals(n *Network, f Forward) []netip.Addr {
	if f.Address.IsValid() {
		return []netip.Addr{f.Address}
	}
	var own []netip.Addr
	for _, a := range n.NAT.Addresses {
		if a.Is4() == f.To.Addr().Is4() {
			own = append(own, a)
		}
	}
	return own
}

func (k *checker) forwardTo(path string, n *Network, f Forward) {
	if !k.given(path) || !k.sound(path) {
		return
	}
	last := int(f.To.Port()) + f.Port.Len() - 1
	switch {
	case f.To.Port() == 0:
		k.complain(path, f.To.String(), "%v has port 0 (want 1 to 65535)", f.To)
	case last > math.MaxUint16 && f.Port.First > 0:
		k.complain(path, f.To.String(), "%d ports from %d on end at %d (want at most 65535)", f.Port.Len(), f.To.Port(), last)
	}
	k.guest(path, n, f.To.Addr())
}

func (k *checker) forwardAddress(path string, n *Network, f Forward) {
	to := f.To.Addr()
	switch {
	case !k.given(path):
		if len(n.NAT.Addresses) > 0 && to.IsValid() && len(externals(n, f)) == 0 {
			k.complain(path, "", "missing: none of nat.addresses is of the family of %v", to)
		}
	case !k.sound(path):
	case to.IsValid() && to.Is4() != f.Address.Is4():
		k.complain(path, f.Address.String(), "%v is not of the family of %v", f.Address, to)
	default:
		k.named(path, f.Address.String(), unicastFault(f.Address))
		if was := k.externals[f.Address]; was != "" && !slices.Contains(n.NAT.Addresses, f.Address) {
			k.complain(path, f.Address.String(), "%v is %s, of another network", f.Address, was)
		}
	}
}
