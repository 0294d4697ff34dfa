package daemon

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"weft/config"
	"weft/frame"
)

// A Kind is what an Action does.
type Kind uint8

// The kinds, in the order in which a plan carries them out: what frees a device
// comes before what takes one, and nothing that cannot be undone comes before the
// last thing that can fail. Devices of removed ports are deleted after that.
const (
	DetachPort    Kind = 1 + iota // take the port out of the switch; its device stays until the plan is done
	DetachUplink                  // the same for a NIC of a bridged network
	LowerGateway                  // the same for the gateway of a network that will have none
	AddNetwork                    //
	UpdateNetwork                 // settings that change in place
	AttachUplink                  //
	RaiseGateway                  //
	UpdatePort                    // settings that change in place
	AttachPort                    //
	SetForwards                   // of all networks
	SetFastpath                   // whether there is a flow cache; routeLocked sees to it
	RemoveNetwork                 //
)

// An Action is one step from a configuration to another. Old and New are filled as
// far as they exist.
type Action struct {
	Kind        Kind
	Network     config.Network   // as it will be; for RemoveNetwork as it was
	OldNetwork  config.Network   // UpdateNetwork
	Port        config.Port      // as it will be; for DetachPort as it was
	OldPort     config.Port      // UpdatePort
	Forwards    []config.Forward // SetForwards
	OldForwards []config.Forward // SetForwards
	Uplink      string           // NIC, for DetachUplink and AttachUplink
	Off         bool             // SetFastpath

	// Moved: the device goes from one port or network to another within the plan, for
	// the same use, and is kept. Recreate: for another use, and it is freed in between.
	Moved, Recreate bool
}

// Plan returns the actions that lead from old to new, none if they are equal.
func Plan(old, new *config.Config) []Action {
	var p planner
	p.networks(old, new)
	p.ports(old, new)
	p.forwards(old, new)
	if o, n := off(old.Switch), off(new.Switch); o != n {
		p.add(Action{Kind: SetFastpath, Off: n})
	}
	slices.SortStableFunc(p.actions, func(a, b Action) int { return int(a.Kind) - int(b.Kind) })
	return p.actions
}

type planner struct{ actions []Action }

func (p *planner) add(a Action) { p.actions = append(p.actions, a) }

func (p *planner) networks(old, new *config.Config) {
	before := byName(old.Networks, func(n config.Network) string { return n.Name })
	after := byName(new.Networks, func(n config.Network) string { return n.Name })
	for _, o := range old.Networks {
		n, stays := after[o.Name]
		if !stays {
			p.add(Action{Kind: RemoveNetwork, Network: o})
		}
		if o.Mode.HasGateway() && !(stays && n.Mode.HasGateway()) {
			p.add(Action{Kind: LowerGateway, Network: o})
		}
		for _, nic := range bridgedUplinks(o) {
			if !stays || !slices.Contains(bridgedUplinks(n), nic) {
				p.add(Action{
					Kind: DetachUplink, Network: o, Uplink: nic,
					Moved: hasUplink(new, nic), Recreate: hasPort(new, nic),
				})
			}
		}
	}
	for _, n := range new.Networks {
		o, was := before[n.Name]
		switch {
		case !was:
			p.add(Action{Kind: AddNetwork, Network: n})
		case !reflect.DeepEqual(o, n):
			p.add(Action{Kind: UpdateNetwork, Network: n, OldNetwork: o})
		}
		if n.Mode.HasGateway() && !o.Mode.HasGateway() {
			p.add(Action{Kind: RaiseGateway, Network: n})
		}
		for _, nic := range bridgedUplinks(n) {
			if !was || !slices.Contains(bridgedUplinks(o), nic) {
				p.add(Action{Kind: AttachUplink, Network: n, Uplink: nic, Moved: hasUplink(old, nic)})
			}
		}
	}
}

