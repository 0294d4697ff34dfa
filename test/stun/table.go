package stun

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// String prints the result as a table.
func (r Result) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	columns := []Behavior{r.UDP, r.TCP, r.ICMP}
	fmt.Fprintln(w, "\tUDP\tTCP\tICMP")
	for _, row := range []struct {
		name string
		cell func(Behavior) string
	}{
		{"mapping", func(b Behavior) string { return b.Mapping }},
		{"filtering", func(b Behavior) string { return b.Filtering }},
		{"external address", func(b Behavior) string { return b.External.String() }},
		{"ports preserved", func(b Behavior) string { return b.Preserved }},
		{"port parity kept", func(b Behavior) string { return yes(b.Parity) }},
		{"port range kept", func(b Behavior) string { return yes(b.Range) }},
		{"two hosts distinct", func(b Behavior) string { return b.Distinct }},
		{"hairpinning", func(b Behavior) string { return b.Hairpin }},
	} {
		fmt.Fprint(w, row.name)
		for _, c := range columns {
			text := row.cell(c)
			if text == "" {
				text = "–"
			}
			fmt.Fprint(w, "\t"+text)
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush() // a Builder takes all
	return b.String()
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}
