package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// An experiment is one comparison: each contestant in turn, and again, so that
// whatever changes on the machine meanwhile falls on all of them alike.
type experiment struct {
	table
	contestants []contestant
	rounds      int

	// run makes a run of its own for each round. In its place, stand brings a contestant up that
	// stays so; the turn it returns is one round.
	run   func(l *lab, c contestant) (sample, error)
	stand func(l *lab, c contestant) (turn, error)
}

// A bench runs experiments.
type bench struct {
	ctx      context.Context
	duration time.Duration // of the traffic of one run
	rounds   int
	progress io.Writer
}

// run makes all rounds of an experiment. A contestant that failed takes no further
// part in it. It ends early only with errInterrupted.
func (b *bench) run(e experiment) (t table, _ error) {
	once := b.once
	if e.stand != nil {
		s := newStanding(b)
		defer func() {
			for i, c := range e.contestants {
				if err := s.end(c); err != nil {
					t.Rows[i].Failure = err.Error()
				}
			}
		}()
		once = s.once
	}
	t = e.table
	t.Rows = make([]row, len(e.contestants))
	for i, c := range e.contestants {
		t.Rows[i].Contestant = c.name
	}
	for round := range e.rounds {
		for k := range e.contestants {
			i := (k + round) % len(e.contestants) // nobody always follows the same one
			c, r := e.contestants[i], &t.Rows[i]
			if r.Failure != "" {
				continue
			}
			s, err := calmly(func() (sample, error) { return once(e, c) })
			if errors.Is(err, errInterrupted) {
				return t, err
			}
			if err != nil {
				r.Failure = err.Error()
				fmt.Fprintf(b.progress, "%s %d/%d %s: failed: %v\n", e.Name, round+1, e.rounds, c.name, err)
				continue
			}
			r.Samples = append(r.Samples, s)
			fmt.Fprintf(b.progress, "%s %d/%d %s: %s\n", e.Name, round+1, e.rounds, c.name, s.line(e.Metrics))
		}
	}
	return t, nil
}

// errInterrupted ends a bench: the operator wants no more of it.
var errInterrupted = errors.New("interrupted")

// A run in which others use more of the machine, in %, than calm is made again, but no
// more often than attempts.
const (
	calm     = 10
	attempts = 3
)

// calmly makes a run, and of several that were disturbed returns the least.
func calmly(once func() (sample, error)) (best sample, err error) {
	for range attempts {
		s, err := once()
		if err != nil {
			return nil, err
		}
		if best == nil || s[others.Name] < best[others.Name] {
			best = s
		}
		if best[others.Name] <= calm {
			break
		}
	}
	return best, nil
}

// runLimit is how long a run may take beside its traffic before it has failed.
const runLimit = time.Minute

// limited bounds one run.
func (b *bench) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, 4*b.duration+runLimit)
}

// once makes one run in a lab of its own.
func (b *bench) once(e experiment, c contestant) (s sample, err error) {
	ctx, cancel := b.limited()
	defer cancel()
	l, err := newLab(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, l.close())
		if b.ctx.Err() != nil {
			err = errInterrupted
		}
	}()
	return e.run(l, c)
}

// line prints a sample for the one who waits.
func (s sample) line(metrics []metric) string {
	var parts []string
	for _, m := range metrics {
		if v, ok := s[m.Name]; ok {
			parts = append(parts, fmt.Sprintf("%s "+m.format+" %s", m.Name, v, m.Unit))
		}
	}
	return strings.Join(parts, ", ")
}

// passed returns an error unless the switch, by its own counters, has forwarded at
// least want frames since it had counted before.
func passed(s subject, before, want uint64) error {
	after, err := s.frames()
	if err != nil {
		return err
	}
	if after-before < want {
		return fmt.Errorf("the switch counted %d frames where %d or more went: the traffic took another way", after-before, want)
	}
	return nil
}
