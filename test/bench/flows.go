package main

import (
	"errors"
	"time"

	"weft/test/bench/guest"
)

// The contestants that differ in how much weft has to know. All send from as many
// buffers, so that the sender's own cache misses are the same.
const manyCount = 100_000

var (
	oneFlow   = weftNAT("weft, 1 flow", weftd{})
	manyFlows = ofFlows(weftNAT("weft, 100,000 flows", weftd{}), manyCount)
	manyRules = weftNAT("weft, 1 flow, 1,000 forwards and 1,000 routes", weftd{rules: 1000})
	coreFlow  = weftNAT("weft, fastpath off, 1 flow", weftd{fastpath: "off"})
)

func ofFlows(c contestant, flows int) contestant {
	c.flows = flows
	return c
}

func (b *bench) manyFlows() experiment {
	return experiment{
		table: table{
			Name: "flows", Title: "64-byte frames through NAT: many flows, many rules",
			Note: "As between two guests of QEMU's kind, but from a guest behind NAT to the other end of the NIC's cable, both TAPs. " +
				"The sender goes through 100,000 prepared frames in turn: they are of one flow, or each of a flow of its own. " +
				"All flows are known to the cache before the measurement. " +
				"The forwards and routes are of the same network and do not concern the flow; weft has no other lists of rules. " +
				"Twice the rounds of the other tables.",
			Metrics: withoutLate(frameMetrics),
		},
		contestants: []contestant{oneFlow, manyFlows, manyRules, coreFlow, natKernel},
		rounds:      2 * b.rounds,
		run: func(l *lab, c contestant) (sample, error) {
			from := behind(tap)
			s, err := c.build(l, []port{from})
			if err != nil {
				return nil, err
			}
			return b.frames(l, s, s.link(from), "tap:nic0", guest.Load{
				From: from.address.Addr(), To: guestAddress(2).Addr(), Via: inside(1).Addr(),
				Flows: max(c.flows, 1), Buffers: manyCount,
			})
		},
	}
}

// withoutLate leaves out a metric that has no meaning between flows.
func withoutLate(metrics []metric) []metric {
	var some []metric
	for _, m := range metrics {
		if m.Name != "late" {
			some = append(some, m)
		}
	}
	return some
}

func (b *bench) firstPackets() experiment {
	return experiment{
		table: table{
			Name: "first packets", Title: "The first packets of a flow",
			Note: "A namespace exchanges ten datagrams with a server outside in each of 1,000 flows that nobody has used before, " +
				"by devices as in the tables of TCP; neighbors are known. Medians: of the first, second and tenth round trip, and " +
				"of how much longer the first took than the others of the same flow.",
			Metrics: []metric{
				{"to second", "µs", "%.1f"},
				{"to later", "µs", "%.1f"},
				{"first", "µs", "%.1f"},
				{"second", "µs", "%.1f"},
				{"later", "µs", "%.1f"},
			},
		},
		contestants: []contestant{natWeft, natCore, natKernel, routedWeft, routedKernel},
		rounds:      b.rounds,
		run:         explore,
	}
}

func explore(l *lab, c contestant) (sample, error) {
	s, err := c.build(l, []port{behind(device)})
	if err != nil {
		return nil, err
	}
	far := guestAddress(2).Addr().String()
	if err := l.reachable("a", far); err != nil {
		return nil, err
	}
	before, errFrames := s.frames()
	server, errServer := l.guest("b", "reflect", far+":7003")
	if err := errors.Join(errFrames, errServer); err != nil {
		return nil, err
	}
	if err := server.awaitLine(l, holding); err != nil {
		return nil, err
	}
	client, err := l.guest("a", "explore", far+":7003")
	if err != nil {
		return nil, err
	}
	var t guest.FirstTrips
	if err := client.answer(l, &t); err != nil {
		return nil, err
	}
	micro := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	return sample{
		"to second": micro(t.ToSecond), "to later": micro(t.ToLater),
		"first": micro(t.First), "second": micro(t.Second), "later": micro(t.Later),
	}, passed(s, before, t.Frames)
}
