package daemon

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"weft/config"
	"weft/tap"
)

// applyLocked leads the running switch from d.cfg to next, changing what differs
// and nothing else. A step that fails undoes the steps before it, and the switch is
// as it was; a device that is missing, or that another program has, is no failure
// but a warning: the port waits for it. lenient, for start and end, makes a warning
// of every failure that concerns one port only, so that one keeps no other offline.
func (d *Daemon) applyLocked(next *config.Config, lenient bool) (warnings []string, err error) {
	var t transaction
	for _, a := range Plan(d.cfg, next) {
		err := d.doLocked(&t, a)
		switch {
		case err == nil:
			d.log.Info("applied", zap.Stringer(keyAction, a))
		case waiting(err), lenient && !hopeless(err):
			d.log.Warn("applied, waiting", zap.Stringer(keyAction, a), zap.Error(err))
			warnings = append(warnings, fmt.Sprintf("%s: %v", a, err))
		default:
			err = fmt.Errorf("%s: %w", a, err)
			if undo := t.rollback(); undo != nil {
				d.log.Error("rolling back failed in part", zap.Error(undo))
				err = fmt.Errorf("%w; rolling back failed in part: %w", err, undo)
			}
			d.routeLocked()
			return nil, err
		}
	}
	d.cfg = next
	d.unmirrorLocked()
	if err := t.commit(); err != nil {
		d.log.Warn("removing what is no longer used failed in part", zap.Error(err))
		warnings = append(warnings, err.Error())
	}
	d.routeLocked()
	return warnings, nil
}

// A transaction collects how to undo what was done, and what to do once nothing
// can fail any more.
type transaction struct {
	undo   []func() error
	finish []func() error
}

func (t *transaction) onRollback(f func() error) { t.undo = append(t.undo, f) }
func (t *transaction) onCommit(f func() error)   { t.finish = append(t.finish, f) }

func (t *transaction) rollback() error {
	var err error
	for _, f := range slices.Backward(t.undo) {
		err = errors.Join(err, f())
	}
	return err
}

// commit does what was left for the end, side by side: most of the time that the
// kernel takes to remove a device is waiting.
func (t *transaction) commit() error {
	errs := make([]error, len(t.finish))
	var g sync.WaitGroup
	for i, f := range t.finish {
		g.Go(func() { errs[i] = f() })
	}
	g.Wait()
	return errors.Join(errs...)
}

func (d *Daemon) doLocked(t *transaction, a Action) error {
	switch a.Kind {
	case DetachPort:
		return d.doDetachPort(t, a)
	case DetachUplink:
		return d.doDetachUplink(t, a)
	case AddNetwork:
		return d.doAddNetwork(t, a)
	case UpdateNetwork:
		return d.doUpdateNetwork(t, a)
	case AttachUplink:
		return d.doAttachUplink(t, a)
	case UpdatePort:
		return d.doUpdatePort(t, a)
	case AttachPort:
		return d.doAttachPort(t, a)
	case LowerGateway:
		return d.doLowerGateway(t, a)
	case RaiseGateway:
		return d.doRaiseGateway(t, a)
	case SetForwards:
		return d.doSetForwards(t, a)
	case SetFastpath:
		return nil
	case RemoveNetwork:
		n := d.networks[a.Network.Name]
		delete(d.networks, a.Network.Name)
		t.onRollback(func() error { d.networks[a.Network.Name] = n; return nil })
		t.onCommit(func() error { return d.sw.RemoveNetwork(n.fid) })
		return nil
	}
	panic(fmt.Sprintf("daemon: action of kind %d", a.Kind))
}

func (d *Daemon) doDetachPort(t *transaction, a Action) error {
	p := d.ports[a.Port.Name]
	id := p.id
	att, err := d.unplugLocked(p)
	if err != nil {
		return err
	}
	delete(d.ports, a.Port.Name)
	t.onCommit(func() error { d.layer3.table.ForgetPort(id); return nil }) // nobody is left to go on with them
	t.onRollback(func() error {
		d.ports[a.Port.Name] = p
		return errors.Join(att.Release(), d.attachLocked(p))
	})
	return t.dispose(a, att.Release, func() error { return d.remove(p.cfg, att) })
}

// dispose settles what becomes of a device that is out of the switch. It outlives
// the plan's last possible failure, unless its successor needs the name.
func (t *transaction) dispose(a Action, release, remove func() error) error {
	switch {
	case a.Moved:
		return release()
	case a.Recreate:
		return remove()
	}
	t.onCommit(remove)
	return nil
}

// remove takes down what was made for a port that is out of the switch. A TAP goes
// first, so that its guest's frames never meet a TAP without programs.
func (d *Daemon) remove(p config.Port, att leftover) error {
	var err error
	if p.Type == config.PortTAP {
		err = d.kernel.DeleteTAP(p.Device)
	}
	if errors.Is(err, tap.ErrForeign) || errors.Is(err, tap.ErrBusy) {
		err = nil // it is somebody else's
	}
	return errors.Join(err, att.Close())
}

