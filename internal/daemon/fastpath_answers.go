package daemon

import (
	"fmt"
	"net/netip"
	"strings"

	"weft/config"
	"weft/fastpath"
	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
)

// Fastpath implements control.Engine.
func (d *Daemon) Fastpath(q api.FastpathQuery) (api.Fastpath, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.memberLocked(q.Port); !ok && q.Port != "" {
		return api.Fastpath{}, fmt.Errorf("port %s: %w", q.Port, control.ErrNotFound)
	}
	return d.fastpathLocked(q, func(api.FastpathEntry) bool { return true }), nil
}

// fastpathLocked answers q with those entries alone that are wanted too.
func (d *Daemon) fastpathLocked(q api.FastpathQuery, wanted func(api.FastpathEntry) bool) api.Fastpath {
	a, cache := api.Fastpath{}, d.flows.cache.Load()
	switch {
	case d.cfg.Switch.Fastpath == config.FastpathOff:
		a.Detail = "by switch: {fastpath: off}"
	case d.flows.fault != nil:
		a.Detail = d.flows.fault.Error()
	case cache == nil:
		a.Detail = "weftd is about to start it"
	default:
		a.Enabled, a.Detail = true, d.unservedLocked()
	}
	if cache == nil {
		return a
	}
	s := cache.Stats()
	a.Flows, a.Capacity, a.Hits, a.Misses, a.Evicted, a.Refused = s.Flows, s.Capacity, s.Hits, s.Misses, s.Evicted, s.Refused
	names := map[frame.PortID]string{}
	for _, m := range d.membersLocked() {
		names[m.id] = m.name
	}
	enough := func(n int) bool { return q.Limit > 0 && n >= q.Limit }
	if q.Refused {
		for r := range cache.Refusals {
			if name := names[r.In]; name != "" && (q.Port == "" || q.Port == name) {
				a.Refusals = append(a.Refusals, api.FastpathRefusal{Port: name, Flow: flowAnswer(r.Was), Reason: r.Why.String(), Ago: r.Ago.Seconds()})
			}
			if enough(len(a.Refusals)) {
				break
			}
		}
		return a
	}
	for e := range cache.Entries {
		n := entryAnswer(e, names)
		if n.In != "" && n.Out != "" && (q.Port == "" || n.In == q.Port || n.Out == q.Port) && wanted(n) {
			a.Entries = append(a.Entries, n)
		}
		if enough(len(a.Entries)) {
			break
		}
	}
	return a
}

// unservedLocked names the ports that the cache does without; "" if there is none.
func (d *Daemon) unservedLocked() string {
	var without []string
	for _, m := range d.membersLocked() {
		if m.id != 0 && !d.flows.Serves(m.id) {
			without = append(without, m.name)
		}
	}
	if len(without) == 0 {
		return ""
	}
	return "but not at " + strings.Join(without, ", ")
}

// FlushFastpath implements control.Engine.
func (d *Daemon) FlushFastpath() (int, error) {
	cache := d.flows.cache.Load()
	if cache == nil {
		return 0, nil
	}
	n := cache.Stats().Flows
	cache.Flush()
	return n, nil
}

// entryAnswer returns an entry as the API has it.
func entryAnswer(e fastpath.Entry, names map[frame.PortID]string) api.FastpathEntry {
	a := api.FastpathEntry{
		In: names[e.In], Out: names[e.Out], Kind: kindStation, Flow: flowAnswer(e.Was), State: e.State,
		Age: e.Age.Seconds(), Idle: e.Idle.Seconds(), Frames: e.Frames, Bytes: e.Bytes,
	}
	if e.ByFlow {
		a.Kind = kindFlow
		if is := flowAnswer(e.Is); is.From != a.From || is.To != a.To {
			a.NewFrom, a.NewTo = is.From, is.To
		}
	}
	return a
}

// flowAnswer returns a flow as the API has it. What is told by its stations has no
// addresses.
func flowAnswer(f frame.Flow) api.Flow {
	const vid = 0xfff
	a := api.Flow{Src: f.Src, Dst: f.Dst, VLAN: f.Tag & vid}
	switch f.Protocol {
	case 0:
		return a
	case frame.ProtocolICMP, frame.ProtocolICMPv6:
		a.Protocol = "icmp"
		f.DstPort = f.SrcPort // else the type
	default:
		a.Protocol = strings.ToLower(f.Protocol.String())
	}
	end := func(b [16]byte, port uint16) netip.AddrPort {
		if f.Version == 4 {
			return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), port)
		}
		return netip.AddrPortFrom(netip.AddrFrom16(b), port)
	}
	a.From, a.To = end(f.SrcAddr, f.SrcPort), end(f.DstAddr, f.DstPort)
	return a
}
