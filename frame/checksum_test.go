package frame_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

func TestSumOfRFC1071Example(t *testing.T) {
	p := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7} // RFC 1071, 3
	if got := frame.Sum(p, 0); got != 0xddf2 {
		t.Errorf("got %#04x, want 0xddf2", got)
	}
}

func TestSumAtEachLengthAndAlignment(t *testing.T) {
	p := frametest.Payload(300)
	for from := range 9 {
		for to := from; to < len(p); to++ {
			if got, want := frame.Sum(p[from:to], 0), frametest.SlowSum(p[from:to]); got != want {
				t.Fatalf("bytes %d to %d: got %#04x, want %#04x", from, to, got, want)
			}
		}
	}
}

func TestSumKeepsEveryCarry(t *testing.T) {
	for _, n := range []int{2, 8, 64, 66, 136, 65534} {
		ones := slices.Repeat([]byte{0xff}, n)
		if got := frame.Sum(ones, 0xffff); got != 0xffff {
			t.Errorf("%d bytes of ones: got %#04x", n, got)
		}
		ones[n-1] = 0 // -255 in one's complement
		if got, want := frame.Sum(ones, 0), frametest.SlowSum(ones); got != want {
			t.Errorf("%d bytes of nearly ones: got %#04x, want %#04x", n, got, want)
		}
		if got := frame.Sum(make([]byte, n), 0); got != 0 {
			t.Errorf("%d zeros: got %#04x", n, got)
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte{0xff, 0xff, 0, 1}, uint16(0xffff))
	f.Fuzz(func(t *testing.T, p []byte, initial uint16) {
		want := frametest.SlowSum(append(binary.BigEndian.AppendUint16(nil, initial), p...))
		if got := frame.Sum(p, initial); got != want {
			t.Errorf("got %#04x, want %#04x", got, want)
		}
		if len(p)%2 == 0 && frame.Sum(p[len(p)/4*2:], frame.Sum(p[:len(p)/4*2], initial)) != want {
			t.Error("in two parts it is another")
		}
	})
}

// All changes of one word, where another word of what is covered is at the edges.
func TestUpdateChecksumIsThatOfAFullComputation(t *testing.T) {
	checksum := func(words ...uint16) uint16 {
		var p []byte
		for _, w := range words {
			p = binary.BigEndian.AppendUint16(p, w)
		}
		return ^frametest.SlowSum(p)
	}
	for _, rest := range []uint16{1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff} {
		for from := range 0x10000 {
			for _, to := range []uint16{0, 1, ^rest, ^uint16(from), uint16(from), 0x7fff, 0xfffe, 0xffff} {
				got := frame.UpdateChecksum(checksum(rest, uint16(from)), uint16(from), to)
				if want := checksum(rest, to); got != want {
					t.Fatalf("words %#x, %#x to %#x: got %#04x, want %#04x", rest, from, to, got, want)
				}
			}
		}
	}
}

// RFC 1624, 4: the case that equation 2 of RFC 1141 gets wrong.
func TestUpdateChecksumOfRFC1624Example(t *testing.T) {
	if got := frame.UpdateChecksum(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("got %#04x, want 0x0000", got)
	}
}

func TestPseudoSum(t *testing.T) {
	for _, c := range []struct {
		frame []byte
		sum   func(p []byte, n int) uint16
		l3    int
	}{
		{frametest.TCP(a4, b4, frametest.Payload(99)), func(p []byte, n int) uint16 { return frame.IPv4(p).PseudoSum(frame.ProtocolTCP, n) }, 20},
		{frametest.TCP(a6, b6, frametest.Payload(99)), func(p []byte, n int) uint16 { return frame.IPv6(p).PseudoSum(frame.ProtocolTCP, n) }, 40},
	} {
		packet := c.frame[frame.EthernetLen:]
		segment := packet[c.l3:]
		if got := frame.Sum(segment, c.sum(packet, len(segment))); got != 0xffff {
			t.Errorf("sum over a good segment is %#04x, want 0xffff", got)
		}
	}
}

func BenchmarkChecksum(bench *testing.B) {
	for _, n := range []int{64, 1500, 65535} {
		bench.Run(fmt.Sprint(n), func(bench *testing.B) {
			p := frametest.Payload(n)
			bench.SetBytes(int64(n))
			for bench.Loop() {
				frame.Sum(p, 0)
			}
		})
	}
}

// All addresses and both ports change, in whole and in partial checksums.
func TestAdjustTransport(t *testing.T) {
	for name, p := range map[string][]byte{
		"TCP": frametest.TCP(a4, b4, frametest.Payload(99)), "TCP6": frametest.TCP(a6, b6, frametest.Payload(99)),
		"UDP": frametest.UDP(a4, b4, frametest.Payload(99)), "UDP6": frametest.UDP(a6, b6, frametest.Payload(99)),
		"ICMP": frametest.Ping(a4, b4, 7, 1), "ICMPv6": frametest.Ping(a6, b6, 7, 1),
	} {
		for _, partial := range []bool{false, true} {
			if partial && (name == "ICMP" || name == "ICMPv6") {
				continue // whole wherever it is made
			}
			t.Run(fmt.Sprintf("%s partial %v", name, partial), func(t *testing.T) {
				b := frame.NewBufs(1)[0]
				b.SetBytes(p)
				b.Parse()
				if partial {
					startPartial(b)
				}
				var pseudo, own frame.Change
				from, l := b.Bytes(), b.Layers
				old := slices.Clone(from)
				if l.Version == 4 {
					copy(from[l.L3+12:], []byte{203, 0, 113, 255, 0xff, 0xff, 0, 1})
					pseudo = pseudo.Words(binary.BigEndian.Uint64(old[l.L3+12:]), binary.BigEndian.Uint64(from[l.L3+12:]))
					frame.IPv4(from[l.L3:]).UpdateChecksum()
				} else {
					copy(from[l.L3+8:], frametest.Payload(32))
					for at := l.L3 + 8; at < l.L3+40; at += 8 {
						pseudo = pseudo.Words(binary.BigEndian.Uint64(old[at:]), binary.BigEndian.Uint64(from[at:]))
					}
				}
				if l.Protocol.HasPorts() {
					h := frame.Ports(from[l.L4:])
					h.SetSrc(h.Src() + 1)
					h.SetDst(h.Dst() ^ 0xffff)
					own = own.Word(frame.Ports(old[l.L4:]).Src(), h.Src()).Word(frame.Ports(old[l.L4:]).Dst(), h.Dst())
				} else {
					frame.ICMP(from[l.L4:]).SetID(0xffff)
					own = own.Word(7, 0xffff)
				}
				b.AdjustTransport(pseudo, own)
				b.Complete()
				if err := frametest.Checksums(b.Bytes()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// startPartial makes the whole checksum of b a partial one.
func startPartial(b *frame.Buf) {
	p, l := b.Bytes(), b.Layers
	o := frame.Offload{NeedsCsum: true, CsumStart: l.L4, CsumOffset: 6}
	if l.Protocol == frame.ProtocolTCP {
		o.CsumOffset = 16
	}
	n := len(p) - int(l.L4)
	sum := uint16(0)
	if l.Version == 4 {
		sum = frame.IPv4(p[l.L3:]).PseudoSum(l.Protocol, n)
	} else {
		sum = frame.IPv6(p[l.L3:]).PseudoSum(l.Protocol, n)
	}
	binary.BigEndian.PutUint16(p[o.CsumStart+o.CsumOffset:], sum)
	b.Offload = o
}

func TestAdjustTransportOfUDPChecksumZero(t *testing.T) {
	b := frame.NewBufs(1)[0]
	b.SetBytes(frametest.UDP(a4, b4, frametest.Payload(9)))
	b.Parse()
	field := b.Bytes()[b.Layers.L4+6:]
	field[0], field[1] = 0, 0
	b.AdjustTransport(5, 7)
	if field[0] != 0 || field[1] != 0 {
		t.Errorf("no checksum became %x", field[:2])
	}
	field[0], field[1] = 0x12, 0x34
	b.AdjustTransport(0x1234, 0) // the sum of all becomes 0xffff, its complement zero
	if field[0] != 0xff || field[1] != 0xff {
		t.Errorf("checksum zero is sent as %x, want ffff", field[:2])
	}
}
