package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weft/internal/control/api"
)

func (a *app) leaseCommand() *cobra.Command {
	list := &cobra.Command{
		Use:               "list [NETWORK]",
		Short:             "List who has which address until when",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: first(a.gatewayNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			leases, err := a.client().Leases(cmd.Context(), optional(args))
			if err != nil {
				return err
			}
			return write(a, leases, leaseTable)
		},
	}
	release := &cobra.Command{
		Use:   "release NETWORK ADDRESS",
		Short: "End a lease",
		Long: `End a lease: the address is free for another guest at once. Its holder is not told, and
uses it until it asks again, so release what nobody uses any more.`,
		Example:           "  weft lease release default 192.168.150.101",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeLease,
		RunE: func(cmd *cobra.Command, args []string) error {
			address, err := parseAddr(args[1])
			if err != nil {
				return err
			}
			released, err := a.client().ReleaseLease(cmd.Context(), args[0], address)
			if err != nil {
				return err
			}
			return write(a, released, flushedText("lease", "released"))
		},
	}
	return group("lease", "The addresses that guests have by DHCP", list, release)
}

func leaseTable(w io.Writer, leases []api.Lease) {
	row(w, "NETWORK", "ADDRESS", "MAC", "NAME", "PORT", "STATE", "EXPIRES", "CLIENT")
	for _, l := range leases {
		state := l.State
		if l.Reserved {
			state += ", reserved"
		}
		row(w, l.Network, l.Address, l.MAC, dash(l.Name), dash(l.Port), state, l.Expires.Local().Format(time.DateTime), dash(l.Client))
	}
}

// completeLease completes a network, then the addresses that are leased there.
func (a *app) completeLease(cmd *cobra.Command, args []string, part string) ([]string, cobra.ShellCompDirective) {
	leased := func(ctx context.Context) []string {
		leases, _ := a.client().Leases(ctx, args[0]) // nothing to complete with, nothing to say
		addresses := make([]string, len(leases))
		for i, l := range leases {
			addresses[i] = l.Address.String() + "\t" + l.MAC.String() + " " + l.Name
		}
		return addresses
	}
	return each(a.gatewayNames, leased)(cmd, args, part)
}
