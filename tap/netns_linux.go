package tap

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const namedNamespaces = "/run/netns"

// A place is a network namespace and a netlink handle that acts in it.
type place struct {
	ns netns.NsHandle
	*netlink.Handle
}

// openPlace returns the named namespace; "" is that of the calling thread.
func openPlace(name string) (place, error) {
	ns, err := netns.Get()
	if name != "" {
		ns.Close()
		ns, err = netns.GetFromName(name)
	}
	if errors.Is(err, os.ErrNotExist) {
		return place{}, fmt.Errorf("namespace %s: %w: make it first: ip netns add %s", name, err, name)
	}
	if err != nil {
		return place{}, fmt.Errorf("open namespace %s: %w", name, err)
	}
	return placeOf(ns)
}

// placeOf takes over ns.
func placeOf(ns netns.NsHandle) (place, error) {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		ns.Close()
		return place{}, fmt.Errorf("enter namespace: %w: CAP_SYS_ADMIN is needed", err)
	}
	return place{ns, h}, nil
}

// inode tells a namespace from others for as long as it lives.
func (p place) inode() (uint64, error) { return inode(p.ns) }

func inode(ns netns.NsHandle) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns), &st); err != nil {
		return 0, fmt.Errorf("look at namespace: %w", err)
	}
	return st.Ino, nil
}

func (p place) close() {
	p.Handle.Close()
	p.ns.Close()
}

// link returns the device name, or nil if there is none.
func (p place) link(name string) (netlink.Link, error) {
	l, err := p.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	return l, explain(err)
}

// do runs f in the namespace.
func (p place) do(f func() error) error {
	runtime.LockOSThread()
	back, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer back.Close()
	if err := netns.Set(p.ns); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace: %w: CAP_SYS_ADMIN is needed", err)
	}
	failed := f()
	if err := netns.Set(back); err != nil {
		// The thread stays locked and ends with its goroutine: no other may run in
		// a foreign namespace.
		return errors.Join(failed, fmt.Errorf("leave namespace: %w", err))
	}
	runtime.UnlockOSThread()
	return failed
}

// namedPlaces calls f with each namespace of ip-netns(8), until it returns true.
func namedPlaces(f func(name string, p place) bool) {
	entries, err := os.ReadDir(namedNamespaces)
	if err != nil {
		return // no namespace was ever named here
	}
	for _, e := range entries {
		p, err := openPlace(e.Name())
		if err != nil {
			continue // the mount point of one that is gone
		}
		found := f(e.Name(), p)
		p.close()
		if found {
			return
		}
	}
}
