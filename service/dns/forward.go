package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	tryTimeout   = 2 * time.Second  // for one resolver's answer
	queryTimeout = 9 * time.Second  // for all tries of one question
	rounds       = 2                // that each resolver is asked
	restTime     = 30 * time.Second // for which a resolver that was silent comes last
)

// errNoResolver means that there is nobody to ask.
var errNoResolver = errors.New("DNS: the host has no resolver but this gateway itself: see /etc/resolv.conf, or give the network dns: servers")

// An exchanger asks one resolver one question, and returns its answer, whose ID is of
// no interest.
type exchanger func(ctx context.Context, server netip.AddrPort, r request) ([]byte, error)

// A forwarder asks resolvers. The same question is asked once at a time, whoever wants
// to know: that is cheaper, leaves forgers one chance (RFC 5452 5), and ends the loop
// in which a resolver asks this server what this server asks it.
type forwarder struct {
	exchange exchanger

	mu      sync.Mutex
	flights map[request]*flight          // guarded by mu
	silent  map[netip.AddrPort]time.Time // until when a resolver comes last; guarded by mu
}

// A flight is a question that is being asked.
type flight struct {
	done   chan struct{} // closed when there is an answer or an error
	answer []byte        // not to be changed
	err    error
}

func newForwarder(e exchanger) *forwarder {
	return &forwarder{exchange: e, flights: make(map[request]*flight), silent: make(map[netip.AddrPort]time.Time)}
}

// resolve returns an answer of one of the servers, which are asked in their order. It
// is shared and must not be changed.
func (f *forwarder) resolve(ctx context.Context, servers []netip.AddrPort, r request) ([]byte, error) {
	f.mu.Lock()
	other, ok := f.flights[r]
	if ok {
		f.mu.Unlock()
		<-other.done
		return other.answer, other.err
	}
	own := &flight{done: make(chan struct{})}
	f.flights[r] = own
	f.mu.Unlock()

	own.answer, own.err = f.ask(ctx, servers, r)
	f.mu.Lock()
	delete(f.flights, r)
	f.mu.Unlock()
	close(own.done)
	return own.answer, own.err
}

// ask asks one server after the other until one answers. That a server cannot or will
// not say is its answer only if nobody knows better.
func (f *forwarder) ask(ctx context.Context, servers []netip.AddrPort, r request) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err = errNoResolver
	for range rounds {
		for _, server := range f.order(servers) {
			p, failure := f.try(ctx, server, r)
			if ctx.Err() != nil && failure != nil {
				return answer, failure
			}
			if failure != nil {
				err = fmt.Errorf("DNS: resolver %v: %w", server, failure)
				continue
			}
			switch int(p[3] & 0xf) {
			case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
				answer = p
			default:
				return p, nil
			}
		}
		if answer != nil {
			return answer, nil
		}
	}
	return nil, err
}

// try asks one server once.
func (f *forwarder) try(ctx context.Context, server netip.AddrPort, r request) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	p, err := f.exchange(limited, server, r)
	if ctx.Err() == nil {
		f.note(server, err == nil)
	}
	return p, err
}

// note remembers whether a server has answered.
func (f *forwarder) note(server netip.AddrPort, answered bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if answered {
		delete(f.silent, server)
		return
	}
	f.silent[server] = time.Now().Add(restTime)
}

// order returns the servers in their order, but those last that were silent just now.
func (f *forwarder) order(servers []netip.AddrPort) []netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for server, until := range f.silent {
		if !now.Before(until) {
			delete(f.silent, server)
		}
	}
	ordered := slices.Clone(servers)
	slices.SortStableFunc(ordered, func(a, b netip.AddrPort) int {
		_, x := f.silent[a]
		_, y := f.silent[b]
		switch {
		case x == y:
			return 0
		case y:
			return -1
		}
		return 1
	})
	return ordered
}
