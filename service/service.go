// Package service is what a network's gateway does for its guests: DHCPv4 (RFC 2131),
// DHCPv6 (RFC 8415), router advertisements (RFC 4861) and names (RFC 1035). Its parts
// lie below it, each for itself; a Server ties those of one network together.
package service

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"weft/frame"
	"weft/service/dhcp4"
	"weft/service/dhcp6"
	"weft/service/dns"
	"weft/service/lease"
	"weft/service/radv"
)

// Config of a Server: what stays the same as long as it lives.
type Config struct {
	Network string // its name
	State   string // folder in which leases and the DUID are kept: /var/lib/weft

	// Send sends a complete Ethernet frame of the gateway's into the network. It does not
	// keep it.
	Send func(p []byte)
	// PortName returns the name of a port: leases and quotas go by it. Empty: there is no
	// such port any more.
	PortName func(frame.PortID) string
	// Probe reports that another station than asking uses the address. Nil: nobody knows.
	Probe func(a netip.Addr, asking frame.MAC) bool
	// Report is told what an operator may want to know. Guests can cause as many events
	// as they like. It must not block. Nil: nobody is told.
	Report func(Event)
}

// An Event is something that happened to a service. The zero value of a field says
// nothing.
type Event struct {
	What      string // DHCPACK, DHCPNAK, REPLY, …; leases, DNS, router: the part that has a trouble
	Port      string // the guest's
	MAC       frame.MAC
	Addresses []netip.Addr // that it is about
	Note      string
	Err       error // what went wrong
}

// Counters count what the services did.
type Counters struct {
	DHCPv4 dhcp4.Counters
	DHCPv6 dhcp6.Counters
	DNS    dns.Counters

	Solicitations    uint64 // of routers, answered
	BadSolicitations uint64 // that RFC 4861 6.1.1 says to ignore
	Advertisements   uint64 // of the router, sent
	BadDatagrams     uint64 // for DHCP, malformed or with a wrong checksum
	Busy             uint64 // frames dropped as too many waited
}

// A Server serves the guests of one network, what Settings say, while Run runs. All
// methods may be called at once.
type Server struct {
	c      Config
	book   *lease.Book
	names  *names
	dhcp4  *dhcp4.Server
	dhcp6  *dhcp6.Server
	dns    *dns.Server
	wanted atomic.Pointer[wanted] // which frames Process takes
	inbox  *inbox

	mu       sync.Mutex
	settings Settings      // guarded by mu
	radv     *radv.Radv    // nil: nothing is advertised; guarded by mu
	random   *rand.Rand    // guarded by mu
	wake     chan struct{} // the time of the next advertisement has changed

	count struct {
		solicitations, badSolicitations, advertisements, badDatagrams atomic.Uint64
	}
}

// New opens the network's book of leases. The server serves nothing until Set.
func New(c Config) (*Server, error) {
	if c.Report == nil {
		c.Report = func(Event) {}
	}
	book, err := lease.Open(filepath.Join(c.State, "leases"), c.Network)
	if err != nil {
		return nil, err
	}
	duid, err := dhcp6.LoadDUID(c.State)
	if err != nil {
		return nil, errors.Join(err, book.Close())
	}
	if err := book.Damage(); err != nil {
		c.Report(Event{What: "leases", Err: err})
	}
	s := &Server{
		c: c, book: book, names: newNames(book),
		dhcp4:  dhcp4.New(dhcp4.Config{Book: book, Probe: c.Probe}),
		dhcp6:  dhcp6.New(dhcp6.Config{Book: book, Probe: c.Probe, DUID: duid}),
		inbox:  newInbox(),
		random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		wake:   make(chan struct{}, 1),
	}
	s.dns = dns.New(dns.Config{Names: s.names, Report: func(err error) { c.Report(Event{What: "DNS", Err: err}) }})
	s.wanted.Store(&wanted{})
	return s, nil
}

// Close closes the book of leases. Run has ended.
func (s *Server) Close() error { return s.book.Close() }

// Trouble returns what keeps the gateway from serving names now, nil if nothing does.
func (s *Server) Trouble() error { return s.dns.Trouble() }

// Leases returns all leases in the order of their addresses.
func (s *Server) Leases() []lease.Lease { return s.book.List() }

// Release ends the lease of an address, though its holder does not know.
func (s *Server) Release(a netip.Addr) error { return s.book.Release(time.Now(), a) }

// Counters returns what was counted so far.
func (s *Server) Counters() Counters {
	return Counters{
		DHCPv4: s.dhcp4.Counters(), DHCPv6: s.dhcp6.Counters(), DNS: s.dns.Counters(),
		Solicitations:    s.count.solicitations.Load(),
		BadSolicitations: s.count.badSolicitations.Load(),
		Advertisements:   s.count.advertisements.Load(),
		BadDatagrams:     s.count.badDatagrams.Load(),
		Busy:             s.inbox.busy.Load(),
	}
}
