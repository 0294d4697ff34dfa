// Package guest plays the guests of a benchmark as QEMU does: it holds a TAP's
// descriptor, or a socket of vde_switch, and writes one frame per system call.
package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// vnetHeader is the length in bytes of virtio_net_hdr_mrg_rxbuf (virtio 1.1 5.1.6),
// which QEMU puts before every frame on a TAP.
const vnetHeader = 12

// A Link is one guest's NIC. Frames stand in buffers after Headroom bytes, which
// belong to the link.
type Link struct {
	Headroom int
	fd       int
	buf      []byte   // for what is read
	control  net.Conn // of a VDE link: vde_switch drops the port when it is closed
	socket   string   // of a VDE link: path to remove at Close
}

// bufLen holds the largest superframe and its header.
const bufLen = 1<<16 + 256

// dials are the ways to open a NIC.
var dials = map[string]func(name string) (*Link, error){"tap": openTAP, "vde": dialVDE}

// IsLink reports whether Dial may open what where names.
func IsLink(where string) bool {
	kind, _, _ := strings.Cut(where, ":")
	return dials[kind] != nil
}

// Dial opens the NIC that where names: "tap:NAME" or "vde:DIRECTORY".
func Dial(where string) (*Link, error) {
	kind, name, _ := strings.Cut(where, ":")
	dial := dials[kind]
	if dial == nil {
		return nil, fmt.Errorf("link %q: want tap:NAME or vde:DIRECTORY", where)
	}
	return dial(name)
}

// openTAP opens a TAP with the settings that QEMU gives it for a virtio NIC.
func openTAP(name string) (*Link, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("tap %s: open /dev/net/tun: %w", name, err)
	}
	if err := setUpTAP(fd, name); err != nil {
		return nil, errors.Join(fmt.Errorf("tap %s: %w", name, err), unix.Close(fd))
	}
	return &Link{Headroom: vnetHeader, fd: fd, buf: make([]byte, bufLen)}, nil
}

func setUpTAP(fd int, name string) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnetHeader); err != nil {
		return fmt.Errorf("TUNSETVNETHDRSZ: %w", err)
	}
	offloads := unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
		return fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return nil
}

// sizeofPath is the length of sun_path in a struct sockaddr_un.
const sizeofPath = 108

// dialVDE asks the vde_switch at directory dir for a port, as libvdeplug does for
// QEMU's -netdev vde: a control stream that names our datagram socket and answers
// with the switch's.
func dialVDE(dir string) (*Link, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("vde %s: %w", dir, err)
	}
	l := &Link{fd: fd, buf: make([]byte, bufLen), socket: filepath.Join(dir, fmt.Sprintf(".%05d", os.Getpid()))}
	if err := l.joinVDE(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("vde %s: %w", dir, err), l.Close())
	}
	return l, nil
}

func (l *Link) joinVDE(dir string) (err error) {
	if err := unix.Bind(l.fd, &unix.SockaddrUnix{Name: l.socket}); err != nil {
		return err
	}
	if l.control, err = net.Dial("unix", filepath.Join(dir, "ctl")); err != nil {
		return err
	}
	const magic, version, newControl = 0xfeedface, 3, 0
	request := binary.NativeEndian.AppendUint32(nil, magic)
	request = binary.NativeEndian.AppendUint32(request, version)
	request = binary.NativeEndian.AppendUint32(request, newControl)
	request = binary.NativeEndian.AppendUint16(request, unix.AF_UNIX)
	path := make([]byte, sizeofPath)
	copy(path, l.socket)
	request = append(append(request, path...), "bench\x00"...)
	if _, err := l.control.Write(request); err != nil {
		return err
	}
	answer := make([]byte, 2+sizeofPath)
	n, err := l.control.Read(answer)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(string(answer[min(2, n):n]), "\x00")
	return unix.Connect(l.fd, &unix.SockaddrUnix{Name: name})
}

// Send writes one frame; buf begins with Headroom bytes. It reports whether the
// device took it, after waiting for room if it had none.
func (l *Link) Send(buf []byte) (bool, error) {
	_, err := unix.Write(l.fd, buf)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		_, err := l.wait(unix.POLLOUT, 10)
		return false, err
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EINTR): // EIO: the TAP is down
		return false, nil
	}
	return false, fmt.Errorf("write: %w", err)
}

// drain hands the frames that may be read now to f. Those that f has turned into
// an answer, it sends.
func (l *Link) drain(f func(frame []byte) bool) error {
	for {
		n, err := unix.Read(l.fd, l.buf)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n < l.Headroom+etherLen || !f(l.buf[l.Headroom:n]) {
			continue
		}
		clear(l.buf[:l.Headroom])
		if _, err := l.Send(l.buf[:n]); err != nil {
			return err
		}
	}
}

// Wait returns when a frame may be read or after timeout milliseconds; it reports
// whether one may.
func (l *Link) Wait(timeout int) (bool, error) { return l.wait(unix.POLLIN, timeout) }

func (l *Link) wait(events int16, timeout int) (bool, error) {
	fds := []unix.PollFd{{Fd: int32(l.fd), Events: events}}
	for {
		n, err := unix.Poll(fds, timeout)
		if !errors.Is(err, unix.EINTR) { // the Go runtime's own signals
			return n > 0, err
		}
	}
}

// Close gives the NIC up.
func (l *Link) Close() error {
	err := unix.Close(l.fd)
	if l.control != nil {
		err = errors.Join(err, l.control.Close())
	}
	if l.socket != "" {
		err = errors.Join(err, os.Remove(l.socket))
	}
	return err
}
