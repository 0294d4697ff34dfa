package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
		ok     bool
	}{
		{nil, 0, false},
		{[]float64{3}, 3, true},
		{[]float64{9, 1, 2}, 2, true},
		{[]float64{4, 1, 2, 9}, 3, true},
	} {
		if got, ok := median(c.values); got != c.want || ok != c.ok {
			t.Errorf("median(%v) = %v, %v; want %v, %v", c.values, got, ok, c.want, c.ok)
		}
	}
}

func TestPairedIgnoresDrift(t *testing.T) {
	slow := []float64{9, 90, 900}
	fast := []float64{10, 100, 1000}
	if got, err := paired(slow, fast); got != 0.9 || err != nil {
		t.Errorf("paired = %v, %v; want 0.9", got, err)
	}
	if got, err := paired(slow, nil); err == nil {
		t.Errorf("paired with nothing = %v, want an error", got)
	}
}

func oneTable(name string, rows ...row) results { return results{{Name: name, Rows: rows}} }

func TestTargetJudge(t *testing.T) {
	atLeast := target{"", true, 6, "%.1f", against("t", "m", weft, ovs)}
	atMost := target{"", false, 0.7, "%.1f", against("t", "m", weft, ovs)}
	for _, c := range []struct {
		target    target
		weft, ovs float64
		want      string
	}{
		{atLeast, 12, 2, pass},
		{atLeast, 11, 2, fail},
		{atMost, 7, 10, pass},
		{atMost, 8, 10, fail},
		{atMost, 8, 0, notRun},
	} {
		r := oneTable("t", row{Contestant: weft.name, Samples: []sample{{"m": c.weft}}},
			row{Contestant: ovs.name, Samples: []sample{{"m": c.ovs}}})
		if got := c.target.judge(r).Result; got != c.want {
			t.Errorf("%v to %v with limit %v: %s, want %s", c.weft, c.ovs, c.target.limit, got, c.want)
		}
	}
	if v := atLeast.judge(nil); v.Result != notRun || v.Why == "" {
		t.Errorf("without results: %+v, want %s and why", v, notRun)
	}
	r := oneTable("t", row{Contestant: weft.name, Samples: []sample{{"m": 1}}}, row{Contestant: ovs.name, Failure: "no module"})
	if v := atLeast.judge(r); v.Result != notRun || !strings.Contains(v.Why, "no module") {
		t.Errorf("without the peer: %+v, want %s and why", v, notRun)
	}
}

func TestCostIsOfEachRound(t *testing.T) {
	r := oneTable("t", row{Contestant: manyFlows.name, Samples: []sample{{"m": 9}, {"m": 90}, {"m": 900}}},
		row{Contestant: oneFlow.name, Samples: []sample{{"m": 10}, {"m": 100}, {"m": 1000}}})
	if got, err := cost("t", "m", manyFlows, oneFlow)(r); math.Abs(got-10) > 1e-9 || err != nil {
		t.Errorf("cost = %v %%, %v; want 10", got, err)
	}
}

// Every target is about a table, a metric and contestants that there are: else it
// would be "not run" for ever.
func TestTargetsAreMeasured(t *testing.T) {
	b := &bench{rounds: 1}
	var r results
	for _, e := range b.experiments() {
		for _, c := range e.contestants {
			s := make(sample)
			for _, m := range e.Metrics {
				s[m.Name] = 1
			}
			e.Rows = append(e.Rows, row{Contestant: c.name, Samples: []sample{s}})
		}
		r = append(r, e.table)
	}
	s := make(sample)
	for _, f := range figures {
		s[f.Name] = 1
	}
	r = append(r, table{Name: "in process", Rows: []row{{Contestant: weft.name, Samples: []sample{s}}}})
	for _, v := range judge(r) {
		if v.Result == notRun {
			t.Errorf("%s: %s", v.Target, v.Why)
		}
	}
}

