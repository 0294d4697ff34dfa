package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"weft/test/bench/guest"
)

func (b *bench) smallFrames() experiment {
	return experiment{
		table: table{
			Name: "64-byte frames", Title: "64-byte frames between two guests of QEMU's kind",
			Note: "A process that holds a TAP with virtio-net headers writes one UDP flow, a frame per write(2), as fast as it can; " +
				"another reads the other TAP. TAPs keep the queue of 1,000 frames that libvirt leaves them, except for what weft sets itself. " +
				"vde_switch's guests use its socket, as QEMU does, and a full socket makes the sender wait. " +
				"“Late” counts frames that came after one sent later. CPU is per frame received, the two guests' included.",
			Metrics: []metric{
				{"received", "kpps", "%.0f"},
				{"sent", "kpps", "%.0f"},
				{"lost", "%", "%.1f"},
				{"late", "frames", "%.0f"},
				{"cpu", "ns/frame", "%.0f"},
				others,
			},
		},
		contestants: []contestant{weft, ovs, vde, bridge, bridgeNF},
		rounds:      b.rounds,
		run:         b.frames,
	}
}

func (b *bench) frames(l *lab, c contestant) (sample, error) {
	ports := pair(tap)
	s, err := c.build(l, ports)
	if err != nil {
		return nil, err
	}
	before, err := s.frames()
	if err != nil {
		return nil, err
	}
	u := l.usage()
	receiver, err := l.guest("sw", "receive", s.link(ports[1]))
	if err != nil {
		return nil, err
	}
	sender, err := l.guest("sw", "send", s.link(ports[0]), b.duration.String())
	if err != nil {
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
	return sample{
		"received": float64(received.Frames) / received.Elapsed.Seconds() / 1e3,
		"sent":     float64(sent.Frames) / sent.Elapsed.Seconds() / 1e3,
		"lost":     100 * (1 - float64(received.Frames)/float64(sent.Frames)),
		"late":     float64(received.Late),
		"cpu":      float64(cpu.Nanoseconds()) / float64(received.Frames),
		"others":   others * 100,
	}, nil
}

// answer waits for a guest's end and reads what it tells.
func (p *process) answer(l *lab, v any) error {
	out, err := p.wait(l.ctx)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(v); err != nil {
		return fmt.Errorf("guest's answer %q: %w", out, err)
	}
	return nil
}

// tell prints what a guest has to tell; answer reads it.
func tell[T any](v T, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}
