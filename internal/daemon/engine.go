package daemon

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"weft/config"
	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
	vswitch "weft/switch"
)

// Daemon is what the API asks.
var _ control.Engine = (*Daemon)(nil)

// A member is a bridge port of a network as the API shows it: a configured port,
// or one side of an uplink.
type member struct {
	name, device string
	key          string // of the device: see deviceKey
	kind         string
	net          *network
	id           frame.PortID // 0: not in the switch
	state        string
	detail       string
	mac          frame.MAC
	mtu          int
	features     frame.Features
	queues       int
}

// Kinds of members beyond the types of configured ports, as the API names them.
const (
	kindUplink  = "uplink"
	kindGateway = "gateway"
)

// States of a port, as the API names them.
const (
	stateUp      = "up"
	stateDown    = "down"
	stateStandby = "standby"
	stateWaiting = "waiting" // for its device
	stateError   = "error"
)

func faultState(err error) (state, detail string) {
	if err == nil {
		return stateDown, ""
	}
	if waiting(err) {
		return stateWaiting, err.Error()
	}
	return stateError, err.Error()
}

// membersLocked returns all members: ports in the document's order, then uplinks.
func (d *Daemon) membersLocked() []member {
	var list []member
	for _, c := range d.cfg.Ports {
		if p := d.ports[c.Name]; p != nil {
			list = append(list, p.member())
		}
	}
	for _, n := range d.segmentsLocked() {
		if n.gateway != nil {
			list = append(list, n.gateway.member(n))
		}
		for _, u := range n.uplinks {
			list = append(list, u.members()...)
		}
	}
	return list
}

func (d *Daemon) memberLocked(name string) (member, bool) {
	list := d.membersLocked()
	i := slices.IndexFunc(list, func(m member) bool { return m.name == name })
	if i < 0 {
		return member{}, false
	}
	return list[i], true
}

func (p *port) member() member {
	m := member{
		name: p.cfg.Name, device: p.cfg.Device, key: deviceKey(p.cfg), kind: string(p.cfg.Type), net: p.net,
		mac: p.cfg.MAC, mtu: portMTU(p.net, p.link),
	}
	if p.att == nil {
		m.state, m.detail = faultState(p.fault)
		return m
	}
	m.id, m.features, m.queues = p.id, p.att.Features(), len(p.att.Queues())
	m.mac = p.mac(p.att)
	switch {
	case p.forwarding() == vswitch.Forwarding:
		m.state = stateUp
	case p.cfg.Type == config.PortTAP:
		m.state, m.detail = stateDown, "no guest has TAP "+p.cfg.Device+" open"
	case !p.link.Up:
		m.state, m.detail = stateDown, p.cfg.Device+" is down: ip link set "+p.cfg.Device+" up"
	default:
		m.state, m.detail = stateDown, p.cfg.Device+" has no carrier"
	}
	if p.link.Master != "" {
		m.detail = fmt.Sprintf("%s was given to %s, which gets none of its frames: ip link set %[1]s nomaster", p.cfg.Device, p.link.Master)
	}
	return m
}

// members are the wire and the host's side.
func (u *nic) members() []member {
	wire := member{name: u.name + ":wire", device: u.name, key: u.name, kind: kindUplink, net: u.net, mtu: portMTU(u.net, u.link)}
	host := wire
	host.name = u.name + ":host"
	if u.up == nil {
		wire.state, wire.detail = faultState(u.fault)
		host.state, host.detail = wire.state, wire.detail
		return []member{wire, host}
	}
	wire.id, wire.features, wire.queues = u.wire, u.up.Features(), len(u.up.Wire())
	host.id, host.features, host.queues = u.host, u.up.Features(), len(u.up.Host())
	host.mac = u.up.HostMAC()
	wire.state, wire.detail = u.wireStatus()
	host.state = stateUp
	if !u.link.Up {
		host.state, host.detail = stateDown, wire.detail
	}
	return []member{wire, host}
}