func TestPingIsCounted(t *testing.T) {
	const out = `[1000.10000] 198.18.0.3 : [1], 64 bytes, 0.100 ms (0.100 avg, 30% loss)
[1001.50000] 198.18.0.3 : [5], 64 bytes, 0.100 ms (0.100 avg, 30% loss)
[1002.35000] 198.18.0.3 : [9], 64 bytes, 0.100 ms (0.100 avg, 30% loss)

198.18.0.3 : xmt/rcv/%loss = 10/7/30%, min/avg/max = 0.100/0.100/0.100
`
	d := disaster{killed: time.Unix(1001, 0), started: time.Unix(1002, 0)}
	s := make(sample)
	if err := s.count(path{"device", atTAP, "guests"}, out, d, false); err != nil {
		t.Fatal(err)
	}
	if s["guests"] != 3 || s["silence"] != 350 || s["lost paths"] != 0 {
		t.Errorf("counted %v, want 3 lost and 350 ms of silence", s)
	}
	if err := s.count(path{"device", atTAP, "guests"}, out, d, true); err == nil {
		t.Error("an answer from a dead daemon was believed")
	}
}

func TestVerdictErrorNamesWhatFellShort(t *testing.T) {
	verdicts := []verdict{{Target: "speed", Result: pass}, {Target: "size", Result: fail}, {Target: "grace", Result: notRun}}
	if err := verdictError(verdicts, false); err != nil {
		t.Errorf("without a check: %v", err)
	}
	err := verdictError(verdicts, true)
	if err == nil || !strings.Contains(err.Error(), "size: FAIL") || !strings.Contains(err.Error(), "grace: not run") || strings.Contains(err.Error(), "speed") {
		t.Errorf("with a check: %v", err)
	}
}

func TestBenchmarksGatherRounds(t *testing.T) {
	const out = `goos: linux
BenchmarkRelay/known-unicast/64B-2   100   40.5 ns/op   0 allocs/op
BenchmarkRelay/known-unicast/64B-2   100   41.5 ns/op   0 allocs/op
BenchmarkFDB/learn/1M-2   100   250 ns/op
PASS`
	r := results{{Name: "in process", Rows: []row{chosenFigures(benchmarks(out))}}}
	if got, err := of("in process", "relay", weft)(r); got != 41 || err != nil {
		t.Errorf("relay: %v, %v; want 41", got, err)
	}
	if got, _ := of("in process", "fdb learn", weft)(r); got != 4 {
		t.Errorf("learning: %v M/s, want 4", got)
	}
	if missing := r[0].Rows[0].Failure; !strings.Contains(missing, "lookup-cold") {
		t.Errorf("the missing look-up is not named: %q", missing)
	}
}

func TestFirstAfter(t *testing.T) {
	const out = `[1000.10000] 198.18.0.3 : [1], 64 bytes, 0.100 ms (0.100 avg, 30% loss)
[1002.35000] 198.18.0.3 : [9], 64 bytes, 0.100 ms (0.100 avg, 30% loss)
`
	got, ok := firstAfter(out, time.Unix(1002, 0))
	if !ok || math.Abs(got.Seconds()-0.35) > 0.001 {
		t.Errorf("firstAfter = %v, %v; want 350ms", got, ok)
	}
	if _, ok := firstAfter(out, time.Unix(1003, 0)); ok {
		t.Error("firstAfter found an answer where there is none")
	}
}

func TestCellShowsExtremes(t *testing.T) {
	m := metric{"tcp", "Gbit/s", "%.1f"}
	for want, got := range map[string]string{
		"–":             cell(m, nil, true),
		"2.0":           cell(m, []float64{1, 2, 3}, false),
		"2.0 (1.0–3.0)": cell(m, []float64{1, 2, 3}, true),
	} {
		if got != want {
			t.Errorf("cell: %q, want %q", got, want)
		}
	}
}
