// Package radv is the router advertisement side of RFC 4861: what a router tells the
// hosts of a link, and when (section 6.2), with the options of RFC 8106 and RFC 4191.
package radv

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"time"
)

const (
	maxInitial         = 3                      // MAX_INITIAL_RTR_ADVERTISEMENTS (RFC 4861 10)
	maxInitialInterval = 16 * time.Second       // MAX_INITIAL_RTR_ADVERT_INTERVAL
	minDelay           = 3 * time.Second        // MIN_DELAY_BETWEEN_RAS
	maxAnswerDelay     = 500 * time.Millisecond // MAX_RA_DELAY_TIME

	// maxAnswers bounds who is answered by himself. When more ask at once, one multicast
	// advertisement answers all.
	maxAnswers = 64
)

// A Radv advertises one router on one link. It does nothing by itself: Poll returns
// what is to be sent when the time that Next tells has come. It is for one goroutine
// at a time.
type Radv struct {
	c      Config
	random *rand.Rand

	next      time.Time // of the next multicast advertisement
	last      time.Time // when one was sent; zero: never
	initial   int       // how many of the first ones, which follow closely, are to come
	answers   []answer
	withdrawn []withdrawal
}

// An answer is a unicast advertisement yet to be sent.
type answer struct {
	to solicitor
	at time.Time
}

// New returns a Radv that advertises c from now on, the first time at once. Delays are
// random as random is.
func New(now time.Time, c Config, random *rand.Rand) (*Radv, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	return &Radv{c: c, random: random, next: now, initial: maxInitial}, nil
}

// Set advertises c from now on, and soon. For what c has no more, hosts are told to
// forget it. It returns an error, and changes nothing, if c cannot be told.
func (r *Radv) Set(now time.Time, c Config) error {
	c, err := c.complete()
	if err != nil {
		return err
	}
	if reflect.DeepEqual(c, r.c) {
		return nil
	}
	old := r.c
	r.c = c
	r.withdraw(now, old)
	r.initial = maxInitial
	r.hasten(r.earliest(now))
	return nil
}

// Solicit is given the frame of a router solicitation, complete, and has it answered.
// It returns an error if the solicitation must be ignored.
func (r *Radv) Solicit(now time.Time, p []byte) error {
	from, err := parseSolicitation(p)
	if err != nil {
		return err
	}
	delay := time.Duration(r.random.Int64N(int64(maxAnswerDelay) + 1))
	at := now.Add(delay)
	switch {
	case !r.next.After(at):
		// The next multicast advertisement is an answer.
	case from.addr.IsUnspecified() || len(r.answers) == maxAnswers:
		r.hasten(r.earliest(now).Add(delay))
	case !slices.ContainsFunc(r.answers, func(a answer) bool { return a.to == from }):
		r.answers = append(r.answers, answer{from, at})
	}
	return nil
}

// earliest returns when a multicast advertisement may be sent at the earliest.
func (r *Radv) earliest(now time.Time) time.Time {
	if after := r.last.Add(minDelay); !r.last.IsZero() && after.After(now) {
		return after
	}
	return now
}

// hasten has the next multicast advertisement sent at the given time at the latest.
func (r *Radv) hasten(at time.Time) {
	if at.Before(r.next) {
		r.next = at
	}
}

// Next returns when Poll has something to send.
func (r *Radv) Next() time.Time {
	next := r.next
	for _, a := range r.answers {
		if a.at.Before(next) {
			next = a.at
		}
	}
	return next
}

// Poll returns the Ethernet frames that are to be sent now.
func (r *Radv) Poll(now time.Time) (frames [][]byte) {
	r.withdrawn = slices.DeleteFunc(r.withdrawn, func(w withdrawal) bool { return !now.Before(w.until) })
	if !now.Before(r.next) {
		r.schedule(now)
		return [][]byte{r.frame(all, r.c.Lifetime)}
	}
	r.answers = slices.DeleteFunc(r.answers, func(a answer) bool {
		if now.Before(a.at) {
			return false
		}
		frames = append(frames, r.frame(a.to, r.c.Lifetime))
		return true
	})
	return frames
}

// schedule notes that a multicast advertisement is sent now, which is an answer to all,
// and chooses the time of the next (RFC 4861 6.2.4).
func (r *Radv) schedule(now time.Time) {
	r.last, r.answers = now, r.answers[:0]
	interval := r.c.MinInterval + time.Duration(r.random.Int64N(int64(r.c.MaxInterval-r.c.MinInterval)+1))
	if r.initial = max(0, r.initial-1); r.initial > 0 {
		interval = min(interval, maxInitialInterval)
	}
	r.next = now.Add(interval)
}

// Farewell returns the frame with which the router ends to be one (RFC 4861 6.2.5):
// hosts take another default router at once.
func (r *Radv) Farewell() []byte { return r.frame(all, 0) }
