package tap

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A membership makes a NIC receive frames that are not for its own address, for as
// long as its socket lives: the kernel ends it even after a crash. The socket itself
// receives nothing, as it is bound to no protocol.
type membership struct {
	fd    int
	nic   netlink.Link
	every bool // joined: frames for every address, those of guests among them
	group bool // joined: frames for every group
}

func newMembership(nic netlink.Link) (*membership, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: packet socket: %w: CAP_NET_RAW is needed", nic.Attrs().Name, err)
	}
	return &membership{fd: fd, nic: nic}, nil
}

// join joins what is wanted, and leaves nothing.
func (m *membership) join(every, group bool) error {
	return inOrder(
		func() error { return m.set(unix.PACKET_MR_PROMISC, &m.every, every || m.every) },
		func() error { return m.set(unix.PACKET_MR_ALLMULTI, &m.group, group || m.group) },
	)
}

// leave leaves what is not wanted any more.
func (m *membership) leave(every, group bool) error {
	return inOrder(
		func() error { return m.set(unix.PACKET_MR_PROMISC, &m.every, m.every && !every) },
		func() error { return m.set(unix.PACKET_MR_ALLMULTI, &m.group, m.group && !group) },
	)
}

func (m *membership) set(kind uint16, joined *bool, want bool) error {
	if *joined == want {
		return nil
	}
	option := unix.PACKET_DROP_MEMBERSHIP
	if want {
		option = unix.PACKET_ADD_MEMBERSHIP
	}
	err := unix.SetsockoptPacketMreq(m.fd, unix.SOL_PACKET, option, &unix.PacketMreq{
		Ifindex: int32(m.nic.Attrs().Index), Type: kind,
	})
	if err != nil {
		return fmt.Errorf("make it receive what is for others: %w: CAP_NET_RAW is needed", err)
	}
	*joined = want
	return nil
}

// close ends the membership; nil has none.
func (m *membership) close() {
	if m != nil && m.fd >= 0 {
		unix.Close(m.fd)
		m.fd = -1
	}
}
