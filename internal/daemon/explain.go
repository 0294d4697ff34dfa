package daemon

import (
	"fmt"

	"weft/internal/control"
	"weft/internal/control/api"
)

// Explain implements control.Engine. It asks the rooms what they would do with the frame.
func (d *Daemon) Explain(e api.Explain) (api.Explained, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.memberLocked(e.Port)
	if !ok {
		return api.Explained{}, fmt.Errorf("port %s: %w", e.Port, control.ErrNotFound)
	}
	return api.Explained{Steps: []api.Step{{Stage: "port", Says: m.name + " is " + m.state}}}, nil
}
