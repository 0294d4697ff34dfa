package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

var tcpMetrics = []metric{
	{"tcp", "Gbit/s", "%.2f"},
	{"tcp cpu", "s/GB", "%.3f"},
	{cubic, "Gbit/s", "%.2f"},
	{cubic + " cpu", "s/GB", "%.3f"},
	{"4 streams", "Gbit/s", "%.2f"},
	{"4 streams cpu", "s/GB", "%.3f"},
	{"ping avg", "µs", "%.1f"},
	{"crr", "1/s", "%.0f"},
	cached,
	others,
}

func (b *bench) tcpHost() experiment {
	return experiment{
		table: table{
			Name: "host ports", Title: "TCP and ping between two host ports",
			Note: "Two namespaces, each with a device that the switch made (a veth for the Linux bridge). " +
				"iperf3 with one stream under the machine's congestion control and under CUBIC, and with four; ping: 1,000 echoes 2 ms apart; crr: connections made one after the other, " +
				"each for a request and a response of one byte, as netperf's TCP_CRR does.",
			Metrics: tcpMetrics,
		},
		contestants: []contestant{weftCore, ovs, vde, bridgeNF, weft, bridge},
		rounds:      b.rounds,
		run:         func(l *lab, c contestant) (sample, error) { return b.tcp(l, c, host) },
	}
}

func (b *bench) tcpDevice() experiment {
	return experiment{
		table: table{
			Name: "device ports", Title: "TCP and ping between two device ports",
			Note: "As above, but the guests' devices are veths that exist before the switch takes them. " +
				"Open vSwitch's userspace datapath passes no TCP there unless the guests switch their offloads off.",
			Metrics: tcpMetrics,
		},
		contestants: []contestant{weftCore, bridgeNF, weft, bridge, floorTC, floorPeer},
		rounds:      b.rounds,
		run:         func(l *lab, c contestant) (sample, error) { return b.tcp(l, c, device) },
	}
}

func (b *bench) tcpPlain() experiment {
	return experiment{
		table: table{
			Name: "no offloads", Title: "The same between guests without offloads",
			Note: "As above, but the guests have switched off TSO, GSO and the checksums of what they send: " +
				"every frame has 1,514 bytes at most.",
			Metrics: tcpMetrics,
		},
		contestants: []contestant{bridgeNF, weft, bridge, floorPeer},
		rounds:      b.rounds,
		run:         b.withoutOffloads,
	}
}

func (b *bench) withoutOffloads(l *lab, c contestant) (sample, error) {
	ports := pair(device)
	s, err := c.build(l, ports)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if _, err := l.run(p.space, "", "ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx", "off"); err != nil {
			return nil, err
		}
	}
	return b.throughput(l, s)
}

// tcp measures throughput and latency between two ports of a kind.
func (b *bench) tcp(l *lab, c contestant, k kind) (sample, error) {
	s, err := c.build(l, pair(k))
	if err != nil {
		return nil, err
	}
	return b.throughput(l, s)
}

// throughput measures throughput and latency from guest a to guest b.
func (b *bench) throughput(l *lab, s subject) (sample, error) {
	if err := l.reachable("a", guestAddress(2).Addr().String()); err != nil {
		return nil, err
	}
	cacheBefore, err := cacheOf(s)
	if err != nil {
		return nil, err
	}
	one, err := b.iperf(l, s, "a", 1, "")
	if err != nil {
		return nil, err
	}
	measured := sample{"tcp": one.gbits, "tcp cpu": one.cpu}
	if err := cacheBefore.share(s, measured); err != nil {
		return nil, err
	}
	underCUBIC, err := b.iperf(l, s, "a", 1, cubic)
	if err != nil {
		return nil, err
	}
	four, err := b.iperf(l, s, "a", 4, "")
	if err != nil {
		return nil, err
	}
	measured[cubic], measured[cubic+" cpu"] = underCUBIC.gbits, underCUBIC.cpu
	latency, err := ping(l, s, pings)
	if err != nil {
		return nil, err
	}
	rate, err := b.connect(l, s)
	if err != nil {
		return nil, err
	}
	measured["4 streams"], measured["4 streams cpu"] = four.gbits, four.cpu
	measured["ping avg"], measured["crr"] = latency, rate
	measured["others"] = 100 * max(one.others, underCUBIC.others, four.others)
	return measured, nil
}

