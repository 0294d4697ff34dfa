// Package config is what the operator writes: the document /etc/weft/weft.yaml,
// its defaults, its faults, and edits that keep its comments.
package config

import (
	"net/netip"
	"time"

	"weft/frame"
)

// A Config is the whole document.
type Config struct {
	Switch   Switch    `yaml:"switch"`
	Networks []Network `yaml:"networks"`
	Ports    []Port    `yaml:"ports"`
}

// Switch is what concerns all networks. All but Fastpath takes effect at start only.
type Switch struct {
	Workers  int      `yaml:"workers"`  // OS threads that carry frames; 0 = one for every two CPUs, at most 4
	Stations int      `yaml:"stations"` // capacity of the filtering database; default 65,536
	Sessions int      `yaml:"sessions"` // capacity of the table of NAT sessions; default 262,144
	Fastpath Fastpath `yaml:"fastpath"` // the flow cache in the kernel, of all ports: on (default) or off
}

// A Mode says how a network reaches the world.
type Mode string

// The modes that this version serves.
const (
	ModeNAT      Mode = "nat"      // behind the host's address, or addresses of its own; the default
	ModeRouted   Mode = "routed"   // with its own addresses, through the host
	ModeBridged  Mode = "bridged"  // on the uplink's segment, beside the host
	ModeIsolated Mode = "isolated" // its ports only
)

// HasGateway reports whether networks of the mode have a gateway: layer 3.
func (m Mode) HasGateway() bool { return m == ModeNAT || m == ModeRouted }

// UplinkAuto stands for the NIC of the host's default route, one for each family.
const UplinkAuto = "auto"

// A Network is a set of ports that exchange frames. The keys from DHCP on, and
// Subnets, are for networks with a gateway only.
type Network struct {
	Name     string         `yaml:"name"`
	Mode     Mode           `yaml:"mode"`     // default nat
	Subnets  []netip.Prefix `yaml:"subnets"`  // each with the gateway's address in it: 192.168.150.1/24
	Uplinks  []string       `yaml:"uplinks"`  // bridged: NICs, in order of preference: one active, the others standby; nat, routed: NICs, or auto alone (default). `uplink: eth0` is accepted for one
	MTU      int            `yaml:"mtu"`      // of all its ports; default 1500
	Ageing   Duration       `yaml:"ageing"`   // of dynamic entries; default 300s
	Stations int            `yaml:"stations"` // limit of dynamic entries; 0 = none but the table's
	DHCP     DHCP           `yaml:"dhcp"`
	DNS      DNS            `yaml:"dns"`
	NAT      NAT            `yaml:"nat"`      // nat only
	Forwards []Forward      `yaml:"forwards"` // nat only
	Routes   []Route        `yaml:"routes"`
	Reach    []string       `yaml:"reach"` // networks that its guests may address, beside their own
	Proxy    bool           `yaml:"proxy"` // routed: answer ARP and neighbor solicitations for Subnets on the uplinks
}

// A PortType says what is at the other side of a port.
type PortType string

// The port types that this version serves.
const (
	PortTAP    PortType = "tap"    // a TAP that weft makes and a hypervisor opens by name
	PortDevice PortType = "device" // a kernel netdev that somebody else made
	PortHost   PortType = "host"   // a TAP whose kernel side belongs to the host
)

// A Port attaches something to a network.
type Port struct {
	Name      string         `yaml:"name"`
	Network   string         `yaml:"network"`
	Type      PortType       `yaml:"type"`      // default tap
	Device    string         `yaml:"device"`    // the netdev's name; default: the port's name
	Owner     string         `yaml:"owner"`     // tap: user (name or number) who may open it; default root, or nobody in particular if a group is given
	Group     string         `yaml:"group"`     // tap: group (name or number) whose members may open it; with an owner too, both are needed
	Queues    int            `yaml:"queues"`    // tap: queue pairs that the guest opens; default 1
	MAC       frame.MAC      `yaml:"mac"`       // tap, device: the guest's address, made a static entry; host: address of the host's side
	Addresses []netip.Prefix `yaml:"addresses"` // host: addresses of the host's side
	NetNS     string         `yaml:"netns"`     // host: name of the network namespace (ip-netns(8)) that gets the host's side
	Stations  int            `yaml:"stations"`  // limit of dynamic entries; 0 = none
	Offloads  *bool          `yaml:"offloads"`  // host: checksum and segmentation offloads; default true
	Fastpath  Fastpath       `yaml:"fastpath"`  // the flow cache in the kernel: on (default), off, or for taps xdp
}

// A Duration is a time.Duration that reads and writes as "300s".
type Duration time.Duration

// DefaultPath is where the daemon looks for the document.
const DefaultPath = "/etc/weft/weft.yaml"