func (d *Daemon) doDetachUplink(t *transaction, a Action) error {
	n := d.networks[a.Network.Name]
	i := slices.IndexFunc(n.uplinks, func(u *nic) bool { return u.name == a.Uplink })
	u := n.uplinks[i]
	up, err := d.unplugUplinkLocked(u)
	if err != nil {
		return err
	}
	n.uplinks = slices.Delete(n.uplinks, i, i+1)
	t.onRollback(func() error {
		d.insertUplinkLocked(u)
		return errors.Join(up.Release(), d.attachUplinkLocked(u))
	})
	return t.dispose(a, up.Release, func() error {
		if !a.Recreate && slices.Contains(d.waysLocked(), u.name) {
			return up.Release() // for the segment of its own that it will be: none of its frames is to reach the host meanwhile
		}
		return up.Close()
	})
}

func (d *Daemon) doLowerGateway(t *transaction, a Action) error {
	n := d.networks[a.Network.Name]
	g := n.gateway
	att, err := d.unplugGatewayLocked(n)
	if err != nil {
		return err
	}
	n.gateway = nil
	t.onRollback(func() error {
		n.gateway = g
		return errors.Join(att.Release(), d.openGatewayLocked(n))
	})
	return t.dispose(a, att.Release, att.Close)
}

func (d *Daemon) doRaiseGateway(t *transaction, a Action) error {
	n := d.networks[a.Network.Name]
	t.onRollback(func() error {
		err := d.closeGatewayLocked(n)
		n.gateway = nil
		return err
	})
	return d.raiseGatewayLocked(n)
}

func (d *Daemon) doSetForwards(t *transaction, a Action) error {
	t.onRollback(func() error { return d.setForwardsLocked(a.OldForwards) })
	return d.setForwardsLocked(a.Forwards)
}

func (d *Daemon) doAddNetwork(t *transaction, a Action) error {
	n := &network{cfg: a.Network}
	fid, err := d.sw.AddNetwork(n.switchConfig())
	if err != nil {
		return err
	}
	n.fid = fid
	d.networks[n.cfg.Name] = n
	t.onRollback(func() error {
		delete(d.networks, n.cfg.Name)
		return d.sw.RemoveNetwork(fid)
	})
	return nil
}

func (d *Daemon) doUpdateNetwork(t *transaction, a Action) error {
	t.onRollback(func() error { return d.updateNetworkLocked(a.OldNetwork) })
	return d.updateNetworkLocked(a.Network)
}

func (d *Daemon) updateNetworkLocked(c config.Network) error {
	n := d.networks[c.Name]
	mtu := n.cfg.MTU
	n.cfg = c
	err := errors.Join(d.sw.UpdateNetwork(n.fid, n.switchConfig()), d.updateGatewayLocked(n))
	d.sortUplinksLocked(n)
	d.electLocked(n)
	if mtu == c.MTU {
		return err
	}
	for _, u := range n.uplinks {
		if u.up != nil {
			d.updateUplinkLocked(u)
		}
	}
	for _, p := range d.ports {
		if p.net == n {
			err = errors.Join(err, d.updateLocked(p))
		}
	}
	return err
}

func (d *Daemon) doAttachUplink(t *transaction, a Action) error {
	u := &nic{name: a.Uplink, net: d.networks[a.Network.Name]}
	if d.segments[u.name] != nil {
		// It was a segment of its own. If this fails, it will be one again.
		d.warn(d.closeSegmentLocked(u.name, true), "taking over an uplink failed in part", u.name)
	}
	d.insertUplinkLocked(u)
	t.onRollback(func() error {
		up, err := d.unplugUplinkLocked(u)
		u.net.uplinks = slices.DeleteFunc(u.net.uplinks, func(o *nic) bool { return o == u })
		if a.Moved {
			return errors.Join(err, up.Release())
		}
		return errors.Join(err, up.Close())
	})
	return d.attachUplinkLocked(u)
}

func (d *Daemon) insertUplinkLocked(u *nic) {
	u.net.uplinks = append(u.net.uplinks, u)
	d.sortUplinksLocked(u.net)
}

// sortUplinksLocked brings the uplinks into the order of preference.
func (d *Daemon) sortUplinksLocked(n *network) {
	slices.SortStableFunc(n.uplinks, func(a, b *nic) int {
		return slices.Index(n.cfg.Uplinks, a.name) - slices.Index(n.cfg.Uplinks, b.name)
	})
}

func (d *Daemon) doUpdatePort(t *transaction, a Action) error {
	p := d.ports[a.Port.Name]
	update := func(c config.Port) error {
		p.cfg = c
		return d.updateLocked(p)
	}
	t.onRollback(func() error { return update(a.OldPort) })
	return update(a.Port)
}

func (d *Daemon) doAttachPort(t *transaction, a Action) error {
	p := &port{cfg: a.Port, net: d.networks[a.Port.Network]}
	d.ports[p.cfg.Name] = p
	t.onRollback(func() error {
		delete(d.ports, p.cfg.Name)
		att, err := d.unplugLocked(p)
		if a.Moved {
			return errors.Join(err, att.Release())
		}
		return errors.Join(err, d.remove(p.cfg, att))
	})
	return d.attachLocked(p)
}
