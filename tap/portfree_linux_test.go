package tap

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weft/frame"
)

func TestPortFree(t *testing.T) {
	isolate(t)
	l := newLab(t)
	host4, host6 := netip.MustParseAddr("10.7.0.10"), netip.MustParseAddr("fd07::10")
	both := []netip.Addr{host4, host6}
	free := func(p frame.Protocol, port uint16, at ...netip.Addr) {
		t.Helper()
		for _, a := range at {
			if !PortFree(p, netip.AddrPortFrom(a, port)) {
				t.Errorf("%s %s port %d is not free", p, a, port)
			}
		}
	}
	taken := func(p frame.Protocol, port uint16, at ...netip.Addr) {
		t.Helper()
		for _, a := range at {
			if PortFree(p, netip.AddrPortFrom(a, port)) {
				t.Errorf("%s %s port %d is free", p, a, port)
			}
		}
	}
	tcp, udp := frame.ProtocolTCP, frame.ProtocolUDP
	free(tcp, 4000, both...)
	free(udp, 4000, both...)
	free(frame.ProtocolICMP, 4000, both...)
	taken(tcp, 4000, netip.MustParseAddr("10.7.0.99"), netip.MustParseAddr("fd07::99"), netip.Addr{}) // not the host's
	taken(frame.ProtocolSCTP, 4000, both...)

	defer listenTCP(t, "[::]:4000").Close()
	taken(tcp, 4000, both...)
	free(udp, 4000, both...)
	defer listenTCP(t, "10.7.0.10:4001").Close()
	taken(tcp, 4001, host4)
	free(tcp, 4001, host6, netip.MustParseAddr("127.0.0.1"))
	u, err := net.ListenPacket("udp6", "[fd07::10]:4002")
	must(t, err)
	defer u.Close()
	taken(udp, 4002, host6)
	free(udp, 4002, host4)

	// A connection of the host's own, and one with a port that others may share.
	far := listenThere(t, l.wire, "tcp", "10.7.0.20:9")
	defer far.Close()
	c, err := net.Dial("tcp", "10.7.0.20:9")
	must(t, err)
	defer c.Close()
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	taken(tcp, local.Port(), host4)
	s, err := sharing.ListenPacket(context.Background(), "udp4", ":4003")
	must(t, err)
	defer s.Close()
	taken(udp, 4003, host4)

	at := netip.AddrPortFrom(host6, 4004)
	if n := testing.AllocsPerRun(100, func() { PortFree(tcp, at); PortFree(udp, at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// sharing lets others bind its ports who let others likewise.
var sharing = net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	return errors.Join(err, failed)
}}

func listenTCP(t testing.TB, at string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", at)
	must(t, err)
	return l
}

// listenThere listens in another namespace.
func listenThere(t testing.TB, p place, network, at string) net.Listener {
	t.Helper()
	var l net.Listener
	must(t, p.do(func() (err error) {
		l, err = net.Listen(network, at)
		return err
	}))
	return l
}

func BenchmarkPortFree(b *testing.B) {
	isolate(b)
	for _, p := range []frame.Protocol{frame.ProtocolTCP, frame.ProtocolUDP} {
		for _, address := range []string{"127.0.0.1", "::1"} {
			a := netip.MustParseAddr(address)
			b.Run(p.String()+"/"+address, func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					port := uint16(20000 + i%10000)
					if !PortFree(p, netip.AddrPortFrom(a, port)) {
						b.Fatal("not free: " + strconv.Itoa(int(port)))
					}
				}
			})
		}
	}
}
