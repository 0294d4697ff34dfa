package control

import (
	"cmp"
	"math"
	"net/http"
	"net/netip"
	"slices"

	"weft/internal/control/api"
)

// address reads an address, the zero one if the parameter is not given.
func (p *params) address(name string) netip.Addr {
	if !p.values.Has(name) {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(p.text(name))
	if err != nil {
		p.fail("query: %s=%q (want an address such as 192.168.150.10)", name, p.text(name))
	}
	return a
}

// sessions answers by guest, then by what it speaks to.
func (s *Server) sessions(r *http.Request) (any, error) {
	q := paramsOf(r, "network", "port", "limit")
	f := api.NATFilter{Network: q.text("network"), Port: q.text("port"), Limit: int(q.number("limit", math.MaxInt32))}
	if q.err != nil {
		return nil, q.err
	}
	all, err := s.engine.NATSessions(f)
	slices.SortFunc(all, func(a, b api.NATSession) int {
		return cmp.Or(
			cmp.Compare(a.Network, b.Network), a.Inside.Addr().Compare(b.Inside.Addr()), cmp.Compare(a.Protocol, b.Protocol),
			a.Remote.Compare(b.Remote), a.Inside.Compare(b.Inside),
		)
	})
	return list(all), err
}

func (s *Server) flushSessions(r *http.Request) (any, error) {
	q := paramsOf(r, "network", "address")
	network, inside := q.text("network"), q.address("address")
	if inside.IsValid() && network == "" {
		q.fail("query: to end the sessions of an address give its network too")
	}
	if q.err != nil {
		return nil, q.err
	}
	n, err := s.engine.FlushNAT(network, inside)
	return api.Flushed{Count: n}, err
}

// leases answers by network and address, as people look for them.
func (s *Server) leases(r *http.Request) (any, error) {
	q := paramsOf(r, "network")
	if q.err != nil {
		return nil, q.err
	}
	all, err := s.engine.Leases(q.text("network"))
	slices.SortFunc(all, func(a, b api.Lease) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), a.Address.Compare(b.Address))
	})
	return list(all), err
}

func (s *Server) releaseLease(r *http.Request) (any, error) {
	q := paramsOf(r, "network", "address")
	network, a := q.text("network"), q.address("address")
	if network == "" || !q.values.Has("address") {
		q.fail("query: to release a lease give its network and address")
	}
	if q.err != nil {
		return nil, q.err
	}
	return api.Flushed{Count: 1}, s.engine.ReleaseLease(network, a)
}

func (s *Server) ways(r *http.Request) (any, error) {
	q := paramsOf(r, "network")
	if q.err != nil {
		return nil, q.err
	}
	all, err := s.engine.Routes(q.text("network"))
	return list(all), err
}
