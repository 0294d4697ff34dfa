package main

import "fmt"

// A verdict is one target of the project and what was measured of it.
type verdict struct {
	Target   string  `json:"target"`
	Limit    string  `json:"limit"`
	Measured string  `json:"measured"`
	Value    float64 `json:"value"`
	Result   string  `json:"result"` // pass, fail, or not run
}

// The results of a verdict.
const (
	pass   = "PASS"
	fail   = "FAIL"
	notRun = "not run"
)

// A target is a limit for something that the results tell.
type target struct {
	name     string
	least    bool // limit is the least that will do, else the most
	limit    float64
	format   string // of the limit and the value
	measured func(results) (float64, bool)
}

func (t target) judge(r results) verdict {
	sign := "≤ "
	if t.least {
		sign = "≥ "
	}
	v := verdict{Target: t.name, Limit: sign + fmt.Sprintf(t.format, t.limit), Measured: "–", Result: notRun}
	value, ok := t.measured(r)
	if !ok {
		return v
	}
	v.Value, v.Measured, v.Result = value, fmt.Sprintf(t.format, value), fail
	if value == t.limit || t.least == (value > t.limit) {
		v.Result = pass
	}
	return v
}

// against compares weft's median of a metric with a contestant's.
func against(table, metric string, c contestant) func(results) (float64, bool) {
	return func(r results) (float64, bool) {
		return ratio(r.row(table, weft.name).values(metric), r.row(table, c.name).values(metric))
	}
}

// own returns weft's median of a metric.
func own(table, metric string) func(results) (float64, bool) {
	return func(r results) (float64, bool) { return median(r.row(table, weft.name).values(metric)) }
}

// worst returns weft's greatest value of a metric.
func worst(table, metric string) func(results) (float64, bool) {
	return func(r results) (float64, bool) {
		values := r.row(table, weft.name).values(metric)
		if len(values) == 0 {
			return 0, false
		}
		_, most := span(values)
		return most, true
	}
}

// crowdCost is the share of throughput, in %, that 64 more ports take.
func crowdCost(r results) (float64, bool) {
	p, ok := paired(r.row("idle ports", weftCrowds.name).values("tcp"), r.row("idle ports", weft.name).values("tcp"))
	return 100 * (1 - p), ok
}

// hostBeside is the host's own throughput with weft's NAT on its NIC to that without.
func hostBeside(r results) (float64, bool) {
	return paired(r.row("host beside NAT", natWeft.name).values("tcp"), r.row("host beside NAT", natNone.name).values("tcp"))
}

// targets are the figures that weft is to reach.
var targets = []target{
	{"host ports: TCP to Open vSwitch's", true, 6, "%.2f×", against("host ports", "tcp", ovs)},
	{"host ports: TCP to vde_switch's", true, 6, "%.2f×", against("host ports", "tcp", vde)},
	{"host ports: TCP to the Linux bridge's", true, 0.8, "%.2f×", against("host ports", "tcp", bridge)},
	{"host ports: ping average to Open vSwitch's", false, 0.7, "%.2f×", against("host ports", "ping avg", ovs)},
	{"device ports: TCP to the Linux bridge's", true, 0.6, "%.2f×", against("device ports", "tcp", bridge)},
	{"64-byte frames received to Open vSwitch's", true, 1, "%.2f×", against("64-byte frames", "received", ovs)},
	{"64-byte frames reordered in a flow", false, 0, "%.0f", worst("64-byte frames", "late")},
	{"TCP lost to 64 more idle ports", false, 2, "%.1f %%", crowdCost},
	{"idle daemon, ten ports: resident", false, 40, "%.1f MB", own("idle daemon", "resident")},
	{"idle daemon, ten ports: CPU", false, 0.5, "%.2f %%", own("idle daemon", "cpu")},
	{"kill -9: host ↔ wire echoes lost", false, 0, "%.0f", worst("kill -9", "lost")},
	{"kill -9: silence after the next start", false, 1000, "%.0f ms", worst("kill -9", "silence")},
	{"kill -9: paths that stay silent", false, 0, "%.0f", worst("kill -9", "lost paths")},
	{"NAT: TCP to nftables masquerade's", true, 0.5, "%.2f×", against("NAT", "tcp", natKernel)},
	{"NAT: TCP to slirp4netns's", true, 10, "%.1f×", against("NAT", "tcp", natSlirp)},
	{"NAT: ping average to nftables masquerade's", false, 4, "%.2f×", against("NAT", "ping avg", natKernel)},
	{"host's own TCP beside NAT to without weft", true, 0.9, "%.2f×", hostBeside},
	{"NAT table: 1,000,000 sessions", false, 150, "%.0f MB", own("in process", "nat memory")},
	{"NAT table: new sessions", true, 0.3, "%.2f M/s", own("in process", "nat sessions")},
	{"NAT table: a batch of expiry, p99", false, 200, "%.0f µs", own("in process", "nat expiry")},
	{"NAT table: translation of a known session: allocations", false, 0, "%.0f", worst("in process", "nat allocs")},
	{"relay of known unicast", false, 60, "%.1f ns/frame", own("in process", "relay")},
	{"relay of known unicast, 16 stations at 4 ports", false, 60, "%.1f ns/frame", own("in process", "relay, 16 stations")},
	{"relay of known unicast: allocations", false, 0, "%.0f", worst("in process", "relay allocs")},
	{"filtering database of 1,000,000 addresses", false, 40, "%.1f MB", own("in process", "fdb memory")},
	{"filtering database: cold look-up", false, 60, "%.1f ns", own("in process", "fdb lookup")},
	{"filtering database: learning", true, 2, "%.2f M/s", own("in process", "fdb learn")},
}

// judge compares the results with the targets.
func judge(r results) []verdict {
	verdicts := make([]verdict, len(targets))
	for i, t := range targets {
		verdicts[i] = t.judge(r)
	}
	return verdicts
}
