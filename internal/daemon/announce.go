package daemon

import (
	"encoding/binary"

	"weft/frame"
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
