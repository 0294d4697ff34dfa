package main

import (
	"io"

	"github.com/spf13/cobra"

	"weft/internal/control/api"
)

func (a *app) routeCommand() *cobra.Command {
	show := &cobra.Command{
		Use:   "show [NETWORK]",
		Short: "Show by which way packets leave",
		Long: `Show by which way guests' packets leave, with NETWORK those of its guests. Weft follows
the host's own routes; the document adds those behind guests. By a route marked no-uplink
guests' packets are dropped: its device is no uplink of theirs.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.gatewayNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			routes, err := a.client().Routes(cmd.Context(), optional(args))
			if err != nil {
				return err
			}
			return write(a, routes, routeTable)
		},
	}
	return group("route", "The ways of packets that leave their network", show)
}

func routeTable(w io.Writer, routes []api.Route) {
	row(w, "TO", "VIA", "DEVICE", "NETWORK", "ORIGIN", "METRIC")
	for _, r := range routes {
		via := "-"
		if r.Via.IsValid() {
			via = r.Via.String()
		}
		row(w, r.To, via, dash(r.Device), dash(r.Network), r.Origin, r.Metric)
	}
}
