// Package controltest has an in-memory Engine for tests of the API and its client.
package controltest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
	vswitch "weft/switch"
)

// An Engine holds what the API answers and records what it was asked to do. Its
// fields may be set before it serves; Fail at any time.
type Engine struct {
	StatusNow   api.Status
	NetworkList []api.Network
	PortList    []api.Port
	StationList []api.Station
	CounterList []api.Counters
	SessionList []api.NATSession
	LeaseList   []api.Lease
	RouteList   []api.Route
	Cache       api.Fastpath
	Way         api.Explained
	Findings    []api.Finding
	Result      api.Applied

	mu       sync.Mutex
	err      error // guarded by mu, as all below
	calls    []string
	mirrors  map[string]mirror
	mirrored chan struct{} // gets a token for each start and stop of a mirror
}

type mirror struct {
	vswitch.Mirror
	gone func()
}

// New returns an Engine with a network of each mode and three ports.
func New() *Engine {
	e := &Engine{
		StatusNow: api.Status{
			Version: "1.2.3", PID: 4711, Started: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), ConfigPath: "/etc/weft/weft.yaml",
			Workers: 2, Networks: 4, Ports: 3, PortsUp: 2, Stations: 3,
			Warnings: []string{"port vm2: no guest has opened the TAP"},
		},
		NetworkList: []api.Network{
			{Name: "lan", Mode: "bridged", MTU: 1500, Ageing: "300s", Stations: 2, Ports: []string{"vm1", "eth0:wire", "eth0:host"}, Uplinks: []api.Uplink{
				{Device: "eth0", State: "active"}, {Device: "eth1", State: "no-carrier", Detail: "plug in the cable"},
			}},
			{Name: "lab", Mode: "isolated", MTU: 9000, Ageing: "60s", Stations: 1, Limit: 100, Ports: []string{"vm2"}},
		},
		PortList: []api.Port{
			{Name: "vm1", Network: "lan", Type: "tap", Device: "vm1", State: "up", MAC: 0x525400000001, MTU: 1500, Queues: 1, Offloads: []string{"csum", "tso4", "tso6"}, Stations: 1, Fastpath: "on"},
			{Name: "vm2", Network: "lab", Type: "tap", Device: "tap-vm2", State: "waiting", Detail: "no guest has opened it", MTU: 9000, Queues: 2, Fastpath: "off"},
			{Name: "eth0:wire", Network: "lan", Type: "uplink", Device: "eth0", State: "up", MTU: 1500, Queues: 1, Stations: 1, Fastpath: "on"},
		},
		StationList: []api.Station{
			{Network: "lan", MAC: 0x525400000002, Port: "eth0:wire", Age: 12.4},
			{Network: "lab", MAC: 0x525400000009, Port: "vm2", Age: 0.2},
			{Network: "lan", MAC: 0x525400000001, Port: "vm1", Static: true},
		},
		CounterList: []api.Counters{
			{Port: "vm1", RxFrames: 1000, RxBytes: 64000, RxSegments: 4000, TxFrames: 10, TxBytes: 640, TxSegments: 10, Flooded: 3, Learned: 1, Taken: 4, Drops: map[string]uint64{frame.DropQueueFull.String(): 7, frame.DropRunt.String(): 1}, Kernel: map[string]uint64{"vm1 rx_dropped": 0, "vm1 tx_dropped": 2}},
			{Port: "vm2"},
		},
		Findings: []api.Finding{
			{Severity: "ok", Subject: "host", Text: "tcx is available"},
			{Severity: "warning", Subject: "port vm2", Text: "no guest has opened the TAP", Remedy: "start the guest with -netdev tap,ifname=tap-vm2"},
			{Severity: "error", Subject: "network lan", Text: "eth1 does not exist", Remedy: "take it out of uplinks"},
		},
		Result:   api.Applied{Actions: []string{"change network lan: mtu 1500 -> 9000"}, Warnings: []string{"port vm1 keeps 1500 until its guest restarts"}},
		mirrors:  make(map[string]mirror),
		mirrored: make(chan struct{}, 64),
	}
	e.addGateways()
	e.addFastpath()
	return e
}

