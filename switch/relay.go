package vswitch

import (
	"weft/frame"
)

// relay carries the frames of one batch, all received by queue q, to the ports
// they are for (IEEE 802.1Q 8.6).
func (w *worker) relay(q *queue, in []*frame.Buf) {
	p := w.snap.ports[q.port]
	c := &p.counters[w.index]
	if p.mirror != nil {
		p.mirror.Mirror(w.now, Received, in)
	}
	live := w.admit(p, c, in)
	w.note(p, live)
	for _, stage := range p.network.Stages {
		if len(live) == 0 {
			break
		}
		stage.Process(w.now, live)
		live = w.sift(p, c, live)
	}
	w.forward(p, c, live)
	w.flush(q)
}

// flush sends what is on the lists, because of frames that came in by q.
func (w *worker) flush(q *queue) {
	for _, e := range w.touched {
		l := &w.lists[e.index]
		w.transmit(e, q, l.bufs[:l.n])
		l.n = 0
	}
	w.touched = w.touched[:0]
}

// admit counts the frames received and returns those that may go on.
func (w *worker) admit(p *port, c *tally, in []*frame.Buf) []*frame.Buf {
	live := w.live[:0]
	var octets, segments uint64
	for _, b := range in {
		octets += uint64(b.Len())
		if r := inspect(p, b); r != 0 {
			c.drops[r].add(1)
			segments++
			continue
		}
		segments += uint64(b.Segments())
		b.In = p.id
		live = append(live, b)
	}
	c.rxFrames.add(uint64(len(in)))
	c.rxBytes.add(octets)
	c.rxSegments.add(segments)
	return live
}

// inspect returns why the switch drops a frame of port p at first sight, or zero.
func inspect(p *port, b *frame.Buf) frame.Reason {
	if r := b.Reason(); r != 0 {
		return r // the device knew it to be malformed
	}
	if p.State != Forwarding {
		return frame.DropIngressBlocked
	}
	if b.Len() < frame.EthernetLen {
		return frame.DropRunt
	}
	if r := b.CheckOffload(); r != 0 {
		return r
	}
	h := frame.Ethernet(b.Bytes())
	if src := h.Src(); src == 0 || src.IsGroup() {
		return frame.DropBadSource
	}
	if h.Dst().IsReserved() {
		return frame.DropReserved // IEEE 802.1Q 8.6.3
	}
	return 0
}

// sift counts the frames that a stage ended and returns the others, in place.
func (w *worker) sift(p *port, c *tally, bufs []*frame.Buf) []*frame.Buf {
	live := bufs[:0]
	for _, b := range bufs {
		if b.Len() < frame.EthernetLen {
			b.Drop(frame.DropRunt)
		}
		r := b.Reason()
		if r == 0 {
			live = append(live, b)
			continue
		}
		if r == frame.Taken { // the answer is to find its way
			w.learn(p, c, keyOf(p.Network, frame.Ethernet(b.Bytes()).Src()), stamp(w.now))
		}
		c.end(r)
	}
	return live
}

// forward learns the source of each frame and puts it on the lists of the ports
// it is for.
func (w *worker) forward(p *port, c *tally, bufs []*frame.Buf) {
	if len(bufs) == 0 {
		return
	}
	if w.s.db.sparse() {
		w.fetch(p.Network, bufs)
	}
	var (
		seconds = stamp(w.now)
		oldest  = oldest(seconds, p.network.ageing)
		flooded uint64

		// Frames of one batch mostly belong to few flows.
		src, dst frame.MAC // of the frame before; zero is no station's
		out      *port     // where it went; nil: flooded
	)
	for _, b := range bufs {
		h := frame.Ethernet(b.Bytes())
		if mac := h.Src(); mac != src {
			if !w.learn(p, c, keyOf(p.Network, mac), seconds) {
				c.drops[frame.DropSpoofedStatic].add(1)
				continue
			}
			if src = mac; src == dst {
				dst, out = 0, nil // what was looked up may no longer hold
			}
		}
		if mac := h.Dst(); mac != dst {
			dst, out = mac, w.lookup(p.Network, mac, oldest)
		}
		if out == nil {
			flooded++
			w.refuseFlooded(p, b)
			w.flood(p, c, b)
			continue
		}
		b.Out = out.id
		if out.Router != nil {
			w.offer(p, c, out, b)
			continue
		}
		w.deliver(p, c, out, b)
	}
	w.route(p, c)
	c.flooded.add(flooded)
}

// deliver puts a frame of port p on the list of the port it is for.
func (w *worker) deliver(p *port, c *tally, out *port, b *frame.Buf) {
	switch {
	case out == p:
		c.drops[frame.DropHairpin].add(1)
	case p.joined(out):
		c.drops[frame.DropSplitHorizon].add(1)
	case out.State != Forwarding:
		out.counters[w.index].drops[frame.DropEgressBlocked].add(1)
	default:
		w.enqueue(out, b)
	}
}

// fetch brings what the filtering database knows of the stations of a batch into
// the cache.
func (w *worker) fetch(id FID, bufs []*frame.Buf) {
	var src, dst frame.MAC
	for _, b := range bufs {
		h := frame.Ethernet(b.Bytes())
		if mac := h.Src(); mac != src {
			src = mac
			w.s.db.fetch(keyOf(id, mac))
		}
		if mac := h.Dst(); mac != dst {
			dst = mac
			w.s.db.fetch(keyOf(id, mac))
		}
	}
}

// joined reports whether two ports lead to one segment, which carries frames
// between them itself (split horizon).
func (p *port) joined(o *port) bool { return p.Group != 0 && p.Group == o.Group }

// learn notes the source of a frame of port p (IEEE 802.1Q 8.7). It returns false
// if the address belongs to another port for good.
func (w *worker) learn(p *port, c *tally, k key, now uint32) bool {
	e := w.s.db.get(k)
	switch {
	case e.static():
		return e.port() == p.index
	case e.port() == p.index && e.seen() >= now:
		return true // nothing to write
	}
	switch w.s.db.learn(k, p.index, now) {
	case known:
	case learned:
		c.learned.add(1)
	case moved:
		c.moved.add(1)
	case limited:
		c.learnLimit.add(1)
	case spoofed:
		return false
	}
	return true
}

// lookup returns the port behind which a station is, or nil if that is not known.
func (w *worker) lookup(id FID, mac frame.MAC, oldest uint32) *port {
	if mac.IsGroup() {
		return nil
	}
	e := w.s.db.get(keyOf(id, mac))
	if e == 0 || !e.alive(oldest) {
		return nil
	}
	return w.snap.port(e.port(), id)
}

// flood puts a frame, the same for all, on the lists of all forwarding ports of
// the network but those that lead where it came from (IEEE 802.1Q 8.6.1, 8.8.9).
func (w *worker) flood(p *port, c *tally, b *frame.Buf) {
	reached, joined := false, false
	for _, m := range p.network.members {
		switch {
		case m == p:
		case p.joined(m):
			joined = true
		default:
			w.enqueue(m, b)
			reached = true
		}
	}
	switch {
	case reached:
	case joined:
		c.drops[frame.DropSplitHorizon].add(1)
	default:
		c.drops[frame.DropNoMember].add(1)
	}
}

func (w *worker) enqueue(p *port, b *frame.Buf) {
	l := &w.lists[p.index]
	if l.n == 0 {
		w.touched = append(w.touched, p)
	}
	l.bufs[l.n] = b
	l.n++
}
