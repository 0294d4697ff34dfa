package daemon

import (
	"fmt"
	"io"

	"weft/tap"
)

// Cleanup removes everything that an earlier weftd left in the kernel of this
// network namespace, and tells w, one line each. What a running one holds stays. Which
// ports were reserved stands in runDir.
func Cleanup(w io.Writer, runDir string) error {
	k := &realKernel{runDir: runDir}
	removed, err := k.Sweep(func(string, tap.Use) bool { return false })
	for _, line := range removed {
		fmt.Fprintln(w, "removed", line)
	}
	return err
}
