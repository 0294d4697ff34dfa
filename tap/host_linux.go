package tap

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// HostConfig describes a host port or a gateway.
type HostConfig struct {
	Name      string    // of the TAP
	Port      string    // of a gateway: the network
	MAC       frame.MAC // zero: the kernel's choice
	Addresses []netip.Prefix
	NetNS     string // namespace (ip-netns(8)) of the kernel side; "": the daemon's own
	MTU       int    // bytes; 0: the kernel's default
	Offloads  bool

	// Gateway makes it the gateway of a network: its addresses are at once usable, and
	// GatewayLinkLocal is one of them; the host believes nothing that guests say about
	// routes and addresses, and says of itself that it is a router. It stays in the
	// daemon's namespace.
	Gateway bool
}

// wanted are the addresses the kernel side is to have.
func (c HostConfig) wanted() []netip.Prefix {
	if c.Gateway {
		return append(slices.Clone(c.Addresses), GatewayLinkLocal)
	}
	return c.Addresses
}

// what names the port in errors.
func (c HostConfig) what() string {
	if c.Gateway {
		return "gateway of " + c.Port
	}
	return "host port " + c.Port
}

// A Host is a TAP whose kernel side belongs to the host.
type Host struct {
	queue    *Queue
	features frame.Features
	keep     int // our own reference to the TAP, which outlives the queue

	mu     sync.Mutex
	config HostConfig // guarded by mu
	mac    frame.MAC  // guarded by mu
	there  uint64     // inode of the namespace that config.NetNS named; guarded by mu
	mark   mark
	qdisc  bool // SetFront made the TAP's clsact qdisc; guarded by mu

	once   sync.Once
	closed error
}

