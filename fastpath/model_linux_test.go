package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"weft/frame"
)

// The verdicts of a program that concern these tests.
const (
	verdictNext     = 1<<32 - 1 // TC_ACT_UNSPEC
	verdictDrop     = 2         // TC_ACT_SHOT
	verdictRedirect = 7         // TC_ACT_REDIRECT
)

// A twin says, from the decisions alone and slowly, what the programs may do.
type twin struct {
	decisions []frame.Decision
}

// forward returns what a frame leaves as if it may be forwarded, or nil.
func (w *twin) forward(p []byte) []byte {
	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	f, ok := b.Flow()
	if !ok {
		return nil
	}
	for i := range w.decisions {
		d := &w.decisions[i]
		switch {
		case d.Was.Dst != f.Dst || d.Was.Src != f.Src || d.Was.Tag != f.Tag:
		case !d.ByFlow:
			return w.bridge(d, b, &f)
		default:
			was := d.Was
			if was.Hops = f.Hops; was == f {
				return w.route(d, b)
			}
		}
	}
	return nil
}

// bridge is forward for a decision about stations.
func (w *twin) bridge(d *frame.Decision, b *frame.Buf, f *frame.Flow) []byte {
	switch b.Parse(); {
	case b.Len()-frame.EthernetLen > d.MTU:
		return nil
	case b.Layers.Protocol == frame.ProtocolICMPv6 && b.Layers.Version == 6 && f.Version == 0:
		t := b.Bytes()[frame.EthernetLen+40]
		if t >= 133 && t <= 137 {
			return nil // neighbor discovery
		}
	case configures(f.SrcPort) || configures(f.DstPort):
		if f.Protocol == frame.ProtocolUDP {
			return nil
		}
	}
	return b.Bytes()
}

// route is forward for a decision of a router.
func (w *twin) route(d *frame.Decision, b *frame.Buf) []byte {
	b.Parse()
	l, p := &b.Layers, b.Bytes()
	h := p[frame.EthernetLen:]
	said, least := 0, int(l.L4)-frame.EthernetLen+8
	if l.Version == 4 {
		if !frame.IPv4(h).ChecksumValid() {
			return nil
		}
		said = frame.IPv4(h).TotalLen()
	} else {
		said = 40 + frame.IPv6(h).PayloadLen()
	}
	if said < least || said > len(h) || said < len(h) && len(p) > frame.MinLen || said > d.MTU || d.Was.Hops != d.Is.Hops && hops(p) <= 1 {
		return nil
	}
	b.Resize(frame.EthernetLen + said)
	b.Parse()
	transport := b.Bytes()[l.L4:]
	if l.Protocol == frame.ProtocolTCP {
		t := frame.TCP(transport)
		if len(t) < 20 || t.HeaderLen() < 20 || t.HeaderLen() > len(t) || t.Flags()&(frame.TCPSyn|frame.TCPFin|frame.TCPRst) != 0 {
			return nil
		}
	} else if len(transport) < 8 {
		return nil
	}
	w.translate(d, b)
	return b.Bytes()
}

func hops(p []byte) uint8 {
	if frame.Ethernet(p).Type() == frame.EtherTypeIPv4 {
		return frame.IPv4(p[frame.EthernetLen:]).TTL()
	}
	return frame.IPv6(p[frame.EthernetLen:]).HopLimit()
}

