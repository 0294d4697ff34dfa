package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"weft/frame"
	"weft/internal/control/api"
)

func (a *app) countersCommand() *cobra.Command {
	var reasons, watch bool
	var interval time.Duration
	c := &cobra.Command{
		Use:   "counters [PORT]",
		Short: "Show what the ports carried, and what was dropped and why",
		Example: `  weft counters vm1
  weft counters --watch
  weft counters --reasons`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.portNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case reasons:
				return write(a, glossary(), reasonTable)
			case watch && interval <= 0:
				return usagef("--interval %s: want more than 0s", interval)
			case watch:
				return a.watchCounters(cmd.Context(), optional(args), interval)
			}
			counters, err := a.client().Counters(cmd.Context(), optional(args))
			if err != nil {
				return err
			}
			if len(args) == 1 && len(counters) == 1 {
				return write(a, counters, portCounters)
			}
			return write(a, counters, counterTable)
		},
	}
	c.Flags().BoolVar(&reasons, "reasons", false, "explain the reasons for which frames are dropped")
	c.Flags().BoolVar(&watch, "watch", false, "show rates, again and again (with --json: totals, one document a line)")
	c.Flags().DurationVar(&interval, "interval", time.Second, "how often --watch looks")
	return c
}

func counterTable(w io.Writer, counters []api.Counters) {
	row(w, "PORT", "RX-FRAMES", "RX-BYTES", "TX-FRAMES", "TX-BYTES", "FLOODED", "LEARNED", "MOVED", "TAKEN", "DROPS")
	for _, c := range counters {
		row(w, c.Port, c.RxFrames, c.RxBytes, c.TxFrames, c.TxBytes, c.Flooded, c.Learned, c.Moved, c.Taken, drops(c))
	}
	dropTable(w, counters)
}

// dropTable says for what reasons frames were dropped, if any were.
func dropTable(w io.Writer, counters []api.Counters) {
	if !slices.ContainsFunc(counters, func(c api.Counters) bool { return drops(c) > 0 }) {
		return
	}
	fmt.Fprintln(w)
	row(w, "PORT", "DROPS", "REASON", "MEANING")
	for _, c := range counters {
		for _, reason := range counted(c.Drops) {
			row(w, c.Port, c.Drops[reason], reason, meaning(reason))
		}
		for _, where := range counted(c.Kernel) {
			row(w, c.Port, c.Kernel[where], "kernel", "dropped by the kernel: "+where)
		}
	}
}

// counted returns the names of what is not zero.
func counted(drops map[string]uint64) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(drops)), func(name string) bool { return drops[name] == 0 })
}

func portCounters(w io.Writer, counters []api.Counters) {
	c := counters[0]
	row(w, "", "FRAMES", "BYTES", "SEGMENTS")
	row(w, "received", c.RxFrames, c.RxBytes, c.RxSegments)
	row(w, "sent", c.TxFrames, c.TxBytes, c.TxSegments)
	fmt.Fprintln(w)
	row(w, "flooded", c.Flooded)
	row(w, "stations learned", c.Learned)
	row(w, "stations moved here", c.Moved)
	row(w, "not learned, limit", c.LearnLimit)
	row(w, "taken by weft", c.Taken)
	row(w, "dropped", drops(c))
	dropTable(w, counters)
}

// drops is how many frames were lost at the port, in weft and in the kernel.
func drops(c api.Counters) (n uint64) {
	for _, d := range c.Drops {
		n += d
	}
	for _, d := range c.Kernel {
		n += d
	}
	return n
}

// A reason is a line of the glossary.
type reason struct {
	Reason  string `json:"reason"`
	Meaning string `json:"meaning"`
}

func glossary() []reason {
	var all []reason
	for r := frame.Reason(1); r < frame.NumReasons; r++ {
		all = append(all, reason{r.String(), r.Help()})
	}
	return all
}

func reasonTable(w io.Writer, reasons []reason) {
	row(w, "REASON", "MEANING")
	for _, r := range reasons {
		row(w, r.Reason, r.Meaning)
	}
}

// meaning explains a reason; a newer weftd may know some that we do not.
func meaning(name string) string {
	for _, r := range glossary() {
		if r.Reason == name {
			return r.Meaning
		}
	}
	return ""
}

// watchCounters shows rates until ctx ends, which is its regular end.
func (a *app) watchCounters(ctx context.Context, port string, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	daemon := a.client()
	defer daemon.Close()
	var before []api.Counters
	var then time.Time
	for {
		counters, err := daemon.Counters(ctx, port)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		if err := a.showRates(before, counters, now.Sub(then)); err != nil {
			return err
		}
		before, then = counters, now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *app) showRates(before, now []api.Counters, elapsed time.Duration) error {
	if a.json {
		return writeJSON(a.stdout, now, "")
	}
	if isTerminal(a.stdout) {
		fmt.Fprint(a.stdout, "\x1b[H\x1b[2J") // home, clear
	} else {
		fmt.Fprintln(a.stdout)
	}
	return write(a, now, func(w io.Writer, now []api.Counters) { rateTable(w, before, now, elapsed) })
}

func rateTable(w io.Writer, before, now []api.Counters, elapsed time.Duration) {
	row(w, "PORT", "RX-FRAMES/S", "RX-MBIT/S", "TX-FRAMES/S", "TX-MBIT/S", "DROPS/S", "DROPS")
	for _, c := range now {
		i := slices.IndexFunc(before, func(b api.Counters) bool { return b.Port == c.Port })
		if i < 0 {
			row(w, c.Port, "-", "-", "-", "-", "-", drops(c))
			continue
		}
		b := before[i]
		rate := func(was, is uint64, unit float64) string {
			if is < was { // the port was made anew
				was = 0
			}
			return fmt.Sprintf("%.1f", float64(is-was)*unit/elapsed.Seconds())
		}
		const mbit = 8e-6
		row(w, c.Port, rate(b.RxFrames, c.RxFrames, 1), rate(b.RxBytes, c.RxBytes, mbit),
			rate(b.TxFrames, c.TxFrames, 1), rate(b.TxBytes, c.TxBytes, mbit), rate(drops(b), drops(c), 1), drops(c))
	}
}
