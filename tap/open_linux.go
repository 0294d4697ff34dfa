package tap

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"weft/frame"
)

const tunDevice = "/dev/net/tun"

// makeTAP makes a persistent TAP, down and without any setting but its owner and
// group (-1: none). The caller has made sure that the name is free: the kernel
// would attach to a TAP that exists.
func makeTAP(name string, owner, group int, multiQueue bool) error {
	if len(name) > nameMax || name == "" {
		// water cuts silently what is too long.
		return fmt.Errorf("%q is not a device name (want 1 to %d bytes)", name, nameMax)
	}
	if fd, err := openTUN(); err != nil {
		return err
	} else if err := unix.Close(fd); err != nil {
		return err
	}
	c := water.Config{DeviceType: water.TAP}
	c.Name, c.Persist, c.MultiQueue = name, true, multiQueue

	// water opens without O_CLOEXEC: no child may start until that is mended.
	syscall.ForkLock.RLock()
	w, err := water.New(c)
	if err != nil {
		syscall.ForkLock.RUnlock()
		return fmt.Errorf("make TAP %s: %w", name, explain(err))
	}
	raw, err := w.ReadWriteCloser.(*os.File).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { unix.CloseOnExec(int(fd)) })
	}
	syscall.ForkLock.RUnlock()
	if err == nil {
		err = setOwner(raw, owner, group)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("make TAP %s: %w", name, err)
	}
	return nil
}

// setOwner stands in for water's Permissions, which know no "owner, but no group".
func setOwner(raw syscall.RawConn, owner, group int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		if owner >= 0 {
			failed = unix.IoctlSetInt(int(fd), unix.TUNSETOWNER, owner)
		}
		if group >= 0 && failed == nil {
			failed = unix.IoctlSetInt(int(fd), unix.TUNSETGROUP, group)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("set owner %d, group %d: %w", owner, group, err)
	}
	return nil
}

func openTUN() (fd int, err error) {
	fd, err = unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return -1, fmt.Errorf("%w: %w: load the module (modprobe tun), or give the container the device", ErrNoTUN, err)
	default:
		return -1, fmt.Errorf("%w: %w: let the service's sandbox or container use it (DeviceAllow=%s rw)", ErrNoTUN, err, tunDevice)
	}
}

// openTAP opens a queue of a single-queue TAP that exists. With offloads, frames
// carry a virtio-net header; the features say what may be left to the kernel.
func openTAP(name string, offloads bool) (fd int, f frame.Features, err error) {
	fd, err = openTUN()
	if err != nil {
		return -1, 0, err
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if offloads {
		flags |= unix.IFF_VNET_HDR
	}
	if err = setInterface(fd, name, flags); err == nil {
		f, err = setOffloads(fd, offloads)
	}
	if err != nil {
		unix.Close(fd)
		return -1, 0, fmt.Errorf("open TAP %s: %w", name, err)
	}
	return fd, f, nil
}

func setInterface(fd int, name string, flags uint16) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(flags)
	switch err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); {
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: another program has it open (is a second weftd running?)", ErrBusy)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: it is no single-queue TAP", err)
	}
	return explain(err)
}

// setOffloads sets what frames look like on the descriptor, and asks the kernel to
// hand over unfinished checksums and segmentation as they are.
func setOffloads(fd int, offloads bool) (frame.Features, error) {
	// Unlimited: a frame waiting in another device's queue must not block writes.
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETSNDBUF, math.MaxInt32); err != nil {
		return 0, fmt.Errorf("TUNSETSNDBUF: %w", err)
	}
	if !offloads {
		return 0, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, frame.VirtioLen); err != nil {
		return 0, fmt.Errorf("TUNSETVNETHDRSZ %d: %w", frame.VirtioLen, err)
	}
	// The header is little endian by virtio 1.2; a host's own order is the default.
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETLE, 1); err != nil {
		return 0, fmt.Errorf("TUNSETVNETLE: %w", err)
	}
	const base = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	f := frame.FeatureCsum | frame.FeatureTSO4 | frame.FeatureTSO6 | frame.FeatureTSOECN
	// Kernels before 6.2 know no UDP segmentation here; both families go together.
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, base|unix.TUN_F_USO4|unix.TUN_F_USO6) == nil {
		return f | frame.FeatureUSO, nil
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, base); err != nil {
		return 0, fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return f, nil
}

// explain names the capability behind a refusal, and knows a device that vanished
// in the middle of things.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: CAP_NET_ADMIN is missing (run as root, or set AmbientCapabilities=)", err)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: %w", ErrNoDevice, err)
	}
	return err
}
