package forward

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// claim readies a socket before it is bound: the address may be one that the host gets
// later, and UDP has to know which of its addresses a client sent to.
func claim(network, _ string, c syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		on := func(level, option int) { err = errors.Join(err, unix.SetsockoptInt(int(fd), level, option, 1)) }
		six := strings.HasSuffix(network, "6")
		if six {
			on(unix.IPPROTO_IPV6, unix.IPV6_FREEBIND)
		} else {
			on(unix.IPPROTO_IP, unix.IP_FREEBIND)
		}
		switch network {
		case "udp4":
			on(unix.IPPROTO_IP, unix.IP_PKTINFO)
		case "udp6":
			on(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO)
		}
	}
	return errors.Join(c.Control(set), err)
}

// A destination is where a datagram was sent to, which is where the answer has to come
// from.
type destination struct {
	address netip.Addr
	link    int // index; only of link-local IPv6 addresses
}

// controlSize is enough for the control message of either family.
var controlSize = unix.CmsgSpace(unix.SizeofInet6Pktinfo)

// readDestination reads the control message of a received datagram. It is false for
// what was sent to a group, or to all.
func readDestination(control []byte) (d destination, ok bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return d, false
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: link, own address on the way back, address of the header.
			own, _ := netip.AddrFromSlice(m.Data[4:8])
			d.address, _ = netip.AddrFromSlice(m.Data[8:12])
			return d, d.address == own
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			// struct in6_pktinfo: address of the header, link.
			d.address, _ = netip.AddrFromSlice(m.Data[:16])
			if d.address.IsLinkLocalUnicast() {
				d.link = int(binary.NativeEndian.Uint32(m.Data[16:]))
			}
			return d, !d.address.IsMulticast()
		}
	}
	return d, false
}

// control is the control message for a datagram that is sent from there.
func (d destination) control() []byte {
	if d.address.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: d.address.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: d.address.As16(), Ifindex: uint32(d.link)})
}

// await waits for a datagram, or for the end, without a buffer to read it into: those
// are for sockets that have something.
func await(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			// What an earlier datagram met is told only once, so that this looks for data.
			_, _, err = unix.Recvfrom(int(fd), nil, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		}
		return !errors.Is(err, unix.EAGAIN)
	})
}
