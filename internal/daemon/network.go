package daemon

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"weft/config"
	"weft/frame"
	"weft/route"
	vswitch "weft/switch"
	"weft/tap"
)

// A network is a running network.
type network struct {
	cfg     config.Network
	fid     vswitch.FID
	uplinks []*nic   // in order of preference; of a network with a gateway none: see segment.go
	gateway *gateway // nil: of layer 2 only
	guests  guests

	static map[frame.MAC]string // entries made at run time, by port name

	announce int // times that repair is still to announce the stations
}

// announceAgain is how often the stations are announced anew, a retryInterval apart:
// a switch outside may not forward yet when its link comes up.
const announceAgain = 2

// uplinkGroup is the split horizon of a network's uplinks: wires and host sides
// are one segment, among whose members the kernel carries frames itself.
const uplinkGroup = 1

func (n *network) switchConfig() vswitch.NetworkConfig {
	return vswitch.NetworkConfig{
		Name:         n.cfg.Name,
		Ageing:       time.Duration(n.cfg.Ageing),
		Stations:     n.cfg.Stations,
		StationMoved: n.guests.moved,
		Stages:       n.stages(),
	}
}

// staticOf returns the static entries of a port: its own and those made at run time.
func (n *network) staticOf(port string, own ...frame.MAC) []frame.MAC {
	for mac, p := range n.static {
		if p == port && !slices.Contains(own, mac) {
			own = append(own, mac)
		}
	}
	return own
}

// A nic is one uplink of a network: the wire and the host's side of a physical NIC.
type nic struct {
	name       string
	net        *network
	up         uplink // nil: not attached, see fault
	link       tap.Link
	wire, host frame.PortID
	active     bool
	fault      error

	known  bool         // to the router, if it is to be: until then nothing is received
	routed bool         // networks with a gateway go by it
	proxy  bool         // weft answers ARP and neighbor solicitations there
	asked  *route.Proxy // does so; nil: not
}

// bridged reports whether ports of weft stand on the NIC's segment.
func (u *nic) bridged() bool { return u.net.cfg.Mode == config.ModeBridged }

// guests tells the kernel which stations live behind the network's own ports, so
// that what the host sends them leaves the host towards the switch. moved runs on
// the workers; the rest under Daemon.mu.
type guests struct {
	view   atomic.Pointer[guestsView]
	failed atomic.Uint64 // stations the kernel would not take
}

type guestsView struct {
	uplinks []uplink
	outside []frame.PortID // the ports of those uplinks
}

// moved follows the filtering database. A station that has merely aged out stays
// known to the kernel: it is silent, not gone, and what the host sends it must
// still come to the switch to be flooded. It leaves when it is seen outside.
func (g *guests) moved(mac frame.MAC, _, to frame.PortID) {
	v := g.view.Load()
	if v == nil || to == 0 {
		return
	}
	g.tell(v, mac, !slices.Contains(v.outside, to))
}

func (g *guests) tell(v *guestsView, mac frame.MAC, inside bool) {
	for _, u := range v.uplinks {
		if u.SetGuest(mac, inside) != nil {
			g.failed.Add(1)
		}
	}
}

// setGuestsLocked publishes the uplinks that n has now and tells them of the
// stations that are known already.
func (d *Daemon) setGuestsLocked(n *network) {
	v := &guestsView{}
	for _, u := range n.uplinks {
		if u.up != nil {
			v.uplinks = append(v.uplinks, u.up)
			v.outside = append(v.outside, u.wire, u.host)
		}
	}
	if len(v.uplinks) == 0 {
		n.guests.view.Store(nil)
		return
	}
	n.guests.view.Store(v)
	// A station may move while it is told of: those seen outside have the last word.
	for _, inside := range []bool{true, false} {
		for _, s := range d.sw.Stations(n.fid) {
			if slices.Contains(v.outside, s.Port) != inside {
				n.guests.tell(v, s.MAC, inside)
			}
		}
	}
}

// attachUplinkLocked attaches the NIC and makes its two sides ports of the network.
// routeLocked, which must follow, opens it.
func (d *Daemon) attachUplinkLocked(u *nic) error {
	u.link = d.link(u.name)
	up, err := d.kernel.AttachUplink(tap.UplinkConfig{
		Name: u.name, MTU: portMTU(u.net, u.link), Bridged: u.bridged(), Proxy: u.proxy,
	})
	if err != nil {
		u.fault = err
		return err
	}
	// Both sides come up only when their roles are known: see guests.
	if u.wire, err = d.sw.AddPort(d.wireConfig(u, up)); err != nil {
		u.fault = err
		return errors.Join(err, up.Close())
	}
	if u.host, err = d.sw.AddPort(d.hostSideConfig(u, up)); err != nil {
		u.fault = err
		return errors.Join(err, d.sw.RemovePort(u.wire), up.Close())
	}
	u.up, u.fault = up, nil
	d.setGuestsLocked(u.net)
	d.updateUplinkLocked(u)
	d.mirrorLocked(u.name+":wire", u.wire)
	d.mirrorLocked(u.name+":host", u.host)
	d.log.Info("uplink attached", zap.String(keyUplink, u.name), zap.String(keyNetwork, u.net.cfg.Name))
	return nil
}

