package route

import "weft/frame"

// hearNeighbor reads a neighbor solicitation or advertisement at an inside interface, and
// reports whether the packet is one. The host's stack answers it.
func (t *turn) hearNeighbor(b *frame.Buf) bool {
	if t.in.Outside {
		return false
	}
	m := b.Neighbor()
	if m == nil {
		return false
	}
	b.Basis.Once = true
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
		if n := t.r.neighbors.find(t.in.Port, w.addr); n != nil {
			w.mac = frame.MAC(n.mac.Load())
		} else if w.asks {
			w.mac = frame.Ethernet(b.Bytes()).Src()
		}
	}
	t.hear(w, b)
	return true
}
