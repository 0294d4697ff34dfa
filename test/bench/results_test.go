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
	if got, ok := paired(slow, fast); got != 0.9 || !ok {
		t.Errorf("paired = %v, %v; want 0.9", got, ok)
	}
}

func oneTable(name string, rows ...row) results { return results{{Name: name, Rows: rows}} }

func TestTargetJudge(t *testing.T) {
	atLeast := target{"", true, 6, "%.1f", against("t", "m", ovs)}
	atMost := target{"", false, 0.7, "%.1f", against("t", "m", ovs)}
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
	if got := atLeast.judge(nil).Result; got != notRun {
		t.Errorf("without results: %s, want %s", got, notRun)
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
	if got, ok := own("in process", "relay")(r); got != 41 || !ok {
		t.Errorf("relay: %v, %v; want 41", got, ok)
	}
	if got, _ := own("in process", "fdb learn")(r); got != 4 {
		t.Errorf("learning: %v M/s, want 4", got)
	}
	if missing := r[0].Rows[0].Failure; !strings.Contains(missing, "lookup-cold") {
		t.Errorf("the missing look-up is not named: %q", missing)
	}
}

func TestFirstAfter(t *testing.T) {
	const out = `PING 198.18.0.3 (198.18.0.3) 56(84) bytes of data.
[1000.100000] 64 bytes from 198.18.0.3: icmp_seq=1 ttl=64 time=0.1 ms
[1002.350000] 64 bytes from 198.18.0.3: icmp_seq=9 ttl=64 time=0.1 ms
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
