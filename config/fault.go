package config

import (
	"fmt"
	"slices"
	"strings"
)

// A Fault is one thing in a document that cannot stand.
type Fault struct {
	Path  string // where: ports[2].mac, networks[0].uplinks[1]; empty: the document as a whole
	Value string // what stands there, if it is one value
	Text  string // what is wrong with it and what would be right
	Line  int    // of the document, from 1; 0: unknown
}

// String returns the fault on one line: path, colon, text.
func (f Fault) String() string {
	if f.Path == "" {
		return f.Text
	}
	return f.Path + ": " + f.Text
}

// Faults are all the faults of a document, in its order. It is the error of
// everything here that reads a document.
type Faults []Fault

// Error returns one fault a line.
func (f Faults) Error() string { return strings.Join(f.Lines(), "\n") }

// Lines returns one line for each fault.
func (f Faults) Lines() []string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].String()
	}
	return lines
}

// In returns one line for each fault, with the file's name and the line in front,
// as compilers write it and editors follow it.
func (f Faults) In(file string) []string {
	lines := f.Lines()
	for i := range f {
		if f[i].Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d: %s", file, f[i].Line, lines[i])
		} else {
			lines[i] = file + ": " + lines[i]
		}
	}
	return lines
}

// maxFaults is more than anybody reads, and less than fills a log.
const maxFaults = 1000

// err returns the faults in the document's order, or nil if there are none.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Fault) int { return a.Line - b.Line })
	if more := len(f) - maxFaults; more > 0 {
		f = append(f[:maxFaults:maxFaults], Fault{Text: fmt.Sprintf("and %d faults more", more)})
	}
	return f
}
