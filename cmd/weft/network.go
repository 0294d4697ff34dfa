package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weft/config"
	"weft/internal/control/api"
	"weft/internal/control/client"
)

func (a *app) networkCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List the networks",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			networks, err := a.client().Networks(cmd.Context())
			if err != nil {
				return err
			}
			return write(a, networks, networkTable)
		},
	}
	show := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a network",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.networkNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			network, err := a.client().Network(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return write(a, network, networkText)
		},
	}
	return group("network", "The networks: sets of ports that exchange frames",
		append([]*cobra.Command{list, show}, a.editCommands(entry{
			noun:     client.Network,
			word:     "network",
			zero:     config.Network{},
			example:  "lan mode=bridged uplinks=eth0,eth1",
			complete: a.networkNames,
		})...)...)
}

func networkTable(w io.Writer, networks []api.Network) {
	row(w, "NAME", "MODE", "MTU", "AGEING", "PORTS", "STATIONS", "UPLINKS")
	for _, n := range networks {
		uplinks := make([]string, len(n.Uplinks))
		for i, u := range n.Uplinks {
			uplinks[i] = u.Device + " (" + u.State + ")"
		}
		row(w, n.Name, n.Mode, n.MTU, n.Ageing, len(n.Ports), stations(n), dash(strings.Join(uplinks, ", ")))
	}
}

func networkText(w io.Writer, n api.Network) {
	row(w, "name", n.Name)
	row(w, "mode", n.Mode)
	row(w, "mtu", n.MTU)
	row(w, "ageing", n.Ageing)
	row(w, "stations", stations(n))
	for _, u := range n.Uplinks {
		row(w, "uplink", strings.TrimSpace(u.Device+" ("+u.State+") "+u.Detail))
	}
	for _, p := range n.Ports {
		row(w, "port", p)
	}
}

func stations(n api.Network) string {
	if n.Limit == 0 {
		return fmt.Sprint(n.Stations)
	}
	return fmt.Sprintf("%d of %d", n.Stations, n.Limit)
}
