package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weft/frame"
)

// Bounds of what a document may ask for.
const (
	// Below 1280 bytes Linux turns IPv6 off on a device (RFC 8200 section 5), and
	// networks carry both families; 68 (RFC 791) would do for IPv4 alone.
	minMTU = 1280
	// Linux tun: 65,535 less the Ethernet header.
	maxMTU = 65535 - frame.EthernetLen

	// IEEE 802.1Q table 8-6.
	minAgeing = Duration(10 * time.Second)
	maxAgeing = Duration(1_000_000 * time.Second)

	maxQueues   = 256 // Linux tun: MAX_TAP_QUEUES
	maxWorkers  = 256
	maxStations = 1 << 24
)

// A checker finds what is wrong between values that are each well formed.
type checker struct {
	*binder
	c        *Config
	networks map[string]int                  // name → index
	ports    map[string]int                  // name → index
	devices  map[string]string               // namespace and name → path that uses it
	macs     map[string]map[frame.MAC]string // network → address → path
	addrs    map[string]map[netip.Addr]string
}

func check(c *Config, b *binder) {
	k := &checker{
		binder: b, c: c,
		networks: map[string]int{}, ports: map[string]int{}, devices: map[string]string{},
		macs: map[string]map[frame.MAC]string{}, addrs: map[string]map[netip.Addr]string{},
	}
	k.within("switch.workers", c.Switch.Workers, 0, maxWorkers)
	k.within("switch.stations", c.Switch.Stations, 1, maxStations)
	for i := range c.Networks {
		k.network(index("networks", i), i)
	}
	for i := range c.Ports {
		k.port(index("ports", i), i)
	}
}

func index(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// sound reports whether path and everything around it was bound without a fault.
func (k *checker) sound(path string) bool {
	for {
		if k.failed[path] {
			return false
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return !k.failed[""]
		}
		path = path[:cut]
	}
}

// complain notes a fault, unless what stands at path already has one.
func (k *checker) complain(path, value, format string, args ...any) {
	if k.sound(path) {
		k.fault(path, value, format, args...)
	}
}

// named passes on the complaint of one of names.go's functions.
func (k *checker) named(path, value, text string) {
	if text != "" {
		k.complain(path, value, "%s", text)
	}
}

func (k *checker) within(path string, v, least, most int) {
	if v < least || v > most {
		k.complain(path, fmt.Sprint(v), "%d is out of range (want %d to %d)", v, least, most)
	}
}

func (k *checker) network(at string, i int) {
	n := &k.c.Networks[i]
	if !k.given(at + ".name") {
		k.complain(at+".name", "", "missing (want a name such as lab)")
	} else {
		k.named(at+".name", n.Name, nameFault(n.Name, maxName))
	}
	if was, twice := k.networks[n.Name]; !twice {
		k.networks[n.Name] = i
	} else if n.Name != "" {
		k.complain(at+".name", n.Name, "%q is also the name of %s", n.Name, index("networks", was))
	}
	k.mode(at, n)
	k.uplinks(at, n)
	k.within(at+".mtu", n.MTU, minMTU, maxMTU)
	if n.Ageing < minAgeing || n.Ageing > maxAgeing {
		k.complain(at+".ageing", n.Ageing.String(), "%v is out of range (want %v to %v)", n.Ageing, minAgeing, maxAgeing)
	}
	k.stations(at+".stations", n.Stations)
}

func (k *checker) mode(at string, n *Network) {
	switch n.Mode {
	case ModeNAT, ModeRouted, ModeBridged, ModeIsolated:
	default:
		k.complain(at+".mode", string(n.Mode), "%q is not a mode (want nat, routed, bridged or isolated)", n.Mode)
	}
}

func (k *checker) uplinks(at string, n *Network) {
	list := at + ".uplinks"
	path := func(i int) string { return index(list, i) }
	if k.given(at + ".uplink") {
		list = at + ".uplink"
		path = func(int) string { return list }
	}
	switch {
	case n.Mode == ModeIsolated && len(n.Uplinks) > 0:
		k.complain(list, strings.Join(n.Uplinks, ", "), "an isolated network has no uplinks (want mode bridged, or no uplinks)")
	case n.Mode == ModeBridged && len(n.Uplinks) == 0:
		k.complain(list, "", "missing (want the NICs of the bridged network, such as [eth0])")
	}
	for i, nic := range n.Uplinks {
		if nic == "auto" {
			k.complain(path(i), nic, "auto is not available in this version (want the NIC's name)")
			continue
		}
		k.named(path(i), nic, deviceFault(nic))
		k.device(path(i), "", nic)
	}
}

// device notes who uses a device of namespace netns: one user only.
func (k *checker) device(path, netns, name string) {
	key := netns + "/" + name
	if was, twice := k.devices[key]; twice {
		k.complain(path, name, "%q is in use by %s already", name, was)
		return
	}
	k.devices[key] = path
}

// stations checks a limit of dynamic entries against the table's capacity.
func (k *checker) stations(path string, limit int) {
	most := k.c.Switch.Stations
	if !k.sound("switch.stations") {
		most = maxStations
	}
	if limit < 0 || limit > most {
		k.complain(path, fmt.Sprint(limit), "%d is out of range (want 0 for none, or at most switch.stations, %d)", limit, most)
	}
}

// networkNames returns the names of the document's networks, for a message.
func (k *checker) networkNames() []string {
	var names []string
	for _, n := range k.c.Networks {
		if n.Name != "" && !slices.Contains(names, n.Name) {
			names = append(names, n.Name)
		}
	}
	return names
}
