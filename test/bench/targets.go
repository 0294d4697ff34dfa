package main

import (
	"cmp"
	"fmt"
	"slices"
)

// A verdict is one target of the project and what was measured of it.
type verdict struct {
	Target   string  `json:"target"`
	Limit    string  `json:"limit"`
	Measured string  `json:"measured"`
	Value    float64 `json:"value"`
	Result   string  `json:"result"`        // pass, fail, or not run
	Why      string  `json:"why,omitempty"` // it was not run
}

// The results of a verdict.
const (
	pass   = "PASS"
	fail   = "FAIL"
	notRun = "not run"
)

// A measurement takes from the results what a target is about. Its error says why
// that was not measured.
type measurement func(results) (float64, error)

// A target is a limit for something that the results tell.
type target struct {
	name     string
	least    bool // limit is the least that will do, else the most
	limit    float64
	format   string // of the limit and the value
	measured measurement
}

func (t target) judge(r results) verdict {
	sign := "≤ "
	if t.least {
		sign = "≥ "
	}
	v := verdict{Target: t.name, Limit: sign + fmt.Sprintf(t.format, t.limit), Measured: "–", Result: notRun}
	value, err := t.measured(r)
	if err != nil {
		v.Why = err.Error()
		return v
	}
	v.Value, v.Measured, v.Result = value, fmt.Sprintf(t.format, value), fail
	if value == t.limit || t.least == (value > t.limit) {
		v.Result = pass
	}
	return v
}

// against is the median of the ratios of a contestant's and another's metric in each
// round, which a drift of the machine from round to round does not touch.
func against(table, metric string, c, other contestant) measurement {
	return func(r results) (float64, error) {
		mine, errMine := r.values(table, metric, c)
		its, errIts := r.values(table, metric, other)
		if err := cmp.Or(errMine, errIts); err != nil {
			return 0, err
		}
		return paired(mine, its)
	}
}

// of returns a contestant's median of a metric.
func of(table, metric string, c contestant) measurement {
	return func(r results) (float64, error) { return r.median(table, metric, c) }
}

// worst returns the greatest value that contestants have of a metric.
func worst(table, metric string, contestants ...contestant) measurement {
	return func(r results) (most float64, err error) {
		for _, c := range contestants {
			values, err := r.values(table, metric, c)
			if err != nil {
				return 0, err
			}
			most = max(most, slices.Max(values))
		}
		return most, nil
	}
}

// cost is the share, in %, that a contestant loses of what the other reaches.
func cost(table, metric string, c, other contestant) measurement {
	ratio := against(table, metric, c, other)
	return func(r results) (float64, error) {
		v, err := ratio(r)
		return 100 * (1 - v), err
	}
}

// judge compares the results with the targets.
func judge(r results) []verdict {
	verdicts := make([]verdict, len(targets))
	for i, t := range targets {
		verdicts[i] = t.judge(r)
	}
	return verdicts
}
