package tap

import (
	"fmt"
	"syscall"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

const (
	// magic is the mark by which the programs know frames of the switch: MAGIC in
	// bpf/attach.c.
	magic = 0x77656674

	packetVnetHdrSize = 24       // PACKET_VNET_HDR_SZ, from Linux 6.4
	shortHeader       = 10       // bytes of virtio-net header before that
	sendBuffer        = 64 << 20 // bytes on their way through a device
	sendBatch         = 32       // frames of one sendmmsg(2)
)

// A socket is a packet socket that sends to one netdev, with the mark that the
// programs there let pass. Unlike a companion, through which frames are lost in
// silence when the device is full, it says so; and it needs one system call for many
// frames.
//
// PACKET_QDISC_BYPASS is no faster where the device has no qdisc, and loses every
// superframe for a guest that takes only segments.
type socket struct {
	fd     int
	header int // bytes of virtio-net header: frame.VirtioLen or shortHeader
}

// openSocket opens a socket that sends to device.
func openSocket(device netlink.Link) (*socket, error) {
	// Protocol 0: it sends, and receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: packet socket: %w: CAP_NET_RAW is needed", device.Attrs().Name, err)
	}
	s := &socket{fd: fd, header: frame.VirtioLen}
	if err := s.prepare(device); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: packet socket: %w", device.Attrs().Name, explain(err))
	}
	return s, nil
}

func (s *socket) prepare(device netlink.Link) error {
	if unix.SetsockoptInt(s.fd, unix.SOL_PACKET, packetVnetHdrSize, frame.VirtioLen) != nil {
		s.header = shortHeader
		if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
			return fmt.Errorf("PACKET_VNET_HDR: %w", err)
		}
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_MARK, magic); err != nil {
		return fmt.Errorf("SO_MARK: %w", err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer); err != nil {
		return fmt.Errorf("SO_SNDBUFFORCE: %w", err)
	}
	return unix.Bind(s.fd, &unix.SockaddrLinklayer{Ifindex: device.Attrs().Index})
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// send sends up to sendBatch frames and returns how many, and the error of the next
// one. Callers may send at once: what the call needs is on the stack.
func (s *socket) send(bufs []*frame.Buf) (int, syscall.Errno) {
	if len(bufs) == 1 {
		p := s.withHeader(bufs[0])
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno != 0 {
			return 0, errno
		}
		return 1, 0
	}
	var (
		messages [sendBatch]mmsghdr
		vectors  [sendBatch]unix.Iovec
	)
	count := min(len(bufs), sendBatch)
	for i, b := range bufs[:count] {
		p := s.withHeader(b)
		vectors[i].Base = unsafe.SliceData(p)
		vectors[i].SetLen(len(p))
		messages[i].Iov = &vectors[i]
		messages[i].SetIovlen(1)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&messages[0])), uintptr(count), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// withHeader returns the frame behind its virtio-net header, which it writes to the
// headroom.
func (s *socket) withHeader(b *frame.Buf) []byte {
	p := b.WithHeader(frame.VirtioLen)
	b.Offload.Encode(p)
	if s.header == frame.VirtioLen {
		return p
	}
	// The short header lacks num_buffers at its end.
	copy(p[frame.VirtioLen-shortHeader:], p[:shortHeader])
	return p[frame.VirtioLen-shortHeader:]
}
