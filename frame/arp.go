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
