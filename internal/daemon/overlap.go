package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"weft/config"
)

// errOverlap: a network's subnet is somebody else's on this host.
var errOverlap = errors.New("overlapping subnets")

// overlap says which address or route of the host a network's subnets stand in the
// way of.
func (l *layer3) overlap(c config.Network) error {
	for _, s := range c.Subnets {
		s = s.Masked()
		for _, a := range l.host.Addresses {
			if !ours(a.Name) && s.Overlaps(a.Prefix) && !partOf(c, s, a.Prefix) {
				return overlapError(c.Name, s, a.Prefix.String(), a.Name)
			}
		}
		for _, r := range l.host.Routes {
			if !ours(r.Name) && s.Overlaps(r.Prefix) && r.Prefix.Bits() >= s.Bits() {
				return overlapError(c.Name, s, "the route to "+r.Prefix.String(), r.Name)
			}
		}
	}
	return nil
}

// partOf reports whether s is a part of the segment that the host's address stands on, and
// weft answers there for those behind it: the longer prefix says who is where.
func partOf(c config.Network, s, address netip.Prefix) bool {
	return c.Proxy && s.Bits() > address.Bits() && !s.Contains(address.Addr())
}

func overlapError(network string, s netip.Prefix, what, device string) error {
	return fmt.Errorf("%w: subnet %v of network %s overlaps %s of %s: choose another, such as weft network set %s subnets=10.9.0.1/24",
		errOverlap, s, network, what, cmp.Or(device, "the host"), network)
}

// ours reports whether weft made the device.
func ours(device string) bool { return strings.HasPrefix(device, "wf-") }
