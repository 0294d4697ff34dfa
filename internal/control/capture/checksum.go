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
	sum := ^frame.Sum(p[start:], 0)
	if sum == 0 {
		sum = 0xffff // RFC 768: zero says that there is no checksum
	}
	binary.BigEndian.PutUint16(p[field:], sum)
}
