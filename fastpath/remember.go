package fastpath

import (
	"time"

	"weft/frame"
)

// defaultIdle is how long a decision is kept without use if nobody says.
const defaultIdle = 5 * time.Minute

// Remember implements vswitch.Memory.
func (c *Cache) Remember(d *frame.Decision, since uint64) {
	c.mu.Lock()
	why := c.remember(d, since)
	c.mu.Unlock()
	if why != 0 {
		c.Refuse(d.In, &d.Was, why)
	}
}

func (c *Cache) remember(d *frame.Decision, since uint64) frame.Refusal {
	in, out := c.ports[d.In], c.ports[d.Out]
	if why := refusal(d, in, out); why != 0 {
		return why
	}
	var r record
	r.decide(d, &in.Port, &out.Port)
	for i, s := range d.RestsOn {
		r.Subjects[i] = c.slot(s)
	}
	r.Stamp, r.Idle = since, c.clock.in(defaultIdle)
	if d.Idle > 0 {
		r.Idle = c.clock.in(d.Idle)
	}
	if !c.holds(&r) {
		return frame.RefusedChanged
	}
	hash := c.hash(&r)
	if _, i := c.find(hash, &r); i != 0 && c.usable(&c.records[i]) && c.records[i].decision() == r.decision() {
		return 0
	}
	r.Used = c.clock.now()
	r.Made = r.Used
	if !c.install(hash, &r) {
		return frame.RefusedFull
	}
	return 0
}

// usable reports whether the programs would use the record.
func (c *Cache) usable(r *record) bool {
	return c.holds(r) && int32(c.clock.now()-r.Used) <= int32(r.Idle)
}

// decision returns the record without what came of it, for comparison.
func (r *record) decision() record {
	d := *r
	d.Stamp, d.Ticket, d.Frames, d.Bytes, d.Segments = 0, 0, 0, 0, 0
	d.State, d.Used, d.Next, d.Ack, d.Window, d.Heard, d.Yields = 0, 0, 0, 0, 0, 0, 0
	d.CountedFrames, d.CountedBytes, d.CountedSegments, d.CountedLost = 0, 0, 0, 0
	d.Lost, d.Tried, d.Checked, d.Made, d.Stale = 0, 0, 0, 0, 0
	return d
}

// refusal returns why the cache takes no decision of that kind, or zero. A port that is
// nil is not set.
func refusal(d *frame.Decision, in, out *port) frame.Refusal {
	switch {
	case in == nil || out == nil || in.place() == out.place():
		return frame.RefusedPort
	case d.Once:
		return frame.RefusedOnce
	case d.Was.Dst.IsGroup() || d.Was.Dst == 0:
		return frame.RefusedFlooded
	case d.Was.Tag != d.Is.Tag:
		return frame.RefusedRewrite
	case d.ByFlow:
		return flowRefusal(d, in)
	case d.Was != d.Is:
		return frame.RefusedRewrite
	}
	return 0
}

// flowRefusal is refusal for a decision about a flow.
func flowRefusal(d *frame.Decision, in *port) frame.Refusal {
	was, is := &d.Was, &d.Is
	echo := was.Protocol != frame.ProtocolTCP && was.Protocol != frame.ProtocolUDP
	switch {
	case was.Version == 0 || was.Protocol == frame.ProtocolUDP && (configures(was.SrcPort) || configures(was.DstPort)):
		return frame.RefusedKind
	case is.Version != was.Version || is.Protocol != was.Protocol || echo && is.DstPort != was.DstPort:
		return frame.RefusedRewrite
	case is.Dst.IsGroup() || was.Hops-is.Hops > 1:
		return frame.RefusedRewrite
	}
	return 0
}

// configures reports a port of DHCP or DHCPv6, which services and guards look into.
func configures(port uint16) bool { return port == 67 || port == 68 || port == 546 || port == 547 }
