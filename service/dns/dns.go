// Package dns is the name server of a network's gateway (RFC 1034, RFC 1035). For the
// network's own domain and the reverse names of its subnets it is the authority; all
// else it asks the host's resolvers. It keeps no cache: they do.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const defaultPort = 53

// Names knows a network's stations by name.
type Names interface {
	// Lookup returns the addresses that a label, in lower case, stands for.
	Lookup(label string) []netip.Addr
	// Reverse returns the label that stands for an address, or "".
	Reverse(a netip.Addr) string
}

// Config of a Server.
type Config struct {
	Names  Names
	Report func(error) // told what keeps it from listening or answering; nil: nobody
}

// Settings say what a Server serves to whom.
type Settings struct {
	Addresses []netip.Addr   // the gateway's: it listens there, and they are host and gateway of the domain; none: it is silent
	Port      uint16         // zero: 53
	Domain    string         // of the network's names, such as vm.internal
	Subnets   []netip.Prefix // whose reverse names it knows, and whose addresses may ask
	Clients   []netip.Prefix // who else may ask; the host itself always may

	Servers    []netip.AddrPort // that are asked for the rest; none: those of ResolvConf
	ResolvConf string           // file of the host's resolvers, followed as it changes; empty: /etc/resolv.conf
}

// settings are Settings in the form that queries are answered by.
type settings struct {
	listen    []netip.AddrPort
	zone      zone
	clients   []netip.Prefix
	resolvers resolvers
}

// Counters count queries by what became of them.
type Counters struct {
	Queries   uint64 // well-formed, from who may ask
	Local     uint64 // answered from what the gateway knows itself
	Forwarded uint64 // answered by a resolver
	Failed    uint64 // answered with SERVFAIL, as no resolver could be reached
	Refused   uint64 // from somebody who may not ask: not answered
	Malformed uint64
	Busy      uint64 // queries and connections that were too many at once
}

// A Server answers the queries of one network while Run runs. All methods may be
// called at once.
type Server struct {
	names    Names
	report   func(error)
	settings atomic.Pointer[settings]
	changed  chan struct{} // Run is to look at settings again
	trouble  atomic.Pointer[error]

	forwarder *forwarder
	queries   gate
	conns     gate

	complained atomic.Int64 // when the last complaint was, in Unix nanoseconds

	count struct {
		queries, local, forwarded, failed, refused, malformed, busy atomic.Uint64
	}
}

// New makes a server that is silent until Set and Run.
func New(c Config) *Server {
	s := &Server{
		names:     c.Names,
		report:    c.Report,
		changed:   make(chan struct{}, 1),
		forwarder: newForwarder(exchange),
		queries:   gate{most: maxQueries, mostOfOne: maxQueriesOfOne},
		conns:     gate{most: maxConns, mostOfOne: maxConnsOfOne},
	}
	if s.report == nil {
		s.report = func(error) {}
	}
	s.settings.Store(&settings{})
	return s
}

