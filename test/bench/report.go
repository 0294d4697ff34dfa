package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A report is what one bench leaves behind.
type report struct {
	Machine  machine   `json:"machine"`
	CPU      string    `json:"cpu_method"`
	Verdicts []verdict `json:"targets"`
	Tables   results   `json:"tables"`
}

// write writes latest.md for people and latest.json for programs.
func (r report) write(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "latest.json"), append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "latest.md"), []byte(r.markdown()), 0o644),
	)
}

func (r report) markdown() string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nWritten by `make bench`; only ratios within one table mean something. " +
		"Contestants run in turn, round after round. Tables show medians; a target that compares is the median of each round's ratio.\n\n")
	for _, f := range r.Machine.facts() {
		fmt.Fprintf(&b, "- %s: %s\n", f.name, f.value)
	}
	if middle, most, ok := r.Tables.disturbance(); ok {
		fmt.Fprintf(&b, "- others' share of the machine meanwhile: median %.0f %%, at most %.0f %%\n", middle, most)
	}
	b.WriteString("\n## Targets\n\n")
	b.WriteString(r.targets())
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", t.Title, t.Note)
		t.markdown(&b)
	}
	fmt.Fprintf(&b, "\n## How CPU time is measured\n\n%s\n", r.CPU)
	return b.String()
}

// targets returns the verdicts as a table.
func (r report) targets() string {
	var b strings.Builder
	b.WriteString("| target | limit | measured | |\n|---|--:|--:|---|\n")
	for _, v := range r.Verdicts {
		result := v.Result
		if v.Why != "" {
			result += ": " + strings.ReplaceAll(v.Why, "\n", "; ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.Target, v.Limit, v.Measured, result)
	}
	return b.String()
}

// markdown writes a row per contestant: medians, and the extremes of the first metric.
func (t table) markdown(b *strings.Builder) {
	b.WriteString("| |")
	for _, m := range t.Metrics {
		fmt.Fprintf(b, " %s |", strings.TrimSuffix(m.Name+", "+m.Unit, ", "))
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(t.Metrics)) + "\n")
	for _, r := range t.Rows {
		fmt.Fprintf(b, "| %s |", r.Contestant)
		for i, m := range t.Metrics {
			fmt.Fprintf(b, " %s |", cell(m, r.values(m.Name), i == 0))
		}
		b.WriteByte('\n')
	}
	for _, r := range t.Rows {
		if r.Failure != "" {
			fmt.Fprintf(b, "\n%s, after %d rounds: %s\n", r.Contestant, len(r.Samples), strings.ReplaceAll(r.Failure, "\n", "; "))
		}
	}
}

func cell(m metric, values []float64, extremes bool) string {
	middle, ok := median(values)
	if !ok {
		return "–"
	}
	text := fmt.Sprintf(m.format, middle)
	if extremes && len(values) > 1 {
		low, high := span(values)
		text += fmt.Sprintf(" ("+m.format+"–"+m.format+")", low, high)
	}
	return text
}
