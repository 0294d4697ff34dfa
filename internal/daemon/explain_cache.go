package daemon

import (
	"fmt"
	"slices"
	"time"

	"weft/config"
	"weft/internal/control/api"
)

// cacheLocked tells what the flow cache does with the frame, which it sees before all
// others, or will do with the next one alike.
func (w *way) cacheLocked() {
	const stage = "flow-cache"
	cache, err := w.cache(api.FastpathQuery{Port: w.in.name})
	switch {
	case err != nil:
		w.say(stage, "%v", err)
		return
	case !cache.Enabled:
		w.say(stage, "off: %s", cache.Detail)
		return
	}
	came, known := w.frame.Flow()
	f := flowAnswer(came)
	if i := slices.IndexFunc(cache.Entries, func(e api.FastpathEntry) bool { return e.In == w.in.name && about(e, f) }); i >= 0 {
		e := cache.Entries[i]
		w.say(stage, "known by its %s, %s to %s: frames so far %d, the last %v ago", grainText(e.Kind), e.State, e.Out, e.Frames, span(e.Idle))
		return
	}
	grain := w.grain()
	switch why := w.uncachedLocked(); {
	case !known:
		w.say(stage, "leaves ARP, and what is for a group, to weft")
	case why != "":
		w.say(stage, "leaves it to weft: %s", why)
	case grain == kindFlow && f.Protocol == "":
		w.say(stage, "leaves it to weft: neither TCP, UDP nor ping")
	default:
		w.say(stage, "will know it by its %s from the next frame on%s", grainText(grain), w.refusalLocked(f))
	}
}

// Kinds of entries, as the API names them.
const (
	kindStation = "station"
	kindFlow    = "flow"
)

// grain returns the kind of entry that a decision like that on the frame becomes.
func (w *way) grain() string {
	if w.l3 || w.in.net.gateway != nil && w.in.net.gateway.guard != nil {
		return kindFlow
	}
	return kindStation
}

func grainText(kind string) string {
	if kind == kindStation {
		return "two stations"
	}
	return kind
}

// uncachedLocked says why no decision like that on the frame is remembered; "": it is.
func (w *way) uncachedLocked() string {
	if w.once != "" {
		return w.once
	}
	for _, m := range []member{w.in, w.out} {
		p := w.d.ports[m.name]
		switch {
		case p != nil && p.cfg.Fastpath == config.FastpathOff:
			return "it is off at " + m.name
		case w.d.mirrors[m.name] != nil:
			return "somebody captures at " + m.name
		}
	}
	return ""
}

// refusalLocked tells whether the last of the flow was refused, which a rule of ours
// did not foresee.
func (w *way) refusalLocked(f api.Flow) string {
	cache, err := w.cache(api.FastpathQuery{Port: w.in.name, Refused: true})
	if err != nil {
		return ""
	}
	for _, r := range cache.Refusals {
		if r.Flow == f {
			return fmt.Sprintf("; it was refused %v ago, %s", span(r.Ago), r.Reason)
		}
	}
	return ""
}

// about reports whether an entry is about frames of the flow.
func about(e api.FastpathEntry, f api.Flow) bool {
	if e.Kind == kindStation {
		f = api.Flow{Src: f.Src, Dst: f.Dst, VLAN: f.VLAN}
		e.Flow = api.Flow{Src: e.Src, Dst: e.Dst, VLAN: e.VLAN}
	}
	return e.Flow == f
}

// span returns a time that the API has in seconds.
func span(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}
