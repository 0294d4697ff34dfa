package capture

import (
	"encoding/binary"

	"weft/frame"
)

// complete stores the checksum that o says is still to be computed. The field
// holds the pseudo-header's sum. An offload that contradicts the frame leaves it
// as it is: what a broken sender sent is what the operator wants to see.
func complete(p []byte, o frame.Offload) {
	start := int(o.CsumStart)
	field := start + int(o.CsumOffset)
	if !o.NeedsCsum || field+2 > len(p) {
		return
	}
	sum := ^fold(p[start:])
	if sum == 0 {
		sum = 0xffff // RFC 768: zero says that there is no checksum
	}
	binary.BigEndian.PutUint16(p[field:], sum)
}

// fold is the ones' complement sum of p (RFC 1071).
func fold(p []byte) uint16 {
	var sum uint64
	for ; len(p) >= 4; p = p[4:] {
		sum += uint64(binary.BigEndian.Uint32(p))
	}
	if len(p) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(p)) << 16
		p = p[2:]
		if len(p) == 1 {
			sum += uint64(p[0]) << 8
		}
	} else if len(p) == 1 {
		sum += uint64(p[0]) << 24
	}
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}
