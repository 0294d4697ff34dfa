package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// The contestants of the restart: a network on a NIC.
var (
	bridgedWeft = weftWith(weft.name, weftd{mode: "bridged", uplink: "nic0"})
	bridgedCore = weftWith(weftCore.name, weftd{mode: "bridged", uplink: "nic0", fastpath: "off"})
)

func (b *bench) restart() experiment {
	return experiment{
		table: table{
			Name: "kill -9", Title: "kill -9 of the daemon, and its next start",
			Note: "A bridged network with one NIC shared with the host, a TAP that a guest of QEMU's kind holds throughout, two veths and a host port in a namespace of its own. " +
				"Ten seconds of pings, about 1.2 ms apart between guests, 10 ms apart elsewhere, " +
				"and of a TCP stream of 200 Mbit/s between the guests on veths: kill -9 after two seconds, the next start one second after its end. " +
				"Lost: echoes between guests; segments that the stream had to send again; echoes between host and wire, which the kernel carries; " +
				"echoes between guests and either of them; echoes from and to the host port, whose frames all go by the daemon. " +
				"“Silence” is from the start of the new process to the first answer on the slowest of the paths that need weft.",
			Metrics: []metric{
				{"guests", "echoes", "%.0f"},
				{"tcp", "segments", "%.0f"},
				{"carried", "echoes", "%.0f"},
				{"host, wire", "echoes", "%.0f"},
				{"host port", "echoes", "%.0f"},
				{"silence", "ms", "%.0f"},
				{"lost paths", "", "%.0f"},
			},
		},
		contestants: []contestant{bridgedWeft, bridgedCore},
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
	atOther // device
	atHostPort
)

// A path is a ping from a namespace to a station.
type path struct {
	from string
	to   int
	loss string // metric that its lost echoes count for
}

func (p path) address() string { return guestAddress(p.to).Addr().String() }

// carried is what lost echoes count for on a path that the kernel carries anyway.
const carried = "carried"

// paths are those between all stations: every kind of port both asks and answers.
var paths = []path{
	{"sw", atWire, carried},
	{"device", atTAP, "guests"},
	{"device", atOther, "guests"},
	{"other", atTAP, "guests"},
	{"sw", atTAP, "host, wire"},
	{"sw", atDevice, "host, wire"},
	{"wire", atTAP, "host, wire"},
	{"wire", atDevice, "host, wire"},
	{"sw", atHostPort, "host port"},
	{"wire", atHostPort, "host port"},
	{"device", atHostPort, "host port"},
	{"hostport", atTAP, "host port"},
}

// A disaster is when the daemon was killed and when it was started again.
type disaster struct{ killed, started time.Time }

func killAndStart(l *lab, c contestant) (sample, error) {
	w, err := bridgedScene(l, c)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if err := l.reachable(p.from, p.address()); err != nil {
			return nil, err
		}
	}
	stream, err := l.steady()
	if err != nil {
		return nil, err
	}
	pings := make([]*process, len(paths))
	for i, p := range paths {
		if pings[i], err = l.echoes(p); err != nil {
			return nil, err
		}
	}
	d, err := w.dieAndStart()
	if err != nil {
		return nil, err
	}
	s := sample{"silence": 0, "lost paths": 0}
	for i, p := range paths {
		if _, err := pings[i].wait(l.ctx); err != nil {
			return nil, err
		}
		if err := s.count(p, pings[i].out.String(), d, w.fastpath == "off"); err != nil {
			return nil, err
		}
	}
	s["tcp"], err = stream.resent(l)
	return s, err
}

// dieAndStart kills the daemon after two seconds and starts it again one second after
// its end.
func (w *weftd) dieAndStart() (d disaster, err error) {
	if err := w.lab.rest(2 * time.Second); err != nil {
		return d, err
	}
	if err := w.process.kill(); err != nil {
		return d, err
	}
	d.killed = time.Now()
	if err := w.lab.rest(time.Second); err != nil {
		return d, err
	}
	d.started = time.Now()
	return d, w.launch()
}

// bridgedScene makes the wire, the guests and the daemon.
func bridgedScene(l *lab, c contestant) (*weftd, error) {
	ports := []port{
		{name: "t0", kind: tap},
		{name: "d0", kind: device, space: "device", address: guestAddress(atDevice)},
		{name: "d1", kind: device, space: "other", address: guestAddress(atOther)},
		{name: "h0", kind: host, space: "hostport", address: guestAddress(atHostPort)},
	}
	for _, space := range []string{"wire", "device", "other", "hostport"} {
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
	w := c.make(l).(*weftd)
	if err := w.start(ports); err != nil {
		return nil, err
	}
	_, err := l.guest("sw", "echo", w.link(ports[0]), guestAddress(atTAP).Addr().String())
	return w, err
}

// echoes starts ten seconds of pings that print the time of each answer.
func (l *lab) echoes(p path) (*process, error) {
	period, count := "10", "1000" // in ms
	if p.loss == "guests" {
		period, count = "1", "8300" // fping takes a little longer between two
	}
	// Not ping, which spins by sched_yield between two echoes: a few of them, and Linux 6.18
	// does not run the thread that ends RCU's grace periods for seconds, so that nothing
	// closes a socket. Echoes are lost that are not answered within -t.
	return l.start(p.from, "fping", "-D", "-i", "1", "-p", period, "-c", count, "-t", "5000", p.address())
}

// steady starts ten seconds of a TCP stream from one device to the other, slow enough
// for all ways between them.
func (l *lab) steady() (*process, error) {
	server, err := l.start("other", "iperf3", "--server", "--one-off", "--forceflush")
	if err != nil {
		return nil, err
	}
	if err := server.awaitLine(l, "Server listening"); err != nil {
		return nil, err
	}
	return l.start("device", "iperf3", "--client", path{to: atOther}.address(), "--json", "--time", "10", "--bitrate", "200M")
}

// resent waits for the end of a stream and returns how many segments it sent again.
func (p *process) resent(l *lab) (float64, error) {
	out, err := p.wait(l.ctx)
	if err != nil {
		return 0, err
	}
	var report struct {
		End struct {
			Sent struct{ Retransmits float64 } `json:"sum_sent"`
		}
	}
	err = json.Unmarshal([]byte(out), &report)
	return report.End.Sent.Retransmits, err
}

var (
	answered = regexp.MustCompile(`(?m)^\[(\d+\.\d+)\] \S+ : \[\d+\], \d+ bytes`)
	counted  = regexp.MustCompile(`xmt/rcv/%loss = (\d+)/(\d+)/`)
)

// count adds what fping says about a path. If the path needs the daemon, nothing may
// have gone by while that was dead.
func (s sample) count(p path, out string, d disaster, daemon bool) error {
	m := counted.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("ping from %s to %s: %s", p.from, p.address(), out)
	}
	sent, _ := strconv.Atoi(m[1])
	received, _ := strconv.Atoi(m[2])
	s[p.loss] += float64(sent - received)
	if p.loss == carried {
		return nil
	}
	const inFlight = 100 * time.Millisecond // answers that were on their way when the daemon died
	dead := d.killed.Add(inFlight)
	if early, ok := firstAfter(out, dead); daemon && ok && early < d.started.Sub(dead) {
		return fmt.Errorf("ping from %s to %s was answered while the daemon was dead: its traffic takes another way", p.from, p.address())
	}
	silence, ok := firstAfter(out, d.started)
	if !ok {
		s["lost paths"]++
	}
	s["silence"] = max(s["silence"], float64(silence.Milliseconds()))
	return nil
}

// firstAfter returns how long after started fping had an answer again; ok is false if never.
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
