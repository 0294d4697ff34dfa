// Package control serves the daemon's API over a unix socket: see package api for
// the types, Engine for what it asks of the daemon.
package control

import (
	"errors"
	"net/netip"

	"weft/frame"
	"weft/internal/control/api"
	vswitch "weft/switch"
)

// Errors that an Engine wraps to choose the answer's status.
var (
	ErrNotFound = errors.New("not found")             // 404
	ErrConflict = errors.New("conflict")              // 409: it exists, it is in use
	ErrInvalid  = errors.New("invalid")               // 400: the request or the document is wrong
	ErrReadOnly = errors.New("config file read-only") // 403: use --runtime
)

// Faults is the error of a document with faults: all of them, one line each. It is ErrInvalid.
type Faults []string

// An Engine is the daemon as the API sees it. Its methods may be called at once.
type Engine interface {
	Status() api.Status
	Networks() []api.Network
	Ports() []api.Port
	Stations(network string) ([]api.Station, error) // of all networks if network is ""
	AddStation(network string, mac frame.MAC, port string) error
	DeleteStation(network string, mac frame.MAC) error
	FlushStations(network, port string) (int, error) // "" = all
	Counters(port string) ([]api.Counters, error)    // of all ports if port is ""
	Apply(a api.Apply) (api.Applied, error)

	// For networks with a gateway; of all of them if network is "".
	NATSessions(f api.NATFilter) ([]api.NATSession, error)
	FlushNAT(network string, inside netip.Addr) (int, error) // of all guests if inside is the zero Addr
	Leases(network string) ([]api.Lease, error)
	ReleaseLease(network string, a netip.Addr) error
	Routes(network string) ([]api.Route, error)

	Fastpath(q api.FastpathQuery) (api.Fastpath, error)
	FlushFastpath() (int, error)
	Explain(e api.Explain) (api.Explained, error) // ErrInvalid if the frame is not said well enough

	// EditNetwork and EditPort change the entry name of the document. The values are
	// what JSON can say: string, bool, int64, float64, []any, map[string]any, and nil
	// for a key to be removed.
	EditNetwork(name string, op Op, values map[string]any, runtime bool) (api.Applied, error)
	EditPort(name string, op Op, values map[string]any, runtime bool) (api.Applied, error)
	Doctor() []api.Finding

	// Mirror sends copies of the port's frames to m until stop is called, also across
	// times when its device is away. The server asks for one mirror of a port at a
	// time. If the port is removed first, gone is called, once; it does not block.
	// When stop returns, m is not used any more; stop after gone does nothing.
	Mirror(port string, m vswitch.Mirror, gone func()) (stop func(), err error)
}

// An Op is what an edit does with the named entry.
type Op uint8

// The operations.
const (
	OpSet    Op = 1 + iota // change it, or make it
	OpCreate               // make it; ErrConflict if it is there
	OpUpdate               // change it; ErrNotFound if it is not there
	OpDelete
)
