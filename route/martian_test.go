package route_test

import (
	"net/netip"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

func TestMartianSourcesFromOutside(t *testing.T) {
	r := newRig(t).meet()
	for _, a := range []string{
		"0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
		"192.0.2.2",     // our own
		"10.99.0.1",     // the host's, elsewhere
		"192.0.2.200",   // NAT's
		"192.168.1.77",  // of a network behind us
		"203.0.113.66",  // likewise
		"192.0.2.255",   // a subnet
		"203.0.113.127", // likewise
		"::", "::1", "::ffff:1.2.3.4", "fe80::5", "ff02::1",
		"2001:db8:1::2", "fd99::1", "2001:db8:1::200", "fd00:a::77", "2001:db8:b::66", "2001:db8:b::",
	} {
		t.Run(a, func(t *testing.T) {
			r.t = t
			w := familyOf(addr(a))
			src := frametest.End{MAC: w.hop.MAC, Addr: addr(a), Port: 1}
			for _, to := range []netip.Addr{w.guestB.Addr, w.external} {
				r.expectDrop(r.route(wirePort, datagram(src, towards(at(to), macU))), frame.DropMartian)
			}
			// For the host itself its own filter decides, and no translator is asked.
			r.nat.why = frame.DropNATInvalid
			p := datagram(src, towards(at(w.host), macU))
			r.expectLeft(r.route(wirePort, p), p)
		})
	}
}

func TestMartianDestinations(t *testing.T) {
	r := newRig(t).meet()
	for a, reason := range map[string]frame.Reason{
		"0.1.2.3": frame.DropMartian, "127.0.0.1": frame.DropMartian, "240.0.0.1": frame.DropMartian,
		"::": frame.DropMartian, "::1": frame.DropMartian, "::ffff:1.2.3.4": frame.DropMartian,
		"203.0.113.127": frame.DropMartian, // RFC 2644: a subnet elsewhere
		"203.0.113.64":  frame.DropMartian,
		"2001:db8:b::":  frame.DropMartian,
		"192.0.2.255":   frame.DropMartian,
		// Not forwarded, but the host may want them.
		"169.254.169.254": 0, "224.0.0.251": 0, "255.255.255.255": 0, "192.168.1.255": 0, "192.168.1.0": 0,
		"fe80::7": 0, "ff02::fb": 0, "fd00:a::": 0,
	} {
		t.Run(a, func(t *testing.T) {
			r.t = t
			w := familyOf(addr(a))
			p := datagram(w.guest, towards(at(addr(a)), macA))
			if b := r.route(guestPort, p); reason != 0 {
				r.expectDrop(b, reason)
			} else {
				r.expectLeft(b, p)
			}
		})
	}
	for _, a := range []string{"127.0.0.1", "::1", "203.0.113.127"} {
		w := familyOf(addr(a))
		r.expectDrop(r.route(wirePort, datagram(w.remote, towards(at(addr(a)), macU))), frame.DropMartian)
	}
}

// A guest sends from its own subnet only, and not from an address of weft's or of all
// (RFC 3704 2.2).
func TestReversePathOfGuests(t *testing.T) {
	r := newRig(t).meet()
	for _, a := range []string{
		"192.168.2.5", "8.8.8.8", "203.0.113.70", // elsewhere
		"192.168.1.1", "192.0.2.2", "10.99.0.1", "192.0.2.200", // the gateway's, the host's, NAT's
		"0.0.0.0", "127.0.0.1", "169.254.3.3", "224.0.0.1", "240.1.1.1", "255.255.255.255",
		"192.168.1.255", "192.168.1.0", "10.7.1.1",
		"fd00:b::5", "2001:db8:ffff::99", "2001:db8:b::70", "fd00:a::1", "2001:db8:1::2", "fd99::1", "2001:db8:1::200",
		"::", "::1", "fe80::5", "ff02::1", "fd00:a::", "2001:db8:7::1",
	} {
		t.Run(a, func(t *testing.T) {
			r.t = t
			w := familyOf(addr(a))
			r.expectDrop(r.route(guestPort, w.from(addr(a), w.remote)), frame.DropMartian)
			p := w.from(addr(a), at(w.gatewayA))
			if b := r.route(guestPort, p); addr(a).IsLinkLocalUnicast() {
				r.expectLeft(b, p) // neighbor discovery comes so
			} else {
				r.expectDrop(b, frame.DropMartian)
			}
		})
	}
}

func TestReversePathWithoutDefaultRoute(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) { v.Routes = nil }).meet()
		r.expectDrop(r.route(guestPort, w.from(w.remote.Addr, w.guestB)), frame.DropMartian)
		// From outside any source will do that is not ours.
		r.expectForwarded(r.route(wirePort, frametest.UDP(w.remote, towards(w.guestB, macU), nil)), portB, w.guestB.MAC)
	})
}

func TestNarrowSubnetsHaveNoBroadcast(t *testing.T) {
	r := newRig(t, func(v *route.View) {
		v.Interfaces[1].Addresses = []netip.Prefix{prefix("203.0.113.64/31"), prefix("2001:db8:b::/127")}
	}).meet()
	for _, a := range []string{"203.0.113.65", "2001:db8:b::1"} {
		w := familyOf(addr(a))
		guest := frametest.End{MAC: w.guestB.MAC, Addr: addr(a)}
		gateway := addr("203.0.113.64")
		if w.version == 6 {
			gateway = addr("2001:db8:b::")
		}
		r.hear(guestBPort, guest, gateway)
		r.expectForwarded(r.route(wirePort, datagram(w.remote, towards(guest, macU))), portB, guest.MAC)
	}
}

// datagram is frametest.UDP for addresses that gopacket does not take to be of the
// family.
func datagram(src, dst frametest.End) []byte {
	w := familyOf(src.Addr)
	from, to := w.guest, w.guestB
	from.MAC, to.MAC = src.MAC, dst.MAC
	p := frametest.UDP(from, to, []byte("data"))
	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	b.Parse()
	m := masquerader{}
	m.change(b, from.Addr, src.Addr, true)
	m.change(b, to.Addr, dst.Addr, false)
	return b.Bytes()
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4
	}
	return ipv6
}