func (p *planner) ports(old, new *config.Config) {
	before := byName(old.Ports, func(q config.Port) string { return q.Name })
	after := byName(new.Ports, func(q config.Port) string { return q.Name })
	heirs := byName(new.Ports, deviceKey)
	holders := byName(old.Ports, deviceKey)
	for _, o := range old.Ports {
		if n, stays := after[o.Name]; stays && inPlace(o, n) {
			continue
		}
		heir, comesBack := heirs[deviceKey(o)]
		keeps := comesBack && sameDevice(o, heir)
		p.add(Action{Kind: DetachPort, Port: o, Moved: keeps, Recreate: !keeps && (comesBack || hasUplink(new, deviceKey(o)))})
	}
	for _, n := range new.Ports {
		o, was := before[n.Name]
		switch {
		case !was || !inPlace(o, n):
			holder, held := holders[deviceKey(n)]
			p.add(Action{Kind: AttachPort, Port: n, Moved: held && sameDevice(holder, n)})
		case !samePort(o, n):
			p.add(Action{Kind: UpdatePort, Port: n, OldPort: o})
		}
	}
}

// inPlace reports whether a running port can become n without leaving the switch.
func inPlace(o, n config.Port) bool { return o.Network == n.Network && sameDevice(o, n) }

// sameDevice reports whether n can use the device that was made for o.
func sameDevice(o, n config.Port) bool {
	return o.Device == n.Device && o.Type == n.Type && o.Queues == n.Queues &&
		o.NetNS == n.NetNS && offloads(o) == offloads(n) && (o.MAC == n.MAC || o.Type != config.PortHost)
}

func samePort(o, n config.Port) bool {
	return sameDevice(o, n) && o.Owner == n.Owner && o.Group == n.Group && o.MAC == n.MAC &&
		slices.Equal(o.Addresses, n.Addresses) && o.Stations == n.Stations && o.Fastpath == n.Fastpath
}

// off reports whether there is to be no flow cache.
func off(s config.Switch) bool { return s.Fastpath == config.FastpathOff }

func offloads(p config.Port) bool { return p.Offloads == nil || *p.Offloads }

// bridgedUplinks returns the NICs whose segment the network's ports stand on. What a
// network with a gateway goes by is not planned: it may be auto, and is shared.
func bridgedUplinks(n config.Network) []string {
	if n.Mode.HasGateway() {
		return nil
	}
	return n.Uplinks
}

func hasUplink(c *config.Config, nic string) bool {
	return slices.ContainsFunc(c.Networks, func(n config.Network) bool { return slices.Contains(bridgedUplinks(n), nic) })
}

// forwards sets those of all networks at once: one may get what another gives up.
func (p *planner) forwards(old, new *config.Config) {
	o, n := forwardsOf(old), forwardsOf(new)
	if !slices.Equal(o, n) {
		p.add(Action{Kind: SetForwards, Forwards: n, OldForwards: o})
	}
}

// forwardsOf returns the forwards that take ports of the host.
func forwardsOf(c *config.Config) []config.Forward {
	var list []config.Forward
	for _, n := range c.Networks {
		if len(n.NAT.Addresses) == 0 {
			list = append(list, n.Forwards...)
		}
	}
	return list
}

func hasPort(c *config.Config, device string) bool {
	return slices.ContainsFunc(c.Ports, func(p config.Port) bool { return deviceKey(p) == device })
}

// deviceKey tells devices apart: a name is one device in each namespace. A slash is
// in no name.
func deviceKey(p config.Port) string {
	if p.NetNS == "" {
		return p.Device
	}
	return p.NetNS + "/" + p.Device
}

func byName[T any](list []T, name func(T) string) map[string]T {
	m := make(map[string]T, len(list))
	for _, v := range list {
		m[name(v)] = v
	}
	return m
}

