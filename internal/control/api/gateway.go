package api

import (
	"net/netip"
	"time"

	"weft/frame"
)

// NATFilter says which sessions are wanted. Zero fields stand for all.
type NATFilter struct {
	Network, Port string
	Limit         int // at most so many
}

// NATSession answers GET /v1/nat[?network=NAME&port=NAME&limit=N] (a list). DELETE
// /v1/nat[?network=NAME&address=ADDR] ends those of a network, of one guest's address,
// and answers Flushed.
type NATSession struct {
	Network  string         `json:"network"`
	Protocol string         `json:"protocol"`        // tcp, udp, icmp
	Inside   netip.AddrPort `json:"inside"`          // the guest's endpoint; of ICMP, ports are the query's identifier
	Outside  netip.AddrPort `json:"outside"`         // what it is outside
	Remote   netip.AddrPort `json:"remote"`          // whom it speaks to
	State    string         `json:"state"`           // of TCP: syn-sent, syn-received, opening, established, fin-sent, fin-received, closing, reset; else active
	Port     string         `json:"port"`            // of entry
	Expires  float64        `json:"expires_seconds"` // if nothing more comes
}

// Lease answers GET /v1/leases[?network=NAME] (a list). DELETE
// /v1/leases?network=NAME&address=ADDR ends one and answers Flushed: the address may
// go to another guest at once, though its holder does not know.
type Lease struct {
	Network  string     `json:"network"`
	Address  netip.Addr `json:"address"`
	MAC      frame.MAC  `json:"mac"`
	Client   string     `json:"client,omitempty"`   // DHCPv4 client identifier or DHCPv6 DUID, in hex
	Name     string     `json:"name,omitempty"`     // in DNS, without the domain
	Port     string     `json:"port,omitempty"`     // by which the guest asked
	State    string     `json:"state"`              // offered, bound, idle (was, and will be again if nobody needs it), declined
	Reserved bool       `json:"reserved,omitempty"` // the document keeps the address for this guest
	Expires  time.Time  `json:"expires"`
}

// Route answers GET /v1/routes[?network=NAME] (a list): the ways that weft sends the
// packets of guests, and those of the host that it does not.
type Route struct {
	Network string       `json:"network,omitempty"` // that it leads into; empty: outside
	To      netip.Prefix `json:"to"`
	Via     netip.Addr   `json:"via,omitzero"`     // next hop; none: on the link
	Device  string       `json:"device,omitempty"` // gateway's device or uplink
	Origin  string       `json:"origin"`           // connected, static (of the document), host; no-uplink: the host's too, but guests' packets are dropped, as the device is no uplink of theirs; blackhole, unreachable, prohibit likewise
	Metric  int          `json:"metric"`
}
