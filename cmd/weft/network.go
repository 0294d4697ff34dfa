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

const networkSyntax = `:

  mtu=9000            a value; KEY= removes the key
  uplinks=eth0,eth1   a list; += adds to it, -= removes from it
  dhcp.lease=2h       a key of a mapping
  dhcp='{lease: 2h}'  a mapping, or a list of them, as in the file

Items of these lists have a short form. To remove one, say as much of it as tells it
from the others, such as forwards-=tcp:2222.

  forwards            ` + shortForward + `
  dhcp.reservations   ` + shortReservation + `
  routes              ` + shortRoute

func (a *app) networkCommand() *cobra.Command {
	e := entry{
		noun:    client.Network,
		word:    "network",
		zero:    config.Network{},
		example: "lan mode=bridged uplinks=eth0,eth1",
		changes: []string{
			"lan mtu=9000 uplinks+=eth1",
			"default dhcp.lease=2h nat.filtering=endpoint-independent",
			"default forwards+=tcp:2222:192.168.150.10:22 forwards-=udp:514",
			"default dhcp.reservations+=52:54:00:00:00:01,192.168.150.10,web",
		},
		syntax:   networkSyntax,
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
	row(w, "NAME", "MODE", "MTU", "AGEING", "PORTS", "STATIONS", "SUBNETS", "UPLINKS")
	for _, n := range networks {
		uplinks := make([]string, len(n.Uplinks))
		for i, u := range n.Uplinks {
			uplinks[i] = u.Device + " (" + u.State + ")"
		}
		row(w, n.Name, n.Mode, n.MTU, n.Ageing, len(n.Ports), stations(n), dash(joined(n.Subnets)), dash(strings.Join(uplinks, ", ")))
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
	gatewayText(w, n)
	for _, p := range n.Ports {
		row(w, "port", p)
	}
}

// gatewayText says what only networks with a gateway have.
func gatewayText(w io.Writer, n api.Network) {
	for _, s := range n.Subnets {
		row(w, "subnet", s)
	}
	if n.Gateway != "" {
		row(w, "gateway", n.Gateway)
	}
	if n.DHCP != "" {
		row(w, "dhcp", n.DHCP)
	}
	if n.Domain != "" {
		row(w, "domain", n.Domain)
	}
	for _, address := range n.External {
		row(w, "external", address)
	}
	for _, f := range n.Forwards {
		row(w, "forward", strings.TrimSpace(forwardText(f)+"  "+f.Detail))
	}
	for _, hint := range n.RouteHints {
		row(w, "outside", hint)
	}
}

func forwardText(f api.Forward) string {
	port := f.Port
	if f.Address.IsValid() {
		port = f.Address.String() + " port " + port
	}
	return fmt.Sprintf("%s %s to %s", f.Protocol, port, f.To)
}

// joined lists values in one cell.
func joined[T any](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}

func stations(n api.Network) string {
	if n.Limit == 0 {
		return fmt.Sprint(n.Stations)
	}
	return fmt.Sprintf("%d of %d", n.Stations, n.Limit)
}
