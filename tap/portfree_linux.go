package tap

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"weft/frame"
)

// PortFree reports that no socket of the host is bound to the port, at the address or at
// all, or has a connection from it: that the host would not miss what came there. It is
// found out by binding, in the network namespace of the calling thread, and costs a few
// microseconds and no allocation. Identifiers of ICMP are always free; an address that is
// not the host's is not. Ports below 1024 take CAP_NET_BIND_SERVICE.
func PortFree(p frame.Protocol, at netip.AddrPort) bool {
	var kind uintptr
	switch p {
	case frame.ProtocolICMP, frame.ProtocolICMPv6:
		return true
	case frame.ProtocolTCP:
		kind = unix.SOCK_STREAM
	case frame.ProtocolUDP:
		kind = unix.SOCK_DGRAM
	default:
		return false
	}
	if !at.Addr().IsValid() {
		return false
	}
	if at.Addr().Unmap().Is4() {
		a := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: at.Addr().Unmap().As4()}
		putPort(&a.Port, at.Port())
		return binds(unix.AF_INET, kind, unsafe.Pointer(&a), unix.SizeofSockaddrInet4)
	}
	a := unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: at.Addr().As16()}
	putPort(&a.Port, at.Port())
	return binds(unix.AF_INET6, kind, unsafe.Pointer(&a), unix.SizeofSockaddrInet6)
}

// putPort writes a port in network byte order.
func putPort(to *uint16, port uint16) {
	*(*[2]byte)(unsafe.Pointer(to)) = [2]byte{byte(port >> 8), byte(port)}
}

// binds tries it with a socket that shares nothing (no SO_REUSEADDR).
func binds(family int, kind uintptr, address unsafe.Pointer, size uintptr) bool {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), kind|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return false
	}
	_, _, errno = unix.RawSyscall(unix.SYS_BIND, fd, uintptr(address), size)
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	return errno == 0
}