// Set changes what is served from now on, where it listens included. Queries that are
// being answered go on.
func (s *Server) Set(v Settings) error {
	n := &settings{}
	if len(v.Addresses) > 0 {
		var err error
		if n, err = s.settle(v); err != nil {
			return err
		}
	}
	s.settings.Store(n)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

// settle returns v in the form that queries are answered by.
func (s *Server) settle(v Settings) (*settings, error) {
	if v.Port == 0 {
		v.Port = defaultPort
	}
	domain := dns.CanonicalName(v.Domain)
	if _, ok := dns.IsDomainName(v.Domain); !ok || domain == "." {
		return nil, fmt.Errorf("DNS domain %q is none (want one such as vm.internal)", v.Domain)
	}
	if slices.ContainsFunc(v.Addresses, func(a netip.Addr) bool { return a.IsUnspecified() || a.IsMulticast() }) {
		return nil, errors.New("DNS cannot listen on an address that is no station's: it would answer the whole world")
	}
	n := &settings{
		zone:    zone{domain: domain, gateway: v.Addresses, subnets: v.Subnets, names: s.names},
		clients: slices.Concat(v.Subnets, v.Clients),
	}
	for _, a := range v.Addresses {
		n.listen = append(n.listen, netip.AddrPortFrom(a, v.Port))
	}
	n.resolvers = s.newResolvers(v, n.listen)
	return n, nil
}

// newResolvers returns the resolvers of v. A file that is followed already is not read
// anew, so that its troubles are not told again.
func (s *Server) newResolvers(v Settings, own []netip.AddrPort) resolvers {
	if len(v.Servers) > 0 {
		return resolvers{fixed: without(v.Servers, own), own: own}
	}
	path := v.ResolvConf
	if path == "" {
		path = "/etc/resolv.conf"
	}
	file := s.settings.Load().resolvers.file
	if file == nil || file.path != path {
		file = &resolvConf{path: path, report: s.report}
	}
	return resolvers{file: file, own: own}
}

// serves reports whether a client may ask. Nobody else is told anything: an open
// resolver is a weapon (RFC 5358).
func (v *settings) serves(client netip.Addr) bool {
	return client.IsLoopback() || slices.ContainsFunc(v.clients, func(p netip.Prefix) bool { return p.Contains(client) })
}

// answer returns the answer to a client's message, or nil if there is none.
func (s *Server) answer(ctx context.Context, client netip.Addr, p []byte, tcp bool) []byte {
	v := s.settings.Load()
	if !v.serves(client) {
		s.count.refused.Add(1)
		return nil
	}
	q, refusal := parse(p, tcp)
	if q == nil {
		s.count.malformed.Add(1)
		return refusal
	}
	s.count.queries.Add(1)
	if r, ok := v.resolve(q); ok {
		s.count.local.Add(1)
		return q.reply(r)
	}
	wire, err := s.forwarder.resolve(ctx, v.resolversFor(q.question), q.request())
	if err != nil {
		s.count.failed.Add(1)
		s.complain(ctx, err)
		return q.reply(result{rcode: dns.RcodeServerFailure})
	}
	s.count.forwarded.Add(1)
	return q.relay(wire)
}

// complain reports why a query was not answered, at most once a minute: when resolvers
// fail, all queries do.
func (s *Server) complain(ctx context.Context, err error) {
	now, last := time.Now().UnixNano(), s.complained.Load()
	if ctx.Err() != nil || now-last < int64(time.Minute) || !s.complained.CompareAndSwap(last, now) {
		return
	}
	s.report(err)
}

// resolve returns what the gateway knows itself; !ok: a resolver is to be asked.
func (v *settings) resolve(q *query) (r result, ok bool) {
	switch q.question.Qtype {
	case dns.TypeAXFR, dns.TypeIXFR:
		return result{rcode: dns.RcodeRefused}, true
	}
	if q.question.Qclass != dns.ClassINET {
		return result{rcode: dns.RcodeRefused}, true
	}
	if r, ok = v.zone.lookup(q.question); ok {
		return r, true
	}
	if r, ok = special(q.question); ok {
		return r, true
	}
	if z, private := privateReverse(q.question.Name); private && len(v.resolversFor(q.question)) == 0 {
		return empty(q.question, z), true
	}
	return result{}, false
}

// resolversFor returns the resolvers that may be asked a question: one with a public
// address knows nothing of private addresses, and must not learn of them either (RFC
// 6303). One of the site may know them all.
func (v *settings) resolversFor(q dns.Question) []netip.AddrPort {
	servers := v.resolvers.get()
	if _, private := privateReverse(q.Name); private {
		servers = slices.DeleteFunc(slices.Clone(servers), func(s netip.AddrPort) bool { return isPublic(s.Addr()) })
	}
	return servers
}

// Trouble returns why the server does not listen now where it should, nil if it does.
func (s *Server) Trouble() error {
	if p := s.trouble.Load(); p != nil {
		return *p
	}
	return nil
}

// Counters returns what was counted so far.
func (s *Server) Counters() Counters {
	c := &s.count
	return Counters{
		Queries: c.queries.Load(), Local: c.local.Load(), Forwarded: c.forwarded.Load(), Failed: c.failed.Load(),
		Refused: c.refused.Load(), Malformed: c.malformed.Load(), Busy: c.busy.Load(),
	}
}
