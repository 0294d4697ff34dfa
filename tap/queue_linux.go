package tap

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"weft/frame"
)

// batchBytes bounds what one Recv returns: of superframes one or two, so that they
// are still in the processor's cache when they are sent. Measured better than 256 KiB.
const batchBytes = 64 << 10

// batchSegments bounds what the frames of one Recv become, but for the last of them:
// how long others wait is not for a sender of tiny segments to choose. With segments
// of 1,024 bytes or more, batchBytes ends a batch first.
const batchSegments = 64

// A Queue is a vswitch.Queue over a TAP's descriptor. The descriptor has one reader
// at a time: two would reorder a flow. What is sent goes to the same descriptor, or
// by a packet socket straight to the netdev behind it.
type Queue struct {
	fd     int
	header int    // bytes of virtio-net header in front of each frame; 0: none
	name   string // of the TAP
	out    *socket
	closed atomic.Bool
}

// newQueue opens the TAP name.
func newQueue(name string, offloads bool) (*Queue, frame.Features, error) {
	fd, f, err := openTAP(name, offloads)
	if err != nil {
		return nil, 0, err
	}
	q := &Queue{fd: fd, name: name}
	if offloads {
		q.header = frame.VirtioLen
	}
	return q, f, nil
}

// Recv implements vswitch.Queue. It makes one read(2) a frame, and one more to find
// the device empty.
func (q *Queue) Recv(bufs []*frame.Buf) (int, error) {
	total, segments := 0, 0
	for i, b := range bufs {
		n, errno := q.read(b)
		switch errno {
		case 0:
			total += n
			segments += claimed(b)
		case unix.EAGAIN, unix.EINTR:
			return i, nil
		case unix.EINVAL: // a kind of segmentation that the header cannot say
			b.Drop(frame.DropBadOffload)
		case unix.EFAULT: // longer than any Buf
			b.Drop(frame.DropOversize)
		default:
			return i, q.dead("read", errno)
		}
		if total >= batchBytes || segments >= batchSegments {
			return i + 1, nil
		}
	}
	return len(bufs), nil
}

// claimed is how many segments the frame will become by its header, which is not
// checked yet.
func claimed(b *frame.Buf) int {
	if o := &b.Offload; o.GSO != frame.GSONone && o.SegSize > 0 {
		return 1 + b.Len()/int(o.SegSize)
	}
	return 1
}

// read receives one frame, header and all, with one copy and no allocation. The Go
// poller has no part in it: the descriptor never blocks.
func (q *Queue) read(b *frame.Buf) (int, syscall.Errno) {
	p := b.Space(q.header)
	r, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(q.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	n := int(r) - q.header
	if n < 0 || int(r) > len(p) {
		return 0, unix.EFAULT
	}
	if q.header > 0 {
		b.Offload.Decode(p)
	}
	b.Received(n)
	return n, 0
}

// Send implements vswitch.Queue. The kernel refuses a frame whose header lies or
// that exceeds the MTU.
func (q *Queue) Send(bufs []*frame.Buf) (int, error) {
	done := 0
	for done < len(bufs) {
		n, errno := q.write(bufs[done:])
		done += n
		switch judge(errno) {
		case sent:
		case full:
			return done, nil
		case gone:
			return done, q.dead("write", errno)
		case refused:
			bufs[done].Drop(refusal(errno))
			done++
		}
	}
	return done, nil
}

// refusal is the reason of a frame that the kernel refused.
func refusal(errno syscall.Errno) frame.Reason {
	if errno == unix.EMSGSIZE {
		return frame.DropOversize
	}
	return frame.DropBadOffload
}

// write sends some frames, and returns the error of the first that was not sent.
func (q *Queue) write(bufs []*frame.Buf) (int, syscall.Errno) {
	if q.out != nil {
		return q.out.send(bufs)
	}
	b := bufs[0]
	p := b.WithHeader(q.header)
	if q.header > 0 {
		b.Offload.Encode(p)
	}
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(q.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return 1, 0
}

// A fate is what an error says of a frame that was to be sent.
type fate int

const (
	sent    fate = iota
	full         // the device takes no more now
	refused      // the device never takes this one
	gone         // the device never takes any
)

func judge(errno syscall.Errno) fate {
	switch errno {
	case 0:
		return sent
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM, unix.EINTR:
		return full
	case unix.EIO, unix.ENETDOWN: // the link is down, which may change
		return full
	case unix.EBADFD, unix.EBADF, unix.ENODEV, unix.ENXIO:
		return gone
	}
	return refused
}

// dead is the error of a queue whose device is gone.
func (q *Queue) dead(op string, errno syscall.Errno) error {
	if q.closed.Load() {
		return fmt.Errorf("%s %s: %w", op, q.name, os.ErrClosed)
	}
	return fmt.Errorf("%s %s: %w: %w", op, q.name, ErrNoDevice, errno)
}

// FD implements vswitch.Queue.
func (q *Queue) FD() int { return q.fd }

// Close implements vswitch.Queue. Safe to call twice.
func (q *Queue) Close() error {
	if q.closed.Swap(true) {
		return nil
	}
	err := unix.Close(q.fd)
	if q.out != nil {
		err = errors.Join(err, unix.Close(q.out.fd))
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", q.name, err)
	}
	return nil
}
