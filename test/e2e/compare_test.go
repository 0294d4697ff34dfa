package e2e

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"weft/internal/control/api"
	"weft/test/lab"
)

// withoutStations returns what `weft port list` says, one line a port, without the
// number of stations, which traffic changes.
func withoutStations(w *lab.Weftd) []string {
	var lines []string
	for _, p := range w.Ports() {
		p.Stations = 0
		lines = append(lines, fmt.Sprintf("%+v", p))
	}
	return lines
}

// equalBut compares networks but for the number of stations.
func equalBut(a, b []api.Network) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	for i := range a {
		a[i].Stations = 0
	}
	for i := range b {
		b[i].Stations = 0
	}
	return reflect.DeepEqual(a, b)
}

// names returns the first column of a table, sorted.
func names(table string) string {
	var first []string
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 0 {
			first = append(first, f[0])
		}
	}
	slices.Sort(first)
	return strings.Join(first, " ")
}
