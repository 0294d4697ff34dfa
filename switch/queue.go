// Package vswitch is the relay of IEEE 802.1Q: ports, the filtering database,
// flooding, the chain of stages, and the workers that carry frames from the
// queues of one port to those of others.
package vswitch

import (
	"time"

	"weft/frame"
)

// A Queue moves batches between the switch and one device queue: one TAP file
// descriptor, one tunnel socket, one virtio ring.
//
// Recv has a single caller at a time; Send may have many. Both are non-blocking,
// and neither keeps bufs after it returns.
//
// Recv fills bufs from the front and returns how many frames came; zero without
// an error means that none is waiting. It may stop before bufs is full, to keep a
// batch of large frames in the processor's cache. A frame that the device itself
// knows to be malformed is returned all the same, with Drop called on it.
//
// Send hands over bufs in order and returns how many, from the front, the device is
// done with: those it took, and those it refuses for good, on which Drop is called.
// A full device is no error: the rest is counted by the caller and lost. Send may
// write to the frame's headroom but changes nothing of the frame.
//
// An error from either means that the queue is dead: it will carry nothing again.
type Queue interface {
	Recv(bufs []*frame.Buf) (n int, err error)
	Send(bufs []*frame.Buf) (n int, err error)
	// FD returns the descriptor that polls readable while Recv has something to
	// return. It stays the same until Close.
	FD() int
	// Close ends the queue. It is called once no worker uses the queue any more.
	Close() error
}

// A Stage examines or rewrites the live frames of one batch, all of which came in
// by the same port. It ends a frame's way with Drop; the chain passes over dropped
// frames' slots (they have left bufs) and counts them. Process must not block,
// allocate or keep a Buf, and runs on many workers at once. A frame that it copied to
// keep or to answer it ends with Drop(frame.Taken): its source is learned all the same.
type Stage interface {
	// Process is given now, the time since the switch was made.
	Process(now time.Duration, bufs []*frame.Buf)
	Scope() Scope
}

// A Scope says how much of a frame a stage's verdict depends on. A decision may be
// remembered at the coarsest grain that all stages on its way allow.
type Scope uint8

// The scopes, finest first.
const (
	ScopePacket Scope = iota // every frame must be seen
	ScopeFlow                // the same for all frames of a 5-tuple
	ScopeL2                  // the same for all frames of one source and destination address
)

// A Router stands in front of a port that is an interface of layer 3: it is offered
// the frames that the relay would send there, a batch at a time, before their port
// gets them. What it leaves alone goes on to the port. It sends a frame elsewhere by
// rewriting it and setting In to the port of another such interface, or of the same:
// the frame is then relayed in that port's network as if it came from there. It ends
// a frame's way with Drop. Route must not block, allocate or keep a Buf, and runs on
// many workers at once; on entry Out is the port, and In the port of entry.
type Router interface {
	Route(now time.Duration, bufs []*frame.Buf)
}

// A Mirror gets a copy of the frames of one port, for capture. Received frames come
// as the device returned them: unchecked, Offload included. Mirror must not block or
// keep bufs, and runs on many workers at once.
type Mirror interface {
	Mirror(now time.Duration, dir Direction, bufs []*frame.Buf)
}

// A Direction is seen from the switch.
type Direction uint8

// The directions.
const (
	Received    Direction = 1 + iota // from the port into the switch
	Transmitted                      // from the switch to the port
)
