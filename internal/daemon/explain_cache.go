package daemon

import (
	"fmt"
	"time"

	"weft/config"
	"weft/internal/control/api"
)

// explainCacheLocked tells what the flow cache does with the frame, which it sees before
// all others, or will do with the next one alike.
func (w *way) explainCacheLocked() {
	const stage = "flow-cache"
	came, known := w.frame.Flow()
	f := flowAnswer(came)
	cache := w.cache(api.FastpathQuery{Port: w.in.name, Limit: 1}, func(e api.FastpathEntry) bool { return w.knows(e, f) })
	switch why := w.uncachedLocked(); {
	case !cache.Enabled:
		w.say(stage, "off, %s", cache.Detail)
	case !known:
		w.say(stage, "leaves ARP, and what is for a group, to weft")
	case len(cache.Entries) > 0:
		e := cache.Entries[0]
		w.say(stage, "known by its %s, %s to %s: frames so far %d, the last %v ago", grainText(e.Kind), e.State, e.Out, e.Frames, span(e.Idle))
	case why != "":
		w.say(stage, "leaves it to weft: %s", why)
	case w.grain() == kindFlow && f.Protocol == "":
		w.say(stage, "leaves it to weft: neither TCP, UDP nor ping")
	default:
		w.say(stage, "will know it by its %s from the next frame on%s", grainText(w.grain()), w.refusal(f))
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
		case m.id != 0 && w.d.flows.cache.Load() != nil && !w.d.flows.Serves(m.id):
			return "it does not reach " + m.name
		case w.d.mirrors[m.name] != nil:
			return "somebody captures at " + m.name
		}
	}
	return ""
}

// refusal tells whether the last of the flow was refused, which no rule here foresaw.
func (w *way) refusal(f api.Flow) string {
	for _, r := range w.cache(api.FastpathQuery{Port: w.in.name, Refused: true}, nil).Refusals {
		if r.Flow == f {
			return fmt.Sprintf("; it was refused %v ago, %s", span(r.Ago), r.Reason)
		}
	}
	return ""
}

// knows reports whether an entry is in use, and about frames of the flow from the port
// of entry.
func (w *way) knows(e api.FastpathEntry, f api.Flow) bool {
	if e.Kind == kindStation {
		f = api.Flow{Src: f.Src, Dst: f.Dst, VLAN: f.VLAN}
	}
	return e.In == w.in.name && e.Flow == f && e.State != "stale" && e.State != "idle"
}

// span returns a time that the API has in seconds.
func span(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Second)
}
