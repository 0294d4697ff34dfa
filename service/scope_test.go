package service

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
)

// All frames of a flow are for a service, each judged alone, or none of them is.
func TestProcessGoesByTheFlow(t *testing.T) {
	r := newRig(t, all())
	judge := func(p []byte, gso bool) (f frame.Flow, why frame.Reason, once bool) {
		b := frame.NewBufs(1)[0]
		b.SetBytes(p)
		if gso {
			b.Offload = frame.Offload{GSO: frame.GSOUDP}
		}
		f, _ = b.Flow()
		f.Hops = 0
		r.Process(0, []*frame.Buf{b})
		if b.Reason() == frame.Taken {
			r.inbox.done(<-r.inbox.full)
		}
		return f, b.Reason(), b.Basis.Once
	}
	rapid.Check(t, func(rt *rapid.T) {
		p := drawDatagram(rt, nil)
		f, why, once := judge(p, false)
		q := drawDatagram(rt, p)
		other, otherWhy, otherOnce := judge(q, rapid.Bool().Draw(rt, "superframe"))
		switch {
		case f != other:
			rt.Fatalf("flows %+v and %+v of %x and %x", f, other, p, q)
		case f.Version == 0:
		case once != otherOnce, !once && why+otherWhy != 0:
			rt.Fatalf("%v, %v of %+v, and %v, %v", why, once, f, otherWhy, otherOnce)
		}
	})
}

// drawDatagram draws a frame, often one for a service: of the flow of another, if that is
// given. All else of it is as it comes.
func drawDatagram(rt *rapid.T, of []byte) []byte {
	from, dst := to(guest, "192.168.150.100", 68), rapid.SampledFrom([]string{"192.168.150.1", "192.168.150.255", "192.0.2.1"}).Draw(rt, "to")
	next, header, length := 9, 20, 2
	if rapid.Bool().Draw(rt, "IPv6") && of == nil || of != nil && frame.Ethernet(of).Type() == frame.EtherTypeIPv6 {
		from, dst = to(guest, "fe80::5054:ff:fe00:1", 546), rapid.SampledFrom([]string{"fe80::1", "fd5a:150::1", "fd5a:150::2"}).Draw(rt, "to")
		next, header, length = 6, 40, 4
	}
	port := rapid.SampledFrom([]uint16{67, 547, 0x8500, 53}).Draw(rt, "port")
	p := frametest.UDP(from, to(gatewayMAC, dst, port), make([]byte, rapid.SampledFrom([]int{0, 240, 2100}).Draw(rt, "payload")))
	p[14+next] = rapid.SampledFrom([]byte{17, 17, 17, 6, 1, 58}).Draw(rt, "protocol")
	said := rapid.SampledFrom([]int{len(p) - 14, 0, 8, 28, 0xffff}).Draw(rt, "length")
	binary.BigEndian.PutUint16(p[14+length:], uint16(said))
	if of != nil { // what the flow is known by
		p[14+next] = of[14+next]
		copy(p[14+header-8:14+header+8], of[14+header-8:])
		if header == 40 {
			copy(p[14+8:14+40], of[14+8:])
		}
	}
	return p
}
