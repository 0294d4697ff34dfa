package daemon

import (
	"weft/config"
	"weft/internal/control/api"
	"weft/service/forward"
)

// setForwardsLocked takes the forwarded ports from the host. If some are taken already,
// the others are had all the same, for who can go on with a part.
func (d *Daemon) setForwardsLocked(list []config.Forward) error {
	l := d.layer3
	l.clash = l.forwards.Set(listeners(list))
	if l.clash != nil {
		d.warn(l.forwards.Set(forward.Without(listeners(list), l.clash)), "forwarding a part failed", "host")
	}
	return l.clash
}

// retryForwardsLocked tries again those that clashed with a socket of the host.
func (d *Daemon) retryForwardsLocked() {
	if d.layer3.clash != nil {
		d.retried(d.setForwardsLocked(forwardsOf(d.cfg)), "host")
	}
}

// refused reports whether a forward is not in force, since the host has its port: then
// the host keeps what comes there.
func (l *layer3) refused(f config.Forward) bool {
	return l.clash != nil && len(forward.Without(listeners([]config.Forward{f}), l.clash)) == 0
}

// inForce returns the forwards of a network that are.
func (l *layer3) inForce(c config.Network) []config.Forward {
	var list []config.Forward
	for _, f := range c.Forwards {
		if len(c.NAT.Addresses) > 0 || !l.refused(f) {
			list = append(list, f)
		}
	}
	return list
}

// listeners are the forwards as the host's side of them wants them.
func listeners(list []config.Forward) []forward.Forward {
	var out []forward.Forward
	for _, f := range list {
		out = append(out, forward.Forward{
			Protocol: protocolOf(f.Proto), Address: f.Address, First: f.Port.First, Last: f.Port.Last, To: f.To,
		})
	}
	return out
}

func (l *layer3) forwardAnswer(c config.Network, f config.Forward) api.Forward {
	a := api.Forward{Protocol: string(f.Proto), Port: f.Port.String(), To: f.To, Address: f.Address}
	if len(c.NAT.Addresses) == 0 && l.refused(f) {
		a.Detail = l.clash.Error()
	}
	return a
}
