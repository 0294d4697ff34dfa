package vswitch

import "weft/frame"

// A Memory remembers decisions where frames come by before they reach the switch, so
// that later ones of the same kind need not. What it does not know comes to the queues as
// ever. Its functions must not block nor call the Switch, and run on many workers at once.
//
// Whoever changes what decisions rest on makes the change first and calls Changed then;
// whoever decides takes the Mark first. So no decision is used that was taken before a change
// and remembered after it.
type Memory interface {
	// Serves reports whether the memory stands in front of the port.
	Serves(frame.PortID) bool
	// Mark stands for all changes so far.
	Mark() uint64
	// Remember is told of a decision taken after mark since. It keeps nothing of d.
	Remember(d *frame.Decision, since uint64)
	// Refuse is told of a frame of port in whose decision is not to be remembered.
	Refuse(in frame.PortID, f *frame.Flow, why frame.Refusal)
	// Changed makes it forget what rests on s, at once.
	Changed(s frame.Subject)
	// Arrived returns how many frames of remembered flows it has put into the port's
	// queue so far, and whether it waits to hear that they have left.
	Arrived(frame.PortID) (n uint64, waits bool)
	// Drained says that the first n of them have left the switch.
	Drained(port frame.PortID, n uint64)
}

// forgetful is the Memory of a Switch without one.
type forgetful struct{}

func (forgetful) Serves(frame.PortID) bool                        { return false }
func (forgetful) Mark() uint64                                    { return 0 }
func (forgetful) Remember(*frame.Decision, uint64)                {}
func (forgetful) Refuse(frame.PortID, *frame.Flow, frame.Refusal) {}
func (forgetful) Changed(frame.Subject)                           {}
func (forgetful) Arrived(frame.PortID) (n uint64, waits bool)     { return 0, false }
func (forgetful) Drained(frame.PortID, uint64)                    {}

// note keeps, of the frames that port p received, what they were, before anybody rewrites
// them.
func (w *worker) note(p *port, bufs []*frame.Buf) {
	if !w.memory.Serves(p.id) {
		return
	}
	for _, b := range bufs {
		if f, ok := b.Flow(); ok {
			b.Came = f
		}
	}
}

// noted reports whether what becomes of the frame may be remembered, as far as the
// frame goes: no source is zero.
func noted(b *frame.Buf) bool { return b.Came.Src != 0 }

// remember tells the memory that a frame of port p leaves by port out.
func (w *worker) remember(p, out *port, b *frame.Buf) {
	if why := w.refusal(p, out, b); why != 0 {
		w.memory.Refuse(p.id, &b.Came, why)
		return
	}
	d := &w.decision
	*d = frame.Decision{
		In: p.id, Out: out.id, Was: b.Came, ByFlow: b.Basis.Routed || p.network.grain < ScopeL2, MTU: out.MTU, Basis: b.Basis,
		RestsOn: [...]frame.Subject{
			frame.PortSubject(p.id), frame.PortSubject(out.id),
			frame.StationSubject(uint16(p.Network), b.Came.Src), 0, frame.Everything, frame.Everything,
		},
	}
	if out.Pad {
		d.Least = frame.MinLen
	}
	d.Is, _ = b.Flow()
	d.RestsOn[3] = frame.StationSubject(uint16(out.Network), d.Is.Dst)
	if b.Basis.Session != 0 {
		d.RestsOn[4] = frame.SessionSubject(b.Basis.Session)
	}
	if b.Basis.Neighbor != 0 {
		d.RestsOn[5] = frame.NeighborSubject(b.Basis.Neighbor)
	}
	w.memory.Remember(d, w.since)
}

// refuseFlooded tells the memory of a frame of port p that goes to whoever is there.
func (w *worker) refuseFlooded(p *port, b *frame.Buf) {
	if noted(b) {
		w.memory.Refuse(p.id, &b.Came, frame.RefusedFlooded)
	}
}

// refusal returns why a decision is not remembered, or zero.
func (w *worker) refusal(p, out *port, b *frame.Buf) frame.Refusal {
	switch {
	case b.Basis.Once:
		return frame.RefusedOnce
	case p.network.grain == ScopePacket:
		return frame.RefusedStage
	case p.mirror != nil || out.mirror != nil:
		return frame.RefusedCaptured
	}
	// A source that is learned nowhere may turn up at another port without a word.
	if e := w.s.db.get(keyOf(p.Network, b.Came.Src)); e == 0 || e.port() != p.index {
		return frame.RefusedSource
	}
	return 0
}

// rounds is how often a queue is read at a time, at most, to see it empty.
const rounds = 4

// serve carries what a queue has: one batch, or, while the memory waits for the queue to
// drain, as many as it takes within bounds.
func (w *worker) serve(q *queue) {
	if q.dead.Load() {
		w.poller.remove(q.fd)
		return
	}
	p := w.snap.ports[q.port]
	for range rounds {
		arrived, waits := w.memory.Arrived(p.id)
		w.since = w.memory.Mark()
		n, err := q.Recv(w.bufs)
		if n > 0 {
			w.now = w.s.now()
			w.relay(q, w.bufs[:n])
		}
		if err != nil {
			w.poller.remove(q.fd)
			w.s.fail(q, p.id, err)
			return
		}
		if !waits {
			return
		}
		q.drain(w.memory, p.id, arrived, n)
		if n == 0 {
			return
		}
	}
	w.unsettled = append(w.unsettled, q.place) // the last round may have emptied it, and nothing tells of that
}

// backlog is more frames than a device's queue holds.
const backlog = 1 << 14

// A drainage is how far a worker is with a queue that does not run empty.
type drainage struct {
	arrived uint64 // what had arrived in the queue
	read    int    // how much was read since
}

// drain tells the memory what has left: all that had arrived before the queue was found
// empty, n being zero, or before as much was read as the queue holds.
func (q *queue) drain(m Memory, port frame.PortID, arrived uint64, n int) {
	d := &q.drainage
	d.read += n
	switch {
	case n == 0:
		m.Drained(port, arrived)
		*d = drainage{arrived: arrived}
	case d.read >= backlog:
		m.Drained(port, d.arrived)
		*d = drainage{arrived: arrived}
	}
}
