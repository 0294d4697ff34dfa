package guest

import (
	"encoding/binary"
	"net/netip"
)

// The offsets of an ARP packet for Ethernet and IPv4 (RFC 826), and its operations.
const (
	arpLen       = 28
	arpOperation = 7 // the low byte
	arpSender    = 8
	arpTarget    = 18

	arpRequest = 1
	arpReply   = 2
)

// askARP returns a request of from's for the address, after headroom bytes.
func askARP(headroom int, mac [6]byte, from, addr netip.Addr) []byte {
	buf := make([]byte, headroom+etherLen+arpLen)
	f := buf[headroom:]
	copy(f[0:], broadcast[:])
	copy(f[6:], mac[:])
	copy(f[12:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, arpRequest})
	a := f[etherLen:]
	copy(a[arpSender:], mac[:])
	copy(a[arpSender+6:], from.AsSlice())
	copy(a[arpTarget+6:], addr.AsSlice())
	return buf
}

// isARP reports whether f is ARP with that operation.
func isARP(f []byte, operation byte) bool {
	return binary.BigEndian.Uint16(f[12:]) == 0x0806 && len(f) >= etherLen+arpLen && f[etherLen+arpOperation] == operation
}

// saysARP reports whether f is a reply from addr.
func saysARP(f []byte, addr netip.Addr) bool {
	return isARP(f, arpReply) && [4]byte(f[etherLen+arpSender+6:]) == addr.As4()
}

// answerARP turns a request for addr into its reply.
func answerARP(f []byte, mac [6]byte, addr netip.Addr) bool {
	if !isARP(f, arpRequest) || [4]byte(f[etherLen+arpTarget+6:]) != addr.As4() {
		return false
	}
	copy(f[0:6], f[6:12])
	copy(f[6:12], mac[:])
	a := f[etherLen:]
	a[arpOperation] = arpReply
	copy(a[arpTarget:arpLen], a[arpSender:arpTarget]) // the sender becomes the target
	copy(a[arpSender:], mac[:])
	copy(a[arpSender+6:], addr.AsSlice())
	return true
}
