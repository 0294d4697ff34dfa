package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weft/config"
	"weft/internal/control/api"
	"weft/internal/control/client"
)

func (a *app) portCommand() *cobra.Command {
	list := &cobra.Command{
		Use:   "list",
		Short: "List the ports",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ports, err := a.client().Ports(cmd.Context())
			if err != nil {
				return err
			}
			return write(a, ports, portTable)
		},
	}
	show := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show a port",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: first(a.portNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			port, err := a.client().Port(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return write(a, port, portText)
		},
	}
	return group("port", "The ports: what is attached to the networks",
		append([]*cobra.Command{list, show}, a.editCommands(entry{
			noun:     client.Port,
			word:     "port",
			zero:     config.Port{},
			example:  "vm1 network=lan type=tap owner=libvirt-qemu",
			complete: a.portNames,
		})...)...)
}

func portTable(w io.Writer, ports []api.Port) {
	row(w, "NAME", "NETWORK", "TYPE", "DEVICE", "STATE", "MTU", "STATIONS", "DETAIL")
	for _, p := range ports {
		row(w, p.Name, p.Network, p.Type, p.Device, p.State, p.MTU, p.Stations, p.Detail)
	}
}

func portText(w io.Writer, p api.Port) {
	row(w, "name", p.Name)
	row(w, "network", p.Network)
	row(w, "type", p.Type)
	row(w, "device", p.Device)
	row(w, "state", strings.TrimSpace(p.State+"  "+p.Detail))
	if p.MAC != 0 {
		row(w, "mac", p.MAC)
	}
	row(w, "mtu", p.MTU)
	row(w, "queues", p.Queues)
	row(w, "offloads", dash(strings.Join(p.Offloads, ", ")))
	row(w, "stations", p.Stations)
}