func (u *nic) wireStatus() (state, detail string) {
	switch {
	case u.up == nil:
		return faultState(u.fault)
	case !u.link.Up:
		return stateDown, u.name + " is down: ip link set " + u.name + " up"
	case !u.link.Carrier:
		return stateDown, u.name + " has no carrier: check the cable and the switch"
	case u.active:
		return stateUp, ""
	}
	return stateStandby, ""
}

// Status implements control.Engine.
func (d *Daemon) Status() api.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := api.Status{
		Version: d.opts.Version, PID: os.Getpid(), Started: d.started, ConfigPath: d.opts.ConfigPath,
		Workers: d.sw.Workers(), Networks: len(d.networks), Ports: len(d.cfg.Ports), Stations: len(d.sw.Stations(0)),
		Sessions: d.layer3.table.Counters().Sessions,
	}
	for _, m := range d.membersLocked() {
		switch {
		case m.kind == kindUplink:
		case m.state == stateUp && m.kind != kindGateway:
			s.PortsUp++
		case m.state == stateWaiting, m.state == stateError:
			s.Warnings = append(s.Warnings, fmt.Sprintf("port %s: %s", m.name, m.detail))
		}
	}
	for _, n := range d.segmentsLocked() {
		s.Warnings = append(s.Warnings, d.networkWarningsLocked(n)...)
	}
	for _, f := range d.cacheFindings() {
		s.Warnings = append(s.Warnings, f.Text)
	}
	return s
}

// networkWarningsLocked says what a network lacks.
func (d *Daemon) networkWarningsLocked(n *network) []string {
	var list []string
	if n.gateway != nil {
		for _, f := range n.gateway.troubles() {
			list = append(list, fmt.Sprintf("network %s: %s", n.cfg.Name, f.Text))
		}
	}
	if detail := d.shutInLocked(n); detail != "" && !n.isSegment() {
		return append(list, fmt.Sprintf("network %s has no way outside: %s", n.cfg.Name, detail))
	}
	for _, u := range n.uplinks {
		if state, detail := u.wireStatus(); state == stateWaiting || state == stateError {
			list = append(list, fmt.Sprintf("uplink %s: %s", u.name, strings.TrimPrefix(detail, u.name+": ")))
		}
	}
	return list
}

// shutInLocked says why nothing of a network reaches the outside that should; "" if
// something does.
func (d *Daemon) shutInLocked(n *network) string {
	uplinks := n.uplinks
	if n.gateway != nil && n.gateway.att != nil {
		ways := d.layer3.ways(n.cfg)
		if len(ways) == 0 {
			return "the host has no default route"
		}
		for _, nic := range ways {
			if u := d.uplinkLocked(nic); u != nil {
				uplinks = append(uplinks, u)
			}
		}
	}
	if len(uplinks) == 0 || slices.ContainsFunc(uplinks, func(u *nic) bool { return u.active }) {
		return ""
	}
	_, detail := uplinks[0].wireStatus()
	return detail
}

// Networks implements control.Engine.
func (d *Daemon) Networks() []api.Network {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []api.Network{}
	for _, c := range d.cfg.Networks {
		n := d.networks[c.Name]
		a := api.Network{
			Name: c.Name, Mode: string(c.Mode), MTU: c.MTU, Ageing: c.Ageing.String(),
			Stations: len(d.sw.Stations(n.fid)), Limit: c.Stations, Ports: []string{},
		}
		for _, p := range d.cfg.Ports {
			if p.Network == c.Name {
				a.Ports = append(a.Ports, p.Name)
			}
		}
		for _, u := range n.uplinks {
			state, detail := u.wireStatus()
			a.Uplinks = append(a.Uplinks, uplinkAnswer(u.name, state, detail))
		}
		d.gatewayAnswerLocked(&a, n)
		list = append(list, a)
	}
	return list
}

