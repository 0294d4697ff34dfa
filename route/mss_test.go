package route_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
	"weft/route"
)

// syn returns a TCP segment from the guest of A to be routed, and where its MSS is.
func (w family) syn(to frametest.End, ack bool, mss uint16, before ...layers.TCPOption) (p []byte, at int) {
	value := []byte{byte(mss >> 8), byte(mss)}
	options := append(before, layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: value})
	p = tcp(w.guest, towards(to, macA), &layers.TCP{SYN: true, ACK: ack, Options: options})
	l4 := int(frame.Parse(p).L4)
	return p, l4 + 20 + bytes.Index(p[l4+20:], append([]byte{2, 4}, value...)) + 2
}

// tcp returns the frame of a segment with given flags and options.
func tcp(src, dst frametest.End, h *layers.TCP) []byte {
	h.SrcPort, h.DstPort, h.Seq, h.Window = layers.TCPPort(src.Port), layers.TCPPort(dst.Port), 1, 1000
	p := frametest.TCP(src, dst, []byte("data"))
	l4 := frame.Parse(p).L4
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true}, h, gopacket.Payload("data")); err != nil {
		panic(err)
	}
	p = append(p[:l4:l4], buf.Bytes()...)
	if src.Addr.Is4() {
		setLength(p, len(p)-14)
	} else {
		setLength(p, len(p)-54)
	}
	complete(p)
	return p
}

// complete computes the TCP checksum of a frame.
func complete(p []byte) {
	l := frame.Parse(p)
	h := p[l.L4:]
	h[16], h[17] = 0, 0
	sum := frame.IPv4(p[l.L3:]).PseudoSum(frame.ProtocolTCP, len(h))
	if l.Version == 6 {
		sum = frame.IPv6(p[l.L3:]).PseudoSum(frame.ProtocolTCP, len(h))
	}
	binary.BigEndian.PutUint16(h[16:], ^frame.Sum(h, sum))
}

func TestMSSIsClamped(t *testing.T) {
	nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop}
	both(t, func(t *testing.T, w family) {
		header := 40 + 20*uint16(w.version/6)
		for _, ack := range []bool{false, true} {
			for _, before := range [][]layers.TCPOption{nil, {nop}, {nop, nop}, frametest.Timestamp(), append(frametest.Timestamp(), nop)} {
				for _, c := range []struct {
					inMTU, outMTU int
					mss, want     uint16
				}{
					{1500, 1400, 1460, 1400 - header},
					{1500, 1400, 1400 - header, 1400 - header},
					{1500, 1400, 536, 536},
					{1400, 1500, 1460, 1400 - header}, // what comes back must fit too
					{1500, 1500, 9000, 9000},          // neither side is narrower
					{9000, 1500, 0xffff, 1500 - header},
				} {
					name := fmt.Sprintf("%d to %d, MSS %d, ACK %v, behind %d options", c.inMTU, c.outMTU, c.mss, ack, len(before))
					r := newRig(t, narrow(c.outMTU), func(v *route.View) { v.Interfaces[0].MTU = c.inMTU }).meet()
					p, at := w.syn(w.guestB, ack, c.mss, before...)
					b := r.route(guestPort, p)
					r.expectForwarded(b, portB, w.guestB.MAC) // checksums too
					if got := binary.BigEndian.Uint16(b.Bytes()[at:]); got != c.want {
						t.Errorf("%s: %d, want %d", name, got, c.want)
					}
				}
			}
		}
	})
}

func TestMSSOfAnAnswerFromOutside(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, func(v *route.View) { v.Interfaces[0].MTU = 9000 }).meet()
		r.route(guestPort, frametest.TCP(w.guest, towards(w.remote, macA), nil))
		p := tcp(w.remote, towards(at(w.host), macU), &layers.TCP{SYN: true, ACK: true, Options: []layers.TCPOption{
			{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x23, 0x28}},
		}})
		b := r.route(wirePort, p)
		r.expectForwarded(b, portA, w.guest.MAC)
		at := int(b.Layers.L4) + 22
		if got := binary.BigEndian.Uint16(b.Bytes()[at:]); got != 1460-20*uint16(w.version/6) {
			t.Errorf("MSS %d", got)
		}
	})
}

func TestMSSWithAPartialChecksum(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		r := newRig(t, narrow(1400)).meet()
		p, at := w.syn(w.guestB, false, 1460)
		b := r.bufs[0]
		b.SetBytes(p)
		b.Parse()
		l := b.Layers
		sum := frame.IPv4(p[l.L3:]).PseudoSum(frame.ProtocolTCP, len(p)-int(l.L4))
		if w.version == 6 {
			sum = frame.IPv6(p[l.L3:]).PseudoSum(frame.ProtocolTCP, len(p)-int(l.L4))
		}
		binary.BigEndian.PutUint16(b.Bytes()[l.L4+16:], sum)
		b.Offload = frame.Offload{NeedsCsum: true, CsumStart: l.L4, CsumOffset: 16}
		r.expectForwarded(r.routeBuf(guestPort, b), portB, w.guestB.MAC)
		b.Complete()
		if err := frametest.Checksums(b.Bytes()); err != nil {
			t.Error(err)
		}
		if got := binary.BigEndian.Uint16(b.Bytes()[at:]); got != 1360-20*uint16(w.version/6) {
			t.Errorf("MSS %d", got)
		}
	})
}

func TestMSSIsLeftAlone(t *testing.T) {
	both(t, func(t *testing.T, w family) {
		mss := layers.TCPOption{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0xff, 0xff}}
		odd := func(edit func(h []byte)) []byte {
			p, _ := w.syn(w.guestB, false, 0xffff)
			edit(p[frame.Parse(p).L4:])
			complete(p)
			return p
		}
		for name, p := range map[string][]byte{
			"no SYN":               tcp(w.guest, towards(w.guestB, macA), &layers.TCP{ACK: true, Options: []layers.TCPOption{mss}}),
			"no option":            tcp(w.guest, towards(w.guestB, macA), &layers.TCP{SYN: true}),
			"behind the end":       tcp(w.guest, towards(w.guestB, macA), &layers.TCP{SYN: true, Options: []layers.TCPOption{{OptionType: 0}, mss}}),
			"option of length 0":   odd(func(h []byte) { h[21] = 0 }),
			"option of length 3":   odd(func(h []byte) { h[21] = 3 }),
			"option too long":      odd(func(h []byte) { h[21] = 5 }),
			"header of 16 bytes":   odd(func(h []byte) { h[12] = 4 << 4 }),
			"header behind packet": cut(odd(func(h []byte) { h[12] = 15 << 4 }), 23),
			"cut header":           cut(odd(func([]byte) {}), 19),
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, narrow(1400)).meet()
				b := r.route(guestPort, bytes.Clone(p))
				if b.Reason() != 0 || b.In != portB {
					t.Fatalf("reason %v", b.Reason())
				}
				l4 := b.Layers.L4
				if l4 == 0 || !bytes.Equal(b.Bytes()[l4:], p[l4:]) {
					t.Errorf("%x, want %x", b.Bytes()[l4:], p[l4:])
				}
			})
		}
	})
}
