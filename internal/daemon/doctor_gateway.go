package daemon

import (
	"fmt"
	"net/netip"
	"slices"

	"weft/config"
	"weft/internal/control/api"
)

// gatewayFindings tells what keeps the guests of a network from the outside, and what
// the outside must know to reach them.
func (d *Daemon) gatewayFindings(n *network) []api.Finding {
	subject := "network " + n.cfg.Name
	if n.gateway.att == nil {
		return []api.Finding{{
			Severity: sevError, Subject: subject, Text: fmt.Sprintf("its gateway is down: %v", n.gateway.fault),
			Remedy: "mend the cause; it is tried again every few seconds",
		}}
	}
	list := []api.Finding{{Severity: sevOK, Subject: subject, Text: "gateway up on " + n.gateway.device}}
	for _, f := range n.gateway.troubles() {
		f.Subject = subject
		list = append(list, f)
	}
	ways := d.layer3.ways(n.cfg)
	if len(ways) == 0 {
		list = append(list, api.Finding{
			Severity: sevWarning, Subject: subject, Text: "the host has no default route, so the network has no way outside",
			Remedy: "it is followed as soon as there is one; or name the uplink in the configuration",
		})
	} else if auto(n.cfg) {
		list = append(list, d.layer3.familyFindings(n.cfg)...)
	}
	for _, nic := range ways {
		u := d.uplinkLocked(nic)
		if u == nil || u.up == nil {
			continue
		}
		for _, hint := range d.routeHintsLocked(n, u) {
			list = append(list, api.Finding{Severity: sevOK, Subject: subject, Text: "the outside reaches its guests by a route", Remedy: "on the routers outside: " + hint})
		}
		if n.cfg.Mode == config.ModeNAT && len(n.cfg.NAT.Addresses) == 0 && len(d.layer3.sources(u.link.Index)) == 0 {
			list = append(list, api.Finding{
				Severity: sevWarning, Subject: subject, Text: nic + " has no address that guests could appear with",
				Remedy: "give the host an address there",
			})
		}
	}
	return list
}

// familyFindings tells for which version of IP the host has no way out. That it has none
// for IPv6 is nothing out of the ordinary.
func (l *layer3) familyFindings(c config.Network) []api.Finding {
	var list []api.Finding
	for _, f := range []struct {
		name, severity string
		is4            bool
	}{{"IPv4", sevWarning, true}, {"IPv6", sevOK, false}} {
		has := slices.ContainsFunc(c.Subnets, func(p netip.Prefix) bool { return p.Addr().Is4() == f.is4 })
		if has && l.defaultNIC(f.is4) == "" {
			list = append(list, api.Finding{
				Severity: f.severity, Subject: "network " + c.Name,
				Text:   "the host has no default route for " + f.name + ", so guests reach nothing outside by it but what `weft route show` lists",
				Remedy: "it is followed as soon as there is one",
			})
		}
	}
	return list
}

// layer3Findings tells what of the host's own set-up weft does not follow.
func (d *Daemon) layer3Findings() []api.Finding {
	l := d.layer3
	var list []api.Finding
	for _, r := range l.host.Rules {
		list = append(list, api.Finding{
			Severity: sevWarning, Subject: "host", Text: fmt.Sprintf("guests' packets do not follow the host's rule %q: weft goes by the main table alone", r.Text),
			Remedy: "where that matters, put the routes they need into the main table",
		})
	}
	if l.clash != nil {
		list = append(list, api.Finding{Severity: sevError, Subject: "host", Text: "forwards that do not work: " + l.clash.Error()})
	}
	if l.unreserved != nil {
		list = append(list, api.Finding{
			Severity: sevWarning, Subject: "host", Text: "connections of the host and of guests may choose the same port: " + l.unreserved.Error(),
			Remedy: "let weftd write net.ipv4.ip_local_reserved_ports (ReadWritePaths=/proc/sys/net/ipv4), or reserve the range yourself",
		})
	}
	return list
}
