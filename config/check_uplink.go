package config

import "strings"

// A use is what the document uses a device for.
type use struct {
	path string
	as   usage
	in   string // uplinks: path of the network
}

type usage uint8

const (
	asPort    usage = 1 + iota
	asBridged       // uplink of a bridged network
	asRouted        // uplink of a network with a gateway
)

// beside reports whether a device can have both uses at once. A NIC carries one
// bridged network and, as the host's own, any number of networks with a gateway.
func (u use) beside(o use) bool {
	uplinks := u.as != asPort && o.as != asPort
	return uplinks && u.in != o.in && (u.as == asRouted || o.as == asRouted)
}

// device notes who uses a device of namespace netns, and complains of uses that
// exclude each other.
func (k *checker) device(netns, name string, u use) {
	key := netns + "/" + name
	for _, o := range k.devices[key] {
		if !u.beside(o) {
			k.complain(u.path, name, "%q is in use by %s already", name, o.path)
			return
		}
	}
	k.devices[key] = append(k.devices[key], u)
}

func (k *checker) uplinks(at string, n *Network) {
	list := at + ".uplinks"
	path := func(i int) string { return index(list, i) }
	if k.given(at + ".uplink") {
		list = at + ".uplink"
		path = func(int) string { return list }
	}
	as := asRouted
	switch {
	case n.Mode == ModeIsolated && len(n.Uplinks) > 0:
		k.complain(list, strings.Join(n.Uplinks, ", "), "an isolated network has no uplinks (want another mode, or no uplinks)")
	case n.Mode == ModeBridged && len(n.Uplinks) == 0:
		k.complain(list, "", "missing (want the NICs of the bridged network, such as [eth0])")
	case n.Mode == ModeBridged:
		as = asBridged
	case n.Mode.HasGateway() && len(n.Uplinks) == 0:
		k.complain(list, "", "empty (want NICs such as [eth0], or the key left out for that of the host's default route)")
	}
	for i, nic := range n.Uplinks {
		switch {
		case nic != UplinkAuto:
			k.named(path(i), nic, deviceFault(nic))
			k.device("", nic, use{path(i), as, at})
		case n.Mode == ModeBridged:
			k.complain(path(i), nic, "auto is for networks of mode nat and routed (want the NIC's name)")
		case len(n.Uplinks) > 1:
			k.complain(path(i), nic, "auto stands for the NIC of the host's default route (want it alone, or names of NICs)")
		}
	}
}
