package daemon

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"weft/fastpath"
	"weft/frame"
	"weft/route/rtnl"
	vswitch "weft/switch"
	"weft/tap"
)

// A kernel makes the devices that ports need. There is one real implementation, and
// one in memory for the tests of this package.
type kernel interface {
	CreateTAP(tap.Spec) error
	DeleteTAP(name string) error
	AttachDevice(name string, mtu int) (attachment, error)
	AttachUplink(tap.UplinkConfig) (uplink, error) // with Claims its own
	OpenHost(tap.HostConfig) (hostPort, error)
	Link(name string) (tap.Link, error) // ErrNoDevice if there is none
	Watch(context.Context, func(tap.Link)) error
	Sweep(keep func(device string, as tap.Use) bool) ([]string, error)
	Drops(devices ...string) map[string]uint64

	// For networks with a gateway:
	Claims() (claims, error) // of all uplinks attached from then on
	ReservePorts(first, last uint16) (restore func() error, err error)
	PortFree(p frame.Protocol, at netip.AddrPort) bool
	WatchHost(context.Context, func(rtnl.Host), func(rtnl.Neighbor)) error
	Resolve(link int, a netip.Addr) // asks for a neighbor; does not block

	NewCache(fastpath.Config) (*fastpath.Cache, error)
	LeftFlows() ([]fastpath.LeftEntry, error)    // what the cache of an earlier process knows
	EndLeftFlows(but func(index int) bool) error // makes an end of it at all devices but those
}

// An attachment is a device with queues. Close removes what was made for it;
// Release lets go and leaves everything in the kernel for whoever attaches next.
// The queues belong to the switch in both cases.
type attachment interface {
	fronted
	Queues() []vswitch.Queue
	Features() frame.Features
	Place() fastpath.Port // as the flow cache knows it; zero if the device is not in this namespace
	Release() error
	Close() error
}

type hostPort interface {
	attachment
	MAC() frame.MAC
	Superseded() bool // its namespace was made anew: it must be opened again
	Update(tap.HostConfig) error
}

type uplink interface {
	fronted
	Wire() []vswitch.Queue
	Host() []vswitch.Queue
	Features() frame.Features
	Places() (wire, host fastpath.Port) // as the flow cache knows them
	HostMAC() frame.MAC
	SetGuest(mac frame.MAC, present bool) error
	Set(bridged, proxy bool) error
	Release() error
	Close() error
}

// A leftover is an attachment that is out of the switch.
type leftover interface {
	Release() error
	Close() error
}

// nothing is the leftover of a port or NIC that was not attached.
type nothing struct{}

func (nothing) Release() error { return nil }
func (nothing) Close() error   { return nil }

// A realKernel adapts packages tap and rtnl, which do not know the switch.
type realKernel struct {
	claims   *tap.Claims
	resolver *rtnl.Resolver
	runDir   string // what is to be known after a crash
}

// claimsOf is how many endpoints can be claimed: as many as the ports of a few
// addresses, in TCP, UDP and ICMP.
const claimsOf = 1 << 20

func (*realKernel) CreateTAP(s tap.Spec) error  { return tap.Create(s) }
func (*realKernel) DeleteTAP(name string) error { return tap.Delete(name) }

// Sweep also gives back the ports that a process which crashed reserved; those of a
// daemon that runs stay.
func (k *realKernel) Sweep(keep func(string, tap.Use) bool) ([]string, error) {
	removed, err := tap.Sweep(keep)
	if ports := tap.RestorePorts(k.runDir); !errors.Is(ports, tap.ErrBusy) {
		err = errors.Join(err, ports)
	}
	return removed, err
}

func (*realKernel) Drops(devices ...string) map[string]uint64 { return tap.KernelDrops(devices...) }
func (*realKernel) Link(name string) (tap.Link, error)        { return tap.LinkByName(name) }
func (*realKernel) Watch(ctx context.Context, f func(tap.Link)) error {
	return tap.Watch(ctx, f)
}

func (*realKernel) AttachDevice(name string, mtu int) (attachment, error) {
	d, err := tap.AttachDevice(name, mtu)
	if err != nil {
		return nil, err
	}
	return device{d}, nil
}

func (k *realKernel) AttachUplink(c tap.UplinkConfig) (uplink, error) {
	c.Claims = k.claims
	u, err := tap.AttachUplink(c)
	if err != nil {
		return nil, err
	}
	return nicSides{u}, nil
}

func (k *realKernel) Claims() (c claims, err error) {
	k.claims, err = tap.NewClaims(claimsOf)
	return k.claims, err
}

func (k *realKernel) ReservePorts(first, last uint16) (func() error, error) {
	return tap.ReservePorts(k.runDir, first, last)
}

func (*realKernel) PortFree(p frame.Protocol, at netip.AddrPort) bool { return tap.PortFree(p, at) }

func (k *realKernel) WatchHost(ctx context.Context, host func(rtnl.Host), neighbor func(rtnl.Neighbor)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return rtnl.Watch(ctx, host, neighbor) })
	g.Go(func() error { return k.resolver.Run(ctx, func(error) {}) })
	return g.Wait()
}

func (k *realKernel) Resolve(link int, a netip.Addr) { k.resolver.Ask(link, a) }

func (*realKernel) OpenHost(c tap.HostConfig) (hostPort, error) {
	h, err := tap.OpenHost(c)
	if err != nil {
		return nil, err
	}
	return host{h}, nil
}

type (
	device   struct{ *tap.Device }
	nicSides struct{ *tap.Uplink }
	host     struct{ *tap.Host }
)

func (d device) Queues() []vswitch.Queue { return queues(d.Device.Queues()) }
func (u nicSides) Wire() []vswitch.Queue { return queues(u.Uplink.Wire()) }
func (u nicSides) Host() []vswitch.Queue { return queues(u.Uplink.Host()) }
func (h host) Queues() []vswitch.Queue   { return queues(h.Host.Queues()) }

func (d device) Place() fastpath.Port {
	return fastpath.Port{Index: d.Index(), Queue: d.Companion(), Side: fastpath.Device, Peer: d.Peerable(), XDP: d.XDPTarget()}
}

func (h host) Place() fastpath.Port {
	i := h.Index()
	return fastpath.Port{Index: i, Queue: i, Side: fastpath.HostTAP}
}

func (u nicSides) Places() (wire, host fastpath.Port) {
	i := u.Index()
	wire = fastpath.Port{Index: i, Queue: u.WireCompanion(), Side: fastpath.Wire, Shared: true}
	host = fastpath.Port{Index: i, Queue: u.HostCompanion(), Side: fastpath.HostSide}
	return wire, host
}

func (*realKernel) NewCache(c fastpath.Config) (*fastpath.Cache, error) { return fastpath.New(c) }

func (*realKernel) LeftFlows() ([]fastpath.LeftEntry, error) {
	programs, err := tap.LeftFront()
	left, failed := fastpath.Left(programs...)
	err = errors.Join(err, failed)
	for _, p := range programs {
		err = errors.Join(err, p.Close())
	}
	return left, err
}

func (*realKernel) EndLeftFlows(but func(index int) bool) error { return tap.RemoveFronts(but) }

func queues(qs []*tap.Queue) []vswitch.Queue {
	list := make([]vswitch.Queue, len(qs))
	for i, q := range qs {
		list[i] = q
	}
	return list
}
