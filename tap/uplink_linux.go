package tap

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// An Uplink is the attachment to a NIC that stays the host's: its two sides are
// ports of the network. The kernel itself carries frames between them, so the
// switch must not.
//
//	host's stack ◀──────────────▶ NIC ◀───────▶ wire
//	     │ group frames, frames    │ all but frames for the host
//	     ▼ for guests              ▼
//	 host companion           wire companion
//
// Frames from the wire for an address that is neither the host's nor a guest's go
// both to the switch and on to the host, whose stack drops them unless a macvlan on
// the NIC has that address.
type Uplink struct {
	*attachment
	guests  *ebpf.Map
	promisc int // packet socket that keeps the NIC promiscuous
}

// AttachUplink attaches to the NIC name, or takes over what an earlier process
// left, the guests included. The host's traffic is not interrupted.
func AttachUplink(name string, mtu int) (*Uplink, error) {
	a, err := attachTo(name, mtu, roleWireCompanion, roleHostCompanion)
	if err != nil {
		return nil, err
	}
	u := &Uplink{attachment: a, promisc: -1}
	if err := u.connect(); err != nil {
		u.release()
		return nil, errors.Join(err, a.abandon())
	}
	return u, nil
}

// connect places the programs of the companions first: from the moment the NIC's
// are in place, frames are on their way to them.
func (u *Uplink) connect() (err error) {
	if u.guests, err = u.leftGuests(); err != nil {
		return err
	}
	if u.promisc, err = promiscuous(u.device); err != nil {
		return err
	}
	nic, wire, host := u.device, u.companions[0], u.companions[1]
	if wire.queue.out, err = openSocket(nic); err != nil {
		return err
	}
	guard := program{name: attachProgWeftGuard}
	toHost := program{name: attachProgWeftRedirect, target: nic.Attrs().Index, flags: redirectIngress}
	fromWire := program{name: attachProgWeftFromWire, target: u.index(0), guests: u.guests}
	fromHost := program{name: attachProgWeftFromHost, target: u.index(1), guests: u.guests}
	return inOrder(
		func() error { return u.place(wire.link, egress, guard) },
		func() error { return u.place(host.link, egress, guard) },
		func() error { return u.place(host.link, ingress, toHost) },
		func() error { return setUp(wire.link) },
		func() error { return setUp(host.link) },
		func() error { return u.place(nic, ingress, fromWire) },
		func() error { return u.place(nic, egress, fromHost) },
	)
}

// leftGuests returns the map of the programs that an earlier process left, so that
// the host's frames reach its guests at once, or a new one.
func (u *Uplink) leftGuests() (*ebpf.Map, error) {
	for _, h := range hooks() {
		id, err := h.find(u.device, egress)
		if err != nil || id == 0 {
			continue
		}
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue
		}
		m := guestsOf(p)
		p.Close()
		if m != nil {
			return m, nil
		}
	}
	return newGuests()
}

// promiscuous makes the NIC receive the frames for guests, for as long as the
// returned socket lives: the kernel ends it even after a crash. The socket itself
// receives nothing, as it is bound to no protocol.
func promiscuous(nic netlink.Link) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{
			Ifindex: int32(nic.Attrs().Index), Type: unix.PACKET_MR_PROMISC,
		})
		if err == nil {
			return fd, nil
		}
		unix.Close(fd)
	}
	return -1, fmt.Errorf("%s: make promiscuous: %w: CAP_NET_RAW is needed", nic.Attrs().Name, err)
}

// Wire returns the queues towards the wire.
func (u *Uplink) Wire() []*Queue { return []*Queue{u.companions[0].queue} }

// Host returns the queues towards the host's own stack.
func (u *Uplink) Host() []*Queue { return []*Queue{u.companions[1].queue} }

// Features returns what may be left undone in frames sent to either side.
func (u *Uplink) Features() frame.Features { return u.features() }

// HostMAC returns the host's address on the NIC: the present one, or the last known
// if the NIC is gone. The programs follow a change by themselves.
func (u *Uplink) HostMAC() frame.MAC {
	at := u.device.Attrs()
	if l, err := netlink.LinkByIndex(at.Index); err == nil {
		at = l.Attrs()
	}
	if len(at.HardwareAddr) != 6 {
		return 0
	}
	return frame.MACFrom(at.HardwareAddr)
}

// SetGuest says whether mac lives behind a port of the switch, so that the host's
// own frames to it go to the switch and not to the wire. It makes one system call.
func (u *Uplink) SetGuest(mac frame.MAC, present bool) error {
	var key [6]byte
	mac.Put(key[:])
	var err error
	if present {
		err = u.guests.Put(key, uint8(1))
	} else if err = u.guests.Delete(key); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("%s: set guest %s: %w", u.device.Attrs().Name, mac, err)
	}
	return nil
}

// Guests returns the addresses set, among them those that an earlier process set.
func (u *Uplink) Guests() ([]frame.MAC, error) {
	var macs []frame.MAC
	var key [6]byte
	var value uint8
	entries := u.guests.Iterate()
	for entries.Next(&key, &value) {
		macs = append(macs, frame.MACFrom(key[:]))
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("%s: read guests: %w", u.device.Attrs().Name, err)
	}
	return macs, nil
}

// Close removes the programs and companions. The host's traffic does not stop.
func (u *Uplink) Close() error {
	err := u.attachment.Close()
	u.release()
	return err
}

// Release closes the descriptors and leaves all else in the kernel: see attachment.
func (u *Uplink) Release() error {
	err := u.attachment.Release()
	u.release()
	return err
}

// release gives up what ends with the process anyway.
func (u *Uplink) release() {
	if u.promisc >= 0 {
		unix.Close(u.promisc)
		u.promisc = -1
	}
	u.guests.Close()
}
