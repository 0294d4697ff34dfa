// Package forward is the host's side of port forwards. Traffic from outside never comes
// here: the NAT takes it before the host's stack sees it. What the host itself sends to
// a forwarded port, over loopback or to an address of its own, is carried to the guest
// by the sockets of this package, which also keep others on the host from the port.
package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weft/frame"
)

// A Forward leads ports of the host to as many of a guest.
type Forward struct {
	Protocol    frame.Protocol // TCP or UDP
	Address     netip.Addr     // of To's family, and not necessarily the host's at present; zero: all the host has
	First, Last uint16
	To          netip.AddrPort // for First; those that follow go to those that follow
}

func (f Forward) String() string {
	ports := fmt.Sprint(f.First)
	if f.Last != f.First {
		ports = fmt.Sprintf("%d-%d", f.First, f.Last)
	}
	if f.Address.IsValid() {
		ports = f.Address.String() + " " + ports
	}
	return fmt.Sprintf("%s %s to %s", protocolName(f.Protocol), ports, f.To)
}

// check says what is wrong with a forward by itself.
func (f Forward) check() error {
	to := f.To.Addr()
	switch {
	case f.Protocol != frame.ProtocolTCP && f.Protocol != frame.ProtocolUDP:
		return fmt.Errorf("forward %v: want TCP or UDP", f)
	case f.First == 0 || f.Last < f.First:
		return fmt.Errorf("forward %v: ports %d to %d are no range", f, f.First, f.Last)
	case !to.IsValid() || to.IsUnspecified() || to.IsMulticast() || f.To.Port() == 0:
		return fmt.Errorf("forward %v: nobody can be reached there", f)
	case int(f.To.Port())+int(f.Last-f.First) > 0xffff:
		return fmt.Errorf("forward %v: the last would go to a port beyond 65535", f)
	case f.Address.IsValid() && f.Address.Is4() != to.Is4():
		return fmt.Errorf("forward %v: %s is not of the guest's family", f, f.Address)
	}
	return nil
}

