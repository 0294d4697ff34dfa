package daemon

import (
	"fmt"

	"weft/frame"
	"weft/internal/control"
	vswitch "weft/switch"
)

// A mirror is a capture's wish for the frames of one port. It stays while the
// port's device comes and goes.
type mirror struct {
	to   vswitch.Mirror
	gone func() // the port was removed
}

// Mirror implements control.Engine.
func (d *Daemon) Mirror(port string, m vswitch.Mirror, gone func()) (stop func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.memberLocked(port)
	if !ok {
		return nil, fmt.Errorf("port %s: %w", port, control.ErrNotFound)
	}
	if d.mirrors[port] != nil {
		return nil, fmt.Errorf("port %s is being captured: %w", port, control.ErrConflict)
	}
	own := &mirror{to: m, gone: gone}
	d.mirrors[port] = own
	d.mirrorLocked(port, b.id)
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.mirrors[port] != own {
			return // it is gone
		}
		delete(d.mirrors, port)
		if b, ok := d.memberLocked(port); ok && b.id != 0 {
			d.must(d.sw.SetMirror(b.id, nil), port)
		}
	}, nil
}

// mirrorLocked gives a port that came into the switch its mirror, if it has one.
func (d *Daemon) mirrorLocked(port string, id frame.PortID) {
	if m := d.mirrors[port]; m != nil && id != 0 {
		d.must(d.sw.SetMirror(id, m.to), port)
	}
}

// unmirrorLocked ends the captures of ports that are no more.
func (d *Daemon) unmirrorLocked() {
	for port, m := range d.mirrors {
		if _, ok := d.memberLocked(port); !ok {
			delete(d.mirrors, port)
			m.gone()
		}
	}
}
