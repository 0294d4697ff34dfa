// Package api is what weft and weftd say to each other over the unix socket:
// JSON over HTTP, one type per answer.
package api

import (
	"net/netip"
	"time"

	"weft/frame"
)

// SocketPath is the default of the daemon's unix socket.
const SocketPath = "/run/weft/weft.sock"

// Status answers GET /v1/status.
type Status struct {
	Version    string    `json:"version"`
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	ConfigPath string    `json:"config_path"`
	Workers    int       `json:"workers"`
	Networks   int       `json:"networks"`
	Ports      int       `json:"ports"`
	PortsUp    int       `json:"ports_up"`
	Stations   int       `json:"stations"`
	Sessions   int       `json:"sessions"`           // of NAT
	Warnings   []string  `json:"warnings,omitempty"` // what keeps something from working, one line each
}

// Network answers GET /v1/networks (a list) and /v1/networks/{name}.
type Network struct {
	Name     string   `json:"name"`
	Mode     string   `json:"mode"`
	MTU      int      `json:"mtu"`
	Ageing   string   `json:"ageing"`
	Stations int      `json:"stations"` // entries now
	Limit    int      `json:"limit,omitempty"`
	Ports    []string `json:"ports"`
	Uplinks  []Uplink `json:"uplinks,omitempty"`

	// Of networks with a gateway (nat, routed) only.
	Subnets    []netip.Prefix `json:"subnets,omitempty"`  // the gateway's addresses, with prefix length
	Gateway    string         `json:"gateway,omitempty"`  // the host's device that has them
	DHCP       string         `json:"dhcp,omitempty"`     // range of IPv4 addresses, "ipv6" if there are none; empty: no DHCP
	Domain     string         `json:"domain,omitempty"`   // of the guests' names; empty: no DNS
	External   []netip.Addr   `json:"external,omitempty"` // that guests behind NAT have outside
	Forwards   []Forward      `json:"forwards,omitempty"`
	RouteHints []string       `json:"route_hints,omitempty"` // what routers outside need to reach the network: "ip route add 10.20.0.0/24 via 192.0.2.5"
}

// Forward is one port, or range of ports, that leads to a guest.
type Forward struct {
	Protocol string         `json:"protocol"`         // tcp, udp
	Port     string         `json:"port"`             // 2222, 8000-8010
	To       netip.AddrPort `json:"to"`               // the guest's, of the first port
	Address  netip.Addr     `json:"address,omitzero"` // external; none: all
	Detail   string         `json:"detail,omitempty"` // why it does not work, or not everywhere, and what to do
}

// Uplink is one NIC of a network.
type Uplink struct {
	Device string `json:"device"`
	State  string `json:"state"` // active, standby, no-carrier, waiting, error
	Detail string `json:"detail,omitempty"`
}

// Port answers GET /v1/ports (a list) and /v1/ports/{name}. The uplinks' two sides
// are ports too, named NIC:wire and NIC:host, and so are gateways: NETWORK:gateway.
type Port struct {
	Name     string    `json:"name"`
	Network  string    `json:"network"`
	Type     string    `json:"type"` // tap, device, host, uplink, gateway
	Device   string    `json:"device"`
	State    string    `json:"state"`            // up, down, standby, waiting, error
	Detail   string    `json:"detail,omitempty"` // why it is not up and what to do
	MAC      frame.MAC `json:"mac,omitempty"`
	MTU      int       `json:"mtu"`
	Queues   int       `json:"queues"`
	Offloads []string  `json:"offloads"` // csum, tso4, tso6, ecn, uso
	Stations int       `json:"stations"`
	Fastpath string    `json:"fastpath"` // what carries frames of known flows now: off (the switch), on, xdp
}

// Station answers GET /v1/fdb[?network=NAME] (a list). POST /v1/fdb adds a static
// one (Network, MAC, Port) and answers it; DELETE /v1/fdb?network=NAME&mac=… removes
// one; DELETE without mac flushes the dynamic ones of [network], [port]. Both answer
// Flushed.
type Station struct {
	Network string    `json:"network"`
	MAC     frame.MAC `json:"mac"`
	Port    string    `json:"port"`
	Static  bool      `json:"static"`
	Age     float64   `json:"age_seconds"`
}

// Flushed says how many entries a flush removed.
type Flushed struct {
	Count int `json:"count"`
}

// Counters answers GET /v1/counters[?port=NAME] (a list).
type Counters struct {
	Port       string            `json:"port"`
	RxFrames   uint64            `json:"rx_frames"`
	RxBytes    uint64            `json:"rx_bytes"`
	RxSegments uint64            `json:"rx_segments"`
	TxFrames   uint64            `json:"tx_frames"`
	TxBytes    uint64            `json:"tx_bytes"`
	TxSegments uint64            `json:"tx_segments"`
	Flooded    uint64            `json:"flooded"`
	Learned    uint64            `json:"learned"`
	Moved      uint64            `json:"moved"`
	LearnLimit uint64            `json:"learn_limit"`
	Taken      uint64            `json:"taken"`            // answered or kept by weft itself: DHCP, ARP, what waits
	Drops      map[string]uint64 `json:"drops,omitempty"`  // by frame.Reason, non-zero ones
	Kernel     map[string]uint64 `json:"kernel,omitempty"` // drops the kernel counted at this port's devices, non-zero ones
}

// An Edit is one change of the document. The daemon applies it and writes it back.
//
//	PUT    /v1/networks/{name}   sets Values of the network, making it if it is not there
//	DELETE /v1/networks/{name}
//	PUT    /v1/ports/{name}      the same for ports
//	DELETE /v1/ports/{name}
//
// A PUT with ?create=1 is refused with 409 if the name exists; with ?update=1 it is
// refused with 404 if not. ?runtime=1 changes the running switch only.
type Edit struct {
	// Values are by YAML keys of config.Network or config.Port; null removes the key. A
	// key with dots reaches into a mapping: dhcp.lease. KEY+ adds to a list, KEY- removes
	// from it what equals the value, or has what the value has: {"forwards-": {"port": 22}}.
	Values map[string]any `json:"values"`
}

// Apply is POST /v1/apply: the document to run from now on. Without Document the
// daemon reads its file again.
type Apply struct {
	Document string `json:"document,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Runtime  bool   `json:"runtime,omitempty"` // do not write Document to the daemon's file
}

// Applied answers Apply and edits: what was changed, or would be, one line each.
type Applied struct {
	Actions  []string `json:"actions"`
	Warnings []string `json:"warnings,omitempty"`
}

// Finding is one line of GET /v1/doctor (a list).
type Finding struct {
	Severity string `json:"severity"` // ok, warning, error
	Subject  string `json:"subject"`  // what it is about: "port vm1", "host"
	Text     string `json:"text"`     // what is the case
	Remedy   string `json:"remedy,omitempty"`
}

// Error is the body of every answer with a status of 400 or more.
type Error struct {
	Error  string   `json:"error"`
	Faults []string `json:"faults,omitempty"` // all faults of a document, each with its path
}

// GET /v1/capture?port=NAME[&snap=BYTES][&count=FRAMES] answers a pcapng stream of
// both directions (ContentTypeCapture) until the client closes its side of the
// connection, count frames are written, the port is removed or the daemon stops.
// What became of it follows in these trailers.
const (
	ContentTypeCapture = "application/x-pcapng"

	TrailerFrames  = "Weft-Frames"  // frames in the stream
	TrailerDropped = "Weft-Dropped" // frames lost because the client read too slowly
	TrailerEnd     = "Weft-End"     // why the stream ended, for people
)
