package frame

import "time"

// A Subject is something that decisions rest on: when it changes they no longer hold.
type Subject uint64

// Everything is what all decisions rest on.
const Everything Subject = 0

// PortSubject is a port: its state, its MTU, who captures there.
func PortSubject(p PortID) Subject { return 1<<60 | Subject(p) }

// StationSubject is where a station is in a network, by FID.
func StationSubject(network uint16, mac MAC) Subject {
	return 2<<60 ^ Subject(network)<<44 ^ Subject(mac)
}

// SessionSubject is a session of the translator's, by its handle.
func SessionSubject(session uint32) Subject { return 3<<60 | Subject(session) }

// NeighborSubject is a neighbor of the router's, by its handle.
func NeighborSubject(neighbor uint32) Subject { return 4<<60 | Subject(neighbor) }

// A Basis is what the decision on a frame rests on besides ports and stations, as those
// say who decide. The switch receives frames with the zero Basis.
type Basis struct {
	Once     bool          // it is about this very frame: the next of its flow may fare otherwise
	Routed   bool          // a router had the frame; the switch says so
	Session  uint32        // handle of the session that translated the frame; 0: none did
	Outside  bool          // the frame came to the session from outside
	Forward  bool          // the session is a port forward's, and wins over sockets of the host's
	Neighbor uint32        // handle of the next hop; 0: none
	Idle     time.Duration // how long after the flow's last frame the decision may be used at most; 0: while its stations are known
}

// A Decision is what became of a frame that left by one port.
type Decision struct {
	In, Out PortID
	Was     Flow // the frame as it came in
	Is      Flow // the frame as it left
	ByFlow  bool // it holds for frames of the same flow, else for all frames between the two stations with that tag
	MTU     int  // of the way out: longer packets are for the switch to judge; 0: none
	Least   int  // frames that are shorter the switch pads, in bytes

	RestsOn [6]Subject // those after the last are Everything
	Basis
}

// A TCPSeen is what the last segment of one direction of a connection said.
type TCPSeen struct {
	Next   uint32 // sequence number behind its last byte
	Ack    uint32
	Window uint16 // as it stands there, not scaled
}

// A Refusal says why the decision on a frame is not remembered.
type Refusal uint8

// The refusals.
const (
	_               Refusal = iota
	RefusedFlooded          // the destination is a group, or unknown
	RefusedOnce             // the decision is about the very frame: a session not yet settled, an ICMP error, a fragment…
	RefusedSource           // the source is not known at its port: the table or a limit is full
	RefusedStage            // a stage wants to see every frame
	RefusedCaptured         // somebody captures at one of its ports
	RefusedPort             // one of its ports has no netdev to come by or to go to here
	RefusedKind             // it can be told by its flow only, and has none: another protocol, options, a fragment
	RefusedRewrite          // it leaves with changes that the kernel is not to make
	RefusedChanged          // what it rests on changed meanwhile
	RefusedFull             // there is no room, and nothing to make room for it
	NumRefusals
)

var refusalNames = [NumRefusals]string{
	RefusedFlooded: "flooded", RefusedOnce: "once", RefusedSource: "source-unknown", RefusedStage: "stage",
	RefusedCaptured: "captured", RefusedPort: "port", RefusedKind: "kind", RefusedRewrite: "rewrite",
	RefusedChanged: "changed", RefusedFull: "full",
}

// String returns the refusal's name, as weft shows it.
func (r Refusal) String() string { return refusalNames[r] }
