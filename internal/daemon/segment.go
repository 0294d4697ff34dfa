package daemon

import (
	"errors"
	"maps"
	"slices"

	"weft/config"
)

// A NIC that networks with a gateway go by, and that no bridged network has, is a
// segment of its own: a network with no ports but the NIC's two sides.

// isSegment reports whether n is a NIC's segment, and no network of the document.
func (n *network) isSegment() bool { return n.cfg.Mode == "" }

// segmentsLocked returns all that frames are relayed in: networks in the document's
// order, then the segments of NICs.
func (d *Daemon) segmentsLocked() []*network {
	var list []*network
	for _, c := range d.cfg.Networks {
		if n := d.networks[c.Name]; n != nil {
			list = append(list, n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.networks)) {
		if n := d.networks[name]; !slices.Contains(list, n) { // just being added
			list = append(list, n)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.segments)) {
		list = append(list, d.segments[name])
	}
	return list
}

// uplinkLocked returns the uplink that a NIC is, nil if none.
func (d *Daemon) uplinkLocked(name string) *nic {
	for _, n := range d.segmentsLocked() {
		for _, u := range n.uplinks {
			if u.name == name {
				return u
			}
		}
	}
	return nil
}

// openSegmentLocked attaches a NIC that is no uplink yet. A failure stands in its state,
// and it is tried again.
func (d *Daemon) openSegmentLocked(name string) error {
	n := &network{cfg: config.Network{Name: "uplink " + name, Uplinks: []string{name}, MTU: maxSegmentMTU, Ageing: config.DefaultAgeing}}
	fid, err := d.sw.AddNetwork(n.switchConfig())
	if err != nil {
		return err
	}
	n.fid = fid
	d.segments[name] = n
	u := &nic{name: name, net: n}
	n.uplinks = []*nic{u}
	d.retried(d.attachUplinkLocked(u), name)
	return nil
}

// place says for people which network a NIC is in.
func (u *nic) place() string {
	if u.bridged() {
		return "network " + u.net.cfg.Name
	}
	return "use by networks with a gateway"
}

// maxSegmentMTU is no bound: that of the NIC holds.
const maxSegmentMTU = 65521

// closeSegmentLocked gives up a NIC: another network is to have it (keep), or none.
func (d *Daemon) closeSegmentLocked(name string, keep bool) error {
	n := d.segments[name]
	delete(d.segments, name)
	up, err := d.unplugUplinkLocked(n.uplinks[0])
	if keep {
		err = errors.Join(err, up.Release())
	} else {
		err = errors.Join(err, up.Close())
	}
	return errors.Join(err, d.sw.RemoveNetwork(n.fid))
}

// keepSegmentsLocked makes the segments those of the NICs named that no bridged network has.
func (d *Daemon) keepSegmentsLocked(wanted []string) {
	for _, name := range slices.Sorted(maps.Keys(d.segments)) {
		if !slices.Contains(wanted, name) {
			d.warn(d.closeSegmentLocked(name, false), "detaching an uplink failed in part", name)
		}
	}
	for _, name := range wanted {
		if d.uplinkLocked(name) == nil {
			d.warn(d.openSegmentLocked(name), "attaching an uplink failed", name)
		}
	}
}
