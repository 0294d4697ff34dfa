package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/frame"
	"weft/internal/control/api"
)

func (a *app) fastpathCommand() *cobra.Command {
	return group("fastpath", "The flow cache: what the kernel carries by itself", a.fastpathShowCommand(), a.fastpathFlushCommand())
}

func (a *app) fastpathShowCommand() *cobra.Command {
	var q api.FastpathQuery
	c := &cobra.Command{
		Use:   "show [PORT] [--refused] [--limit N]",
		Short: "Show what the kernel carries by itself, or why not",
		Long: `Show what the flow cache did, and what it knows: of flows, and of stations (all frames
from one to another). AS is what a translated flow leaves as. In the states fresh and queued
the next frame still goes behind those that weft has; stale and idle entries are not used any
more. With PORT only what comes in or leaves there; with --refused the last frames whose like
is not to be remembered, and why.`,
		Example:           "  weft fastpath show vm1\n  weft fastpath show vm1 --refused --limit 20",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.portNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Limit < 0 {
				return usagef("--limit %d: want a number of entries", q.Limit)
			}
			q.Port = optional(args)
			cache, err := a.client().Fastpath(cmd.Context(), q)
			if err != nil {
				return err
			}
			if q.Refused {
				return write(a, cache, refusalTable)
			}
			return write(a, cache, fastpathTable)
		},
	}
	c.Flags().BoolVar(&q.Refused, "refused", false, "what is not remembered, and why")
	c.Flags().IntVar(&q.Limit, "limit", 0, "at most so many; 0: all")
	return c
}

func (a *app) fastpathFlushCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "flush",
		Short: "Forget all; what goes on is remembered anew",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flushed, err := a.client().FlushFastpath(cmd.Context())
			if err != nil {
				return err
			}
			return write(a, flushed, flushedText("entry", "forgotten"))
		},
	}
}

func fastpathTable(w io.Writer, f api.Fastpath) {
	fastpathText(w, f)
	if len(f.Entries) == 0 {
		return
	}
	fmt.Fprintln(w)
	row(w, "IN", "OUT", "KIND", "PROTO", "FROM", "TO", "AS", "STATE", "FRAMES", "BYTES", "IDLE")
	for _, e := range f.Entries {
		from, to := ends(e.Flow)
		row(w, e.In, e.Out, e.Kind, dash(e.Protocol), from, to, dash(translated(e)), e.State, e.Frames, e.Bytes, seconds(e.Idle))
	}
}

func refusalTable(w io.Writer, f api.Fastpath) {
	row(w, "PORT", "PROTO", "FROM", "TO", "AGO", "REASON", "MEANING")
	for _, r := range f.Refusals {
		from, to := ends(r.Flow)
		row(w, r.Port, dash(r.Protocol), from, to, seconds(r.Ago), r.Reason, refusals[r.Reason])
	}
}

// refusals explain why frames come to weft again and again.
var refusals = map[string]string{
	frame.RefusedFlooded.String():  "to a group, or to a station that is not known: normal",
	frame.RefusedOnce.String():     "decided on anew each time: a connection that opens or closes, an ICMP error, neighbor discovery, DHCP",
	frame.RefusedSource.String():   "its sender is not in the filtering database: a limit of stations is reached, or the table is full",
	frame.RefusedStage.String():    "of a network in which weft looks at each frame",
	frame.RefusedCaptured.String(): "somebody captures at one of its ports",
	frame.RefusedPort.String():     "one of its ports has fastpath: off, several queues, or its device in another namespace",
	frame.RefusedKind.String():     "routed, and neither TCP, UDP nor ping, or with IP options, or a fragment",
	frame.RefusedRewrite.String():  "it leaves with changes that the kernel is not to make",
	frame.RefusedChanged.String():  "something changed meanwhile: the next frame is remembered",
	frame.RefusedFull.String():     "the cache is full of flows that are in use",
}

// fastpathText says how the cache does as a whole.
func fastpathText(w io.Writer, f api.Fastpath) {
	state := "off"
	if f.Enabled {
		state = "on"
	}
	row(w, "flow cache", strings.TrimSpace(state+"  "+f.Detail))
	row(w, "entries", fmt.Sprintf("%d of %d", f.Flows, f.Capacity))
	row(w, "hits", f.Hits)
	row(w, "misses", byReason(f.Misses))
	row(w, "refused", byReason(f.Refused))
	row(w, "evicted", f.Evicted)
}

// byReason lists counts, the largest first.
func byReason(counts map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprint(name, " ", counts[name])
	}
	return cmp.Or(strings.Join(names, ", "), "0")
}

// ends returns who speaks to whom: endpoints if they are known, else stations.
func ends(f api.Flow) (from, to string) {
	if f.From.IsValid() {
		return f.From.String(), f.To.String()
	}
	from, to = f.Src.String(), f.Dst.String()
	if f.VLAN != 0 {
		to += fmt.Sprint(" vlan ", f.VLAN)
	}
	return from, to
}

// translated says what a flow leaves as, if that is another.
func translated(e api.FastpathEntry) string {
	if !e.NewFrom.IsValid() || e.NewFrom == e.From && e.NewTo == e.To {
		return ""
	}
	return fmt.Sprint(e.NewFrom, " > ", e.NewTo)
}