// at is where sockets are bound.
func (f Forward) at() netip.Addr {
	switch {
	case f.Address.IsValid():
		return f.Address
	case f.To.Addr().Is4():
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// A Config says how to forward. Zero values are the defaults.
type Config struct {
	// Local reports whether an address is one of this host's; those of the loopback
	// network always are. It is called for each connection, from any goroutine, and must
	// not wait for whoever calls Set or Close.
	Local       func(netip.Addr) bool
	Forwards    []Forward
	Connections int           // of TCP at once (1,024); each costs two sockets, and four pipe ends while it is busy
	Clients     int           // of UDP at once (1,024); each costs a socket
	Patience    time.Duration // for a guest to accept a connection (10 s)
	Idle        time.Duration // until a UDP client is forgotten (5 min, RFC 4787 4.3)
}

// maxPorts bounds the ports of all forwards. Each costs a socket and a goroutine.
const maxPorts = 4096

// A Forwarder listens on forwarded ports until it is closed. Its methods may be called
// from anywhere.
type Forwarder struct {
	c       Config
	connect net.Dialer
	counters

	mu      sync.Mutex
	ports   map[port]listener // guarded by mu
	closed  bool              // guarded by mu
	running sync.WaitGroup
}

// A port is what one socket listens on.
type port struct {
	protocol frame.Protocol
	at       netip.AddrPort
}

func (p port) compare(o port) int {
	return cmp.Or(cmp.Compare(p.protocol, o.protocol), p.at.Compare(o.at))
}

// overlaps reports whether both cannot be listened on at once.
func (p port) overlaps(o port) bool {
	a, b := p.at.Addr(), o.at.Addr()
	return p.protocol == o.protocol && p.at.Port() == o.at.Port() && a.Is4() == b.Is4() &&
		(a == b || a.IsUnspecified() || b.IsUnspecified())
}

// A listener is the socket of a port and all that came by it.
type listener interface {
	serve()                  // until close; each connection and client in a goroutine of its own
	target() netip.AddrPort  // where all goes
	retarget(netip.AddrPort) // and ends what goes elsewhere
	close()                  // the socket, and what came by it; serve need not run
}

// Counters tell what a Forwarder does, and what it did not do.
type Counters struct {
	Connections, Clients uint64 // now
	Foreign              uint64 // came from an address that is not this host's
	Full                 uint64 // were one too many
	Unreachable          uint64 // the guest did not accept
	Starved              uint64 // had to wait for lack of descriptors: raise LimitNOFILE=
}

type counters struct {
	connections, clients       atomic.Int64
	foreign, full, unreachable atomic.Uint64
	starved                    atomic.Uint64
}

// Open listens on the ports of c.Forwards, as Set does.
func Open(c Config) (*Forwarder, error) {
	if c.Local == nil {
		c.Local = func(netip.Addr) bool { return false }
	}
	c.Connections = cmp.Or(c.Connections, 1024)
	c.Clients = cmp.Or(c.Clients, 1024)
	c.Patience = cmp.Or(c.Patience, 10*time.Second)
	c.Idle = cmp.Or(c.Idle, 5*time.Minute)
	f := &Forwarder{c: c, ports: make(map[port]listener)}
	f.connect = net.Dialer{Timeout: c.Patience, KeepAliveConfig: keepAlive}
	if err := f.Set(c.Forwards); err != nil {
		return nil, err
	}
	return f, nil
}

// keepAlive notices within two minutes that a guest is gone without a word.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// Set makes these the forwards. One that stays keeps its connections; those of others
// end. An error tells of all that is wrong, by a *PortError for each port that cannot be
// had; Without leaves those out. Nothing has changed then, but that connections may have
// ended which came by a port that another forward should have.
func (f *Forwarder) Set(forwards []Forward) error {
	want, err := expand(forwards)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return net.ErrClosed
	}
	opened, err := f.openLocked(want)
	if err != nil {
		return err
	}
	for p, l := range f.ports {
		to, stays := want[p]
		switch {
		case !stays:
			l.close()
			delete(f.ports, p)
		case l.target() != to:
			l.retarget(to)
		}
	}
	f.serveLocked(opened)
	return nil
}

// expand returns where each port goes.
func expand(forwards []Forward) (map[port]netip.AddrPort, error) {
	var errs []error
	want := make(map[port]netip.AddrPort)
	for _, f := range forwards {
		if err := f.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if n := len(want) + int(f.Last-f.First) + 1; n > maxPorts {
			return nil, fmt.Errorf("forward %v: %d ports with those before, want %d at most", f, n, maxPorts)
		}
		for i := range f.Last - f.First + 1 {
			p := port{f.Protocol, netip.AddrPortFrom(f.at(), f.First+i)}
			if to, twice := want[p]; twice {
				errs = append(errs, fmt.Errorf("forward %v: port %d goes to %s already", f, f.First+i, to))
				break
			}
			want[p] = netip.AddrPortFrom(f.To.Addr(), f.To.Port()+i)
		}
	}
	return want, errors.Join(errs...)
}

// openLocked listens on what is wanted and not listened on. A port that is not wanted
// any more and stands in the way is closed first; after an error it is there again.
func (f *Forwarder) openLocked(want map[port]netip.AddrPort) (map[port]listener, error) {
	opened, again := make(map[port]listener), make(map[port]listener)
	closed := make(map[port]netip.AddrPort)
	var errs []error
	var seen census
	listen := func(into map[port]listener, p port, to netip.AddrPort) {
		l, err := f.listen(p, to)
		if err != nil {
			errs = append(errs, seen.explain(p, err))
			return
		}
		into[p] = l
	}
	leaving := f.leavingLocked(want)
	for _, p := range slices.SortedFunc(maps.Keys(want), port.compare) {
		if f.ports[p] != nil {
			continue
		}
		for _, o := range leaving {
			if l := f.ports[o]; l != nil && o.overlaps(p) {
				closed[o] = l.target()
				l.close()
				delete(f.ports, o)
			}
		}
		listen(opened, p, want[p])
	}
	if errs == nil {
		return opened, nil
	}
	for _, l := range opened {
		l.close()
	}
	for p, to := range closed {
		listen(again, p, to)
	}
	f.serveLocked(again)
	return nil, errors.Join(errs...)
}

func (f *Forwarder) leavingLocked(want map[port]netip.AddrPort) (all []port) {
	for p := range f.ports {
		if _, stays := want[p]; !stays {
			all = append(all, p)
		}
	}
	return all
}

func (f *Forwarder) serveLocked(opened map[port]listener) {
	for p, l := range opened {
		f.ports[p] = l
		f.running.Go(l.serve)
	}
}

func (f *Forwarder) listen(p port, to netip.AddrPort) (listener, error) {
	if p.protocol == frame.ProtocolTCP {
		return f.listenTCP(p, to)
	}
	return f.listenUDP(p, to)
}

// Close gives the ports back and ends all connections. It returns once nothing runs any
// more, and may be called twice.
func (f *Forwarder) Close() error {
	f.mu.Lock()
	f.closed = true
	for p, l := range f.ports {
		l.close()
		delete(f.ports, p)
	}
	f.mu.Unlock()
	f.running.Wait()
	return nil
}

// Counters returns what happened so far.
func (f *Forwarder) Counters() Counters {
	return Counters{
		Connections: uint64(f.connections.Load()), Clients: uint64(f.clients.Load()),
		Foreign: f.foreign.Load(), Full: f.full.Load(), Unreachable: f.unreachable.Load(), Starved: f.starved.Load(),
	}
}

// local reports whether whoever sent from there is on this host. Nobody else can be:
// the kernel drops packets from outside with an address of its own.
func (f *Forwarder) local(from netip.Addr) bool {
	from = from.Unmap().WithZone("")
	if from.IsLoopback() || f.c.Local(from) {
		return true
	}
	f.foreign.Add(1)
	return false
}

// take counts one more, unless that is one too many.
func (f *Forwarder) take(n *atomic.Int64, most int) bool {
	if n.Add(1) <= int64(most) {
		return true
	}
	n.Add(-1)
	f.full.Add(1)
	return false
}

// A route is where a listener's traffic goes, for as long as it does.
type route struct {
	to  netip.AddrPort
	ctx context.Context // ends with it
	end context.CancelFunc
}

func newRoute(to netip.AddrPort) *route {
	ctx, end := context.WithCancel(context.Background())
	return &route{to, ctx, end}
}

func protocolName(p frame.Protocol) string {
	switch p {
	case frame.ProtocolTCP:
		return "tcp"
	case frame.ProtocolUDP:
		return "udp"
	}
	return fmt.Sprintf("protocol %d", p)
}

// network is what package net calls the protocol in one family only: a socket of IPv6
// leaves IPv4 to others.
func (p port) network() string {
	if p.at.Addr().Is4() {
		return protocolName(p.protocol) + "4"
	}
	return protocolName(p.protocol) + "6"
}
