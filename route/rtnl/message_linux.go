package rtnl

import (
	"encoding/binary"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"

	"weft/frame"
)

// The readers of this file take a message without its nlmsghdr, and are false for one
// that is of no use here. Kernels may add attributes, and leave out any.

// attributes yields the attributes of b, without the flags of their types.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			n := int(binary.NativeEndian.Uint16(b))
			if n < unix.SizeofRtAttr || n > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:n]) {
				return
			}
			b = b[min((n+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
		}
	}
}

// number reads an attribute of four bytes; a shorter one is 0.
func number(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// address reads an attribute of four or sixteen bytes; one of another length is the
// zero Addr.
func address(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// text reads a string with a zero byte behind it.
func text(b []byte) string { return unix.ByteSliceToString(b) }

// A link is what routes and addresses say of one.
type link struct {
	index int
	name  string
}

// readLink reads an ifinfomsg.
func readLink(m []byte) (link, bool) {
	// A bridge tells of its ports in messages of its own family.
	if len(m) < unix.SizeofIfInfomsg || m[0] != unix.AF_UNSPEC {
		return link{}, false
	}
	l := link{index: int(number(m[4:]))}
	for t, v := range attributes(m[unix.SizeofIfInfomsg:]) {
		if t == unix.IFLA_IFNAME {
			l.name = text(v)
		}
	}
	return l, true
}

// readAddress reads an ifaddrmsg.
func readAddress(m []byte) (Address, bool) {
	if len(m) < unix.SizeofIfAddrmsg {
		return Address{}, false
	}
	a := Address{Scope: Scope(m[3]), Link: int(number(m[4:]))}
	flags := uint32(m[2])
	var local, there netip.Addr
	for t, v := range attributes(m[unix.SizeofIfAddrmsg:]) {
		switch t {
		case unix.IFA_LOCAL:
			local = address(v)
		case unix.IFA_ADDRESS:
			there = address(v)
		case unix.IFA_FLAGS:
			flags = number(v)
		}
	}
	bits := int(m[1])
	switch {
	case !local.IsValid(): // IPv6 tells it as IFA_ADDRESS, but for point-to-point links
		local = there
	case local != there: // the subnet is the other end's
		bits = local.BitLen()
	}
	a.Prefix = netip.PrefixFrom(local, bits)
	a.Deprecated = flags&unix.IFA_F_DEPRECATED != 0
	a.Tentative = flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0
	a.Temporary = local.Is6() && flags&unix.IFA_F_TEMPORARY != 0 // the bit means "secondary" in IPv4
	return a, a.Prefix.IsValid()
}

// readRoute reads an rtmsg and tells the table it is of.
func readRoute(m []byte) (r Route, table int, ok bool) {
	const cached = unix.RTM_F_CLONED
	if len(m) < unix.SizeofRtMsg || m[0] != unix.AF_INET && m[0] != unix.AF_INET6 {
		return r, 0, false
	}
	if tos, from := m[3], m[2]; tos != 0 || from != 0 || number(m[8:])&cached != 0 {
		return r, 0, false
	}
	if r.Kind, ok = kindOf(m[7]); !ok {
		return r, 0, false
	}
	table = int(m[4])
	to := netip.IPv4Unspecified()
	if m[0] == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	}
	hops := nextHops{{flags: number(m[8:])}}
	for t, v := range attributes(m[unix.SizeofRtMsg:]) {
		switch t {
		case unix.RTA_DST:
			to = address(v)
		case unix.RTA_TABLE:
			table = int(number(v))
		case unix.RTA_PRIORITY:
			r.Metric = int(number(v))
		case unix.RTA_PREFSRC:
			r.Source = address(v)
		case unix.RTA_MULTIPATH:
			hops = readNextHops(v)
		default:
			hops[0].read(t, v)
		}
	}
	r.Prefix = netip.PrefixFrom(to, int(m[1]))
	if !r.Prefix.IsValid() || to.IsMulticast() || to.Is6() && to.IsLinkLocalUnicast() {
		return r, 0, false
	}
	return r, table, r.Kind != Unicast || hops.take(&r)
}

// kindOf is false for what the kernel makes for itself.
func kindOf(rtn uint8) (Kind, bool) {
	switch rtn {
	case unix.RTN_UNICAST:
		return Unicast, true
	case unix.RTN_BLACKHOLE:
		return Blackhole, true
	case unix.RTN_UNREACHABLE:
		return Unreachable, true
	case unix.RTN_PROHIBIT:
		return Prohibit, true
	case unix.RTN_THROW: // goes on in the next table, where the usual rules end
		return Unreachable, true
	}
	return 0, false
}

// A nextHop is one of the ways of a route.
type nextHop struct {
	link         int
	gateway      netip.Addr
	flags        uint32 // RTNH_F_…
	encapsulated bool
}

func (h *nextHop) read(t uint16, v []byte) {
	switch t {
	case unix.RTA_OIF:
		h.link = int(number(v))
	case unix.RTA_GATEWAY:
		h.gateway = address(v)
	case unix.RTA_VIA: // struct rtvia: the family in two bytes, and the address
		if len(v) > 2 {
			h.gateway = address(v[2:])
		}
	case unix.RTA_ENCAP_TYPE:
		h.encapsulated = true
	}
}

type nextHops []nextHop

// readNextHops reads the attribute RTA_MULTIPATH. There is always one at least.
func readNextHops(b []byte) nextHops {
	var all nextHops
	for len(b) >= unix.SizeofRtNexthop {
		n := int(binary.NativeEndian.Uint16(b)) // struct rtnexthop: length, flags, hops, link
		if n < unix.SizeofRtNexthop || n > len(b) {
			break
		}
		h := nextHop{flags: uint32(b[2]), link: int(number(b[4:]))}
		for t, v := range attributes(b[unix.SizeofRtNexthop:n]) {
			h.read(t, v)
		}
		all = append(all, h)
		b = b[min((n+unix.RTNH_ALIGNTO-1)&^(unix.RTNH_ALIGNTO-1), len(b)):]
	}
	if all == nil {
		return nextHops{{}}
	}
	return all
}

// take gives r the first usable way: best one whose link has a carrier, but as the
// kernel does by default, else one without. False is none.
func (hops nextHops) take(r *Route) bool {
	best := -1
	for i, h := range hops {
		if h.link == 0 || h.flags&unix.RTNH_F_DEAD != 0 {
			continue
		}
		if h.flags&unix.RTNH_F_LINKDOWN == 0 {
			best = i
			break
		}
		if best < 0 {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	h := hops[best]
	if h.encapsulated {
		// Nobody but the kernel can send that way, and without it a wrong route would match.
		r.Kind = Unreachable
		return true
	}
	r.Link, r.Gateway, r.OnLink = h.link, h.gateway, h.flags&unix.RTNH_F_ONLINK != 0
	return true
}

// readNeighbor reads an ndmsg. It is false for what is no neighbor on Ethernet that is
// asked for by ARP or neighbor solicitations.
func readNeighbor(m []byte) (Neighbor, bool) {
	const (
		noMAC = unix.NUD_NONE | unix.NUD_INCOMPLETE
		asked = unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE
	)
	if len(m) < unix.SizeofNdMsg || m[0] != unix.AF_INET && m[0] != unix.AF_INET6 {
		return Neighbor{}, false
	}
	n := Neighbor{Link: int(number(m[4:]))}
	for t, v := range attributes(m[unix.SizeofNdMsg:]) {
		switch {
		case t == unix.NDA_DST:
			n.Address = address(v)
		case t == unix.NDA_LLADDR && len(v) == 6:
			n.MAC = frame.MACFrom(v)
		}
	}
	if !n.Address.IsValid() || n.Address.IsMulticast() {
		return Neighbor{}, false
	}
	switch state, flags := binary.NativeEndian.Uint16(m[8:]), m[10]; {
	case state&unix.NUD_NOARP != 0, flags&unix.NTF_PROXY != 0:
		return Neighbor{}, false
	case state&unix.NUD_FAILED != 0:
		n.MAC, n.State = 0, Failed
	case state&^noMAC == 0, n.MAC == 0:
		n.MAC, n.State = 0, Gone
	case state&asked != 0:
		n.State = Stale
	default:
		n.State = Reachable
	}
	return n, true
}