// OpenHost makes the TAP, gives its kernel side the address and namespace, and
// opens its queue. One that an earlier process left is taken over wherever it is:
// in the daemon's namespace, in c.NetNS, or in any named namespace it was moved to,
// where it stays unless c.NetNS names another. A gateway is looked for in the daemon's
// namespace only.
func OpenHost(c HostConfig) (*Host, error) {
	if c.Gateway && c.NetNS != "" {
		return nil, fmt.Errorf("%s: it cannot be in namespace %s: its addresses must be the daemon's own", c.what(), c.NetNS)
	}
	f, err := findHost(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.what(), err)
	}
	defer f.at.close()
	h := &Host{keep: -1, mark: f.mark}
	err = f.at.do(func() (err error) {
		h.queue, h.features, err = newQueue(f.name, c.Offloads)
		return err
	})
	if err == nil {
		h.queue.name = c.Name
		h.keep, err = unix.FcntlInt(uintptr(h.queue.fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	if err == nil {
		err = h.settle(c, f.made)
	}
	if err == nil {
		return h, nil
	}
	switch {
	case !f.made:
		err = errors.Join(err, h.drop())
	case h.keep < 0: // not opened: it would stay
		err = errors.Join(err, h.drop(), f.at.remove(f.name))
	default:
		err = errors.Join(err, h.Close())
	}
	return nil, fmt.Errorf("%s: %w", c.what(), err)
}

// settle gives the kernel side what c says. A device that weft has just made has
// everything still to come; of one that was left only the differences are changed.
func (h *Host) settle(c HostConfig, fresh bool) error {
	if err := h.move(c.NetNS); err != nil {
		return err
	}
	at, l, err := h.where()
	if err != nil {
		return err
	}
	defer at.close()
	if !h.atHome(at) { // a front of the daemon's namespace means nothing there
		if err := at.do(func() error { return setFront(l, egress, nil) }); err != nil {
			return err
		}
	}
	if fresh && l.Attrs().Name != c.Name {
		if err := at.LinkSetName(l, c.Name); err != nil {
			return fmt.Errorf("name it %s: %w", c.Name, explain(err))
		}
	}
	if err := setUpTAP(at.Handle, l, h.mark, c.MTU); err != nil {
		return err
	}
	var mac [6]byte
	c.MAC.Put(mac[:])
	if c.MAC != 0 && frame.MACFrom(l.Attrs().HardwareAddr) != c.MAC {
		if err := at.LinkSetHardwareAddr(l, mac[:]); err != nil {
			return fmt.Errorf("set MAC %s: %w", c.MAC, explain(err))
		}
	}
	if c.Gateway {
		if err := h.becomeGateway(at, l); err != nil {
			return err
		}
	}
	if err := h.address(at, l, c, fresh); err != nil {
		return err
	}
	if err := at.LinkSetUp(l); err != nil {
		return fmt.Errorf("set up: %w", explain(err))
	}
	if l, err = at.LinkByIndex(l.Attrs().Index); err != nil {
		return err
	}
	if h.there, err = at.inode(); err != nil {
		return err
	}
	h.config, h.mac = c, frame.MACFrom(l.Attrs().HardwareAddr)
	return nil
}

// move brings the kernel side to the named namespace.
func (h *Host) move(name string) error {
	if name == "" {
		return nil
	}
	from, l, err := h.where()
	if err != nil {
		return err
	}
	defer from.close()
	to, err := openPlace(name)
	if err != nil {
		return err
	}
	defer to.close()
	if from.ns.Equal(to.ns) {
		return nil
	}
	if err := from.LinkSetNsFd(l, int(to.ns)); err != nil {
		return fmt.Errorf("move to namespace %s: %w", name, explain(err))
	}
	return nil
}

// where returns the namespace and device of the kernel side, whoever moved or
// renamed it.
func (h *Host) where() (place, netlink.Link, error) {
	fd, err := unix.IoctlRetInt(h.keep, unix.TUNGETDEVNETNS)
	if err != nil {
		return place{}, nil, fmt.Errorf("find its namespace: %w", err)
	}
	at, err := placeOf(netns.NsHandle(fd))
	if err != nil {
		return place{}, nil, err
	}
	ifr, err := unix.NewIfreq("")
	if err == nil {
		err = unix.IoctlIfreq(h.keep, unix.TUNGETIFF, ifr)
	}
	var l netlink.Link
	if err == nil {
		l, err = at.LinkByName(ifr.Name())
	}
	if err != nil {
		at.close()
		return place{}, nil, fmt.Errorf("find its device: %w", err)
	}
	return at, l, nil
}

// address makes the addresses those of want. Others go if weft gave them; of a TAP
// that was left it is not known who did, and they go if the port has any address.
func (h *Host) address(at place, l netlink.Link, c HostConfig, fresh bool) error {
	want := c.wanted()
	have, err := dump(func() ([]netlink.Addr, error) { return at.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	given := h.config.Addresses
	adopted := !fresh && h.config.Name == "" && len(want) > 0
	for _, a := range have {
		p := prefix(a.IPNet)
		stays := slices.Contains(want, p) || a.Scope != unix.RT_SCOPE_UNIVERSE
		if stays || !adopted && !slices.Contains(given, p) {
			continue
		}
		if err := at.AddrDel(l, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s: %w", p, explain(err))
		}
	}
	for _, p := range want {
		a := netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
		if c.Gateway {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := at.AddrReplace(l, &a); err != nil && (p != GatewayLinkLocal || !withoutIPv6(err)) {
			return fmt.Errorf("add address %s: %w", p, explain(err))
		}
	}
	return nil
}

func prefix(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}

// Update changes addresses and MTU in place; other changes need a new Host.
func (h *Host) Update(c HostConfig) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.config
	if c.Name != old.Name || c.Port != old.Port || c.NetNS != old.NetNS || c.Offloads != old.Offloads || c.MAC != old.MAC || c.Gateway != old.Gateway {
		return fmt.Errorf("%s: only addresses and MTU change in place", old.what())
	}
	at, l, err := h.where()
	if err != nil {
		return fmt.Errorf("%s: %w", c.what(), err)
	}
	defer at.close()
	err = inOrder(
		func() error { return setUpTAP(at.Handle, l, h.mark, c.MTU) },
		func() error { return h.address(at, l, c, false) },
	)
	if err != nil {
		return fmt.Errorf("%s: %w", c.what(), err)
	}
	h.config = c
	return nil
}

// Queues returns the TAP's queues.
func (h *Host) Queues() []*Queue { return []*Queue{h.queue} }

// Features returns what may be left undone in frames sent there.
func (h *Host) Features() frame.Features { return h.features }

// MAC returns the address of the kernel side.
func (h *Host) MAC() frame.MAC {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mac
}

// Close removes the TAP, wherever its kernel side is. Safe to call twice.
func (h *Host) Close() error {
	h.once.Do(func() {
		if h.keep >= 0 {
			// No longer persistent, it goes with its last descriptor.
			if err := unix.IoctlSetInt(h.keep, unix.TUNSETPERSIST, 0); err != nil && !errors.Is(err, unix.EBADFD) {
				h.closed = fmt.Errorf("remove host port: %w", err)
			}
		}
		h.closed = errors.Join(h.closed, h.drop())
	})
	return h.closed
}

// Release closes the descriptors and leaves the TAP in the kernel, for whoever opens
// it next. Of Close and Release the first decides.
func (h *Host) Release() error {
	h.once.Do(func() { h.closed = h.drop() })
	return h.closed
}

// drop gives up the descriptors.
func (h *Host) drop() error {
	var err error
	if h.keep >= 0 {
		err = unix.Close(h.keep)
		h.keep = -1
	}
	if h.queue != nil {
		err = errors.Join(err, h.queue.Close())
	}
	return err
}
