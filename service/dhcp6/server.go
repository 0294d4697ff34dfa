// Package dhcp6 answers DHCPv6 clients as RFC 8415 says, from a book of leases: bytes and
// the time in, the answer's bytes out.
package dhcp6

import (
	"errors"
	"net/netip"
	"time"

	"weft/frame"
	"weft/service/lease"
)

// The UDP ports of DHCPv6 (RFC 8415 7.2).
const (
	ServerPort = 547
	ClientPort = 546
)

// AllServers is the group that clients send to (RFC 8415 7.1).
var AllServers = netip.MustParseAddr("ff02::1:2")

// Settings say what clients are told.
type Settings struct {
	MAC    frame.MAC     // of the gateway: where replies come from
	Source netip.Addr    // the gateway's link-local address
	Subnet netip.Prefix  // on link; addresses are given from it
	DNS    []netip.Addr  // none: no option
	Search []string      // domains; none: no option
	Lease  time.Duration // preferred and valid lifetime; zero: one hour
}

// Config of a Server.
type Config struct {
	Book  *lease.Book
	DUID  []byte                                    // the server's: see LoadDUID
	Probe func(a netip.Addr, asking frame.MAC) bool // reports that another station than asking uses the address; nil: nobody knows
}

// A Request is a datagram for the server's port.
type Request struct {
	Port     string     // the switch port it came by
	MAC      frame.MAC  // its Ethernet source
	From, To netip.Addr // of the IPv6 header
	Payload  []byte     // of the UDP datagram; not kept
}

// A Reply is what became of a Request.
type Reply struct {
	Frame  []byte        // the complete Ethernet frame to send; nil: nothing is to be said
	Kind   string        // ADVERTISE or REPLY
	Leases []lease.Lease // that it gives
	Note   string        // what an operator may want to know; empty: nothing
}

// Counters count messages by what was done.
type Counters struct {
	Solicit, Request, Confirm, Renew, Rebind, Release, Decline, Information uint64 // received and well-formed
	Advertise, Reply                                                        uint64 // sent
	Malformed                                                               uint64 // no DHCPv6 message of a client
	Ignored                                                                 uint64 // for another server, or nothing to say
	Exhausted, Quota                                                        uint64 // identity associations without an address
	Failed                                                                  uint64 // the book could not be written
}

// A Server answers the clients of one network. All methods may be called at once.
type Server struct{}

// New makes a server that is silent until Set.
func New(c Config) *Server { return &Server{} }

// LoadDUID returns the server's DUID, which is kept in the folder dir and made there
// the first time (RFC 8415 11: it never changes).
func LoadDUID(dir string) ([]byte, error) { return nil, errors.ErrUnsupported }

// Set changes what clients are told from now on.
func (s *Server) Set(v Settings) error { return nil }

// Handle answers one datagram. An error says why it is not answered.
func (s *Server) Handle(now time.Time, q Request) (Reply, error) {
	return Reply{}, errors.ErrUnsupported
}

// Counters returns what was counted so far.
func (s *Server) Counters() Counters { return Counters{} }