func uplinkAnswer(nic, state, detail string) api.Uplink {
	switch state {
	case stateUp:
		state = "active"
	case stateDown:
		state = "no-carrier"
	}
	return api.Uplink{Device: nic, State: state, Detail: detail}
}

// Ports implements control.Engine.
func (d *Daemon) Ports() []api.Port {
	d.mu.Lock()
	defer d.mu.Unlock()
	stations := map[frame.PortID]int{}
	for _, s := range d.sw.Stations(0) {
		stations[s.Port]++
	}
	list := []api.Port{}
	for _, m := range d.membersLocked() {
		a := api.Port{
			Name: m.name, Network: m.net.cfg.Name, Type: m.kind, Device: m.device, State: m.state, Detail: m.detail,
			MAC: m.mac, MTU: m.mtu, Queues: m.queues, Offloads: offloadNames(m.features),
			Fastpath: d.flows.at(m.id),
		}
		if m.id != 0 {
			a.Stations = stations[m.id]
		}
		list = append(list, a)
	}
	return list
}

// networkLocked returns the named network; for "", one whose FID means all.
func (d *Daemon) networkLocked(name string) (*network, error) {
	if name == "" {
		return &network{}, nil
	}
	if n := d.networks[name]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("network %s: %w", name, control.ErrNotFound)
}

// portLocked returns the ID of the named port; for "", 0.
func (d *Daemon) portLocked(name string) (frame.PortID, error) {
	if name == "" {
		return 0, nil
	}
	m, ok := d.memberLocked(name)
	if !ok {
		return 0, fmt.Errorf("port %s: %w", name, control.ErrNotFound)
	}
	if m.id == 0 {
		return 0, fmt.Errorf("port %s is not attached (%s): %w", name, m.detail, control.ErrConflict)
	}
	return m.id, nil
}

// Counters implements control.Engine.
func (d *Daemon) Counters(port string) ([]api.Counters, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, carried := []api.Counters{}, d.flows.carried()
	for _, m := range d.membersLocked() {
		if port != "" && m.name != port {
			continue
		}
		a := api.Counters{Port: m.name, Kernel: d.kernel.Drops(m.key)}
		maps.DeleteFunc(a.Kernel, func(_ string, n uint64) bool { return n == 0 })
		if c, err := d.sw.Counters(m.id); err == nil {
			fill(&a, c)
			addCarried(&a, carried[m.id])
		}
		list = append(list, a)
	}
	if port != "" && len(list) == 0 {
		return nil, fmt.Errorf("port %s: %w", port, control.ErrNotFound)
	}
	return list, nil
}

func fill(a *api.Counters, c vswitch.Counters) {
	a.RxFrames, a.RxBytes, a.RxSegments = c.RxFrames, c.RxBytes, c.RxSegments
	a.TxFrames, a.TxBytes, a.TxSegments = c.TxFrames, c.TxBytes, c.TxSegments
	a.Taken = c.Taken
	a.Flooded, a.Learned, a.Moved, a.LearnLimit = c.Flooded, c.Learned, c.Moved, c.LearnLimit
	for r, n := range c.Drops {
		if n > 0 {
			if a.Drops == nil {
				a.Drops = map[string]uint64{}
			}
			a.Drops[frame.Reason(r).String()] = n
		}
	}
}

// offloadNames lists the features as the API names them.
func offloadNames(f frame.Features) []string {
	list := []string{}
	for _, o := range []struct {
		bit  frame.Features
		name string
	}{
		{frame.FeatureCsum, "csum"},
		{frame.FeatureTSO4, "tso4"},
		{frame.FeatureTSO6, "tso6"},
		{frame.FeatureTSOECN, "ecn"},
		{frame.FeatureUSO, "uso"},
	} {
		if f&o.bit != 0 {
			list = append(list, o.name)
		}
	}
	return list
}
