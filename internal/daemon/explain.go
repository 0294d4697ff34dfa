package daemon

import (
	"fmt"
	"slices"
	"strings"

	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
	vswitch "weft/switch"
)

// A way is that of one frame through the rooms, as far as it has been followed. Each
// stage is asked what it would do, or does it to a frame of ours; none learns of it.
type way struct {
	d     *Daemon
	cache memoryView
	in    member     // port of entry
	flow  api.Flow   // with nothing left out
	frame *frame.Buf // the flow's first
	out   member     // port of exit; none if the frame ended, or went to several
	once  string     // why what becomes of the frame is no rule for the next; "": it is
	l3    bool       // a router has had it

	steps []api.Step
}

// Explain implements control.Engine.
func (d *Daemon) Explain(e api.Explain) (api.Explained, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	steps, err := d.explainLocked(e, d.fastpathLocked)
	return api.Explained{Steps: steps}, err
}

// A memoryView is Daemon.fastpathLocked.
type memoryView func(q api.FastpathQuery, wanted func(api.FastpathEntry) bool) api.Fastpath

// explainLocked follows a frame, and asks cache for what the flow cache has.
func (d *Daemon) explainLocked(e api.Explain, cache memoryView) ([]api.Step, error) {
	m, ok := d.memberLocked(e.Port)
	if !ok {
		return nil, fmt.Errorf("port %s: %w", e.Port, control.ErrNotFound)
	}
	w := &way{d: d, cache: cache, in: m, flow: e.Flow}
	if err := w.completeLocked(); err != nil {
		return nil, fmt.Errorf("%w: %w", control.ErrInvalid, err)
	}
	w.frame = frameOf(w.flow)
	w.frame.In = m.id
	w.say("frame", "%s", flowText(w.flow))
	if w.entry() && w.kernelLocked() {
		if w.guard() && w.service() && w.sourceLocked() {
			w.lookUpLocked()
		}
		w.explainCacheLocked()
	}
	return w.steps, nil
}

func (w *way) say(stage, format string, args ...any) {
	w.steps = append(w.steps, api.Step{Stage: stage, Says: fmt.Sprintf(format, args...)})
}

// drop ends the way.
func (w *way) drop(stage string, r frame.Reason) {
	w.once = "it is dropped"
	w.say(stage, "dropped, %s: %s", r, r.Help())
}

// entry is what the switch looks at before all else.
func (w *way) entry() bool {
	m := w.in
	if m.state != stateUp {
		w.say("port", "%s", strings.TrimSuffix(fmt.Sprintf("%s is %s: what it receives is lost; %s", m.name, m.state, m.detail), "; "))
		return false
	}
	w.say("port", "%s is up%s", m.name, placeText(m.net))
	if w.flow.Dst.IsReserved() {
		w.drop("port", frame.DropReserved)
		return false
	}
	return true
}

// guard has the network's guard look at the frame.
func (w *way) guard() bool {
	g := w.in.net.gateway
	if g == nil || g.guard == nil {
		return true
	}
	g.guard.Process(w.d.sw.Now(), []*frame.Buf{w.frame})
	if r := w.frame.Reason(); r != 0 {
		w.drop("guard", r)
		return false
	}
	w.say("guard", "nothing against it")
	return true
}

// sourceLocked is what the filtering database learns.
func (w *way) sourceLocked() bool {
	s, known := w.stationLocked(w.in.net, w.flow.Src)
	switch {
	case known && s.Port == w.in.id && s.Static:
		w.say("source", "%s lives at %s", s.MAC, w.in.name)
	case known && s.Port == w.in.id:
		w.say("source", "%s is at %s", s.MAC, w.in.name)
	case known && s.Static:
		w.drop("source", frame.DropSpoofedStatic)
		return false
	case known:
		w.say("source", "%s is at %s so far, and would move to %s", s.MAC, w.nameLocked(s.Port), w.in.name)
	default:
		w.say("source", "%s is new, and would be learned at %s", w.flow.Src, w.in.name)
	}
	return true
}

