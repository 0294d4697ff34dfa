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
	e := entry{
		noun:     client.Port,
		word:     "port",
		zero:     config.Port{},
		example:  "vm1 network=lan type=tap owner=libvirt-qemu",
		changes:  []string{"vm1 mac=52:54:00:00:00:01 owner="},
		syntax:   "; lists take\ncommas; KEY= removes the key, LIST+= adds to a list, LIST-= removes from it.",
		complete: a.portNames,
	}
	verbs := viewCommands(a, e, view[api.Port]{
		all:   (*client.Client).Ports,
		table: portTable,
		one:   (*client.Client).Port,
		text:  portText,
	})
	return group("port", "The ports: what is attached to the networks", append(verbs, a.editCommands(e)...)...)
}

func portTable(w io.Writer, ports []api.Port) {
	row(w, "NAME", "NETWORK", "TYPE", "DEVICE", "STATE", "MTU", "STATIONS", "DETAIL")
	for _, p := range ports {
		row(w, p.Name, p.Network, p.Type, p.Device, p.State, p.MTU, p.Stations, dash(p.Detail))
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
	row(w, "fastpath", dash(p.Fastpath))
}
