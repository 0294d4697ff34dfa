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
