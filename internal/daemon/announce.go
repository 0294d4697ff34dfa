package daemon

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weft/frame"
	"weft/tap"
)

const (
	etherTypeRARP  = 0x8035
	rarpRequestLen = 28
)

// rarpAnnouncement is a broadcast reverse ARP request (RFC 903) by mac for its own
// address: it asks for nothing that anybody answers, and every switch on its way
// learns where mac is. Hypervisors announce a migrated guest the same way.
func rarpAnnouncement(mac frame.MAC) []byte {
	b := make([]byte, frame.MinLen)
	frame.Broadcast.Put(b)
	mac.Put(b[6:])
	binary.BigEndian.PutUint16(b[12:], etherTypeRARP)
	arp := b[frame.EthernetLen : frame.EthernetLen+rarpRequestLen]
	copy(arp, []byte{0, 1, 8, 0, 6, 4, 0, 3}) // Ethernet, IPv4, request reverse
	mac.Put(arp[8:])
	mac.Put(arp[18:])
	return b
}

// announceGatewayLocked tells the guests of a network where its gateway's addresses are:
// those who were plugged in from a network with the same subnet believe them elsewhere
// (RFC 5227 3, RFC 4861 7.2.6).
func (d *Daemon) announceGatewayLocked(n *network) {
	g := n.gateway
	if g == nil || g.att == nil {
		return
	}
	buf, mac := frame.NewBufs(1)[0], g.att.MAC()
	for _, p := range append(slices.Clone(n.cfg.Subnets), tap.GatewayLinkLocal) {
		a := p.Addr()
		if a.Is4() {
			buf.MakeARP(frame.Broadcast, frame.ARPRequest, mac, a, a)
		} else {
			buf.MakeAdvertisement(frame.GroupMAC(allNodes), mac, a, allNodes, frame.AdvertRouter|frame.AdvertOverride, a)
		}
		d.sw.Inject(g.id, buf)
	}
}

var allNodes = netip.MustParseAddr("ff02::1")
