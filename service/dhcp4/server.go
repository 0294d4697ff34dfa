// Package dhcp4 answers DHCP clients as RFC 2131 says, from a book of leases: bytes and
// the time in, the answer's bytes out.
package dhcp4

import (
	"errors"
	"net/netip"
	"time"

	"weft/frame"
	"weft/service/lease"
)

// The UDP ports of DHCP (RFC 2131 4.1).
const (
	ServerPort = 67
	ClientPort = 68
)

// Settings say what clients are told.
type Settings struct {
	MAC     frame.MAC     // of the gateway: where replies come from
	Server  netip.Prefix  // the gateway's address and its subnet
	Routers []netip.Addr  // default: the server
	DNS     []netip.Addr  // none: no option
	NTP     []netip.Addr  // none: no option
	Domain  string        // empty: no option
	Search  []string      // domains; none: no option
	MTU     int           // zero: no option
	Routes  []Route       // beside the default route, which is added
	Lease   time.Duration // at most so long; zero: one hour
	Relays  []netip.Addr  // relay agents that may ask for others; from all else relayed messages are dropped
}

// A Route is a static route told to clients (RFC 3442).
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Config of a Server.
type Config struct {
	Book  *lease.Book
	Probe func(a netip.Addr, asking frame.MAC) bool // reports that another station than asking uses the address; nil: nobody knows
}

// A Request is a datagram for the server's port.
type Request struct {
	Port    string    // the switch port it came by
	MAC     frame.MAC // its Ethernet source
	Payload []byte    // of the UDP datagram; not kept
}

// A Reply is what became of a Request.
type Reply struct {
	Frame []byte      // the complete Ethernet frame to send; nil: nothing is to be said
	Kind  string      // DHCPOFFER, DHCPACK or DHCPNAK, or of the Request, if nothing is to be said
	Lease lease.Lease // that it is about; zero: none
	Note  string      // what an operator may want to know: why NAK, who declined; empty: nothing
}

// Counters count messages by what was done.
type Counters struct {
	Discover, Request, Decline, Release, Inform uint64 // received and well-formed
	Offer, Ack, Nak                             uint64 // sent
	Malformed                                   uint64 // no DHCP message of a client
	Ignored                                     uint64 // for another server, or nothing to say
	Exhausted, Quota                            uint64 // no address was free, or the port had enough
	Failed                                      uint64 // the book could not be written
}

// A Server answers the clients of one network. All methods may be called at once.
type Server struct{}

// New makes a server that is silent until Set.
func New(c Config) *Server { return &Server{} }

// Set changes what clients are told from now on.
func (s *Server) Set(v Settings) error { return nil }

// Handle answers one datagram. An error says why it is not answered.
func (s *Server) Handle(now time.Time, q Request) (Reply, error) {
	return Reply{}, errors.ErrUnsupported
}

// Counters returns what was counted so far.
func (s *Server) Counters() Counters { return Counters{} }
