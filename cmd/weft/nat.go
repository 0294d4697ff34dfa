package main

import (
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"weft/internal/control/api"
)

func (a *app) natCommand() *cobra.Command {
	return group("nat", "The sessions that NAT translates", a.natShowCommand(), a.natFlushCommand())
}

func (a *app) natShowCommand() *cobra.Command {
	var f api.NATFilter
	c := &cobra.Command{
		Use:   "show [NETWORK] [--port PORT] [--limit N]",
		Short: "Show who inside speaks to whom outside",
		Long: `Show who inside speaks to whom outside. INSIDE is the guest's address and port, OUTSIDE
what REMOTE sees of it. ICMP has its query's identifier in place of ports. In the order of
the guests' addresses; --limit takes whichever come first.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.natNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.Limit < 0 {
				return usagef("--limit %d: want a number of sessions", f.Limit)
			}
			f.Network = optional(args)
			sessions, err := a.client().NATSessions(cmd.Context(), f)
			if err != nil {
				return err
			}
			return write(a, sessions, sessionTable)
		},
	}
	c.Flags().StringVar(&f.Port, "port", "", "only those of this port")
	c.Flags().IntVar(&f.Limit, "limit", 0, "at most so many; 0: all")
	a.completeFlag(c, "port", a.portNames)
	return c
}

func (a *app) natFlushCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "flush [NETWORK [ADDRESS]]",
		Short: "End sessions: all, those of a network, those of one guest",
		Long: `End sessions: all, those of a network, or those of one guest's address. Connections that
go on get a new one by the guest's next packet, from another port: TCP breaks.`,
		Example:           "  weft nat flush default 192.168.150.10",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: first(a.natNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			var inside netip.Addr
			if len(args) == 2 {
				var err error
				if inside, err = parseAddr(args[1]); err != nil {
					return err
				}
			}
			flushed, err := a.client().FlushNAT(cmd.Context(), optional(args), inside)
			if err != nil {
				return err
			}
			return write(a, flushed, flushedText("session", "ended"))
		},
	}
}

func sessionTable(w io.Writer, sessions []api.NATSession) {
	row(w, "NETWORK", "PROTO", "INSIDE", "OUTSIDE", "REMOTE", "STATE", "PORT", "EXPIRES")
	for _, s := range sessions {
		row(w, s.Network, s.Protocol, s.Inside, s.Outside, s.Remote, dash(s.State), dash(s.Port), seconds(s.Expires))
	}
}

// seconds writes a time that JSON has in seconds.
func seconds(s float64) string {
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// parseAddr reads an argument that is an address.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, usagef("%q is not an address (want one such as 192.168.150.10)", s)
	}
	return a, nil
}
