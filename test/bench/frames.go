package main

import (
	"encoding/json"
	"errors"
	"time"

	"weft/test/bench/guest"
)

var frameMetrics = []metric{
	{"received", "kpps", "%.0f"},
	{"sent", "kpps", "%.0f"},
	{"lost", "%", "%.1f"},
	{"late", "frames", "%.0f"},
	{"cpu", "ns/frame", "%.0f"},
	cached,
	others,
}

func (b *bench) smallFrames() experiment {
	return experiment{
		table: table{
			Name: "64-byte frames", Title: "64-byte frames between two guests of QEMU's kind",
			Note: "A process that holds a TAP with virtio-net headers writes one UDP flow, a frame per write(2), as fast as it can; " +
				"another reads the other TAP. TAPs keep the queue of 1,000 frames that libvirt leaves them, except for what weft sets itself. " +
				"vde_switch's guests use its socket, as QEMU does, and a full socket makes the sender wait. " +
				"A moment of leisurely traffic goes before. “Late” counts frames that came after one sent later. " +
				"CPU is per frame received, the two guests' included. The floors redirect every frame, unseen.",
			Metrics: frameMetrics,
		},
		contestants: []contestant{weftCore, ovs, vde, bridgeNF, weft, bridge, weftXDP, floorTC, floorXDP},
		rounds:      b.rounds,
		run: func(l *lab, c contestant) (sample, error) {
			ports := pair(tap)
			s, err := c.build(l, ports)
			if err != nil {
				return nil, err
			}
			load := guest.Load{From: guestAddress(1).Addr(), To: guestAddress(2).Addr(), Flows: 1, Buffers: 1}
			return b.frames(l, s, s.link(ports[0]), s.link(ports[1]), load)
		},
	}
}

// leisure is how long the way warms up at the least.
const leisure = 300 * time.Millisecond

// frames sends a load from one link to the other.
func (b *bench) frames(l *lab, s subject, from, to string, load guest.Load) (sample, error) {
	receiver, err := l.guest("sw", "receive", to, load.To.String())
	if err != nil {
		return nil, err
	}
	load.Duration = b.duration
	plan, err := json.Marshal(load)
	if err != nil {
		return nil, err
	}
	sender, err := l.guest("sw", "send", from, string(plan))
	if err != nil {
		return nil, err
	}
	if err := sender.awaitLine(l, holding); err != nil {
		return nil, err
	}
	if err := l.rest(leisure); err != nil {
		return nil, err
	}
	if err := l.settle(s, load.Flows); err != nil {
		return nil, err
	}
	before, errFrames := s.frames()
	cacheBefore, errCache := cacheOf(s)
	if err := errors.Join(errFrames, errCache); err != nil {
		return nil, err
	}
	u := l.usage()
	if err := sender.begin(); err != nil {
		return nil, err
	}
	var sent guest.Sent
	if err := sender.answer(l, &sent); err != nil {
		return nil, err
	}
	var received guest.Received
	if err := receiver.answer(l, &received); err != nil {
		return nil, err
	}
	cpu, others := l.since(u)
	if err := passed(s, before, received.Frames); err != nil {
		return nil, err
	}
	measured := sample{
		"received": float64(received.Frames) / received.Elapsed.Seconds() / 1e3,
		"sent":     float64(sent.Frames) / sent.Elapsed.Seconds() / 1e3,
		"lost":     100 * (1 - float64(received.Frames)/float64(sent.Frames)),
		"late":     float64(received.Late),
		"cpu":      float64(cpu.Nanoseconds()) / float64(received.Frames),
		"others":   others * 100,
	}
	return measured, cacheBefore.share(s, measured)
}
