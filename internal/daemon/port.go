package daemon

import (
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"weft/config"
	"weft/frame"
	vswitch "weft/switch"
	"weft/tap"
)

// A port is a configured port: in the switch, or waiting for its device.
type port struct {
	cfg   config.Port
	net   *network
	id    frame.PortID
	att   attachment // nil: not attached, see fault
	link  tap.Link   // of cfg.Device, as last seen
	fault error

	oldOwner bool // the TAP has another owner or group until its guest stops
}

// attachLocked makes or finds the port's device and puts the port into the switch.
func (d *Daemon) attachLocked(p *port) error {
	att, err := d.openLocked(p)
	p.link = d.portLink(p)
	if err == nil {
		p.id, err = d.sw.AddPort(p.switchConfig(att))
		if err != nil {
			err = errors.Join(err, att.Close())
		}
	}
	p.fault = err
	if err != nil {
		return err
	}
	p.att = att
	d.mirrorLocked(p.cfg.Name, p.id)
	d.announceGatewayLocked(p.net)
	d.log.Info("port attached", zap.String(keyPort, p.cfg.Name), zap.String(keyNetwork, p.net.cfg.Name))
	return nil
}

func (d *Daemon) openLocked(p *port) (attachment, error) {
	switch p.cfg.Type {
	case config.PortHost:
		return d.kernel.OpenHost(p.hostConfig())
	case config.PortTAP:
		spec, err := p.spec()
		if err != nil {
			return nil, err
		}
		err = d.kernel.CreateTAP(spec)
		p.oldOwner = errors.Is(err, tap.ErrOldOwner)
		if err != nil && !p.oldOwner { // a guest that runs has no use for its owner
			return nil, err
		}
		d.warn(err, "a setting waits", p.cfg.Name)
	}
	return d.kernel.AttachDevice(p.cfg.Device, p.net.cfg.MTU)
}

// updateLocked brings a port to the settings in p.cfg and p.net, in place.
func (d *Daemon) updateLocked(p *port) error {
	if p.att == nil {
		return nil // they hold from when it attaches
	}
	switch p.cfg.Type {
	case config.PortHost:
		if err := p.att.(hostPort).Update(p.hostConfig()); err != nil {
			return err
		}
	case config.PortTAP:
		spec, err := p.spec()
		if err != nil {
			return err
		}
		err = d.kernel.CreateTAP(spec)
		p.oldOwner = errors.Is(err, tap.ErrOldOwner)
		if err != nil {
			return err
		}
	}
	before := p.link.Index
	p.link = d.portLink(p)
	if p.cfg.Type == config.PortTAP && p.link.Index != before {
		// Another owner or group took another TAP, on which there is nothing yet.
		return errors.Join(d.detachLocked(p), d.attachLocked(p))
	}
	return d.sw.UpdatePort(p.id, p.switchConfig(p.att))
}

// detachLocked takes the port out of the switch and removes what was attached to its
// device.
func (d *Daemon) detachLocked(p *port) error {
	att, err := d.unplugLocked(p)
	return errors.Join(err, att.Close())
}

// unplugLocked takes the port out of the switch. What becomes of the attachment
// that it returns is for the caller to say.
func (d *Daemon) unplugLocked(p *port) (leftover, error) {
	if p.att == nil {
		return nothing{}, nil
	}
	att := p.att
	p.att = nil
	return att, d.sw.RemovePort(p.id)
}

// portLink returns the state of the port's device, the zero Link if it is in another
// namespace: here the name may be that of another device.
func (d *Daemon) portLink(p *port) tap.Link {
	if p.cfg.NetNS != "" {
		return tap.Link{}
	}
	return d.link(p.cfg.Device)
}

// portLinkLocked follows the state of the port's device.
func (d *Daemon) portLinkLocked(p *port) {
	l := d.portLink(p)
	// A host port's device that is gone may have moved to another namespace: its
	// queue knows.
	replaced := p.att != nil && l.Index != p.link.Index && p.cfg.Type != config.PortHost
	p.link = l
	if replaced {
		d.warn(d.detachLocked(p), "device vanished", p.cfg.Name)
		p.fault = fmt.Errorf("%s: %w", p.cfg.Device, tap.ErrNoDevice)
	}
	switch {
	case p.att != nil && p.oldOwner && !l.Carrier:
		d.warn(d.updateLocked(p), "changing the owner failed", p.cfg.Name)
	case p.att != nil:
		d.must(d.sw.UpdatePort(p.id, p.switchConfig(p.att)), p.cfg.Name)
	case replaced || l.Index != 0 && p.cfg.Type == config.PortDevice:
		d.retried(d.attachLocked(p), p.cfg.Name)
	}
	// Other ports make their device, and wait for repair: each attempt of theirs is a
	// change of links, and trying again at once would never end.
}

func (p *port) switchConfig(att attachment) vswitch.PortConfig {
	c := vswitch.PortConfig{
		Name: p.cfg.Name, Network: p.net.fid, Queues: att.Queues(), Features: att.Features(),
		MTU: portMTU(p.net, p.link), Stations: p.cfg.Stations, State: p.forwarding(),
	}
	if mac := p.mac(att); mac != 0 {
		c.Static = append(c.Static, mac)
	}
	c.Static = p.net.staticOf(p.cfg.Name, c.Static...)
	return c
}

// mac returns the address that is known to live at the port, or 0.
func (p *port) mac(att attachment) frame.MAC {
	if p.cfg.Type == config.PortHost {
		return att.(hostPort).MAC()
	}
	return p.cfg.MAC
}

// forwarding follows the link. A host port whose kernel side is in another
// namespace shows none, and is up.
func (p *port) forwarding() vswitch.State {
	if p.cfg.Type == config.PortHost && p.link.Index == 0 {
		return vswitch.Forwarding
	}
	return forwardingIf(p.link.Up && p.link.Carrier)
}

func (p *port) hostConfig() tap.HostConfig {
	return tap.HostConfig{
		Name: p.cfg.Device, Port: p.cfg.Name, MAC: p.cfg.MAC, Addresses: p.cfg.Addresses,
		NetNS: p.cfg.NetNS, MTU: p.net.cfg.MTU, Offloads: offloads(p.cfg),
	}
}

func (p *port) spec() (tap.Spec, error) {
	uid, gid, err := config.HostAccounts.IDs(&p.cfg)
	return tap.Spec{
		Name: p.cfg.Device, Port: p.cfg.Name, Owner: uid, Group: gid,
		Queues: p.cfg.Queues, MTU: p.net.cfg.MTU,
	}, err
}

// waiting reports whether err is the state of a device that may yet come right by
// itself, rather than a failure to do what was asked.
func waiting(err error) bool {
	return errors.Is(err, tap.ErrNoDevice) || errors.Is(err, tap.ErrEnslaved) || errors.Is(err, tap.ErrBusy) ||
		errors.Is(err, tap.ErrOldOwner)
}

// hopeless reports whether err will meet every port alike: the process lacks
// something that all of them need.
func hopeless(err error) bool {
	return errors.Is(err, tap.ErrNoTUN) || errors.Is(err, tap.ErrNoBPF) || errors.Is(err, os.ErrPermission) ||
		errors.Is(err, vswitch.ErrClosed)
}
