package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// A console is the lab's testing.TB outside a test: it prints, and cleans up when the
// demo is over.
type console struct {
	ctx context.Context

	mu       sync.Mutex
	failed   bool     // guarded by mu
	cleanups []func() // guarded by mu
}

func (c *console) Helper()                  {}
func (c *console) Context() context.Context { return c.ctx }

func (c *console) Logf(format string, args ...any) {
	fmt.Println(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (c *console) Errorf(format string, args ...any) {
	c.mu.Lock()
	c.failed = true
	c.mu.Unlock()
	fmt.Fprintf(os.Stderr, "demo: "+format+"\n", args...)
}

// Fatalf ends the calling goroutine, as that of testing.TB does.
func (c *console) Fatalf(format string, args ...any) {
	c.Errorf(format, args...)
	runtime.Goexit()
}

func (c *console) Skipf(format string, args ...any) { c.Fatalf(format, args...) }

func (c *console) Failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

func (c *console) Cleanup(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cleanups = append(c.cleanups, f)
}

// run calls f, then all clean-ups, the last one first, and reports success.
func (c *console) run(f func()) bool {
	var done sync.WaitGroup
	done.Go(f) // a goroutine of its own, which Fatalf may end
	done.Wait()
	for _, cleanup := range slices.Backward(c.cleanups) {
		cleanup()
	}
	return !c.Failed()
}
