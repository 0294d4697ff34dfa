package route

import "weft/frame"

// hearNeighbor reads a neighbor solicitation or advertisement at an inside interface, if
// the packet is one. The host's stack answers it.
func (t *turn) hearNeighbor(b *frame.Buf) {
	if t.in.Outside {
		return
	}
	m := b.Neighbor()
	if m == nil {
		return
	}
	w := word{addr: m.Target(), mac: m.LinkAddr()}
	if m.Type() == frame.ICMPv6Advertisement { // RFC 4861 7.2.5
		w.answers = m.Flags()&frame.AdvertSolicited != 0
		w.override = m.Flags()&frame.AdvertOverride != 0
	} else { // RFC 4861 7.2.3
		w.addr, _ = addresses(b)
		w.asks, w.override = t.in.has(m.Target()), true
	}
	if w.mac == 0 {
		// A node that was asked by unicast need not repeat what we know.
		n := t.r.neighbors.find(t.in.Port, w.addr)
		if n == nil {
			return
		}
		w.mac = frame.MAC(n.mac.Load())
	}
	t.hear(w, b.In)
}
