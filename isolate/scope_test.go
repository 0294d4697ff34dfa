package isolate_test

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"

	"weft/frame"
	"weft/frame/frametest"
	"weft/isolate"
)

// judgeOnce returns the verdict on a frame, and whether that is on this frame alone.
func judgeOnce(g *isolate.Guard, p []byte) (f frame.Flow, why frame.Reason, once bool) {
	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	b.In = guestPort
	f, _ = b.Flow()
	b.Came = f
	g.Process(0, []*frame.Buf{b})
	f.Hops = 0
	return f, b.Reason(), b.Basis.Once
}

// A verdict holds for all frames of a flow, or is marked as one on a single frame. What no
// flow is known of by its packets is never remembered by flow.
func TestVerdictHoldsForTheFlow(t *testing.T) {
	g := newGuard()
	rapid.Check(t, func(rt *rapid.T) {
		p := drawFrame(rt, nil)
		q := drawFrame(rt, p)
		f, why, once := judgeOnce(g, p)
		other, otherWhy, otherOnce := judgeOnce(g, q)
		switch {
		case f != other:
			rt.Fatalf("flows %+v and %+v of %x and %x", f, other, p, q)
		case f.Version == 0:
			return
		case once != otherOnce:
			rt.Fatalf("%x is judged alone: %v, %x: %v", p, once, q, otherOnce)
		case !once && why != otherWhy:
			rt.Fatalf("%x: %v, but %x: %v", p, why, q, otherWhy)
		}
	})
}

// drawFrame draws a frame of a guest, with or without a tag: of the flow of another, if
// that is given. All else of it is as it comes.
func drawFrame(rt *rapid.T, of []byte) []byte {
	draw := func(name string, values ...byte) byte { return rapid.SampledFrom(values).Draw(rt, name) }
	bytes := rapid.SliceOfN(rapid.Byte(), 24, 60).Draw(rt, "rest")
	v6 := draw("version", 4, 6) == 6
	tagged := draw("tagged", 0, 0, 1) == 1
	if of != nil {
		tagged = frame.Ethernet(of).Type() == frame.EtherTypeCTag
		v6 = frame.Parse(of).EtherType == frame.EtherTypeIPv6
	}
	l3, header, next := 14, 20, 9
	src, dst := a4, b4
	if v6 {
		src, dst, header, next = a6, b6, 40, 6
	}
	p := frametest.UDP(src, dst, nil)[:l3+header]
	if tagged {
		p, l3 = frametest.Tagged(p, frame.EtherTypeCTag, 1, 0), 18
	}
	p = append(p, bytes...)
	l4 := l3 + header
	p[l3+next] = draw("protocol", 6, 17, 17, 17, 1, 58)
	for _, at := range []int{l4, l4 + 2} {
		port := rapid.SampledFrom([]uint16{0, 53, 67, 68, 546, 547, 0x0800, 0x8000}).Draw(rt, "port")
		binary.BigEndian.PutUint16(p[at:], port)
	}
	p[l4+8] = byte(rapid.IntRange(0, 16).Draw(rt, "message"))
	drawHeader(rt, p[l3:], header)
	if of != nil { // what the flow is known by
		p[l3+next] = of[l3+next]
		copy(p[l4:l4+8], of[l4:l4+8])
	}
	return p
}

// drawHeader draws what flows are not known by.
func drawHeader(rt *rapid.T, h []byte, header int) {
	whole := len(h)
	if header == 40 {
		whole -= header
		h[0], h[7] = h[0]|byte(rapid.IntRange(0, 15).Draw(rt, "class")), rapid.Byte().Draw(rt, "hops")
	} else {
		h[1], h[6], h[8] = rapid.Byte().Draw(rt, "tos"), rapid.SampledFrom([]byte{0, 0x40, 0x80}).Draw(rt, "flags"), rapid.Byte().Draw(rt, "ttl")
	}
	said := rapid.SampledFrom([]int{whole, whole, 0, 7, 8, 19, 20, 27, 28, 29, whole - 1, whole + 1, 0xffff}).Draw(rt, "length")
	at := 2
	if header == 40 {
		at = 4
	}
	binary.BigEndian.PutUint16(h[at:], uint16(said))
}
