package tap

import (
	"encoding/binary"
	"net/netip"

	"weft/frame"
	"weft/frame/frametest"
)

// end returns a party; its MAC address is that of the loopback, by whose name the kernel
// runs programs over frames of tests.
func end(at string) frametest.End {
	a := netip.MustParseAddrPort(at)
	return frametest.End{Addr: a.Addr(), Port: a.Port()}
}

// The parts of a frame that the frames of these tests change.
const (
	l3     = frame.EthernetLen
	l4     = l3 + 20 // of IPv4 without options
	l4OfV6 = l3 + 40
)

func tcp(from, to string) []byte { return frametest.TCP(end(from), end(to), []byte("x")) }
func udp(from, to string) []byte { return frametest.UDP(end(from), end(to), []byte("x")) }

// withFlags sets the flags of a TCP segment without options.
func withFlags(p []byte, flags byte) []byte {
	at := l4
	if p[l3]>>4 == 6 {
		at = l4OfV6
	}
	p[at+13] = flags
	return p
}

// withOptions adds n words of IPv4 options.
func withOptions(p []byte, n int) []byte {
	p = append(append(append([]byte{}, p[:l4]...), make([]byte, 4*n)...), p[l4:]...)
	for i := range 4 * n {
		p[l4+i] = 1 // no operation
	}
	p[l3] = 4<<4 | byte(5+n)
	return p
}

// withExtensions adds IPv6 extension headers of the given types in front of the
// transport header, of 8, 16, 24… bytes.
func withExtensions(p []byte, types ...byte) []byte {
	head := append([]byte{}, p[:l4OfV6]...)
	next := head[l3+6]
	var chain []byte
	for i := len(types) - 1; i >= 0; i-- {
		h := make([]byte, 8*(i+1))
		h[0], h[1] = next, byte(i)
		if types[i] == 51 { // authentication, in words less two
			h[1] = byte(2*(i+1) - 2)
		}
		chain, next = append(h, chain...), types[i]
	}
	head[l3+6] = next
	return append(append(head, chain...), p[l4OfV6:]...)
}

// fragment makes the frame a fragment of the datagram id, at an offset in units of 8 bytes.
func fragment(p []byte, id uint16, offset uint16, more bool) []byte {
	bit := func(b uint16) uint16 {
		if more {
			return b
		}
		return 0
	}
	p = append([]byte{}, p...)
	if p[l3]>>4 == 4 {
		binary.BigEndian.PutUint16(p[l3+4:], id)
		binary.BigEndian.PutUint16(p[l3+6:], offset|bit(0x2000))
		return p
	}
	p = withExtensions(p, 44)
	binary.BigEndian.PutUint16(p[l4OfV6+2:], offset<<3|bit(1))
	binary.BigEndian.PutUint16(p[l4OfV6+6:], id)
	return p
}

// echoReply makes a reply of a request.
func echoReply(p []byte) []byte {
	if p[l3]>>4 == 4 {
		p[l4] = 0
	} else {
		p[l4OfV6] = 129
	}
	return p
}

// icmpError quotes the packet in a frame to its sender.
func icmpError(from string, typ byte, about []byte) []byte {
	quoted := about[l3:]
	to := frame.IPv4(quoted)
	if quoted[0]>>4 == 4 {
		p := frametest.Ping(end(from), frametest.End{Addr: to.Src()}, 0, 0)
		p = append(p[:l4:l4], typ, 3, 0, 0, 0, 0, 0, 0)
		return append(p, quoted[:min(len(quoted), 68)]...)
	}
	p := frametest.Ping(end(from), frametest.End{Addr: frame.IPv6(quoted).Src()}, 0, 0)
	p = append(p[:l4OfV6:l4OfV6], typ, 4, 0, 0, 0, 0, 0, 0)
	return append(p, quoted...)
}

// cut leaves n bytes of a packet without options behind its IP header.
func cut(p []byte, n int) []byte {
	if p[l3]>>4 == 6 {
		return p[:l4OfV6+n]
	}
	return p[:l4+n]
}
