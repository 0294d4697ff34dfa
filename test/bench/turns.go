package main

import (
	"context"
	"errors"
	"time"
)

// A turn is what one contestant does in a round.
type turn func() (sample, error)

// standing holds contestants that stay up from round to round, each in a lab of its own, so
// that their turns are a second apart: the machine is slower at times, for tens of them.
type standing struct {
	bench *bench
	labs  map[string]*lab
	turns map[string]turn
}

func newStanding(b *bench) *standing {
	return &standing{bench: b, labs: make(map[string]*lab), turns: make(map[string]turn)}
}

// once takes a contestant's turn, and before the first brings it up.
func (s *standing) once(e experiment, c contestant) (m sample, err error) {
	ctx, cancel := s.bench.limited()
	defer cancel()
	defer func() {
		if err != nil { // it must not disturb the others any more
			err = errors.Join(err, s.end(c))
		}
		if s.bench.ctx.Err() != nil {
			err = errInterrupted
		}
	}()
	if err := s.raise(ctx, e, c); err != nil {
		return nil, err
	}
	s.labs[c.name].ctx = ctx
	return s.turns[c.name]()
}

func (s *standing) raise(ctx context.Context, e experiment, c contestant) (err error) {
	if s.turns[c.name] != nil {
		return nil
	}
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	s.labs[c.name] = l
	s.turns[c.name], err = e.stand(l, c)
	return err
}

// end closes a contestant's lab, if there is one.
func (s *standing) end(c contestant) error {
	l := s.labs[c.name]
	if l == nil {
		return nil
	}
	delete(s.labs, c.name)
	return l.close()
}

// tcpInTurns compares more finely than the tables whose contestants begin anew each time.
func (b *bench) tcpInTurns(t table, ports func() []port, contestants ...contestant) experiment {
	t.Metrics = []metric{{"tcp", "Gbit/s", "%.2f"}, {"tcp cpu", "s/GB", "%.3f"}, {"ping avg", "µs", "%.1f"}, {"crr", "1/s", "%.0f"}, cached, others}
	brief := *b
	brief.duration = time.Second
	return experiment{
		table:       t,
		contestants: contestants,
		rounds:      4 * b.rounds,
		stand: func(l *lab, c contestant) (turn, error) {
			s, err := c.build(l, ports())
			if err != nil {
				return nil, err
			}
			if err := l.reachable("a", guestAddress(2).Addr().String()); err != nil {
				return nil, err
			}
			return func() (sample, error) { return brief.turn(l, s) }, nil
		},
	}
}

func (b *bench) turn(l *lab, s subject) (sample, error) {
	before, err := cacheOf(s)
	if err != nil {
		return nil, err
	}
	m, err := b.stream(l, s, "a")
	if err != nil {
		return nil, err
	}
	if err := before.share(s, m); err != nil {
		return nil, err
	}
	latency, errPing := ping(l, s, pings/4)
	rate, errConnect := b.connect(l, s)
	m["ping avg"], m["crr"] = latency, rate
	return m, errors.Join(errPing, errConnect)
}

// inTurns are the comparisons of that kind.
func (b *bench) inTurns() []experiment {
	const note = "All contestants stand at the same time, what one leaves in the kernel for all included, and take turns: a second of TCP, 250 pings, half a second of connections. Four times as many rounds as elsewhere."
	gateway := func() []port { return []port{behind(device)} }
	return []experiment{
		b.tcpInTurns(table{Name: "device ports in turns", Title: "TCP and ping, in turns, between two device ports", Note: note},
			func() []port { return pair(device) }, bridge, weft, floorTC, floorPeer),
		b.tcpInTurns(table{Name: "NAT in turns", Title: "TCP and ping, in turns, through NAT", Note: note}, gateway, natKernel, natWeft),
		b.tcpInTurns(table{Name: "routed in turns", Title: "TCP and ping, in turns, through a router", Note: note},
			gateway, routedKernel, routedWeft, routedFloor),
	}
}
