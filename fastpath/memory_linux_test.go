package fastpath

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"weft/frame"
)

// resident returns how much of the kernel's maps counts as memory of the process, in bytes.
func resident(t testing.TB) (n int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	must(t, err)
	defer f.Close()
	ours := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int
		switch line := lines.Text(); {
		case strings.HasSuffix(line, "bpf-map"):
			ours = true
		case strings.HasPrefix(line, "Rss:") && ours:
			_, err := fmt.Sscanf(line, "Rss: %d kB", &kib)
			must(t, err)
			n += kib << 10
			ours = false
		}
	}
	return n
}

// settled waits until the caches of other tests are gone, which the collector ends.
func settled(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); resident(t) > 0; runtime.Gosched() {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatalf("%d bytes of caches that nobody uses stay", resident(t))
		}
	}
}

// A cache takes as much of the process's memory as it has decisions, not as it could have;
// to have read that of an earlier process takes none.
func TestMemoryGrowsWithUse(t *testing.T) {
	settled(t)
	r := newRig(t, Config{})
	size := len(r.records) * int(r.windows.records.of.ValueSize())
	r.learn(bridged(t, stationsOf(1)))
	idle := resident(t)
	if idle == 0 || idle > size/16 {
		t.Errorf("a cache of one decision takes %d bytes, one that is full more than %d", idle, size)
	}
	program, _ := r.Programs()
	left, err := Left(program)
	must(t, err)
	if after := resident(t); len(left) != 1 || after > idle+idle/2 {
		t.Errorf("%d decisions read; it takes %d bytes, before %d", len(left), after, idle)
	}
	for i := range 1000 {
		r.learn(bridged(t, stationsOf(i)))
	}
	for i := range 1000 {
		if got, _ := r.send(stationsOf(i), frame.Offload{}); got == nil {
			t.Fatalf("decision %d is not in force", i)
		}
	}
}
