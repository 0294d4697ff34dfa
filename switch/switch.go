package vswitch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"weft/frame"
)

// Config says how a Switch is made. The zero value is a working default.
type Config struct {
	Workers  int           // OS threads that carry frames; 0: one for every two CPUs, at most 4. GOMAXPROCS should be larger
	Stations int           // capacity of the filtering database; 0: 65,536
	Spin     time.Duration // how long an idle worker polls before it sleeps; 0: the default, negative: not at all

	Memory Memory // remembers decisions; nil: none does

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
	// or was removed (to == 0). It is told again of stations in use, about every ten
	// seconds (from == to): who is told may remember fewer than the table holds, and
	// forget one. Calls about one address come one at a time and in order, others at once. It may make a short system call, but must not call the
	// Switch.
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
	Pad      bool   // pad frames to frame.MinLen: the port leads to a wire
	Router   Router // nil: the port is no interface of layer 3
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
// from any goroutine, also before and while Run runs, but, Inject and Now apart, not
// from a Stage, a Router, a Mirror or StationMoved. When a control function returns, every worker goes by
// what it set.
type Switch struct {
	workers     int
	spin        time.Duration
	queueFailed func(frame.PortID, error)
	memory      Memory
	start       time.Time
	now         func() time.Duration // since start; tests set their own

	db       *fdb
	snap     atomic.Pointer[snapshot]
	failures failures
	injected injected

	mu       sync.Mutex   // held by every control function; before the locks of db
	closed   bool         // guarded by mu
	running  []*worker    // guarded by mu
	ports    []*port      // by portIndex; guarded by mu
	networks []*network   // by FID; guarded by mu
	polls    [][]*queue   // by worker and place; guarded by mu
	lastID   frame.PortID // guarded by mu
}

const (
	maxWorkers      = 4 // unless more are asked for
	defaultStations = 65536
	defaultSpin     = 20 * time.Microsecond
	sweepEvery      = time.Second
)

// defaultWorkers leaves half of the CPUs to the guests. Two workers on two CPUs cost
// TCP a tenth of its throughput, and a ping one more wake-up of a sleeping CPU.
func defaultWorkers() int { return max(1, min(maxWorkers, runtime.NumCPU()/2)) }

// New makes a Switch without ports.
func New(c Config) (*Switch, error) {
	if c.Workers < 0 {
		return nil, fmt.Errorf("switch: %d workers (want 0 or more)", c.Workers)
	}
	db, err := newFDB(cmp.Or(c.Stations, defaultStations))
	if err != nil {
		return nil, fmt.Errorf("switch: %w", err)
	}
	s := &Switch{
		workers:     cmp.Or(c.Workers, defaultWorkers()),
		spin:        max(0, cmp.Or(c.Spin, defaultSpin)),
		queueFailed: c.QueueFailed,
		memory:      c.Memory,
		start:       time.Now(),
		db:          db,
		failures:    failures{signal: make(chan struct{}, 1)},
		ports:       make([]*port, 1),
		networks:    make([]*network, 1),
	}
	if s.memory == nil {
		s.memory = forgetful{}
	}
	s.db.books.memory = s.memory
	s.now = func() time.Duration { return time.Since(s.start) }
	s.polls = make([][]*queue, s.workers)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publishLocked()
	return s, nil
}

// Now returns the time since the switch was made: the clock that stages and routers
// are given.
func (s *Switch) Now() time.Duration { return s.now() }

// Workers returns how many OS threads carry frames.
func (s *Switch) Workers() int { return s.workers }

// Run starts the workers and returns when ctx ends and they have stopped. It does
// not close the ports' queues: see Close.
func (s *Switch) Run(ctx context.Context) error {
	workers, err := s.hire()
	if err != nil {
		return fmt.Errorf("switch: start workers: %w", err)
	}
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(w.run)
	}
	wg.Go(func() { s.sweep(ctx) })
	wg.Go(func() { s.reportFailures(ctx) })
	<-ctx.Done()
	for _, w := range workers {
		w.stop.Store(true)
		w.poller.wake()
	}
	wg.Wait()
	return s.dismiss()
}

// hire makes the workers. They know the present snapshot and will be told of all
// later ones.
func (s *Switch) hire() ([]*worker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.running != nil:
		return nil, errors.New("already running")
	}
	for i := range s.workers {
		w, err := newWorker(s, i)
		if err != nil {
			return nil, errors.Join(err, s.dismissLocked())
		}
		s.running = append(s.running, w)
	}
	s.injected.employ(s.running[0])
	return s.running, nil
}

func (s *Switch) dismiss() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dismissLocked()
}

func (s *Switch) dismissLocked() error {
	s.injected.employ(nil)
	var errs []error
	for _, w := range s.running {
		errs = append(errs, w.poller.close())
	}
	s.running = nil
	return errors.Join(errs...)
}

// sweep removes expired stations from the filtering database, a part at a time.
func (s *Switch) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.db.sweep(stamp(s.now()))
		}
	}
}

// Close removes all ports and closes their queues. Run must have returned.
func (s *Switch) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.running != nil {
		return errors.New("switch: close: still running")
	}
	var errs []error
	for _, p := range s.ports {
		if p != nil {
			errs = append(errs, s.removePortLocked(p))
		}
	}
	s.closed = true
	return errors.Join(append(errs, s.db.close())...)
}
