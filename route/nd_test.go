package route_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// advert is a neighbor advertisement of the guest of A.
func advert(mac frame.MAC, flags uint8, to netip.Addr) []byte {
	b := frame.NewBufs(1)[0]
	dst := macA
	if to.IsMulticast() {
		dst = frame.GroupMAC(to)
	}
	b.MakeAdvertisement(dst, mac, ipv6.guest.Addr, to, flags, ipv6.guest.Addr)
	return bytes.Clone(b.Bytes())
}

// withoutOption takes the last option off a neighbor discovery message.
func withoutOption(p []byte) []byte {
	p = p[:len(p)-8]
	ip := frame.IPv6(p[14:])
	ip.SetPayloadLen(len(ip) - 40)
	m := ip[40:]
	m[2], m[3] = 0, 0
	sum := ^frame.Sum(m, ip.PseudoSum(frame.ProtocolICMPv6, len(m)))
	m[2], m[3] = byte(sum>>8), byte(sum)
	return p
}

// RFC 4861 7.2.5 and 7.2.3, about a neighbor that is known and reachable.
func TestNeighborDiscoveryUpdates(t *testing.T) {
	const s, o = frame.AdvertSolicited, frame.AdvertOverride
	old, moved := ipv6.guest.MAC, ipv6.guest.MAC+0x100
	solicit := func(mac frame.MAC) []byte {
		b := frame.NewBufs(1)[0]
		b.MakeSolicitation(0, mac, ipv6.guest.Addr, ipv6.gatewayA)
		return bytes.Clone(b.Bytes())
	}
	us := addr("fe80::1")
	for name, c := range map[string]struct {
		p     []byte
		mac   frame.MAC
		state string
	}{
		"solicited, same":             {advert(old, s, us), old, "reachable"},
		"solicited, other":            {advert(moved, s, us), old, "stale"},
		"solicited, override, other":  {advert(moved, s|o, us), moved, "reachable"},
		"solicited, no address":       {withoutOption(advert(old, s, us)), old, "reachable"},
		"unsolicited, override":       {advert(moved, o, frame.AllNodes), moved, "stale"},
		"unsolicited, override, same": {advert(old, o, frame.AllNodes), old, "reachable"},
		"unsolicited, other":          {advert(moved, 0, frame.AllNodes), old, "stale"},
		"unsolicited, no address":     {withoutOption(advert(old, 0, us)), old, "reachable"},
		"group address":               {advert(frame.Broadcast, s|o, us), old, "reachable"},
		"solicitation, same":          {solicit(old), old, "reachable"},
		"solicitation, other":         {solicit(moved), moved, "stale"},
		"solicitation, no address":    {withoutOption(solicit(old)), old, "reachable"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t).meet()
			r.now += 2 * time.Second
			r.listen(guestPort, advert(old, s|o, us))
			r.expectNeighbor(portA, ipv6.guest.Addr, old, "reachable")
			r.now += 2 * time.Second
			r.listen(guestPort, c.p)
			r.expectNeighbor(portA, ipv6.guest.Addr, c.mac, c.state)
		})
	}
}

func TestNeighborDiscoveryCreates(t *testing.T) {
	stranger := frametest.End{MAC: 0x5254_0000_0099, Addr: addr("fd00:a::99")}
	for name, c := range map[string]struct {
		from, target netip.Addr
		want         frame.MAC
		why          frame.Reason
	}{
		"for us":            {stranger.Addr, ipv6.gatewayA, stranger.MAC, 0},
		"for our link":      {stranger.Addr, addr("fe80::1"), stranger.MAC, 0},
		"for others":        {stranger.Addr, ipv6.other.Addr, 0, 0},
		"from a link":       {addr("fe80::99"), ipv6.gatewayA, stranger.MAC, 0},
		"from elsewhere":    {addr("fd00:b::99"), ipv6.gatewayA, 0, frame.DropMartian},
		"from our own":      {ipv6.gatewayA, ipv6.gatewayA, 0, frame.DropMartian},
		"from another's":    {ipv6.guestB.Addr, ipv6.gatewayA, 0, frame.DropMartian},
		"duplicate address": {netip.IPv6Unspecified(), ipv6.gatewayA, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b := frame.NewBufs(1)[0]
			b.MakeSolicitation(0, stranger.MAC, c.from, c.target)
			r.listen(guestPort, bytes.Clone(b.Bytes()), c.why)
			if n := r.neighbor(portA, c.from); n.MAC != c.want {
				t.Errorf("%v, want %v", n.MAC, c.want)
			}
		})
	}
	r := newRig(t)
	r.listen(guestPort, advert(ipv6.guest.MAC, frame.AdvertSolicited|frame.AdvertOverride, addr("fe80::1")))
	if len(r.Neighbors(r.now)) != 0 {
		t.Error("an advertisement that nobody asked for makes an entry")
	}
}
