package nat

import "time"

// tick is the unit of sessions' deadlines: as uint32 they reach for 13 years.
const tick = 100 * time.Millisecond

// ticks rounds down, ticksUp up, so that a deadline never comes early.
func ticks(d time.Duration) uint32   { return uint32(d / tick) }
func ticksUp(d time.Duration) uint32 { return uint32((d + tick - 1) / tick) }

const (
	visits = 512 // sessions looked at while the table is locked at a time
	ends   = 24  // of them, those ended
	turns  = 8   // of Expire
)

// Expire ends sessions and fragments whose time is over: one bounded batch of them. It
// goes over a million sessions in 250 calls; call it every 10 ms.
func (t *Table) Expire(now time.Duration) {
	t.mu.Lock()
	t.ageFragments(now)
	t.answerSYNs(now)
	t.mu.Unlock()
	over := func(s *session) bool { return s.deadline <= ticks(now) }
	for range turns {
		if t.turn(over) {
			return
		}
	}
}

// turn sweeps the next part of the table and reports whether it was the last.
func (t *Table) turn(over func(*session) bool) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swept, _ = t.sweep(t.swept, over)
	if last = t.swept > t.sessions.made; last {
		t.swept = 1
	}
	return last
}

// sweep ends those sessions that over names, from record i on, a few of them at most.
// It returns where to go on and how many it ended.
func (t *Table) sweep(i uint32, over func(*session) bool) (next uint32, ended int) {
	last := min(t.sessions.made, i+visits-1)
	for ; i <= last && ended < ends; i++ {
		if s := t.sessions.at(i); s.state != 0 && over(s) {
			t.close(i)
			ended++
		}
	}
	return i, ended
}

// closeWhere ends all sessions that over names and returns how many there were. Packets
// go on meanwhile.
func (t *Table) closeWhere(over func(*session) bool) (ended int) {
	for i := uint32(1); ; {
		t.mu.Lock()
		next, n := t.sweep(i, over)
		done := next > t.sessions.made
		t.mu.Unlock()
		ended += n
		if i = next; done {
			return ended
		}
	}
}
