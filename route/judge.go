package route

import (
	"slices"

	"weft/frame"
)

// A verdict is what is done with a packet.
type verdict uint8

const (
	leave     verdict = iota // it is for the host's stack, or the host's to forward
	translate                // it may be for a session of the translator's, else it is the host's
	forward                  // to its target
	drop
)

// A judgement is what becomes of a packet by its addresses.
type judgement struct {
	verdict
	reason frame.Reason // of drop; of translate: if the packet is of no session, and not the host's
	target *target      // what the destination is; nil: nothing is known of it
}

// judge decides on a packet by its addresses alone, s and d as the table knows them:
// from interface in, not yet translated.
func judge(in *iface, s, d *target) judgement {
	if d != nil {
		switch d.kind {
		case martian:
			return judgement{drop, frame.DropMartian, d}
		case linkLocal, multicast, broadcast:
			// RFC 2644: a directed broadcast is not forwarded.
			if d.kind == broadcast && d.iface != nil && d.iface != in || !in.Outside && isForeign(in, s) {
				return judgement{drop, frame.DropMartian, d}
			}
			return judgement{leave, 0, d}
		}
	}
	if in.Outside {
		return judgeOutside(s, d)
	}
	return judgeInside(in, s, d)
}

// isForeign reports whether s is the source of no station at an inside interface: the
// host's answer would leave by another. One that has no address yet has a martian; what
// else is martian the host's stack refuses.
func isForeign(in *iface, s *target) bool {
	switch {
	case s == nil:
		return true
	case s.kind == routed:
		return s.iface != in
	}
	return s.kind != linkLocal && s.kind != martian
}

// judgeOutside decides on a packet from an uplink. What is not for an address behind
// weft is left alone: the host may be somebody else's router.
func judgeOutside(s, d *target) judgement {
	if d == nil || d.kind == elsewhere || d.kind == routed && d.iface.Outside || d.gateway {
		return judgement{leave, 0, d}
	}
	if s != nil && s.kind != elsewhere && (s.kind != routed || !s.iface.Outside) {
		if d.kind == local {
			return judgement{leave, 0, d} // the host has its own filter
		}
		return judgement{drop, frame.DropMartian, d}
	}
	switch {
	case d.kind == local:
		return judgement{translate, 0, d}
	case d.kind == external:
		return judgement{translate, frame.DropNATNoSession, d}
	case d.iface.Realm != 0:
		return judgement{drop, frame.DropNATNoSession, d}
	}
	return judgement{forward, 0, d}
}

// judgeInside decides on a packet from inside interface in.
func judgeInside(in *iface, s, d *target) judgement {
	// The reverse path: RFC 1812 5.3.8, RFC 3704 2.2.
	if s == nil || s.kind != routed || s.iface != in {
		if d != nil && d.kind == local && s != nil && s.kind == linkLocal {
			return judgement{leave, 0, d} // a solicitation, for one
		}
		return judgement{drop, frame.DropMartian, d}
	}
	switch {
	case d == nil || d.kind == elsewhere:
		return judgement{drop, frame.DropNoRoute, d}
	case d.gateway || d.kind == local && in.Realm == 0:
		return judgement{leave, 0, d}
	case d.kind == local:
		return judgement{translate, 0, d}
	case d.kind == external && in.Realm != 0:
		return judgement{translate, frame.DropNATNoSession, d}
	case d.kind == external:
		return judgement{drop, frame.DropNATNoSession, d}
	case d.iface.Outside || d.iface == in || slices.Contains(in.Reach, d.iface.Port):
		return judgement{forward, 0, d}
	}
	return judgement{drop, frame.DropForbidden, d}
}

// reachable reports whether a translator may give a packet a destination: that of a host
// behind an inside interface. Who may reach it is the translator's to say.
func (t *target) reachable() bool { return t != nil && t.kind == routed && !t.iface.Outside }
