package guest

import (
	"encoding/binary"
	"net/netip"
)

// A frame of a flow: Ethernet, IPv4 and UDP headers, a sequence number, its complement
// and a mark, zeros up to frameLen. The checksum is complete, and by the complement the
// same for all sequence numbers.
const (
	frameLen    = 64 // without FCS, the least that IEEE 802.3 sends is 60
	etherLen    = 14
	ipLen       = 20
	udpLen      = 8
	sequenceOff = etherLen + ipLen + udpLen
	markOff     = sequenceOff + 16
)

// A mark says whose frame it is, whatever became of its addresses.
type mark [5]byte

var (
	ofSender   = mark{'f', 'l', 'o', 'w', 1}
	ofReceiver = mark{'f', 'l', 'o', 'w', 2}
)

// The two ends of the flow.
var (
	senderMAC   = [6]byte{0x52, 0x54, 0, 0xbe, 0, 1}
	receiverMAC = [6]byte{0x52, 0x54, 0, 0xbe, 0, 2}
	broadcast   = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

// endpoints are a flow's addresses.
type endpoints struct {
	dst, src         [6]byte
	dstAddr, srcAddr netip.Addr
	dstPort, srcPort uint16
}

// flowFrame returns a frame after headroom bytes.
func flowFrame(headroom int, e endpoints, m mark) []byte {
	buf := make([]byte, headroom+frameLen)
	f := buf[headroom:]
	copy(f[0:], e.dst[:])
	copy(f[6:], e.src[:])
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[etherLen:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], frameLen-etherLen)
	ip[8], ip[9] = 64, 17 // TTL, UDP
	copy(ip[12:], e.srcAddr.AsSlice())
	copy(ip[16:], e.dstAddr.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:ipLen]))
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp[0:], e.srcPort)
	binary.BigEndian.PutUint16(udp[2:], e.dstPort)
	binary.BigEndian.PutUint16(udp[4:], frameLen-etherLen-ipLen)
	copy(f[markOff:], m[:])
	number(f, 0)
	completeUDP(f)
	return buf
}

// number gives a frame its sequence number.
func number(f []byte, sequence uint64) {
	binary.BigEndian.PutUint64(f[sequenceOff:], sequence)
	binary.BigEndian.PutUint64(f[sequenceOff+8:], ^sequence)
}

// completeUDP computes the checksum of a frame's datagram (RFC 768).
func completeUDP(f []byte) {
	const addressesOff, checksumOff = 12, 6
	ip := f[etherLen:]
	udp := ip[ipLen:]
	binary.BigEndian.PutUint16(udp[checksumOff:], 0)
	pseudo := append([]byte{0, 17, udp[4], udp[5]}, ip[addressesOff:ipLen]...)
	sum := ^onesSum(append(pseudo, udp...))
	if sum == 0 {
		sum = 0xffff // zero says that there is none
	}
	binary.BigEndian.PutUint16(udp[checksumOff:], sum)
}

// onesSum returns the folded one's complement sum of b (RFC 1071).
func onesSum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		if i%2 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// answerFlow turns a frame of the sender's into one back. The IP header's checksum
// stays: the same words are summed.
func answerFlow(f []byte) {
	swap(f[0:6], f[6:12])
	ip := f[etherLen:]
	swap(ip[12:16], ip[16:20])
	udp := ip[ipLen:]
	swap(udp[0:2], udp[2:4])
	copy(f[markOff:], ofReceiver[:])
	completeUDP(f)
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

// isFlow reports whether f is a frame of a flow with the mark.
func isFlow(f []byte, m mark) bool {
	return len(f) == frameLen && mark(f[markOff:]) == m && binary.BigEndian.Uint16(f[12:]) == 0x0800
}
