package main

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

func (b *bench) restart() experiment {
	return experiment{
		table: table{
			Name: "kill -9", Title: "kill -9 of the daemon, and its next start",
			Note: "A bridged network with one NIC shared with the host, a TAP that a guest of QEMU's kind holds throughout, a veth and a host port. " +
				"Pings 10 ms apart between all of them for six seconds: kill -9 after two, the next start after three. " +
				"“Lost” is of the host ↔ wire pings; “silence” is from the start of the new process to the first answer on the slowest of the other paths.",
			Metrics: []metric{{"lost", "echoes", "%.0f"}, {"silence", "ms", "%.0f"}, {"lost paths", "", "%.0f"}},
		},
		contestants: []contestant{weft},
		rounds:      b.rounds,
		run:         killAndStart,
	}
}

// The stations of the restart experiment, by the last byte of their addresses.
const (
	atHost = 1 + iota
	atWire
	atTAP
	atDevice
	atHostPort
)

// A path is a ping from a namespace to a station.
type path struct {
	from string
	to   int
}

// carried is the path that the kernel carries without the daemon.
var carried = path{"sw", atWire}

// switched are the paths that need the daemon: every kind of port both asks and answers.
var switched = []path{
	{"sw", atTAP},
	{"sw", atDevice},
	{"sw", atHostPort},
	{"wire", atTAP},
	{"wire", atDevice},
	{"wire", atHostPort},
	{"device", atTAP},
	{"device", atHostPort},
	{"hostport", atTAP},
}

func killAndStart(l *lab, _ contestant) (sample, error) {
	w, err := bridgedScene(l)
	if err != nil {
		return nil, err
	}
	for _, p := range append(switched, carried) {
		if err := l.reachable(p.from, guestAddress(p.to).Addr().String()); err != nil {
			return nil, err
		}
	}
	host, err := l.stream(carried)
	if err != nil {
		return nil, err
	}
	streams := make([]*process, len(switched))
	for i, p := range switched {
		if streams[i], err = l.stream(p); err != nil {
			return nil, err
		}
	}
	if err := l.rest(2 * time.Second); err != nil {
		return nil, err
	}
	if err := w.process.kill(); err != nil {
		return nil, err
	}
	killed := time.Now()
	if err := l.rest(time.Second); err != nil {
		return nil, err
	}
	started := time.Now()
	if err := w.launch(); err != nil {
		return nil, err
	}
	return outcome(l, host, streams, killed, started)
}

// bridgedScene makes the wire, the guests and the daemon.
func bridgedScene(l *lab) (*weftd, error) {
	ports := []port{
		{name: "t0", kind: tap},
		{name: "d0", kind: device, space: "device", address: guestAddress(atDevice)},
		{name: "h0", kind: host, space: "hostport", address: guestAddress(atHostPort)},
	}
	for _, space := range []string{"wire", "device", "hostport"} {
		if err := l.addSpace(space); err != nil {
			return nil, err
		}
	}
	nic := port{name: "nic0", space: "wire", address: guestAddress(atWire)}
	if err := l.veth(nic); err != nil {
		return nil, err
	}
	if err := l.address("sw", nic.name, guestAddress(atHost)); err != nil {
		return nil, err
	}
	w := &weftd{lab: l, uplink: nic.name}
	if err := w.start(ports); err != nil {
		return nil, err
	}
	_, err := l.guest("sw", "echo", w.link(ports[0]), guestAddress(atTAP).Addr().String())
	return w, err
}

// stream starts six seconds of pings that print the time of each answer.
func (l *lab) stream(p path) (*process, error) {
	return l.start(p.from, "ping", "-D", "-n", "-i", "0.01", "-c", "600", "-W", "1", guestAddress(p.to).Addr().String())
}

var (
	answered = regexp.MustCompile(`(?m)^\[(\d+\.\d+)\] \d+ bytes from`)
	counted  = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)
)

func outcome(l *lab, host *process, streams []*process, killed, started time.Time) (sample, error) {
	if _, err := host.wait(l.ctx); err != nil {
		return nil, err
	}
	m := counted.FindStringSubmatch(host.out.String())
	if m == nil {
		return nil, fmt.Errorf("ping: %s", host.out.tail())
	}
	sent, _ := strconv.Atoi(m[1])
	received, _ := strconv.Atoi(m[2])
	s := sample{"lost": float64(sent - received), "silence": 0, "lost paths": 0}
	for _, p := range streams {
		if _, err := p.wait(l.ctx); err != nil {
			return nil, err
		}
		const inFlight = 100 * time.Millisecond // answers that were on their way when the daemon died
		dead := killed.Add(inFlight)
		if early, ok := firstAfter(p.out.String(), dead); ok && early < started.Sub(dead) {
			return nil, fmt.Errorf("%q was answered while the daemon was dead: its traffic takes another way", p.cmd.Args)
		}
		silence, ok := firstAfter(p.out.String(), started)
		if !ok {
			s["lost paths"]++
		}
		s["silence"] = max(s["silence"], float64(silence.Milliseconds()))
	}
	return s, nil
}

// firstAfter returns how long after started ping had an answer again; ok is false if never.
func firstAfter(out string, started time.Time) (d time.Duration, ok bool) {
	for _, m := range answered.FindAllStringSubmatch(out, -1) {
		seconds, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue
		}
		if d := time.Duration((seconds - float64(started.UnixMicro())/1e6) * float64(time.Second)); d >= 0 {
			return d, true
		}
	}
	return 0, false
}
