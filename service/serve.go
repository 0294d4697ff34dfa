package service

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"weft/service/dhcp4"
	"weft/service/dhcp6"
	"weft/service/lease"
	"weft/service/radv"
)

// Run serves until ctx is done. A router that is gone for good says Farewell after that;
// one that comes back soon should not.
func (s *Server) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.dns.Run(ctx) })
	running.Go(func() { s.advertise(ctx) })
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-s.inbox.full:
			s.answer(time.Now(), m)
			s.inbox.done(m)
		case <-second.C:
			s.book.Expire(time.Now())
		}
	}
}

// answer has the message answered by the service that it is for.
func (s *Server) answer(now time.Time, m *message) {
	port := s.c.PortName(m.in)
	if port == "" {
		return // the guest has gone
	}
	if m.kind == ofRouter {
		s.solicited(now, m)
		return
	}
	d, ok := parseDatagram(m.frame())
	if !ok {
		s.count.badDatagrams.Add(1)
		return
	}
	if m.kind == ofDHCPv4 {
		r, err := s.dhcp4.Handle(now, dhcp4.Request{Port: port, MAC: d.mac, Payload: d.payload})
		s.reply(r.Frame, Event{What: r.Kind, Port: port, MAC: d.mac, Addresses: addressesOf(r.Lease), Note: r.Note, Err: err})
		return
	}
	r, err := s.dhcp6.Handle(now, dhcp6.Request{Port: port, MAC: d.mac, From: d.from, To: d.to, Payload: d.payload})
	s.reply(r.Frame, Event{What: r.Kind, Port: port, MAC: d.mac, Addresses: addressesOf(r.Leases...), Note: r.Note, Err: err})
}

// reply sends an answer, if there is one, and reports what matters of it: what somebody
// got, and what went wrong.
func (s *Server) reply(p []byte, e Event) {
	if p != nil {
		s.c.Send(p)
	}
	given := p != nil && len(e.Addresses) > 0 && (e.What == "DHCPACK" || e.What == "REPLY")
	if given || e.Note != "" || e.Err != nil {
		s.c.Report(e)
	}
}

// addressesOf returns the addresses of leases.
func addressesOf(leases ...lease.Lease) (list []netip.Addr) {
	for _, l := range leases {
		if l.Address.IsValid() {
			list = append(list, l.Address)
		}
	}
	return list
}

// solicited has a router solicitation answered.
func (s *Server) solicited(now time.Time, m *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.radv == nil {
		return
	}
	if s.radv.Solicit(now, m.frame()) != nil {
		s.count.badSolicitations.Add(1)
		return
	}
	s.count.solicitations.Add(1)
	s.rouse()
}

// rouse has advertise look at the time again.
func (s *Server) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// advertiseLocked has the router advertised as v says.
func (s *Server) advertiseLocked(v Settings) error {
	defer s.rouse()
	switch {
	case v.advertises() && s.radv != nil:
		return s.radv.Set(time.Now(), v.radv())
	case v.advertises():
		r, err := radv.New(time.Now(), v.radv(), s.random)
		if err != nil {
			return err
		}
		s.radv = r
	case s.radv != nil:
		s.farewellLocked()
		s.radv = nil
	}
	return nil
}

// advertise sends advertisements when their time has come, until ctx is done.
func (s *Server) advertise(ctx context.Context) {
	for {
		var due <-chan time.Time
		for _, p := range s.due(time.Now(), &due) {
			s.c.Send(p)
			s.count.advertisements.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-due:
		}
	}
}

// due returns the advertisements to be sent now, and sets the time of the next.
func (s *Server) due(now time.Time, next *<-chan time.Time) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.radv == nil {
		return nil
	}
	frames := s.radv.Poll(now)
	*next = time.After(s.radv.Next().Sub(now))
	return frames
}

// Farewell tells guests that the gateway is their router no more, if it was: before the
// network goes away, not before weft comes back.
func (s *Server) Farewell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.radv != nil {
		s.farewellLocked()
	}
}

func (s *Server) farewellLocked() {
	s.c.Send(s.radv.Farewell())
	s.count.advertisements.Add(1)
}
