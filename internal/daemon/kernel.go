package daemon

import (
	"context"

	"weft/frame"
	vswitch "weft/switch"
	"weft/tap"
)

// A kernel makes the devices that ports need. There is one real implementation, and
// one in memory for the tests of this package.
type kernel interface {
	CreateTAP(tap.Spec) error
	DeleteTAP(name string) error
	AttachDevice(name string, mtu int) (attachment, error)
	AttachUplink(nic string, mtu int) (uplink, error)
	OpenHost(tap.HostConfig) (hostPort, error)
	Link(name string) (tap.Link, error) // ErrNoDevice if there is none
	Watch(context.Context, func(tap.Link)) error
	Sweep(keep func(device string, as tap.Use) bool) ([]string, error)
	Drops(devices ...string) map[string]uint64
}

// An attachment is a device with queues. Close removes what was made for it;
// Release lets go and leaves everything in the kernel for whoever attaches next.
// The queues belong to the switch in both cases.
type attachment interface {
	Queues() []vswitch.Queue
	Features() frame.Features
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
	Wire() []vswitch.Queue
	Host() []vswitch.Queue
	Features() frame.Features
	HostMAC() frame.MAC
	SetGuest(mac frame.MAC, present bool) error
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

// realKernel adapts package tap, which does not know the switch.
type realKernel struct{}

func (realKernel) CreateTAP(s tap.Spec) error  { return tap.Create(s) }
func (realKernel) DeleteTAP(name string) error { return tap.Delete(name) }
func (realKernel) Sweep(keep func(string, tap.Use) bool) ([]string, error) {
	return tap.Sweep(keep)
}
func (realKernel) Drops(devices ...string) map[string]uint64 { return tap.KernelDrops(devices...) }
func (realKernel) Link(name string) (tap.Link, error)        { return tap.LinkByName(name) }
func (realKernel) Watch(ctx context.Context, f func(tap.Link)) error {
	return tap.Watch(ctx, f)
}

func (realKernel) AttachDevice(name string, mtu int) (attachment, error) {
	d, err := tap.AttachDevice(name, mtu)
	if err != nil {
		return nil, err
	}
	return device{d}, nil
}

func (realKernel) AttachUplink(nic string, mtu int) (uplink, error) {
	u, err := tap.AttachUplink(tap.UplinkConfig{Name: nic, MTU: mtu, Bridged: true})
	if err != nil {
		return nil, err
	}
	return nicSides{u}, nil
}

func (realKernel) OpenHost(c tap.HostConfig) (hostPort, error) {
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

func queues(qs []*tap.Queue) []vswitch.Queue {
	list := make([]vswitch.Queue, len(qs))
	for i, q := range qs {
		list[i] = q
	}
	return list
}