// translate makes the frame what the decision says, by one field after the other.
func (w *twin) translate(d *frame.Decision, b *frame.Buf) {
	p, l := b.Bytes(), &b.Layers
	var pseudo, own frame.Change
	put := func(at int, v uint16, c *frame.Change) {
		*c = c.Word(binary.BigEndian.Uint16(p[at:]), v)
		binary.BigEndian.PutUint16(p[at:], v)
	}
	src, dst, width := d.Is.SrcAddr[:], d.Is.DstAddr[:], 16
	at := frame.EthernetLen + 8
	if l.Version == 4 {
		src, dst, width, at = src[12:], dst[12:], 4, frame.EthernetLen+12
	}
	for i := 0; i < width; i += 2 {
		put(at+i, binary.BigEndian.Uint16(src[i:]), &pseudo)
		put(at+width+i, binary.BigEndian.Uint16(dst[i:]), &pseudo)
	}
	if at := int(l.L4); l.Protocol == frame.ProtocolTCP || l.Protocol == frame.ProtocolUDP {
		put(at, d.Is.SrcPort, &own)
		put(at+2, d.Is.DstPort, &own)
	} else {
		put(at+4, d.Is.SrcPort, &own)
	}
	b.AdjustTransport(pseudo, own)
	if l.Version == 4 {
		frame.IPv4(p[frame.EthernetLen:]).UpdateChecksum()
	}
	hop(p)
	d.Is.Dst.Put(p)
	d.Is.Src.Put(p[6:])
}

// Whatever comes, the programs forward nothing that they may not, and nothing in another
// form than the switch would.
func TestModel(t *testing.T) {
	r := newRig(t, Config{})
	w := &twin{}
	var good [][]byte
	learn := func(d frame.Decision, p []byte) {
		d.MTU = 500
		r.learn(d)
		w.decisions = append(w.decisions, d)
		good = append(good, p)
	}
	for _, build := range builds {
		for _, x := range translations {
			learn(routed(t, build(x.was, 0), hop(build(x.is, 0))), build(x.was, 30))
		}
	}
	learn(bridged(t, stationsOf(1)), stationsOf(1))
	program, _ := r.Programs()
	forwarded, passed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := mutate(t, good)
		if frame.Ethernet(p).Type() == frame.EtherTypeIPv4 && rapid.Bool().Draw(t, "mend the header checksum") && len(p) >= 34 {
			h := frame.IPv4(p[frame.EthernetLen:])
			if n := h.HeaderLen(); n >= 20 && n <= len(h) {
				h.UpdateChecksum()
			}
		}
		want := w.forward(p)
		r.open()
		o := ebpf.RunOptions{Data: p, DataOut: make([]byte, len(p)+256), Context: skBuff{Ifindex: uint32(r.a.index)}}
		verdict, err := program.Run(&o)
		if errors.Is(err, unix.EINVAL) && len(p) < frame.EthernetLen+40 {
			return // the kernel runs nothing with half an IP header
		}
		must(r, err)
		switch {
		case verdict != verdictRedirect && verdict != verdictDrop && verdict != verdictNext:
			t.Fatalf("%x: verdict %d", p, verdict)
		case verdict != verdictRedirect:
			passed++
			if !bytes.Equal(o.DataOut, p) {
				t.Fatalf("%x went on as %x", p, o.DataOut)
			}
		case want == nil:
			t.Fatalf("%x was forwarded", p)
		case !bytes.Equal(o.DataOut, want):
			t.Fatalf("%x was forwarded as\n%x, want\n%x", p, o.DataOut, want)
		default:
			forwarded++
		}
	})
	if forwarded == 0 || passed == 0 {
		t.Errorf("%d frames forwarded, %d left to the switch", forwarded, passed)
	}
}

// mutate returns one of the frames with some bytes changed.
func mutate(t *rapid.T, frames [][]byte) []byte {
	p := bytes.Clone(rapid.SampledFrom(frames).Draw(t, "frame"))
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		at := rapid.IntRange(0, min(len(p), 80)-1).Draw(t, "at")
		p[at] = rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0, 1, 4, 6, 17, 58, 0x45, p[at] + 1, p[at] - 1})).Draw(t, "byte")
	}
	switch rapid.IntRange(0, 5).Draw(t, "length") {
	case 0:
		p = p[:rapid.IntRange(frame.EthernetLen+1, len(p)).Draw(t, "cut")]
	case 1:
		p = append(p, make([]byte, rapid.IntRange(1, 500).Draw(t, "trailer"))...)
	}
	return p
}
