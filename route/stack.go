package route

import (
	"net/netip"

	"weft/frame"
)

// The host's stack answers for a gateway's addresses. What comes to it unrouted is held
// to the same rules: nobody is to have it answer to where he is not, or fill its tables.

// leave leaves an untagged packet to the host's stack.
func (t *turn) leave(b *frame.Buf) {
	if !t.hearNeighbor(b) {
		t.admit(b)
	}
}

// leaveTagged does so with a tagged frame for an inside interface, which is not routed.
// The host's stack takes off all tags that tell a priority only (IEEE 802.1Q 6.9).
func (t *turn) leaveTagged(b *frame.Buf) {
	b.Basis.Once = true
	t.overhear(b)
	if b.Reason() != 0 || b.Layers.Version == 0 {
		return
	}
	if j := t.judge(b); j.verdict == drop {
		b.Drop(j.reason)
	}
}

// overhear looks at a frame at an inside interface that the host's stack gets too.
func (t *turn) overhear(b *frame.Buf) {
	b.Parse()
	switch l := &b.Layers; {
	case l.EtherType.IsTag(): // cut short, or more of them than anybody means
		b.Drop(frame.DropBadPacket)
	case l.EtherType == frame.EtherTypeARP:
		t.hearARP(b)
	case l.Version != 0:
		t.leave(b)
	}
}

// admit ends a packet for the host's stack if it is from a station at an inside interface
// that is one too many. The stack's table of neighbors is one for all devices, and who
// is answered gets a place there: a guest with a subnet's addresses as sources would
// leave none for the host's own routers.
func (t *turn) admit(b *frame.Buf) {
	src, _ := addresses(b)
	ns := &t.r.neighbors
	if t.in.Outside || t.isStrange(src) {
		return
	}
	n := ns.find(t.in.Port, src)
	if n != nil && n.mac.Load() != 0 {
		b.Basis.Neighbor = n.handle // what rests on it comes unseen, and the station counts all the same
		return
	}
	b.Basis.Once = true
	if n != nil {
		return
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.find(t.in.Port, src) == nil && ns.addLocked(t.in.Port, src, b.In) == nil { // Tick asks whether it is there
		b.Drop(frame.DropNeighborQueue)
	}
}

// isStrange reports whether the address is that of no station on the interface's link.
func (t *turn) isStrange(a netip.Addr) bool {
	d := t.in.lookup(a)
	return !d.onLink(t.in) && (d == nil || d.kind != linkLocal)
}
