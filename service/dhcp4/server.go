// Package dhcp4 answers DHCP clients as RFC 2131 says, from a book of leases: bytes and
// the time in, the answer's bytes out.
package dhcp4

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

// The UDP ports of DHCP (RFC 2131 4.1).
const (
	ServerPort = 67
	ClientPort = 68
)

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

// Why a datagram is not answered. Beside these there are lease's errors, and those of
// the disk that leases are kept on.
var (
	ErrMalformed = errors.New("not a DHCP message of a client")
	ErrIgnored   = errors.New("not answered")
)

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
		return fmt.Errorf("DHCPv4: %w", err)
	}
	v = v.withDefaults()
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
	case errors.Is(err, lease.ErrExhausted):
		s.add(&s.count.Exhausted)
	case errors.Is(err, lease.ErrQuota), errors.Is(err, lease.ErrPace):
		s.add(&s.count.Quota)
	default:
		s.add(&s.count.Failed)
	}
	return r, err
}
