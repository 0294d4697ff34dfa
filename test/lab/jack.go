package lab

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"weft/frame"
)

// A Jack is a device of a namespace, at the far end of a port's cable: the test plays
// the driver of the guest that has it, and what stands behind. As with a TAP, frames
// have virtio-net headers both ways.
type Jack struct {
	file *os.File
	lost atomic.Uint64
}

// Jack opens the device dev of the namespace.
func (n *NS) Jack(dev string) *Jack {
	n.lab.Helper()
	var fd int
	err := n.Do(func() (err error) {
		fd, err = packetSocket(dev)
		return err
	})
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1},
		{unix.SOL_PACKET, unix.PACKET_AUXDATA, 1},
		{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64 << 20},
		{unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 8 << 20},
	} {
		if err == nil {
			err = unix.SetsockoptInt(fd, o.level, o.name, o.value)
		}
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		n.lab.Fatalf("jack %s: %v", dev, err)
	}
	j := &Jack{file: os.NewFile(uintptr(fd), dev)}
	n.lab.Cleanup(func() { _ = j.Close() })
	return j
}

// socketHeader is the length of the virtio-net header of a packet socket.
const socketHeader = 10

// Send writes one frame with its virtio-net header and returns the kernel's error.
func (j *Jack) Send(header [frame.VirtioLen]byte, f []byte) error {
	_, err := j.file.Write(append(header[:socketHeader:socketHeader], f...))
	return err
}

// Receive calls each for every frame that comes in, until the Jack is closed. The frame
// is the caller's until each returns.
func (j *Jack) Receive(each func(header [frame.VirtioLen]byte, f []byte)) {
	c, err := j.file.SyscallConn()
	if err != nil {
		return
	}
	b, control := make([]byte, 1<<17), make([]byte, 256)
	for {
		var n, oob int
		again := c.Read(func(fd uintptr) bool {
			// The tag of a frame is moved there, so the frame has room for it in front.
			n, oob, _, _, err = unix.Recvmsg(int(fd), b[frame.TagLen:], control, 0)
			return !errors.Is(err, unix.EAGAIN)
		})
		if again != nil {
			return // closed
		}
		if err != nil || n < socketHeader {
			continue
		}
		var header [frame.VirtioLen]byte
		copy(header[:], b[frame.TagLen:frame.TagLen+socketHeader])
		f := b[frame.TagLen+socketHeader : frame.TagLen+n]
		if tag, ok := strippedTag(control[:oob]); ok && len(f) >= frame.EthernetLen {
			f = b[socketHeader : frame.TagLen+n]
			copy(f, f[frame.TagLen:frame.TagLen+12])
			copy(f[12:], tag[:])
			if start := binary.LittleEndian.Uint16(header[6:]); start != 0 {
				binary.LittleEndian.PutUint16(header[6:], start+frame.TagLen)
			}
		}
		each(header, f)
	}
}

// strippedTag returns the VLAN tag that the kernel took out of a frame.
func strippedTag(control []byte) (tag [frame.TagLen]byte, ok bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return tag, false
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			continue
		}
		if status := binary.NativeEndian.Uint32(m.Data); status&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		const tciAt, tpidAt = 16, 18
		binary.BigEndian.PutUint16(tag[2:], binary.NativeEndian.Uint16(m.Data[tciAt:]))
		binary.BigEndian.PutUint16(tag[0:], binary.NativeEndian.Uint16(m.Data[tpidAt:]))
		return tag, true
	}
	return tag, false
}

// Lost returns how many frames the test was too slow to take.
func (j *Jack) Lost() uint64 {
	if c, err := j.file.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) {
			if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				j.lost.Add(uint64(s.Drops)) // reading resets them
			}
		})
	}
	return j.lost.Load()
}

// Close ends it.
func (j *Jack) Close() error { return j.file.Close() }
