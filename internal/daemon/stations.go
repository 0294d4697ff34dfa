package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
)

// Stations implements control.Engine.
func (d *Daemon) Stations(name string) ([]api.Station, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.networkLocked(name)
	if err != nil {
		return nil, err
	}
	ports := map[frame.PortID]member{}
	for _, m := range d.membersLocked() {
		ports[m.id] = m
	}
	list := []api.Station{}
	for _, s := range d.sw.Stations(n.fid) {
		m, ok := ports[s.Port]
		if !ok {
			continue // being removed
		}
		list = append(list, api.Station{
			Network: m.net.cfg.Name, MAC: s.MAC, Port: m.name, Static: s.Static, Age: s.Age.Seconds(),
		})
	}
	slices.SortFunc(list, func(a, b api.Station) int {
		return cmp.Or(strings.Compare(a.Network, b.Network), cmp.Compare(a.MAC, b.MAC))
	})
	return list, nil
}

// AddStation implements control.Engine. The entry lasts as long as the daemon.
func (d *Daemon) AddStation(name string, mac frame.MAC, port string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.networks[name]
	if n == nil {
		return fmt.Errorf("network %q: %w", name, control.ErrNotFound)
	}
	if mac == 0 || mac.IsGroup() {
		return fmt.Errorf("%s is no station's address (group or zero): %w", mac, control.ErrInvalid)
	}
	m, ok := d.memberLocked(port)
	if !ok || m.net != n {
		return fmt.Errorf("port %q in network %s: %w", port, name, control.ErrNotFound)
	}
	if m.id != 0 {
		if err := d.sw.AddStation(n.fid, mac, m.id); err != nil {
			return err
		}
	}
	if n.static == nil {
		n.static = map[frame.MAC]string{}
	}
	n.static[mac] = port
	return nil
}

// DeleteStation implements control.Engine.
func (d *Daemon) DeleteStation(name string, mac frame.MAC) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.networks[name]
	if n == nil {
		return fmt.Errorf("network %q: %w", name, control.ErrNotFound)
	}
	_, static := n.static[mac]
	delete(n.static, mac)
	if !d.sw.DeleteStation(n.fid, mac) && !static {
		return fmt.Errorf("station %s in network %s: %w", mac, name, control.ErrNotFound)
	}
	return nil
}

// FlushStations implements control.Engine.
func (d *Daemon) FlushStations(name, port string) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.networkLocked(name)
	if err != nil {
		return 0, err
	}
	id, err := d.portLocked(port)
	if err != nil {
		return 0, err
	}
	return d.sw.FlushStations(n.fid, id), nil
}