// stream measures the throughput of one stream to guest b.
func (b *bench) stream(l *lab, s subject, from string) (sample, error) {
	t, err := b.iperf(l, s, from, 1, "")
	return sample{"tcp": t.gbits, "tcp cpu": t.cpu, "others": t.others * 100}, err
}

// reachable waits until a namespace's guest can ping the address.
func (l *lab) reachable(space, address string) error {
	return l.until("ping from "+space+" to "+address, func() bool {
		_, err := l.run(space, "", "ping", "-q", "-c", "1", "-W", "1", address)
		return err == nil
	})
}

// A transfer is what iperf3 moved from one namespace to guest b, in b's count.
type transfer struct {
	gbits  float64 // Gbit/s
	cpu    float64 // seconds per GB
	others float64 // share of the machine
}

// cubic is Linux's own congestion control, which a machine may have changed. Where that has
// BBR, one stream goes at the pace of BBR's estimates: latency counts. With CUBIC both
// processors are busy, half of it with copying: what a frame costs counts.
const cubic = "cubic"

// segmentMax is the longest superframe: a run of n bytes is n/segmentMax frames at least.
const segmentMax = 1 << 16

// iperf moves data from a namespace to guest b. No congestion control is the machine's.
func (b *bench) iperf(l *lab, s subject, from string, streams int, congestionControl string) (transfer, error) {
	before, err := s.frames()
	if err != nil {
		return transfer{}, err
	}
	server, err := l.start("b", "iperf3", "--server", "--one-off", "--forceflush")
	if err != nil {
		return transfer{}, err
	}
	if err := server.awaitLine(l, "Server listening"); err != nil {
		return transfer{}, err
	}
	u := l.usage()
	args := []string{
		"iperf3", "--client", guestAddress(2).Addr().String(), "--json",
		"--time", strconv.Itoa(int(b.duration / time.Second)), "--parallel", strconv.Itoa(streams),
	}
	if congestionControl != "" {
		args = append(args, "--congestion", congestionControl)
	}
	client, err := l.start(from, args...)
	if err != nil {
		return transfer{}, err
	}
	out, err := client.wait(l.ctx)
	if err != nil {
		return transfer{}, err
	}
	if _, err := server.wait(l.ctx); err != nil {
		return transfer{}, err
	}
	cpu, others := l.since(u)

	var report struct {
		End struct {
			Received struct {
				Bytes float64
				Rate  float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		return transfer{}, fmt.Errorf("iperf3's report: %w", err)
	}
	received := report.End.Received
	if received.Bytes == 0 {
		return transfer{}, fmt.Errorf("iperf3 moved nothing")
	}
	t := transfer{gbits: received.Rate / 1e9, cpu: cpu.Seconds() / (received.Bytes / 1e9), others: others}
	return t, passed(s, before, uint64(received.Bytes)/segmentMax)
}

// pings is how many echoes one measurement of latency has.
const pings = 1000

var roundTrip = regexp.MustCompile(` time=([\d.]+) ms`)

// ping returns the average round-trip time of n echoes from guest a to guest b, in µs.
// Ping's own average has no digits behind the µs; that of its single times has.
func ping(l *lab, s subject, n int) (float64, error) {
	before, err := s.frames()
	if err != nil {
		return 0, err
	}
	out, err := l.run("a", "", "ping", "-i", "0.002", "-c", strconv.Itoa(n), guestAddress(2).Addr().String())
	if err != nil {
		return 0, err
	}
	trips := roundTrip.FindAllStringSubmatch(out, -1)
	if len(trips) != n {
		return 0, fmt.Errorf("ping: %d of %d echoes came back", len(trips), n)
	}
	var sum float64
	for _, m := range trips {
		t, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return 1000 * sum / float64(n), passed(s, before, 2*uint64(n))
}
