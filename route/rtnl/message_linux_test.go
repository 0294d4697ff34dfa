package rtnl

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// attribute is one rtattr with its padding.
func attribute(kind uint16, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

func message(header []byte, attributes ...[]byte) []byte {
	for _, a := range attributes {
		header = append(header, a...)
	}
	return header
}

func TestReadRouteNeedsAWay(t *testing.T) {
	header := func() []byte {
		return []byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	}
	to := attribute(unix.RTA_DST, 192, 0, 2, 0)
	link := func(n byte) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
	hop := func(flags, n byte, attributes ...[]byte) []byte {
		b := append([]byte{0, 0, flags, 0}, link(n)...)
		b = message(b, attributes...)
		binary.NativeEndian.PutUint16(b, uint16(len(b)))
		return b
	}
	multipath := func(hops ...[]byte) []byte { return attribute(unix.RTA_MULTIPATH, message(nil, hops...)...) }
	gateway := attribute(unix.RTA_GATEWAY, 10, 0, 0, 1)
	for _, c := range []struct {
		name string
		m    []byte
		link int // 0: no route
	}{
		{"one way", message(header(), to, attribute(unix.RTA_OIF, link(7)...)), 7},
		{"a next hop that only the kernel can name", message(header(), to), 0},
		{"one dead way", message(append(header()[:8], unix.RTNH_F_DEAD, 0, 0, 0), to, attribute(unix.RTA_OIF, link(7)...)), 0},
		{"the first of several", message(header(), to, multipath(hop(0, 7, gateway), hop(0, 8))), 7},
		{"the first that lives", message(header(), to, multipath(hop(unix.RTNH_F_DEAD, 7), hop(0, 8))), 8},
		{"the first with a carrier", message(header(), to, multipath(hop(unix.RTNH_F_LINKDOWN, 7), hop(0, 8))), 8},
		{"the first without, if there is none", message(header(), to, multipath(hop(unix.RTNH_F_LINKDOWN, 7), hop(unix.RTNH_F_LINKDOWN, 8))), 7},
		{"no way of several", message(header(), to, multipath(hop(unix.RTNH_F_DEAD, 7))), 0},
		{"several of none", message(header(), to, multipath()), 0},
		{"cut short", message(header(), to, attribute(unix.RTA_OIF, link(7)...))[:15], 0},
	} {
		r, table, ok := readRoute(c.m)
		if ok != (c.link != 0) || r.Link != c.link {
			t.Errorf("%s: %+v, %v", c.name, r, ok)
		}
		if ok && (table != unix.RT_TABLE_MAIN || r.Prefix != netip.MustParsePrefix("192.0.2.0/24")) {
			t.Errorf("%s: %v in table %d", c.name, r.Prefix, table)
		}
	}
}

// No message of the kernel, however short or odd, may end the daemon.
func FuzzMessage(f *testing.F) {
	route := []byte{unix.AF_INET, 24, 0, 0, unix.RT_TABLE_MAIN, 0, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
	f.Add(message(route, attribute(unix.RTA_DST, 192, 0, 2, 0), attribute(unix.RTA_MULTIPATH, 8, 0, 0, 0, 7, 0, 0, 0)))
	f.Add(message(route, attribute(unix.RTA_VIA, 10, 0, 1, 2, 3)))
	f.Add(message([]byte{unix.AF_INET6, 64, 0, 0, 2, 0, 0, 0}, attribute(unix.IFA_ADDRESS, make([]byte, 16)...)))
	f.Add(message([]byte{unix.AF_INET, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0}, attribute(unix.NDA_LLADDR, 2, 0, 0, 0, 0, 9)))
	f.Fuzz(func(t *testing.T, m []byte) {
		readLink(m)
		if a, ok := readAddress(m); ok && !a.Prefix.IsValid() {
			t.Errorf("an address without prefix: %+v", a)
		}
		if r, _, ok := readRoute(m); ok && (!r.Prefix.IsValid() || (r.Link != 0) != (r.Kind == Unicast)) {
			t.Errorf("a route that leads nowhere: %+v", r)
		}
		if n, ok := readNeighbor(m); ok && (!n.Address.IsValid() || (n.MAC != 0) != (n.State >= Stale)) {
			t.Errorf("a neighbor in two minds: %+v", n)
		}
		if r, ok := readRule(m); ok && r.Text == "" {
			t.Errorf("a rule without words: %+v", r)
		}
		followed(m)
	})
}
