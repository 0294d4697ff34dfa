package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A sample is what one run measured, by the metric's name.
type sample map[string]float64

// A metric is one column of an experiment's table.
type metric struct {
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	format string // of the value in the report
}

// others is a metric of every experiment that has traffic: see cpuMethod.
var others = metric{"others", "%", "%.0f"}

// A row is a contestant's samples, in the order of the rounds.
type row struct {
	Contestant string   `json:"contestant"`
	Samples    []sample `json:"samples"`
	Failure    string   `json:"failure,omitempty"` // why there are fewer samples than rounds
}

// A table is the outcome of an experiment.
type table struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Note    string   `json:"note"`
	Metrics []metric `json:"metrics"`
	Rows    []row    `json:"rows"`
}

// values returns the row's samples of one metric.
func (r row) values(metric string) []float64 {
	var values []float64
	for _, s := range r.Samples {
		if v, ok := s[metric]; ok {
			values = append(values, v)
		}
	}
	return values
}

// results holds the tables by their names.
type results []table

// values returns a contestant's values of a metric in the named table, one at least.
func (r results) values(name, metric string, c contestant) ([]float64, error) {
	for _, t := range r {
		if t.Name != name {
			continue
		}
		for _, row := range t.Rows {
			if row.Contestant != c.name {
				continue
			}
			if values := row.values(metric); len(values) > 0 {
				return values, nil
			}
			return nil, fmt.Errorf("%s: %s", c.name, cmp.Or(row.Failure, "no "+metric))
		}
	}
	return nil, errNotRun
}

// errNotRun is why nothing is known of an experiment that was not chosen.
var errNotRun = errors.New("not chosen")

// median returns the middle of these values.
func (r results) median(name, metric string, c contestant) (float64, error) {
	values, err := r.values(name, metric, c)
	m, _ := median(values)
	return m, err
}

// disturbance returns how much of the machine others used during the runs, in %:
// the median and the most.
func (r results) disturbance() (middle, most float64, ok bool) {
	var values []float64
	for _, t := range r {
		for _, row := range t.Rows {
			values = append(values, row.values(others.Name)...)
		}
	}
	if middle, ok = median(values); ok {
		_, most = span(values)
	}
	return middle, most, ok
}

// median returns the middle of the values, the mean of the two middles if they are
// even in number; ok is false if there are none.
func median(values []float64) (m float64, ok bool) {
	if len(values) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	low, high := sorted[(len(sorted)-1)/2], sorted[len(sorted)/2]
	return (low + high) / 2, true
}

// paired returns the median of the ratios of each round.
func paired(a, b []float64) (float64, error) {
	var ratios []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	if m, ok := median(ratios); ok {
		return m, nil
	}
	return 0, errors.New("no round of both")
}

// span returns the least and the greatest value.
func span[T cmp.Ordered](values []T) (T, T) { return slices.Min(values), slices.Max(values) }
