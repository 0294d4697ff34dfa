package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"weft/internal/control/api"
)

// write writes v as JSON if that is wanted, else as text says it.
func write[T any](a *app, v T, text func(io.Writer, T)) error {
	if a.json {
		return writeJSON(a.stdout, v, "  ")
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	text(w, v)
	return w.Flush()
}

func writeJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// row writes one line of a table. An empty last cell leaves no trailing blanks.
func row(w io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(w, strings.TrimRight(strings.Join(texts, "\t"), "\t"))
}

// dash is what a table shows for nothing.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// done reports what an edit changed. Warnings go to stderr, also beside JSON.
func (a *app) done(d api.Applied) error {
	for _, warning := range d.Warnings {
		fmt.Fprintln(a.stderr, "warning:", warning)
	}
	return write(a, d, func(w io.Writer, d api.Applied) {
		for _, action := range d.Actions {
			fmt.Fprintln(w, action)
		}
		if len(d.Actions) == 0 {
			fmt.Fprintln(w, "nothing to change")
		}
	})
}
