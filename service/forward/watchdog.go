package forward

import (
	"sync/atomic"
	"time"
)

// A watchdog calls a function once, when nobody has touched it for a while.
type watchdog struct {
	idle    time.Duration
	began   time.Time
	touched atomic.Int64 // time.Duration since began
	timer   *time.Timer
}

func newWatchdog(idle time.Duration, end func()) *watchdog {
	w := &watchdog{idle: idle, began: time.Now()}
	ready := make(chan struct{})
	w.timer = time.AfterFunc(idle, func() {
		<-ready // w.timer is set
		if left := w.left(); left > 0 {
			w.timer.Reset(left)
			return
		}
		end()
	})
	close(ready)
	return w
}

// touch is cheap: the timer runs on and is set anew when it fires.
func (w *watchdog) touch() { w.touched.Store(int64(time.Since(w.began))) }

func (w *watchdog) left() time.Duration {
	return w.idle - (time.Since(w.began) - time.Duration(w.touched.Load()))
}

// stop keeps the function from being called, if it is not too late.
func (w *watchdog) stop() { w.timer.Stop() }
