package tap

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"weft/frame"
)

// UplinkConfig describes an uplink.
type UplinkConfig struct {
	Name    string  // of the NIC
	MTU     int     // bytes; 0: the kernel's default
	Bridged bool    // the NIC's wire, the host and guests of the switch are one segment
	Proxy   bool    // weft answers on the wire for addresses it owns: it is shown who asks
	Claims  *Claims // what is weft's of what comes for the host; nil: nothing
}

// An Uplink is the attachment to a NIC that stays the host's. Its two sides are
// ports of the switch. The kernel itself carries frames between them, so the switch
// must not.
//
//	host's stack ◀───────────────▶ NIC ◀───────▶ wire
//	     │ if bridged: group frames,    │ what is claimed; if bridged:
//	     ▼ frames for guests            ▼ all but frames for the host
//	 host companion                wire companion
//
// Of a bridged uplink, frames from the wire for an address that is neither the host's
// nor a guest's go both to the switch and on to the host, whose stack drops them unless
// a macvlan on the NIC has that address. Frames with a VLAN tag are never claimed.
type Uplink struct {
	*attachment
	guests *ebpf.Map
	fixed  states // those that Set keeps
	member *membership
}

// AttachUplink attaches to the NIC, or takes over what an earlier process left, the
// guests included, its claims not. The host's traffic is not interrupted.
func AttachUplink(c UplinkConfig) (*Uplink, error) {
	a, err := attachTo(c.Name, c.MTU, roleWireCompanion, roleHostCompanion)
	if err != nil {
		return nil, err
	}
	u := &Uplink{attachment: a}
	if err := u.connect(c); err != nil {
		u.release()
		return nil, errors.Join(err, a.abandon())
	}
	return u, nil
}

// connect places the programs of the companions first: from the moment the NIC's
// are in place, frames are on their way to them.
func (u *Uplink) connect(c UplinkConfig) (err error) {
	if u.guests, err = u.leftGuests(); err != nil {
		return err
	}
	if u.member, err = newMembership(u.device); err != nil {
		return err
	}
	claims := c.Claims
	if claims != nil {
		u.fixed = stateClaims
	} else if claims, err = none(); err != nil {
		return err
	}
	if err := u.Set(c.Bridged, c.Proxy); err != nil {
		return err
	}
	nic, wire, host := u.device, u.companions[0], u.companions[1]
	if wire.queue.out, err = openSocket(nic); err != nil {
		return err
	}
	forWire := claims.maps()
	forWire[attachMapGuests] = u.guests
	forHost := map[string]*ebpf.Map{attachMapGuests: u.guests}
	guard := program{name: attachProgWeftGuard}
	toHost := program{name: attachProgWeftRedirect, target: nic.Attrs().Index, flags: redirectIngress}
	fromWire := program{name: attachProgWeftFromWire, target: u.index(0), maps: forWire}
	fromHost := program{name: attachProgWeftFromHost, target: u.index(1), maps: forHost}
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

// Set changes what the uplink is for, in place; no frame is lost by it. A NIC that is
// not bridged has no guests, and knows none when it is bridged again. Set must not be called
// at once with itself, Close or Release.
func (u *Uplink) Set(bridged, proxy bool) error {
	next := u.fixed
	if bridged {
		next |= stateBridged
	}
	if proxy {
		next |= stateProxy
	}
	// The NIC receives more before the programs make use of it, and less after.
	err := u.member.join(bridged, proxy)
	if err == nil {
		err = setStates(u.states, next)
	}
	if err == nil {
		err = u.member.leave(!bridged, !proxy)
	}
	if err == nil && !bridged {
		err = u.forget()
	}
	if err != nil {
		return fmt.Errorf("%s: set bridged %t, proxy %t: %w", u.device.Attrs().Name, bridged, proxy, err)
	}
	return nil
}

// forget removes all guests: once the NIC is bridged again, they may be elsewhere.
func (u *Uplink) forget() error {
	guests, err := u.Guests()
	for _, mac := range guests {
		err = errors.Join(err, u.SetGuest(mac, false))
	}
	return err
}

// leftGuests returns the map of the programs that an earlier process left, so that
// the host's frames reach its guests at once, or a new one.
func (u *Uplink) leftGuests() (*ebpf.Map, error) {
	for _, h := range hooks() {
		id, err := h.find(u.device, egress, ownSeat)
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
	return newMap(attachMapGuests, 0)
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
	u.member.close()
	u.guests.Close()
}
