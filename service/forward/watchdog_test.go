package forward

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ends := make(chan time.Duration, 2)
		w := newWatchdog(time.Minute, func() { ends <- time.Since(begin) })
		time.Sleep(50 * time.Second)
		w.touch()
		time.Sleep(59 * time.Second)
		w.touch()
		time.Sleep(time.Hour)
		synctest.Wait()
		if want := (50 + 59 + 60) * time.Second; len(ends) != 1 || <-ends != want {
			t.Errorf("ended %d times, want once, after %v", len(ends), want)
		}
	})
}

func TestWatchdogStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchdog(time.Minute, func() { t.Error("ended") })
		w.stop()
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}
