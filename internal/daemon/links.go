package daemon

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"weft/config"
	"weft/frame"
	"weft/tap"
)

// retryInterval is how often a port is tried again that waits for something no link
// message tells of, such as a TAP that another program holds.
const retryInterval = 2 * time.Second

// linkChanged is told of links that changed. It takes that as a hint and asks for
// the state of now: messages come late, and a device may have been replaced since.
func (d *Daemon) linkChanged(l tap.Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.ports {
		if deviceKey(p.cfg) == l.Name || p.link.Index == l.Index {
			d.portLinkLocked(p)
		}
	}
	for _, n := range d.networks {
		if n.gateway != nil && (n.gateway.device == l.Name || n.gateway.link.Index == l.Index) {
			d.gatewayLinkLocked(n)
		}
	}
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			if u.name == l.Name || u.link.Index == l.Index {
				d.uplinkLinkLocked(u)
			}
		}
	}
	d.routeLocked()
}

// link returns the state of a device, the zero Link if there is none.
func (d *Daemon) link(name string) tap.Link {
	l, err := d.kernel.Link(name)
	if err != nil && !errors.Is(err, tap.ErrNoDevice) {
		d.log.Warn("reading a link failed", zap.String(keyDevice, name), zap.Error(err))
	}
	return l
}

// queueFailed is told by the switch of a queue that will carry nothing again: its
// device vanished. The port is taken out, and attached anew if the device is there.
func (d *Daemon) queueFailed(id frame.PortID, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.routeLocked()
	for _, p := range d.ports {
		if p.att != nil && p.id == id {
			d.log.Warn("device failed", zap.String(keyPort, p.cfg.Name), zap.Error(err))
			d.warn(d.detachLocked(p), "detaching failed", p.cfg.Name)
			d.retried(d.attachLocked(p), p.cfg.Name)
			return
		}
	}
	for _, n := range d.networks {
		if n.gateway != nil && n.gateway.att != nil && n.gateway.id == id {
			d.log.Warn("device failed", zap.String(keyNetwork, n.cfg.Name), zap.Error(err))
			d.warn(d.closeGatewayLocked(n), "detaching failed", n.cfg.Name)
			d.retried(d.openGatewayLocked(n), n.cfg.Name)
			return
		}
	}
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			if u.up != nil && (u.wire == id || u.host == id) {
				d.log.Warn("device failed", zap.String(keyUplink, u.name), zap.Error(err))
				d.warn(d.detachUplinkLocked(u), "detaching failed", u.name)
				d.retried(d.attachUplinkLocked(u), u.name)
				return
			}
		}
	}
}

// runRepairs tries ports again that are not attached, and does what else is due later.
func (d *Daemon) runRepairs(ctx context.Context) {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.repair()
		}
	}
}

func (d *Daemon) repair() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.ports {
		if h, ok := p.att.(hostPort); ok && p.cfg.Type == config.PortHost && h.Superseded() {
			d.warn(d.detachLocked(p), "namespace was made anew", p.cfg.Name)
			p.fault = nil
		}
		missing := p.cfg.Type == config.PortDevice && errors.Is(p.fault, tap.ErrNoDevice)
		if p.att == nil && !missing {
			d.retried(d.attachLocked(p), p.cfg.Name)
		}
	}
	d.retryForwardsLocked()
	for _, n := range d.networks {
		if n.gateway != nil && n.gateway.att == nil {
			d.retried(d.openGatewayLocked(n), n.cfg.Name)
		}
	}
	d.flows.revisit()
	for _, n := range d.segmentsLocked() {
		d.announceAgainLocked(n)
		for _, u := range n.uplinks {
			if u.up == nil && !errors.Is(u.fault, tap.ErrNoDevice) {
				d.retried(d.attachUplinkLocked(u), u.name)
			}
		}
	}
	d.routeLocked()
}

// retried notes the outcome of a retry. Failures stand in the port's state, where
// status and doctor show them, and are not logged over and over.
func (d *Daemon) retried(err error, name string) {
	if err != nil {
		d.log.Debug("still not attached", zap.String(keyPort, name), zap.Error(err))
	}
}

// warn logs an error that changes nothing of what happens next.
func (d *Daemon) warn(err error, msg, name string) {
	if err != nil {
		d.log.Warn(msg, zap.String(keyPort, name), zap.Error(err))
	}
}

// must logs an error of the switch that only a fault of ours can cause.
func (d *Daemon) must(err error, name string) {
	if err != nil {
		d.log.Error("the switch refused a change", zap.String(keyPort, name), zap.Error(err))
	}
}
