package vswitch

import "weft/frame"

// An egress gathers the frames that a worker hands to one queue of the port of
// exit, in order: those received, and those that software made of them.
type egress struct {
	worker *worker
	port   *port
	queue  *queue
	tally  *tally

	out     []*frame.Buf // fewer than batch
	scratch []*frame.Buf // batch of them: the one for out[i] is scratch[i]
}

// transmit sends frames that came in by queue from out of port e, each in a form
// that the port takes.
func (w *worker) transmit(e *port, from *queue, bufs []*frame.Buf) {
	x := &w.egress
	x.worker, x.port, x.tally = w, e, &e.counters[w.index]
	// All frames of a flow come in by one queue and so leave by one.
	x.queue = e.queues[(int(from.port)+from.number)%len(e.queues)]
	p := w.snap.ports[from.port]
	for _, b := range bufs {
		if e.MTU > 0 && b.Len()-frame.EthernetLen > e.MTU && b.PacketLen() > e.MTU {
			x.tally.drops[frame.DropOversize].add(1)
			continue
		}
		if noted(b) && b.Out == e.id {
			w.remember(p, e, b)
		}
		switch {
		case e.Features.Carries(b.Offload):
		case b.Offload.GSO != frame.GSONone:
			x.segment(b)
			continue
		default:
			b.Complete() // in place: what is complete is right for every port
		}
		if e.Pad && b.Len() < frame.MinLen {
			b = x.copy(b) // other ports get the frame without padding
			pad(b)
		}
		x.add(b)
	}
	x.send()
}

// segment adds what software makes of a superframe.
func (x *egress) segment(b *frame.Buf) {
	s := b.Segment(x.port.Features)
	for s.Next(x.scratch[len(x.out)]) {
		dst := x.scratch[len(x.out)]
		if x.port.Pad && dst.Len() < frame.MinLen {
			pad(dst)
		}
		x.add(dst)
	}
}

func (x *egress) copy(b *frame.Buf) *frame.Buf {
	dst := x.scratch[len(x.out)]
	dst.CopyFrom(b)
	return dst
}

// pad brings a frame for a wire to its least length (IEEE 802.3 4.2.3.3).
func pad(b *frame.Buf) {
	n := b.Len()
	b.Resize(frame.MinLen)
	clear(b.Bytes()[n:])
}

func (x *egress) add(b *frame.Buf) {
	x.out = append(x.out, b)
	if len(x.out) == batch {
		x.send()
	}
}

// send hands over what was gathered and counts what became of it.
func (x *egress) send() {
	if len(x.out) == 0 {
		return
	}
	n, lost := 0, frame.DropDeviceError
	if !x.queue.dead.Load() {
		var err error
		n, err = x.queue.Send(x.out)
		if err != nil {
			x.worker.s.fail(x.queue, x.port.id, err)
		} else {
			lost = frame.DropQueueFull
		}
	}
	if n < len(x.out) {
		x.tally.drops[lost].add(uint64(len(x.out) - n))
	}
	taken := x.tally.sent(x.out[:n])
	if x.port.mirror != nil && len(taken) > 0 {
		x.port.mirror.Mirror(x.worker.now, Transmitted, taken)
	}
	x.out = x.out[:0]
}
