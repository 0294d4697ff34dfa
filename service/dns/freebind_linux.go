package dns

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// freebind lets a socket be bound to an address that the host does not have yet: the
// gateway's device may come later than its name server (ip(7)).
func freebind(network, _ string, c syscall.RawConn) error {
	level, option := unix.IPPROTO_IP, unix.IP_FREEBIND
	if strings.HasSuffix(network, "6") {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
	}
	var failure error
	err := c.Control(func(fd uintptr) { failure = unix.SetsockoptInt(int(fd), level, option, 1) })
	if err != nil {
		return err
	}
	return failure
}