// String tells the operator what the action does.
func (a Action) String() string {
	switch a.Kind {
	case DetachPort:
		if a.Moved {
			return fmt.Sprintf("take port %s out of network %s, keep its device %s", a.Port.Name, a.Port.Network, a.Port.Device)
		}
		return fmt.Sprintf("remove port %s from network %s", a.Port.Name, a.Port.Network)
	case DetachUplink:
		return fmt.Sprintf("detach uplink %s from network %s", a.Uplink, a.Network.Name)
	case AddNetwork:
		return fmt.Sprintf("add network %s (%s)", a.Network.Name, a.Network.Mode)
	case UpdateNetwork:
		return fmt.Sprintf("change network %s: %s", a.Network.Name, networkChanges(a.OldNetwork, a.Network))
	case AttachUplink:
		return fmt.Sprintf("attach uplink %s to network %s", a.Uplink, a.Network.Name)
	case LowerGateway:
		return fmt.Sprintf("remove the gateway of network %s", a.Network.Name)
	case RaiseGateway:
		return fmt.Sprintf("add the gateway of network %s: %s", a.Network.Name, list(a.Network.Subnets))
	case SetForwards:
		return "change the host's ports that are forwarded: " + forwardChanges(a.OldForwards, a.Forwards)
	case SetFastpath:
		if a.Off {
			return "turn the flow cache off"
		}
		return "turn the flow cache on"
	case UpdatePort:
		return fmt.Sprintf("change port %s: %s", a.Port.Name, portChanges(a.OldPort, a.Port))
	case AttachPort:
		return fmt.Sprintf("add port %s (%s) to network %s", a.Port.Name, a.Port.Type, a.Port.Network)
	case RemoveNetwork:
		return fmt.Sprintf("remove network %s", a.Network.Name)
	}
	return fmt.Sprintf("action %d", a.Kind)
}

func networkChanges(o, n config.Network) string {
	var c changes
	c.note("mode", o.Mode, n.Mode)
	c.note("uplinks", list(o.Uplinks), list(n.Uplinks))
	c.note("mtu", o.MTU, n.MTU)
	c.note("ageing", o.Ageing, n.Ageing)
	c.note("stations", o.Stations, n.Stations)
	c.note("subnets", list(o.Subnets), list(n.Subnets))
	c.note("routes", routeTexts(o.Routes), routeTexts(n.Routes))
	c.note("reach", list(o.Reach), list(n.Reach))
	c.note("proxy", o.Proxy, n.Proxy)
	c.touch("dhcp", o.DHCP, n.DHCP)
	c.touch("dns", o.DNS, n.DNS)
	c.touch("nat", o.NAT, n.NAT)
	c.touch("forwards", o.Forwards, n.Forwards)
	return c.String()
}

// list writes values as the document does.
func list[T any](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ", ")
}

func routeTexts(routes []config.Route) string {
	texts := make([]string, len(routes))
	for i, r := range routes {
		texts[i] = fmt.Sprintf("%v via %v", r.To, r.Via)
	}
	return list(texts)
}

func forwardChanges(o, n []config.Forward) string {
	var c []string
	for _, f := range o {
		if !slices.Contains(n, f) {
			c = append(c, "no longer "+forwardText(f))
		}
	}
	for _, f := range n {
		if !slices.Contains(o, f) {
			c = append(c, forwardText(f))
		}
	}
	return strings.Join(c, ", ")
}

func forwardText(f config.Forward) string { return fmt.Sprintf("%s %v → %v", f.Proto, f.Port, f.To) }

func portChanges(o, n config.Port) string {
	var c changes
	c.note("owner", o.Owner, n.Owner)
	c.note("group", o.Group, n.Group)
	c.note("mac", macText(o.MAC), macText(n.MAC))
	c.note("addresses", list(o.Addresses), list(n.Addresses))
	c.note("stations", o.Stations, n.Stations)
	c.note("fastpath", o.Fastpath, n.Fastpath)
	return c.String()
}

func macText(m frame.MAC) string {
	if m == 0 {
		return ""
	}
	return m.String()
}

// changes lists settings as "mtu 1500 → 9000, …".
type changes []string

func (c *changes) note(key string, o, n any) {
	if o != n {
		*c = append(*c, fmt.Sprintf("%s %v → %v", key, orNone(o), orNone(n)))
	}
}

func orNone(v any) any {
	if v == "" {
		return "none"
	}
	return v
}

// touch notes a setting of many parts, if any of them differs.
func (c *changes) touch(key string, o, n any) {
	if !reflect.DeepEqual(o, n) {
		*c = append(*c, key)
	}
}

func (c changes) String() string { return strings.Join(c, ", ") }
