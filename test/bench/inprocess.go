package main

import (
	"bufio"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A figure is one value of one benchmark.
type figure struct {
	metric
	benchmark *regexp.Regexp
	unit      string // as `go test -bench` prints it
	convert   func(float64) float64
}

// figures are the benchmarks that targets exist for.
var figures = []figure{
	{metric{"relay", "ns/frame", "%.1f"}, relayOne, "ns/op", same},
	{metric{"relay allocs", "per batch", "%.0f"}, relayOne, "allocs/op", same},
	{metric{"relay, 16 stations", "ns/frame", "%.1f"}, relayMany, "ns/op", same},
	{metric{"fdb memory", "MB", "%.1f"}, fdbLookup, "table-bytes", func(bytes float64) float64 { return bytes / 1e6 }},
	{metric{"fdb lookup", "ns", "%.1f"}, fdbLookup, "ns/op", same},
	{metric{"fdb learn", "M/s", "%.2f"}, fdbLearn, "ns/op", func(ns float64) float64 { return 1e3 / ns }},
	{metric{"nat memory", "MB", "%.0f"}, natMemory, "MB", same},
	{metric{"nat sessions", "M/s", "%.2f"}, natNew, "sessions/s", func(n float64) float64 { return n / 1e6 }},
	{metric{"nat expiry", "µs", "%.0f"}, natExpire, "p99-µs", same},
	{metric{"nat translation", "ns/packet", "%.1f"}, natKnown, "ns/op", same},
	{metric{"nat allocs", "per packet", "%.0f"}, natKnown, "allocs/op", same},
}

var (
	relayOne  = regexp.MustCompile(`^BenchmarkRelay/known-unicast/64B(-\d+)?$`)
	relayMany = regexp.MustCompile(`^BenchmarkRelay/known-unicast/64B-16-stations-to-4(-\d+)?$`)
	fdbLookup = regexp.MustCompile(`^BenchmarkFDB/lookup-cold/1M(-\d+)?$`)
	fdbLearn  = regexp.MustCompile(`^BenchmarkFDB/learn/1M(-\d+)?$`)
	natMemory = regexp.MustCompile(`^BenchmarkMemory/v4/mapping_each(-\d+)?$`)
	natNew    = regexp.MustCompile(`^BenchmarkNewSession/v4(-\d+)?$`)
	natExpire = regexp.MustCompile(`^BenchmarkExpire/all(-\d+)?$`)
	natKnown  = regexp.MustCompile(`^BenchmarkKnownSession/v4/TCP/out(-\d+)?$`)
)

func same(v float64) float64 { return v }

// inProcess runs the benchmarks of the data path's packages. It returns the figures
// that have targets as one table and everything as another.
func (b *bench) inProcess() (results, error) {
	all := table{
		Name: "go test", Title: "All in-process benchmarks",
		Note: "`go test -run '^$' -bench . -benchmem ./switch ./frame ./nat ./route`, medians.",
	}
	for _, folder := range []string{"./switch", "./frame", "./nat", "./route"} {
		out, err := command(b.ctx, "", "go", "test", "-run", "^$", "-bench", ".", "-benchmem",
			"-benchtime", "200ms", "-count", strconv.Itoa(b.rounds), folder)
		if b.ctx.Err() != nil {
			return nil, errInterrupted
		}
		if err != nil {
			all.Rows = append(all.Rows, row{Contestant: folder, Failure: err.Error()})
		}
		all.Rows = append(all.Rows, benchmarks(out)...)
	}
	all.Metrics = unitsOf(all.Rows)
	chosen := table{
		Name: "in process", Title: "In process, one core, without I/O",
		Note: "Those of the benchmarks below that the project has targets for.",
		Rows: []row{chosenFigures(all.Rows)},
	}
	for _, f := range figures {
		chosen.Metrics = append(chosen.Metrics, f.metric)
	}
	return results{chosen, all}, nil
}

// benchmarks reads the lines of `go test -bench`: a name, a count, and values
// with their units. A benchmark that ran several times is one row.
func benchmarks(out string) []row {
	var rows []row
	index := make(map[string]int)
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		s := make(sample)
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				s[fields[i+1]] = v
			}
		}
		i, seen := index[fields[0]]
		if !seen {
			i = len(rows)
			index[fields[0]] = i
			rows = append(rows, row{Contestant: fields[0]})
		}
		rows[i].Samples = append(rows[i].Samples, s)
	}
	return rows
}

// chosenFigures picks the figures from the benchmarks' rows.
func chosenFigures(rows []row) row {
	chosen := row{Contestant: weft.name}
	var missing []error
	for _, f := range figures {
		values := f.find(rows)
		if len(values) == 0 {
			missing = append(missing, fmt.Errorf("no benchmark matches %s with unit %s", f.benchmark, f.unit))
		}
		for i, v := range values {
			if i == len(chosen.Samples) {
				chosen.Samples = append(chosen.Samples, make(sample))
			}
			chosen.Samples[i][f.Name] = f.convert(v)
		}
	}
	if err := errors.Join(missing...); err != nil {
		chosen.Failure = err.Error()
	}
	return chosen
}

// find returns the figure's values in the first benchmark that has it.
func (f figure) find(rows []row) []float64 {
	for _, r := range rows {
		if f.benchmark.MatchString(r.Contestant) {
			if values := r.values(f.unit); len(values) > 0 {
				return values
			}
		}
	}
	return nil
}

// unitsOf returns a metric for each unit that occurs.
func unitsOf(rows []row) []metric {
	var metrics []metric
	seen := make(map[string]bool)
	for _, unit := range []string{"ns/op", "MB/s", "B/op", "allocs/op"} {
		metrics = append(metrics, metric{Name: unit, format: "%.4g"})
		seen[unit] = true
	}
	for _, r := range rows {
		for _, s := range r.Samples {
			for unit := range s {
				if !seen[unit] {
					metrics = append(metrics, metric{Name: unit, format: "%.4g"})
					seen[unit] = true
				}
			}
		}
	}
	return metrics
}
