package route

import (
	"encoding/binary"
	"math/bits"

	"weft/frame"
)

const (
	tcpHeader     = 20 // without options
	tcpFlagsAt    = 13
	tcpSyn        = 0x02
	tcpChecksumAt = 16

	tcpOptionMSS = 2 // four bytes long (RFC 9293 3.1)
)

// clampMSS lowers the maximum segment size that a TCP SYN announces to what a link of
// the given MTU carries, so that the peer's segments need no fragmentation even where
// nobody learns of path MTUs (RFC 4459 3.2, RFC 9293 3.7.1). A SYN without the option
// stands for 536 bytes, or 1220, and is left alone.
func clampMSS(b *frame.Buf, mtu int) {
	l := &b.Layers
	if l.L4 == 0 {
		return
	}
	h := b.Bytes()[l.L4:]
	if len(h) < tcpHeader || h[tcpFlagsAt]&tcpSyn == 0 {
		return
	}
	at := mssOption(h)
	if at == 0 {
		return
	}
	most := mtu - 20 - tcpHeader
	if l.Version == 6 {
		most = mtu - ipv6Len - tcpHeader
	}
	was := binary.BigEndian.Uint16(h[at:])
	if int(was) <= most {
		return
	}
	binary.BigEndian.PutUint16(h[at:], uint16(most))
	if o := &b.Offload; o.NeedsCsum && o.CsumStart == l.L4 {
		return // it is not yet computed
	}
	from, to := was, uint16(most)
	if at%2 != 0 { // it lies in two words: the sum of swapped words is the swapped sum (RFC 1071 2)
		from, to = bits.ReverseBytes16(from), bits.ReverseBytes16(to)
	}
	field := h[tcpChecksumAt:]
	binary.BigEndian.PutUint16(field, frame.UpdateChecksum(binary.BigEndian.Uint16(field), from, to))
}

// mssOption returns the offset of the announced size in the TCP header h, or zero.
func mssOption(h []byte) int {
	end := min(frame.TCP(h).HeaderLen(), len(h))
	for at := tcpHeader; at < end; {
		switch h[at] {
		case optionEnd:
			return 0
		case optionNop:
			at++
			continue
		}
		if at+2 > end || h[at+1] < 2 || at+int(h[at+1]) > end {
			return 0
		}
		if h[at] == tcpOptionMSS && h[at+1] == 4 {
			return at + 2
		}
		at += int(h[at+1])
	}
	return 0
}
