package daemon

import (
	"fmt"

	"weft/internal/control"
	"weft/internal/control/api"
)

// Fastpath implements control.Engine.
func (d *Daemon) Fastpath(q api.FastpathQuery) (api.Fastpath, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.memberLocked(q.Port); !ok && q.Port != "" {
		return api.Fastpath{}, fmt.Errorf("port %s: %w", q.Port, control.ErrNotFound)
	}
	return api.Fastpath{Detail: "this weftd has none"}, nil
}

// FlushFastpath implements control.Engine.
func (d *Daemon) FlushFastpath() (int, error) { return 0, nil }
