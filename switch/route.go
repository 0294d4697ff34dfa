package vswitch

import "weft/frame"

// offer gathers frames of port p for the interface of layer 3 that they are for. One
// batch has mostly one.
func (w *worker) offer(p *port, c *tally, iface *port, b *frame.Buf) {
	if iface != w.iface {
		w.route(p, c)
		w.iface = iface
	}
	w.offered = append(w.offered, b)
}

// route has the interface's router decide on the frames of port p that were gathered.
func (w *worker) route(p *port, c *tally) {
	if len(w.offered) == 0 {
		return
	}
	w.iface.Router.Route(w.now, w.offered)
	for _, b := range w.offered {
		b.Basis.Routed = true
		switch r := b.Reason(); {
		case r != 0:
			c.end(r)
		case b.In == p.id:
			w.deliver(p, c, w.iface, b)
		default:
			w.depart(p, c, b)
		}
	}
	w.offered, w.iface = w.offered[:0], nil
}

// depart puts a frame of port p that leaves by an interface of layer 3, b.In, on the lists of the
// ports it is for. Neither is it learned, nor does split horizon hold: it comes from
// weft and from no segment.
func (w *worker) depart(p *port, c *tally, b *frame.Buf) {
	from := w.snap.interfaces[b.In]
	if from == nil {
		c.drops[frame.DropEgressBlocked].add(1)
		return
	}
	dst := frame.Ethernet(b.Bytes()).Dst()
	out := w.lookup(from.Network, dst, oldest(stamp(w.now), from.network.ageing))
	switch {
	case out == nil:
		w.refuseFlooded(p, b)
		for _, m := range from.network.members {
			if m != from {
				b.Out = 0
				w.enqueue(m, b)
			}
		}
	case out == from:
		c.drops[frame.DropHairpin].add(1)
	case out.State != Forwarding:
		out.counters[w.index].drops[frame.DropEgressBlocked].add(1)
	default:
		b.Out = out.id
		w.enqueue(out, b)
	}
}
