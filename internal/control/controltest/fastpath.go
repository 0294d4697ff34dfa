package controltest

import (
	"net/netip"
	"slices"

	"weft/internal/control/api"
)

// addFastpath adds a flow cache with an entry of each kind, and the way of a frame.
func (e *Engine) addFastpath() {
	endpoint := netip.MustParseAddrPort
	guest, peer := api.Flow{
		Src: 0x525400000001, Dst: 0x0200000000fe, Protocol: "tcp",
		From: endpoint("192.168.150.10:40000"), To: endpoint("198.51.100.1:443"),
	}, api.Flow{Src: 0x525400000001, Dst: 0x525400000002, VLAN: 7}
	e.Cache = api.Fastpath{
		Enabled: true, Detail: "port vm2: its device is in another namespace", Flows: 2, Capacity: 131072, Hits: 123456,
		Misses: map[string]uint64{"none": 1200, "stale": 4}, Evicted: 0, Refused: map[string]uint64{"once": 30, "flooded": 2},
		Entries: []api.FastpathEntry{
			{In: "vm1", Out: "eth0:wire", Kind: "flow", Flow: guest, NewFrom: endpoint("192.0.2.5:40000"), NewTo: guest.To, State: "direct", Age: 61.2, Idle: 0.1, Frames: 123450, Bytes: 98765432},
			{In: "vm1", Out: "vm2", Kind: "station", Flow: peer, State: "queued", Age: 3, Idle: 1, Frames: 6, Bytes: 420},
		},
		Refusals: []api.FastpathRefusal{
			{Port: "vm1", Flow: guest, Reason: "once", Ago: 61.3},
			{Port: "vm2", Flow: api.Flow{Src: 0x525400000002, Dst: 0x525400000009}, Reason: "flooded", Ago: 75},
		},
	}
	e.Way = api.Explained{Steps: []api.Step{
		{Stage: "port", Says: "vm1 of network default is up"},
		{Stage: "exit", Says: "by eth0:wire"},
	}}
}

// Fastpath returns Cache, with the entries or the refusals that q wants.
func (e *Engine) Fastpath(q api.FastpathQuery) (api.Fastpath, error) {
	f := e.Cache
	f.Entries, f.Refusals = slices.Clone(f.Entries), slices.Clone(f.Refusals)
	if q.Refused {
		f.Entries = nil
	} else {
		f.Refusals = nil
	}
	f.Entries = slices.DeleteFunc(f.Entries, func(n api.FastpathEntry) bool { return q.Port != "" && n.In != q.Port && n.Out != q.Port })
	f.Refusals = slices.DeleteFunc(f.Refusals, func(n api.FastpathRefusal) bool { return q.Port != "" && n.Port != q.Port })
	if q.Limit > 0 {
		f.Entries, f.Refusals = f.Entries[:min(q.Limit, len(f.Entries))], f.Refusals[:min(q.Limit, len(f.Refusals))]
	}
	return f, e.failure()
}

// FlushFastpath records the call and says that five entries went.
func (e *Engine) FlushFastpath() (int, error) { return 5, e.call("flush fastpath") }

// Explain records the call, though it changes nothing, and returns Way.
func (e *Engine) Explain(x api.Explain) (api.Explained, error) {
	return e.Way, e.call("explain %+v", x)
}
