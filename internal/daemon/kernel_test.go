package daemon

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"weft/config"
	"weft/fastpath"
	"weft/frame"
	"weft/route/rtnl"
	vswitch "weft/switch"
	"weft/tap"
)

// A memKernel is a kernel without devices: it keeps books of what exists, fails
// where a test says, and hands out queues that record what is sent.
type memKernel struct {
	t rapid.TB

	mu    sync.Mutex
	next  int
	links map[string]tap.Link
	fails map[string]error    // by device: what opening it answers
	once  map[string]bool     // by device: the next time only
	taps  map[string]tap.Spec // TAPs made
	open  map[string]*memPort // attachments, by device
	watch func(tap.Link)

	claimed  map[string]bool // owned prefixes and claimed endpoints
	reserved string          // ports
}

func newMemKernel(t rapid.TB, devices ...string) *memKernel {
	k := &memKernel{
		t: t, links: map[string]tap.Link{}, fails: map[string]error{},
		once: map[string]bool{}, taps: map[string]tap.Spec{}, open: map[string]*memPort{}, claimed: map[string]bool{},
	}
	for _, d := range devices {
		k.set(d, true)
	}
	return k
}

// set makes a device, or changes its carrier, and tells the watcher.
func (k *memKernel) set(device string, carrier bool) {
	k.mu.Lock()
	l, ok := k.links[device]
	if !ok {
		k.next++
		l = tap.Link{Index: k.next, Name: device, MTU: 9000, Up: true}
	}
	l.Carrier = carrier
	k.links[device] = l
	k.mu.Unlock()
	k.tell(l)
}

// remove deletes a device and tells the watcher.
func (k *memKernel) remove(device string) {
	k.mu.Lock()
	l := k.links[device]
	delete(k.links, device)
	delete(k.open, device)
	k.mu.Unlock()
	l.Deleted = true
	k.tell(l)
}

func (k *memKernel) tell(l tap.Link) {
	if k.watch != nil {
		k.watch(l)
	}
}

// failOnce makes the next call for what fail.
func (k *memKernel) failOnce(what string, err error) {
	k.fails[what], k.once[what] = err, true
}

// failLocked answers with the failure that a test ordered, if it did.
func (k *memKernel) failLocked(what string) error {
	err := k.fails[what]
	if k.once[what] {
		delete(k.fails, what)
		delete(k.once, what)
	}
	return err
}

// devices returns the names of all that is attached, and of the TAPs made.
func (k *memKernel) devices() (attached, taps []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.open)), slices.Sorted(maps.Keys(k.taps))
}

func (k *memKernel) CreateTAP(s tap.Spec) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.failLocked("create " + s.Name); err != nil {
		return err
	}
	old, made := k.taps[s.Name]
	if _, ok := k.links[s.Name]; !ok || made && (old.Owner != s.Owner || old.Group != s.Group) {
		k.next++
		k.links[s.Name] = tap.Link{Index: k.next, Name: s.Name, Up: true}
	}
	k.taps[s.Name] = s
	k.setMTULocked(s.Name, s.MTU)
	return nil
}

func (k *memKernel) setMTULocked(device string, mtu int) {
	l := k.links[device]
	l.MTU = mtu
	k.links[device] = l
}

func (k *memKernel) DeleteTAP(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.open[name]; p != nil && p.wire != nil && !p.wire.closed {
		k.t.Errorf("TAP %s is deleted while the switch has it", name)
	}
	delete(k.taps, name)
	delete(k.links, name)
	return nil
}

func (k *memKernel) attach(device string) (*memPort, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.failLocked(device); err != nil {
		return nil, err
	}
	if _, ok := k.links[device]; !ok {
		return nil, fmt.Errorf("%s: %w", device, tap.ErrNoDevice)
	}
	if p := k.open[device]; p != nil && !p.released {
		k.t.Errorf("%s is attached twice", device)
	}
	h := crc32.ChecksumIEEE([]byte(device)) // the same whenever it is made
	mac := 0x0200_0000_0000 + frame.MAC(h)
	p := &memPort{kernel: k, device: device, mac: mac, guests: map[frame.MAC]bool{}}
	k.open[device] = p
	return p, nil
}

func (k *memKernel) AttachDevice(name string, _ int) (attachment, error) { return k.attach(name) }

func (k *memKernel) AttachUplink(c tap.UplinkConfig) (uplink, error) {
	p, err := k.attach(c.Name)
	if err != nil {
		return nil, err // not a *memPort that is nil
	}
	p.bridged, p.proxy = c.Bridged, c.Proxy
	return p, nil
}

func (k *memKernel) OpenHost(c tap.HostConfig) (hostPort, error) {
	k.mu.Lock()
	if _, ok := k.links[c.Name]; !ok {
		k.next++
		k.links[c.Name] = tap.Link{Index: k.next, Name: c.Name, Up: true, Carrier: true}
	}
	k.setMTULocked(c.Name, c.MTU)
	k.mu.Unlock()
	p, err := k.attach(c.Name)
	if err != nil {
		delete(k.links, c.Name)
		return nil, err
	}
	p.made = true
	return p, nil
}

func (k *memKernel) Link(name string) (tap.Link, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.links[name]
	if !ok {
		return l, tap.ErrNoDevice
	}
	return l, nil
}

func (k *memKernel) Watch(ctx context.Context, _ func(tap.Link)) error {
	<-ctx.Done()
	return nil
}

func (k *memKernel) Sweep(func(string, tap.Use) bool) ([]string, error) { return nil, nil }
func (k *memKernel) Drops(...string) map[string]uint64                  { return nil }

