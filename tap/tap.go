// Package tap makes TAP devices and attaches the switch to them and to other
// kernel netdevs: batched queues that carry checksum and segmentation offloads in
// virtio-net headers, and tc programs that bring a netdev's frames to such a queue
// and back.
package tap

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"weft/frame"
)

// Errors that callers tell apart. Each is wrapped with the device's name and what
// to do about it.
var (
	ErrNoDevice = errors.New("no such device")      // it may appear later
	ErrBusy     = errors.New("device in use")       // held by another program
	ErrEnslaved = errors.New("device has a master") // a kernel bridge, bond or VRF has it
	ErrForeign  = errors.New("device exists and is not weft's")
	ErrNoTUN    = errors.New("/dev/net/tun cannot be used")
	ErrNoBPF    = errors.New("eBPF programs cannot be loaded")
)

// A Spec describes a persistent TAP that a hypervisor will open by name.
type Spec struct {
	Name   string
	Port   string // the port it is for; recorded in the device's alias
	Owner  int    // uid, -1: none
	Group  int    // gid, -1: none
	Queues int    // queue pairs; more than 1 makes it multi-queue
	MTU    int
}

// Create makes the TAP through water, or takes over one that weft made with the
// same spec. One that differs in Queues is remade if nobody has it open, else
// ErrBusy. A device of that name that weft did not make is ErrForeign.
func Create(s Spec) error { panic("todo") }

// Delete removes a TAP that Create made. A missing one is no error. A TAP that a
// hypervisor has open is removed all the same; see InUse.
func Delete(name string) error { panic("todo") }

// InUse reports whether a program has the TAP open (it has carrier).
func InUse(name string) (bool, error) { panic("todo") }

// A Device is the attachment to one netdev: companion TAP, tc programs, queues.
type Device struct{}

// AttachDevice attaches to the netdev name, or takes over an attachment that an
// earlier process left. Frames of the netdev go to the queues and nowhere else.
func AttachDevice(name string, mtu int) (*Device, error) { panic("todo") }

// Queues returns the queues to read from and write to.
func (d *Device) Queues() []*Queue { panic("todo") }

// Features returns what may be left undone in frames sent there.
func (d *Device) Features() frame.Features { panic("todo") }

// Close removes the programs and the companion, after which the netdev belongs to
// its maker again. Queues need not have been closed. Safe to call twice.
func (d *Device) Close() error { panic("todo") }

// An Uplink is the attachment to a NIC that stays the host's: its two sides are
// ports of the network. The kernel itself carries frames between them, so the
// switch must not.
type Uplink struct{}

// AttachUplink attaches to the NIC name, or takes over what an earlier process left.
func AttachUplink(name string, mtu int) (*Uplink, error) { panic("todo") }

// Wire returns the queues towards the wire.
func (u *Uplink) Wire() []*Queue { panic("todo") }

// Host returns the queues towards the host's own stack.
func (u *Uplink) Host() []*Queue { panic("todo") }

// Features returns what may be left undone in frames sent to either side.
func (u *Uplink) Features() frame.Features { panic("todo") }

// HostMAC returns the host's address on the NIC.
func (u *Uplink) HostMAC() frame.MAC { panic("todo") }

// SetGuest says whether mac lives behind a port of the switch, so that the host's
// own frames to it go to the switch and not to the wire. It makes one system call.
func (u *Uplink) SetGuest(mac frame.MAC, present bool) error { panic("todo") }

// Close removes the programs and companions. The host's traffic does not stop.
func (u *Uplink) Close() error { panic("todo") }

// HostConfig describes a host port.
type HostConfig struct {
	Name      string // of the TAP
	Port      string
	MAC       frame.MAC // zero: the kernel's choice
	Addresses []netip.Prefix
	NetNS     string // namespace (ip-netns(8)) of the kernel side; "": the daemon's own
	MTU       int
	Offloads  bool
}

// A Host is a TAP whose kernel side belongs to the host.
type Host struct{}

// OpenHost makes the TAP, gives its kernel side the address and namespace, and
// opens its queue. One that an earlier process left is taken over wherever it is:
// in the daemon's namespace, in c.NetNS, or in any named namespace it was moved to.
func OpenHost(c HostConfig) (*Host, error) { panic("todo") }

// Update changes addresses and MTU in place; other changes need a new Host.
func (h *Host) Update(c HostConfig) error { panic("todo") }

// Queues returns the TAP's queues.
func (h *Host) Queues() []*Queue { panic("todo") }

// Features returns what may be left undone in frames sent there.
func (h *Host) Features() frame.Features { panic("todo") }

// MAC returns the address of the kernel side.
func (h *Host) MAC() frame.MAC { panic("todo") }

// Close removes the TAP, wherever its kernel side is. Safe to call twice.
func (h *Host) Close() error { panic("todo") }

// A Queue is a vswitch.Queue over a TAP's descriptor (and, where measured better,
// a packet socket for sending).
type Queue struct{}

// A Link is the state of one netdev.
type Link struct {
	Index   int
	Name    string
	Kind    string // "tun", "veth", "bridge", …; "" for hardware
	Alias   string
	MAC     net.HardwareAddr
	MTU     int
	Up      bool   // administratively
	Carrier bool   // a TAP has it while a program holds it open
	Master  string // name of the bridge, bond or VRF that has it
	Deleted bool
}

// Links returns all links of the namespace.
func Links() ([]Link, error) { panic("todo") }

// Watch calls f with each link there is, then with each change, until ctx ends. f
// is called from one goroutine; the same state may be told more than once. Lost
// messages are made good by a full read.
func Watch(ctx context.Context, f func(Link)) error { panic("todo") }

// Sweep removes what an earlier process left and keep does not name (by device
// name): companions, programs, TAPs and host ports. It touches nothing that weft
// did not make, and leaves what another process has open. It returns what it
// removed, one line each.
func Sweep(keep func(device string) bool) ([]string, error) { panic("todo") }

// KernelDrops returns what the kernel dropped at the attachment's devices, by name
// of the counter, for Device, Uplink and Host alike.
func KernelDrops(devices ...string) map[string]uint64 { panic("todo") }
