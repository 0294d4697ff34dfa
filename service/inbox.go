package service

import (
	"sync/atomic"

	"weft/frame"
)

const (
	maxMessage       = 2048 // bytes of a frame
	maxMessages      = 128  // that wait at once
	maxMessagesOfOne = 8    // of one port, so that no guest keeps others from being served
)

// A message is a copy of a frame that is for a service.
type message struct {
	kind  kind
	in    frame.PortID
	n     int
	bytes [maxMessage]byte
}

// frame returns the frame.
func (m *message) frame() []byte { return m.bytes[:m.n] }

// An inbox is the messages that wait. Its memory is all there from the start: messages
// go round between two channels.
type inbox struct {
	free, full chan *message
	waiting    [256]atomic.Int32 // by the low byte of the port of entry
	busy       atomic.Uint64     // how many found no room
}

func newInbox() *inbox {
	i := &inbox{free: make(chan *message, maxMessages), full: make(chan *message, maxMessages)}
	for range maxMessages {
		i.free <- new(message)
	}
	return i
}

// put copies the frame, and reports whether there was room.
func (i *inbox) put(k kind, b *frame.Buf) bool {
	count := &i.waiting[uint8(b.In)]
	if count.Add(1) > maxMessagesOfOne {
		count.Add(-1)
		i.busy.Add(1)
		return false
	}
	select {
	case m := <-i.free:
		m.kind, m.in, m.n = k, b.In, copy(m.bytes[:], b.Bytes())
		i.full <- m // has room for all there are
		return true
	default:
		count.Add(-1)
		i.busy.Add(1)
		return false
	}
}

// done gives a message back.
func (i *inbox) done(m *message) {
	i.waiting[uint8(m.in)].Add(-1)
	i.free <- m
}
