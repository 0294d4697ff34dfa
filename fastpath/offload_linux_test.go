package fastpath

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"weft/frame"
	"weft/frame/frametest"
)

// offer sends a frame that the kernel may refuse.
func (d *device) offer(t testing.TB, p []byte, o frame.Offload) {
	t.Helper()
	all := make([]byte, virtioLen+len(p))
	o.Encode(all)
	copy(all[virtioLen:], p)
	if _, err := unix.Write(d.fd, all); err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
}

// drain returns how many frames have arrived.
func (d *device) drain(t testing.TB) (n int) {
	t.Helper()
	for p, _ := d.read(t); p != nil; p, _ = d.read(t) {
		n++
	}
	return n
}

// A driver says what it likes of what is left to do to a frame. What it says of no flow's
// own checksum the switch completes before anybody judges the frame; and superframes that are
// not what they say it drops.
func TestOffloadLies(t *testing.T) {
	const tcpAt, udpAt = 16, 6
	one, two := frametest.Station(1), frametest.Station(2)
	six := [2]frametest.End{frametest.Station6(1), frametest.Station6(2)}
	datagram := frametest.UDP(one, two, frametest.Payload(100))
	segment := frametest.TCP(one, two, frametest.Payload(100))
	echo := frametest.Ping(six[0], six[1], 1, 1)
	at := func(start, offset uint16) frame.Offload {
		return frame.Offload{NeedsCsum: true, CsumStart: start, CsumOffset: offset}
	}
	super := func(name string, s frametest.Superframe, lie func(*frame.Offload), direct bool) trial {
		x := trial{name, s.Bytes(), s.Offload(), direct}
		lie(&x.as)
		return x
	}
	tcp4 := frametest.Superframe{Src: one, Dst: two, GSO: frame.GSOTCPv4, Len: 4000, SegSize: 1000}
	tcp6 := frametest.Superframe{Src: six[0], Dst: six[1], GSO: frame.GSOTCPv6, Len: 4000, SegSize: 1000}
	udp4 := frametest.Superframe{Src: one, Dst: two, GSO: frame.GSOUDP, Len: 4000, SegSize: 1000}
	lies := []trial{
		super("TCP", tcp4, func(*frame.Offload) {}, true),
		super("TCP over IPv6", tcp6, func(*frame.Offload) {}, true),
		super("UDP", udp4, func(*frame.Offload) {}, true),
		super("with ECN", tcp4, func(o *frame.Offload) { o.ECN = true }, true),
		super("of the other IP", tcp6, func(o *frame.Offload) { o.GSO = frame.GSOTCPv4 }, false),
		super("of the other IP still", tcp4, func(o *frame.Offload) { o.GSO = frame.GSOTCPv6 }, false),
		super("that starts early", tcp4, func(o *frame.Offload) { o.CsumStart -= 4 }, false),
		super("that starts late", tcp4, func(o *frame.Offload) { o.CsumStart += 4 }, false),
		super("of datagrams that starts late", udp4, func(o *frame.Offload) { o.CsumStart += 8 }, false),
		super("cut to fragments", udp4, func(o *frame.Offload) { o.GSO = 3 }, false),
		super("TCP that is UDP", udp4, func(o *frame.Offload) { o.GSO, o.CsumOffset = frame.GSOTCPv4, tcpAt }, false),
	}
	for _, byFlow := range []bool{false, true} {
		name := map[bool]string{false: "stations", true: "flow"}[byFlow]
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			for _, p := range [][]byte{datagram, segment, echo, tcp6.Bytes()} {
				d := bridged(t, p)
				d.ByFlow = byFlow
				r.learn(d)
			}
			for _, x := range lies {
				if x.as.GSO == frame.GSOUDP && !r.a.uso {
					continue
				}
				r.open()
				r.a.offer(t, x.frame, x.as)
				got := r.b.drain(t)
				if (got > 0) != x.direct {
					t.Errorf("a superframe %s: forwarded %t, want %t; %v", x.name, got > 0, x.direct, r.Stats().Misses)
				}
				r.queue.drain(t) // the kernel does not even bring all of them there
			}
			r.try([]trial{
				{"the checksum of a datagram", datagram, at(34, udpAt), true},
				{"of a segment", segment, at(34, tcpAt), true},
				{"of what a datagram carries", datagram, at(34+8, tcpAt), true},
				{"an address", datagram, at(26, 0), !byFlow},
				{"a protocol", segment, at(20, 3), !byFlow},
				{"a port", datagram, at(34, 0), !byFlow},
				{"a flag", segment, at(34, 12), !byFlow},
				{"a type of message", echo, at(54, 0), !byFlow},
			})
		})
	}
}