func (k *memKernel) Claims() (claims, error)                      { return k, nil }
func (k *memKernel) PortFree(frame.Protocol, netip.AddrPort) bool { return true }
func (k *memKernel) Resolve(int, netip.Addr)                      {}

func (k *memKernel) WatchHost(ctx context.Context, host func(rtnl.Host), _ func(rtnl.Neighbor)) error {
	host(rtnl.Host{})
	<-ctx.Done()
	return nil
}

func (k *memKernel) ReservePorts(first, last uint16) (func() error, error) {
	k.reserved = fmt.Sprintf("%d-%d", first, last)
	return func() error { k.reserved = ""; return nil }, nil
}

func (k *memKernel) claim(what string, there bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.claimed[what] == there {
		k.t.Errorf("claim of %s set to %t twice", what, there)
	}
	k.claimed[what] = there
	return nil
}

func (k *memKernel) Claim(p frame.Protocol, at netip.AddrPort, kind tap.ClaimKind) error {
	return k.claim(fmt.Sprint(p, " ", at, " ", kind), true)
}

func (k *memKernel) Release(p frame.Protocol, at netip.AddrPort, kind tap.ClaimKind) error {
	return k.claim(fmt.Sprint(p, " ", at, " ", kind), false)
}
func (k *memKernel) Own(p netip.Prefix) error    { return k.claim(p.String(), true) }
func (k *memKernel) Disown(p netip.Prefix) error { return k.claim(p.String(), false) }

// claims returns all that is claimed, in order.
func (k *memKernel) claims() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []string
	for what, there := range k.claimed {
		if there {
			list = append(list, what)
		}
	}
	slices.Sort(list)
	return list
}

// A memPort is an attachment, a host port and an uplink in one.
type memPort struct {
	kernel   *memKernel
	device   string
	mac      frame.MAC
	wire     *memQueue
	host     *memQueue
	released bool
	made     bool // with the attachment goes the device
	past     bool // its namespace is no more
	bridged  bool
	proxy    bool
	updates  int // calls of Update

	mu     sync.Mutex
	guests map[frame.MAC]bool
}

func (p *memPort) queue(q **memQueue) []vswitch.Queue {
	if *q == nil {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			p.kernel.t.Fatal(err)
		}
		*q = &memQueue{fd: fd}
	}
	return []vswitch.Queue{*q}
}

func (p *memPort) Queues() []vswitch.Queue  { return p.queue(&p.wire) }
func (p *memPort) Wire() []vswitch.Queue    { return p.queue(&p.wire) }
func (p *memPort) Host() []vswitch.Queue    { return p.queue(&p.host) }
func (p *memPort) Features() frame.Features { return frame.FeatureCsum }
func (p *memPort) MAC() frame.MAC           { return p.mac }
func (p *memPort) HostMAC() frame.MAC       { return p.mac }
func (p *memPort) Superseded() bool         { return p.past }
func (p *memPort) Release() error           { p.released = true; return nil }

func (p *memPort) Set(bridged, proxy bool) error {
	p.bridged, p.proxy = bridged, proxy
	return nil
}

func (p *memPort) Update(c tap.HostConfig) error {
	p.kernel.mu.Lock()
	defer p.kernel.mu.Unlock()
	if err := p.kernel.failLocked("update " + p.device); err != nil {
		return err
	}
	p.kernel.setMTULocked(p.device, c.MTU)
	p.updates++
	return nil
}

func (p *memPort) SetGuest(mac frame.MAC, present bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guests[mac] = present
	return nil
}

func (p *memPort) Close() error {
	p.kernel.mu.Lock()
	defer p.kernel.mu.Unlock()
	if p.kernel.open[p.device] == p {
		delete(p.kernel.open, p.device)
		if p.made {
			delete(p.kernel.links, p.device)
		}
	}
	return nil
}

// A memQueue receives nothing and keeps what is sent.
type memQueue struct {
	fd     int
	closed bool

	mu   sync.Mutex
	sent [][]byte
}

func (q *memQueue) FD() int                        { return q.fd }
func (q *memQueue) Recv([]*frame.Buf) (int, error) { return 0, nil }
func (q *memQueue) Close() error {
	q.closed = true
	return unix.Close(q.fd)
}

func (q *memQueue) Send(b []*frame.Buf) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range b {
		q.sent = append(q.sent, slices.Clone(f.Bytes()))
	}
	return len(b), nil
}

// start makes a Daemon with the document text over k, ready for changes.
func start(t *testing.T, k *memKernel, text string) *Daemon {
	t.Helper()
	doc, err := config.NewDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDaemon(doc, Options{StateDir: t.TempDir(), Log: zaptest.NewLogger(t, zaptest.Level(levelOfTests))}, k)
	if err != nil {
		t.Fatal(err)
	}
	k.watch = d.linkChanged
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Remove(); err != nil {
			t.Error(err)
		}
		if attached, taps := k.devices(); len(attached)+len(taps) > 0 {
			t.Errorf("left after Remove: attached %v, TAPs %v", attached, taps)
		}
	})
	return d
}

var errBroken = errors.New("broken")

func (k *memKernel) NewCache(fastpath.Config) (*fastpath.Cache, error) {
	return nil, errors.New("a kernel of tests has no programs")
}

func (k *memKernel) EndLeftFlows(func(int) bool) error { return nil }

func (k *memKernel) LeftFlows() ([]fastpath.LeftEntry, error) { return nil, nil }

func (*memPort) SetFront(tap.Front) error { return nil }
func (*memPort) Place() fastpath.Port     { return fastpath.Port{} }

func (*memPort) Places() (wire, host fastpath.Port) { return wire, host }
