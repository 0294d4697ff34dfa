package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weft/frame"
)

// A TAP is the descriptor of a TAP device, held as QEMU holds it: with virtio-net
// headers. What is written comes from the guest that the test plays.
type TAP struct{ file *os.File }

// OpenTAP opens a TAP that is there, in the namespace.
func (n *NS) OpenTAP(name string) *TAP {
	n.lab.Helper()
	var t *TAP
	err := n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		if err == nil {
			err = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, frame.VirtioLen)
		}
		if err == nil {
			offloads := unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
			err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads)
		}
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		t = &TAP{os.NewFile(uintptr(fd), name)}
		return nil
	})
	if err != nil {
		n.lab.Fatalf("open TAP %s: %v", name, err)
	}
	n.lab.Cleanup(func() { _ = t.file.Close() })
	return t
}

// Send writes one frame with its virtio-net header and returns the kernel's error.
// The kernel itself refuses some malformed ones.
func (t *TAP) Send(header [frame.VirtioLen]byte, f []byte) error {
	_, err := t.file.Write(append(header[:], f...))
	return err
}

// Receive calls each for every frame that weft sends, until the TAP is closed. The frame
// is the caller's until each returns.
func (t *TAP) Receive(each func(header [frame.VirtioLen]byte, f []byte)) {
	b := make([]byte, 1<<17)
	for {
		n, err := t.file.Read(b)
		if err != nil {
			return // closed, or the device is gone
		}
		if n >= frame.VirtioLen {
			each([frame.VirtioLen]byte(b), b[frame.VirtioLen:n])
		}
	}
}

// Close ends the guest that the test plays.
func (t *TAP) Close() error { return t.file.Close() }

// A Sniffer counts the frames that come in at a device, by source address.
type Sniffer struct {
	mu   sync.Mutex
	from map[frame.MAC]int // guarded by mu
	done atomic.Bool
}

// Sniff starts counting what the device dev of the namespace receives.
func (n *NS) Sniff(dev string) *Sniffer {
	n.lab.Helper()
	s := &Sniffer{from: map[frame.MAC]int{}}
	var fd int
	err := n.Do(func() (err error) {
		fd, err = packetSocket(dev)
		return err
	})
	if err != nil {
		n.lab.Fatalf("sniff on %s: %v", dev, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.read(fd)
	}()
	n.lab.Cleanup(func() {
		s.done.Store(true)
		<-ended
		_ = unix.Close(fd)
	})
	return s
}

// packetSocket opens a packet socket (packet(7)) on dev that times out, so that its
// reader can be ended.
func packetSocket(dev string) (int, error) {
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return 0, err
	}
	index, err := interfaceIndex(fd, dev)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index})
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	}
	if err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func interfaceIndex(fd int, dev string) (int, error) {
	req, err := unix.NewIfreq(dev)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, fmt.Errorf("%s: %w", dev, err)
	}
	return int(req.Uint32()), nil
}

func (s *Sniffer) read(fd int) {
	b := make([]byte, 2048)
	for !s.done.Load() {
		n, from, err := unix.Recvfrom(fd, b, 0)
		if err != nil || n < frame.EthernetLen {
			continue // time-out
		}
		if sa, ok := from.(*unix.SockaddrLinklayer); ok && sa.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		s.mu.Lock()
		s.from[frame.MACFrom(b[6:])]++
		s.mu.Unlock()
	}
}

// From returns how many frames came from mac.
func (s *Sniffer) From(mac frame.MAC) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from[mac]
}

// Flood sends f over and over for the time given, changing nothing but what change does
// to it, and returns how many were sent.
func (t *TAP) Flood(d time.Duration, f []byte, change func(i int, f []byte)) (sent int) {
	for start := time.Now(); time.Since(start) < d; sent++ {
		change(sent, f)
		if t.Send([frame.VirtioLen]byte{}, f) != nil {
			return sent
		}
	}
	return sent
}
