package daemon

import (
	"fmt"
	"net/netip"

	"weft/internal/control"
	"weft/internal/control/api"
)

// NATSessions implements control.Engine.
func (d *Daemon) NATSessions(f api.NATFilter) ([]api.NATSession, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.networkLocked(f.Network)
	return nil, err
}

// FlushNAT implements control.Engine.
func (d *Daemon) FlushNAT(network string, _ netip.Addr) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.networkLocked(network)
	return 0, err
}

// Leases implements control.Engine.
func (d *Daemon) Leases(network string) ([]api.Lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.networkLocked(network)
	return nil, err
}

// ReleaseLease implements control.Engine.
func (d *Daemon) ReleaseLease(network string, a netip.Addr) error {
	return fmt.Errorf("lease %s in network %s: %w", a, network, control.ErrNotFound)
}

// Routes implements control.Engine.
func (d *Daemon) Routes(network string) ([]api.Route, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.networkLocked(network)
	return nil, err
}
