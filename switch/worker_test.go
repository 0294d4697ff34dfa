package vswitch

import "testing"

// A wake that a worker sees while it polls must not be lost to its sleep.
func TestWorkerWokenDoesNotSleep(t *testing.T) {
	r := newRig(t, Config{})
	for _, restless := range []bool{false, true} {
		r.w.restless = restless
		r.w.poller.wake()
		if ready := r.w.wait(); len(ready) != 0 { // would not return
			t.Errorf("queues %v are ready", ready)
		}
	}
}
