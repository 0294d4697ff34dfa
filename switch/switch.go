package vswitch

import (
	"context"
	"errors"
	"time"

	"weft/frame"
)

// Config says how a Switch is made. The zero value is a working default.
type Config struct {
	Workers  int           // OS threads that carry frames; 0: min(4, CPUs)
	Stations int           // capacity of the filtering database; 0: 65,536
	Spin     time.Duration // how long an idle worker polls before it sleeps; 0: the default, negative: not at all

	// QueueFailed is told of a queue that reported an error. The port has stopped
	// using the queue. It is called on a goroutine of its own, never on a worker.
	QueueFailed func(port frame.PortID, err error)
}

// A FID names a filtering database, that is a network: addresses are learned and
// looked up within one (IEEE 802.1Q 8.8, independent learning).
type FID uint16

// NetworkConfig describes a network: a set of ports among which frames are relayed.
type NetworkConfig struct {
	Name     string        // for reports only
	Ageing   time.Duration // dynamic entries unused for so long are removed; 0: 300 s (IEEE 802.1Q table 8-6); 10 s to 1,000,000 s
	Stations int           // limit of dynamic entries; 0: none but the table's
	Stages   []Stage       // run on each received batch, in this order, before learning

	// StationMoved is told, on the worker that learned it and before the frame
	// goes on, that a dynamic or static entry for mac came to be (from == 0), moved,
	// or was removed (to == 0). It may make a short system call.
	StationMoved func(mac frame.MAC, from, to frame.PortID)
}

// PortConfig describes a port.
type PortConfig struct {
	Name     string // for reports only
	Network  FID
	Queues   []Queue // the port owns them from AddPort on
	Features frame.Features
	MTU      int         // largest payload of a frame that leaves here, tags not counted, in bytes; 0: no limit
	Group    uint8       // ports of one network with the same group, not zero, exchange no frames (split horizon)
	Stations int         // limit of dynamic entries that point here; 0: none
	Static   []frame.MAC // static entries
	State    State
	Pad      bool // pad frames to frame.MinLen: the port leads to a wire
}

// A State says what a port does with frames.
type State uint8

// The states. A Down port takes and gives nothing, and its dynamic entries are
// gone; what its queues receive is dropped and counted. A Standby port is Down
// whose link is good.
const (
	Down State = iota
	Standby
	Forwarding
)

// Errors of the control functions.
var (
	ErrClosed    = errors.New("switch closed")
	ErrNoPort    = errors.New("no such port")
	ErrNoNetwork = errors.New("no such network")
	ErrTableFull = errors.New("filtering database full")
)

// A Switch relays frames between ports. All its functions may be called at once
// from any goroutine, also before and while Run runs.
type Switch struct{}

// New makes a Switch without ports.
func New(c Config) (*Switch, error) { panic("todo") }

// Run starts the workers and returns when ctx ends and they have stopped. It does
// not close the ports' queues: see Close.
func (s *Switch) Run(ctx context.Context) error { panic("todo") }

// Close removes all ports and closes their queues. Run must have returned.
func (s *Switch) Close() error { panic("todo") }

// AddNetwork makes a network.
func (s *Switch) AddNetwork(c NetworkConfig) (FID, error) { panic("todo") }

// UpdateNetwork changes Name, Ageing, Stations and Stages of a network in place.
func (s *Switch) UpdateNetwork(id FID, c NetworkConfig) error { panic("todo") }

// RemoveNetwork removes a network that has no ports.
func (s *Switch) RemoveNetwork(id FID) error { panic("todo") }

// AddPort makes a port; its queues are read from now on.
func (s *Switch) AddPort(c PortConfig) (frame.PortID, error) { panic("todo") }

// UpdatePort changes MTU, Group, Stations, Static, State, Features and Pad in
// place; Network and Queues stay. Leaving Forwarding flushes the port's dynamic entries.
func (s *Switch) UpdatePort(id frame.PortID, c PortConfig) error { panic("todo") }

// SetState changes a port's State only.
func (s *Switch) SetState(id frame.PortID, st State) error { panic("todo") }

// RemovePort takes a port out, waits until no worker uses it, flushes its entries
// and closes its queues. Its counters are gone.
func (s *Switch) RemovePort(id frame.PortID) error { panic("todo") }

// SetMirror sends copies of the port's frames to m; nil ends it. When it returns,
// no worker uses the previous mirror any more.
func (s *Switch) SetMirror(id frame.PortID, m Mirror) error { panic("todo") }

// A Station is an entry of the filtering database.
type Station struct {
	Network FID
	MAC     frame.MAC
	Port    frame.PortID
	Static  bool
	Age     time.Duration // since it was last seen as a source; 0 if static
}

// Stations returns the entries of a network, of all if id is 0, in no order.
func (s *Switch) Stations(id FID) []Station { panic("todo") }

// AddStation makes a static entry, in place of a dynamic one.
func (s *Switch) AddStation(id FID, mac frame.MAC, port frame.PortID) error { panic("todo") }

// DeleteStation removes an entry; it reports whether there was one.
func (s *Switch) DeleteStation(id FID, mac frame.MAC) bool { panic("todo") }

// FlushStations removes the dynamic entries of a network, of one port if port is
// not 0, and returns how many there were.
func (s *Switch) FlushStations(id FID, port frame.PortID) int { panic("todo") }

// Counters are totals of one port since it was made.
type Counters struct {
	RxFrames, RxBytes uint64 // received from the port
	TxFrames, TxBytes uint64 // handed to the port's device
	RxSegments        uint64 // as RxFrames, with each superframe counted as what it will become
	TxSegments        uint64
	Flooded           uint64 // received frames that were flooded
	Learned, Moved    uint64 // stations learned on, or moved to, this port
	LearnLimit        uint64 // sources not learned: a limit was reached or the table was full
	Drops             [frame.NumReasons]uint64
}

// Counters returns the port's counters. A drop on the way in is counted at the port
// of entry, one on the way out (queue-full, oversize, egress-blocked, …) at the
// port of exit.
func (s *Switch) Counters(id frame.PortID) (Counters, error) { panic("todo") }
