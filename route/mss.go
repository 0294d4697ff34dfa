package route

import (
	"encoding/binary"
	"math/bits"

	"weft/frame"
)

const (
	tcpHeader    = 20 // without options
	tcpOptionMSS = 2  // four bytes long (RFC 9293 3.1)
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
	h := frame.TCP(b.Bytes()[l.L4:])
	if len(h) < tcpHeader || h.Flags()&frame.TCPSyn == 0 {
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
	from, to := binary.BigEndian.Uint16(h[at:]), uint16(most)
	if int(from) <= most {
		return
	}
	binary.BigEndian.PutUint16(h[at:], to)
	if at%2 != 0 { // in two words: the sum of swapped words is the swapped sum (RFC 1071 2)
		from, to = bits.ReverseBytes16(from), bits.ReverseBytes16(to)
	}
	b.AdjustTransport(0, frame.Change(0).Word(from, to))
}

// mssOption returns the offset of the announced size in the TCP header h, or zero.
func mssOption(h frame.TCP) int {
	end := min(h.HeaderLen(), len(h))
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