func (d *Daemon) wireConfig(u *nic, up uplink) vswitch.PortConfig {
	return vswitch.PortConfig{
		Name: u.name + ":wire", Network: u.net.fid, Queues: up.Wire(), Features: up.Features(),
		MTU: portMTU(u.net, u.link), Group: uplinkGroup, Pad: true,
	}
}

func (d *Daemon) hostSideConfig(u *nic, up uplink) vswitch.PortConfig {
	c := vswitch.PortConfig{
		Name: u.name + ":host", Network: u.net.fid, Queues: up.Host(), Features: up.Features(),
		MTU: portMTU(u.net, u.link), Group: uplinkGroup,
	}
	if u.routed {
		c.Router = d.layer3.router
	}
	return c
}

// updateUplinkLocked makes the host's side follow the NIC's address, MTU and
// administrative state.
func (d *Daemon) updateUplinkLocked(u *nic) {
	h := d.hostSideConfig(u, u.up)
	h.Static = u.net.staticOf(h.Name)
	if mac := u.up.HostMAC(); mac != 0 { // a bridge of the host's without ports has none
		h.Static = u.net.staticOf(h.Name, mac)
	}
	h.State = forwardingIf(u.link.Up)
	d.must(d.sw.UpdatePort(u.host, h), u.name)

	w := d.wireConfig(u, u.up)
	w.Static = u.net.staticOf(w.Name)
	w.State = d.wireState(u)
	d.must(d.sw.UpdatePort(u.wire, w), u.name)
}

func (d *Daemon) wireState(u *nic) vswitch.State {
	switch {
	case !u.usable():
		return vswitch.Down
	case u.active:
		return vswitch.Forwarding
	}
	return vswitch.Standby
}

func (u *nic) usable() bool { return u.up != nil && u.known && u.link.Up && u.link.Carrier }

// electLocked makes the first usable uplink the active one. The network's stations
// are announced on it, so that the switches outside learn the new way at once.
func (d *Daemon) electLocked(n *network) {
	var before, after *nic
	for _, u := range n.uplinks {
		if u.active {
			before = u
		}
		if after == nil && u.usable() {
			after = u
		}
	}
	for _, u := range n.uplinks {
		u.active = u == after
		if u.up != nil {
			d.must(d.sw.SetState(u.wire, d.wireState(u)), u.name)
		}
	}
	if before == after {
		return
	}
	if after == nil {
		d.log.Warn("no uplink has carrier", zap.String(keyNetwork, n.cfg.Name))
		return
	}
	d.log.Info("uplink active", zap.String(keyNetwork, n.cfg.Name), zap.String(keyUplink, after.name))
	d.announceLocked(n, after)
	n.announce = announceAgain
}

// announceAgainLocked repeats the announcement, if one is due.
func (d *Daemon) announceAgainLocked(n *network) {
	for _, u := range n.uplinks {
		if u.active && n.announce > 0 {
			n.announce--
			d.announceLocked(n, u)
		}
	}
}

// announceLocked sends a broadcast in the name of every station behind the
// network's own ports out of u.
func (d *Daemon) announceLocked(n *network, u *nic) {
	v := n.guests.view.Load()
	buf := frame.NewBufs(1)
	for _, s := range d.sw.Stations(n.fid) {
		if v != nil && slices.Contains(v.outside, s.Port) {
			continue
		}
		buf[0].SetBytes(rarpAnnouncement(s.MAC))
		if _, err := u.up.Wire()[0].Send(buf); err != nil {
			d.log.Warn("announcing stations failed", zap.String(keyUplink, u.name), zap.Error(err))
			return
		}
	}
}

// detachUplinkLocked takes the NIC's sides out of the switch and removes what was
// attached to it.
func (d *Daemon) detachUplinkLocked(u *nic) error {
	up, err := d.unplugUplinkLocked(u)
	return errors.Join(err, up.Close())
}

// unplugUplinkLocked takes the NIC's sides out of the switch. What becomes of the
// attachment that it returns, nil if there is none, is for the caller to say.
func (d *Daemon) unplugUplinkLocked(u *nic) (leftover, error) {
	if u.up == nil {
		return nothing{}, nil
	}
	up := u.up
	u.up, u.active, u.known, u.routed, u.proxy, u.asked = nil, false, false, false, false, nil
	d.setGuestsLocked(u.net)
	err := errors.Join(d.sw.RemovePort(u.wire), d.sw.RemovePort(u.host))
	d.electLocked(u.net)
	return up, err
}

// uplinkLinkLocked follows the state of the NIC.
func (d *Daemon) uplinkLinkLocked(u *nic) {
	l := d.link(u.name)
	replaced := u.up != nil && l.Index != u.link.Index
	u.link = l
	if replaced {
		d.warn(d.detachUplinkLocked(u), "uplink vanished", u.name)
		u.fault = fmt.Errorf("%s: %w", u.name, tap.ErrNoDevice)
	}
	switch {
	case l.Index == 0:
		return
	case u.up == nil:
		d.retried(d.attachUplinkLocked(u), u.name)
	default:
		d.updateUplinkLocked(u)
		d.electLocked(u.net)
	}
}

// portMTU is the smaller of what the network allows and what the device takes.
func portMTU(n *network, l tap.Link) int {
	if l.MTU > 0 && l.MTU < n.cfg.MTU {
		return l.MTU
	}
	return n.cfg.MTU
}

func forwardingIf(up bool) vswitch.State {
	if up {
		return vswitch.Forwarding
	}
	return vswitch.Down
}