// Serve serves e on a socket in a directory of t's until the test ends and returns
// the socket's path.
func Serve(t testing.TB, e control.Engine) string {
	t.Helper()
	path := t.TempDir() + "/weft.sock"
	l, err := control.Listen(path, -1)
	if err != nil {
		t.Fatal(err)
	}
	s := control.NewServer(e, -1, zap.NewNop())
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return path
}

// Fail makes all calls that can fail do so; nil ends it.
func (e *Engine) Fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// Calls returns the calls that would have changed something, and forgets them.
func (e *Engine) Calls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}

func (e *Engine) call(format string, args ...any) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf(format, args...))
	return e.err
}

func (e *Engine) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// Status implements control.Engine, as do all methods from here on.
func (e *Engine) Status() api.Status { return e.StatusNow }

// Networks returns NetworkList.
func (e *Engine) Networks() []api.Network { return slices.Clone(e.NetworkList) }

// Ports returns PortList.
func (e *Engine) Ports() []api.Port { return slices.Clone(e.PortList) }

// Doctor returns Findings.
func (e *Engine) Doctor() []api.Finding { return e.Findings }

// Stations returns those of StationList in network.
func (e *Engine) Stations(network string) ([]api.Station, error) {
	return slices.DeleteFunc(slices.Clone(e.StationList), func(s api.Station) bool {
		return network != "" && s.Network != network
	}), e.failure()
}

// AddStation records the call.
func (e *Engine) AddStation(network string, mac frame.MAC, port string) error {
	return e.call("add station %s %s %s", network, mac, port)
}

// DeleteStation records the call.
func (e *Engine) DeleteStation(network string, mac frame.MAC) error {
	return e.call("delete station %s %s", network, mac)
}

// FlushStations records the call and says that two entries went.
func (e *Engine) FlushStations(network, port string) (int, error) {
	return 2, e.call("flush %q %q", network, port)
}

// Counters returns those of CounterList for port.
func (e *Engine) Counters(port string) ([]api.Counters, error) {
	return slices.DeleteFunc(slices.Clone(e.CounterList), func(c api.Counters) bool {
		return port != "" && c.Port != port
	}), e.failure()
}

// Apply records the call and returns Result.
func (e *Engine) Apply(a api.Apply) (api.Applied, error) {
	return e.Result, e.call("apply %q dry=%t runtime=%t", a.Document, a.DryRun, a.Runtime)
}

// EditNetwork records the call and returns Result.
func (e *Engine) EditNetwork(name string, op control.Op, values map[string]any, runtime bool) (api.Applied, error) {
	return e.Result, e.call("edit network %s op=%d %#v runtime=%t", name, op, values, runtime)
}

// EditPort records the call and returns Result.
func (e *Engine) EditPort(name string, op control.Op, values map[string]any, runtime bool) (api.Applied, error) {
	return e.Result, e.call("edit port %s op=%d %#v runtime=%t", name, op, values, runtime)
}

// Mirror remembers m for Send. As the daemon would, it has one mirror a port.
func (e *Engine) Mirror(port string, m vswitch.Mirror, gone func()) (stop func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !slices.ContainsFunc(e.PortList, func(p api.Port) bool { return p.Name == port }) {
		return nil, fmt.Errorf("port %s: %w", port, control.ErrNotFound)
	}
	if _, busy := e.mirrors[port]; busy {
		panic("second mirror of port " + port)
	}
	e.mirrors[port] = mirror{m, gone}
	e.mirrored <- struct{}{}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.mirrors[port].Mirror == m {
			delete(e.mirrors, port)
			e.mirrored <- struct{}{}
		}
	}, nil
}

// AwaitMirror waits until a mirror has been started or stopped.
func (e *Engine) AwaitMirror() { <-e.mirrored }

// Mirrored reports whether the port has a mirror.
func (e *Engine) Mirrored(port string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.mirrors[port]
	return ok
}

// Send mirrors frames of port, as a worker would.
func (e *Engine) Send(port string, dir vswitch.Direction, bufs ...*frame.Buf) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m, ok := e.mirrors[port]; ok {
		m.Mirror.Mirror(0, dir, bufs)
	}
}

// RemovePort ends the port's mirror, as the daemon does when the port is removed.
func (e *Engine) RemovePort(port string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m, ok := e.mirrors[port]; ok {
		delete(e.mirrors, port)
		m.gone()
	}
}
