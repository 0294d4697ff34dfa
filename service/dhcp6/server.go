// Package dhcp6 answers DHCPv6 clients as RFC 8415 says, from a book of leases: bytes and
// the time in, the answer's bytes out.
package dhcp6

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
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

// Why a datagram is not answered. Beside these there are lease.ErrPace, and the errors of
// the disk that leases are kept on.
var (
	ErrMalformed = errors.New("not a DHCPv6 message of a client")
	ErrIgnored   = errors.New("not answered")
)

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
type Server struct {
	c        Config
	settings atomic.Pointer[Settings] // nil: silent

	mu    sync.Mutex
	count Counters // guarded by mu
}

// New makes a server that is silent until Set.
func New(c Config) *Server { return &Server{c: c} }

// Set changes what clients are told from now on. All faults are told, and nothing is
// changed if there is one.
func (s *Server) Set(v Settings) error {
	if err := v.check(); err != nil {
		return fmt.Errorf("DHCPv6: %w", err)
	}
	if v.Lease == 0 {
		v.Lease = defaultLease
	}
	s.settings.Store(&v)
	return nil
}

// Counters returns what was counted so far.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *Server) add(counter *uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*counter++
}

// Handle answers one datagram. An error says why it is not answered.
func (s *Server) Handle(now time.Time, q Request) (Reply, error) {
	r, err := s.handle(now, q)
	switch {
	case err == nil:
	case errors.Is(err, ErrMalformed):
		s.add(&s.count.Malformed)
	case errors.Is(err, ErrIgnored):
		s.add(&s.count.Ignored)
	case errors.Is(err, lease.ErrPace):
		s.add(&s.count.Quota)
	default:
		s.add(&s.count.Failed)
	}
	return r, err
}
