package frame

import (
	"encoding/binary"
	"net/netip"
)

// ARPLen is the length in bytes of an ARP packet for IPv4 over Ethernet.
const ARPLen = 28

// The ARP operations (RFC 826).
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARP is an ARP packet (RFC 826). Ask Valid before anything else.
type ARP []byte

// Valid reports whether the packet is whole and resolves IPv4 over Ethernet.
func (h ARP) Valid() bool {
	// Hardware type 1, protocol type 0x0800, address lengths 6 and 4.
	return len(h) >= ARPLen && binary.BigEndian.Uint64(h)>>16 == 0x0001_0800_0604
}

// Op returns the operation.
func (h ARP) Op() uint16 { return binary.BigEndian.Uint16(h[6:]) }

// SenderMAC returns the sender's hardware address.
func (h ARP) SenderMAC() MAC { return MACFrom(h[8:]) }

// SenderIP returns the sender's protocol address.
func (h ARP) SenderIP() netip.Addr { return netip.AddrFrom4([4]byte(h[14:])) }

// TargetMAC returns the target's hardware address.
func (h ARP) TargetMAC() MAC { return MACFrom(h[18:]) }

// TargetIP returns the target's protocol address.
func (h ARP) TargetIP() netip.Addr { return netip.AddrFrom4([4]byte(h[24:])) }

// MakeARP makes b an untagged ARP packet to station dst: of a sender, about the target
// address. The target's hardware address is dst in a reply; in a request it is what
// is asked for, and zero.
func (b *Buf) MakeARP(dst MAC, op uint16, sender MAC, senderIP, targetIP netip.Addr) {
	p := b.make(dst, sender, EtherTypeARP, ARPLen)
	binary.BigEndian.PutUint64(p, 0x0001_0800_0604<<16|uint64(op))
	sender.Put(p[8:])
	putAddr(p[14:], senderIP)
	if op == ARPReply {
		dst.Put(p[18:])
	}
	putAddr(p[24:], targetIP)
}

// make makes b an untagged frame with n bytes of payload, which are zero, and returns
// these.
func (b *Buf) make(dst, src MAC, t EtherType, n int) []byte {
	p := b.Space(0)[:EthernetLen+n]
	dst.Put(p)
	src.Put(p[6:])
	binary.BigEndian.PutUint16(p[typeAt:], uint16(t))
	clear(p[EthernetLen:])
	b.Received(len(p))
	return p[EthernetLen:]
}
