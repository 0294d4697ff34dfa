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
	e := entry{
		noun:     client.Network,
		word:     "network",
		zero:     config.Network{},
		example:  "lan mode=bridged uplinks=eth0,eth1",
		complete: a.networkNames,
	}
	verbs := viewCommands(a, e, view[api.Network]{
		all:   (*client.Client).Networks,
		table: networkTable,
		one:   (*client.Client).Network,
		text:  networkText,
	})
	return group("network", "The networks: sets of ports that exchange frames", append(verbs, a.editCommands(e)...)...)
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
