package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Hold reads and discards what arrives at the links, as idle guests do. It returns
// only if a link fails.
func Hold(links []*Link) error {
	fds := make([]unix.PollFd, len(links))
	for i, l := range links {
		fds[i] = unix.PollFd{Fd: int32(l.fd), Events: unix.POLLIN}
	}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		for i, l := range links {
			if fds[i].Revents == 0 {
				continue
			}
			if err := l.drain(func([]byte) bool { return false }); err != nil {
				return err
			}
		}
	}
}

// Echo answers ARP and ICMP echo requests for addr. It returns only if the link fails.
func Echo(l *Link, addr netip.Addr) error {
	if !addr.Is4() {
		return errors.New("echo: want an IPv4 address")
	}
	mac := [6]byte{0x52, 0x54, 0, 0xbe, 1, addr.As4()[3]}
	for {
		if _, err := l.Wait(-1); err != nil {
			return err
		}
		err := l.drain(func(f []byte) bool { return answerARP(f, mac, addr) || answerEcho(f, mac, addr) })
		if err != nil {
			return err
		}
	}
}

// answerEcho turns an echo request to addr into its reply (RFC 792).
func answerEcho(f []byte, mac [6]byte, addr netip.Addr) bool {
	ip := f[etherLen:]
	if binary.BigEndian.Uint16(f[12:]) != 0x0800 || len(ip) < ipLen+8 || ip[0] != 0x45 || ip[9] != 1 || [4]byte(ip[16:20]) != addr.As4() {
		return false
	}
	end := int(binary.BigEndian.Uint16(ip[2:]))
	if end < ipLen+8 || end > len(ip) || ip[ipLen] != 8 {
		return false
	}
	icmp := ip[ipLen:end]
	copy(f[0:6], f[6:12])
	copy(f[6:12], mac[:])
	copy(ip[16:20], ip[12:16])
	own := addr.As4()
	copy(ip[12:16], own[:]) // the header's checksum stays: the same words are summed
	icmp[0] = 0
	icmp[2], icmp[3] = 0, 0
	binary.BigEndian.PutUint16(icmp[2:], ^onesSum(icmp))
	return true
}