// lookUpLocked finds the port of exit.
func (w *way) lookUpLocked() {
	dst := w.flow.Dst
	s, known := w.stationLocked(w.in.net, dst)
	switch {
	case dst.IsGroup():
		w.floodLocked("look-up", fmt.Sprintf("%s is a group", dst), w.in)
		return
	case !known:
		w.floodLocked("look-up", fmt.Sprintf("%s is not known", dst), w.in)
		return
	}
	out := w.memberLocked(s.Port)
	w.say("look-up", "%s is at %s", dst, out.name)
	if w.hasRouterLocked(out) {
		w.routeLocked(out)
		return
	}
	w.deliver(out)
}

// deliver ends the way at a port of the network that the frame came in by.
func (w *way) deliver(out member) {
	switch {
	case out.id == w.in.id:
		w.drop("exit", frame.DropHairpin)
	case joined(w.in, out):
		w.drop("exit", frame.DropSplitHorizon)
	default:
		w.exit(out)
	}
}

func (w *way) exit(out member) {
	if out.state != stateUp {
		w.drop("exit", frame.DropEgressBlocked)
		return
	}
	w.out = out
	w.say("exit", "by %s, in packets of at most %d bytes", out.name, out.mtu)
}

// floodLocked ends the way at all ports of the network of from but that.
func (w *way) floodLocked(stage, why string, from member) {
	var to []string
	segment := false
	for _, m := range w.d.membersLocked() {
		switch {
		case m.net != from.net || m.id == from.id || m.state != stateUp:
		case from.id == w.in.id && joined(from, m):
			segment = true
		default:
			to = append(to, m.name)
		}
	}
	w.once = "it goes to all ports"
	switch {
	case len(to) > 0:
		w.say(stage, "%s: to %s", why, strings.Join(to, ", "))
	case segment:
		w.drop(stage, frame.DropSplitHorizon)
	default:
		w.drop(stage, frame.DropNoMember)
	}
}

// joined reports whether two ports lead to one segment.
func joined(a, b member) bool { return a.kind == kindUplink && b.kind == kindUplink && a.net == b.net }

// hasRouterLocked reports whether the router stands in front of the port.
func (w *way) hasRouterLocked(m member) bool {
	if m.kind == kindGateway {
		return true
	}
	u := w.d.uplinkLocked(m.device)
	return m.kind == kindUplink && u != nil && u.routed && m.id == u.host
}

func (w *way) stationLocked(n *network, mac frame.MAC) (vswitch.Station, bool) {
	list := w.d.sw.Stations(n.fid)
	i := slices.IndexFunc(list, func(s vswitch.Station) bool { return s.MAC == mac })
	if i < 0 {
		return vswitch.Station{}, false
	}
	return list[i], true
}

// memberLocked returns the port with that ID in the switch.
func (w *way) memberLocked(id frame.PortID) member {
	list := w.d.membersLocked()
	if i := slices.IndexFunc(list, func(m member) bool { return m.id == id }); i >= 0 {
		return list[i]
	}
	return member{name: "a port that is being removed", state: stateDown, net: w.in.net}
}

func (w *way) nameLocked(id frame.PortID) string { return w.memberLocked(id).name }

// placeText says which network of the document a port is in.
func placeText(n *network) string {
	if n.isSegment() {
		return ""
	}
	return ", in network " + n.cfg.Name
}

func flowText(f api.Flow) string {
	text := fmt.Sprintf("%s > %s", f.Src, f.Dst)
	if f.VLAN != 0 {
		text += fmt.Sprintf(", vlan %d", f.VLAN)
	}
	switch {
	case f.Protocol == "":
		return text
	case f.From.Port() == 0 && f.To.Port() == 0:
		return text + fmt.Sprintf(", %s %v > %v", f.Protocol, f.From.Addr(), f.To.Addr())
	}
	return text + fmt.Sprintf(", %s %v > %v", f.Protocol, f.From, f.To)
}
