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
	maxSessions = 1 << 24
)

// A checker finds what is wrong between values that are each well formed.
type checker struct {
	*binder
	c         *Config
	networks  map[string]int                  // name → index
	ports     map[string]int                  // name → index
	devices   map[string][]use                // by namespace and name
	macs      map[string]map[frame.MAC]string // network → address → path
	addrs     map[string]map[netip.Addr]string
	subnets   []subnet
	externals map[netip.Addr]string // addresses of NAT that are not the host's → path
	forwards  []forward
	routes    map[netip.Prefix]string // → path
}

func check(c *Config, b *binder) {
	k := &checker{
		binder: b, c: c,
		networks: map[string]int{}, ports: map[string]int{}, devices: map[string][]use{},
		macs: map[string]map[frame.MAC]string{}, addrs: map[string]map[netip.Addr]string{},
		externals: map[netip.Addr]string{}, routes: map[netip.Prefix]string{},
	}
	k.within("switch.workers", c.Switch.Workers, 0, maxWorkers)
	k.within("switch.stations", c.Switch.Stations, 1, maxStations)
	k.within("switch.sessions", c.Switch.Sessions, 1, maxSessions)
	if c.Switch.Fastpath == FastpathXDP {
		k.complain("switch.fastpath", "xdp", "xdp is for ports of type tap (want on or off)")
	}
	for i := range c.Networks {
		k.network(index("networks", i), i)
	}
	k.gateways()
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
	k.subnetsOf(at, i)
	k.within(at+".mtu", n.MTU, minMTU, maxMTU)
	if n.Ageing < minAgeing || n.Ageing > maxAgeing {
		k.complain(at+".ageing", n.Ageing.String(), "%v is out of range (want %v to %v)", n.Ageing, minAgeing, maxAgeing)
	}
	k.stations(at+".stations", n.Stations)
}

func (k *checker) mode(at string, n *Network) {
	switch n.Mode {
	case ModeNAT, ModeRouted, ModeBridged, ModeIsolated:
		k.fitMode(at, n.Mode)
	default:
		k.complain(at+".mode", string(n.Mode), "%q is not a mode (want nat, routed, bridged or isolated)", n.Mode)
	}
}

// ofModes says which modes of network have a key. Keys that are not here fit all.
var ofModes = []struct {
	key   string
	modes []Mode
}{
	{"subnets", []Mode{ModeNAT, ModeRouted}},
	{"dhcp", []Mode{ModeNAT, ModeRouted}},
	{"dns", []Mode{ModeNAT, ModeRouted}},
	{"nat", []Mode{ModeNAT}},
	{"forwards", []Mode{ModeNAT}},
	{"routes", []Mode{ModeNAT, ModeRouted}},
	{"reach", []Mode{ModeNAT, ModeRouted}},
	{"proxy", []Mode{ModeRouted}},
}

// fitMode refuses keys that mean nothing for the mode: somebody expects an effect.
func (k *checker) fitMode(at string, m Mode) {
	for _, f := range ofModes {
		if path := at + "." + f.key; k.given(path) && !slices.Contains(f.modes, m) {
			want := string(f.modes[0])
			if len(f.modes) > 1 {
				want += " or " + string(f.modes[1])
			}
			k.complain(path, "", "does not fit a network of mode %s (want mode %s, or the key left out)", m, want)
		}
	}
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
