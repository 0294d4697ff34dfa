package switchtest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// NoLeak fails the test if, at its end and after the cleanups registered later,
// there are goroutines or file descriptors that were not there when it was called.
// It does not go with parallel tests.
func NoLeak(t testing.TB) {
	t.Helper()
	goroutines := goleak.IgnoreCurrent()
	before := descriptors(t)
	t.Cleanup(func() {
		if err := goleak.Find(goroutines); err != nil {
			t.Errorf("goroutines leak: %v", err)
		}
		for fd, target := range descriptors(t) {
			if _, ok := before[fd]; !ok {
				t.Errorf("file descriptor %s leaks: %s", fd, target)
			}
		}
	})
}

// descriptors returns what each open descriptor stands for. The runtime opens some
// of its own when it first waits for the network or a timer.
func descriptors(t testing.TB) map[string]string {
	t.Helper()
	runtimeOpensIts()
	const dir = "/proc/self/fd"
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := make(map[string]string)
	for _, name := range names {
		if target, err := os.Readlink(dir + "/" + name.Name()); err == nil && target != fmt.Sprintf("/proc/%d/fd", os.Getpid()) {
			open[name.Name()] = target
		}
	}
	return open
}

// runtimeOpensIts makes the runtime set up its network poller.
func runtimeOpensIts() {
	if r, w, err := os.Pipe(); err == nil {
		_ = r.SetDeadline(time.Time{})
		_, _ = r.Close(), w.Close()
	}
}
