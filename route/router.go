// Package route is the router of weft: it forwards IPv4 and IPv6 packets between the
// networks' gateways and the uplinks, as RFC 1812 and RFC 8200 tell routers to, and
// finds the next hops' addresses by ARP (RFC 826) and neighbor discovery (RFC 4861).
// It changes bytes and knows no device; what it sends out by itself goes through Inject.
package route

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaissmai/bart"

	"weft/frame"
)

// A Translator changes addresses between inside and outside; nat.Table is one. Packets
// have been parsed, and have a valid IP header and nothing behind their end. It is
// called on many workers at once, and must not keep b.
//
// A reason that is not zero ends the packet, Taken one that the translator keeps a copy
// of. The packet must be as it was then.
type Translator interface {
	// Outbound translates a packet from inside realm to the outside, by an address of
	// the pool.
	Outbound(now time.Duration, b *frame.Buf, realm, pool uint16) frame.Reason
	// Inbound translates a packet from outside for one of the pools' addresses. It is
	// the host's if not ours.
	Inbound(now time.Duration, b *frame.Buf) (ours bool, why frame.Reason)
	// Hairpin is Inbound for a packet from inside realm, whose source it translates too.
	Hairpin(now time.Duration, b *frame.Buf, realm uint16) (ours bool, why frame.Reason)
}

// Config says how a Router is made. Its functions must not block, nor call the Router.
type Config struct {
	Translator Translator // nil: none

	// Inject relays a copy of a frame as if port in had received it, or, if in is an
	// interface's port, as one that leaves by it. It returns false if there is no room
	// for more because of the port b.In.
	Inject func(in frame.PortID, b *frame.Buf) bool
	// Resolve has the host's kernel find a neighbor at an outside interface. What it
	// finds comes by SetNeighbor. It is called at most once a second for one address.
	Resolve func(at frame.PortID, a netip.Addr)
	// Changed says that decisions which rest on a neighbor (frame.Basis) hold no more: it is
	// forgotten, or has another MAC. It is called after the change. Nil: nobody remembers any.
	Changed func(neighbor uint32)
}

// A Router decides on the frames that are for the MAC of one of its interfaces. Its
// functions may be called at once from any goroutine.
//
// It notes in each frame's Basis what its decision rests on besides the View.
//
// The first frames for a neighbor wait for its address. A packet that goes on later, or
// that weft makes, leaves by Inject; all others in place.
type Router struct {
	translator Translator
	inject     func(in frame.PortID, b *frame.Buf) bool
	resolve    func(at frame.PortID, a netip.Addr)

	setting   sync.Mutex // one Set at a time; before neighbors.mu
	view      atomic.Pointer[view]
	neighbors neighbors
	errors    limiter
	scratch   scratch
}

// New makes a Router without interfaces.
func New(c Config) *Router {
	r := &Router{translator: c.Translator, inject: c.Inject, resolve: c.Resolve}
	r.view.Store(&view{table: new(bart.Fast[*target])})
	r.neighbors.init(c.Changed)
	r.scratch.init()
	return r
}

// Set replaces what the router goes by; the workers follow with their next batch.
// Neighbors of interfaces that stay are kept. If it fails nothing changes, and the
// error names all that is wrong.
func (r *Router) Set(v View) error {
	next, err := newView(v, r.translator != nil)
	if err != nil {
		return err
	}
	r.setting.Lock()
	defer r.setting.Unlock()
	r.neighbors.forget(r.view.Swap(next), next)
	return nil
}

// A turn is one batch of frames for one interface, or one call of Tick.
type turn struct {
	r   *Router
	v   *view
	in  *iface // the frames' interface
	now time.Duration
	memo
}

// Route decides on frames of one batch, all for the MAC of the interface that their Out
// names. Those left alone, with In as it was, are for the host's stack; those with
// another In leave by that interface's port; the others are dropped, or taken.
func (r *Router) Route(now time.Duration, bufs []*frame.Buf) {
	t := turn{r: r, v: r.view.Load(), now: now}
	if len(bufs) == 0 {
		return
	}
	if t.in = t.v.byPort[bufs[0].Out]; t.in == nil {
		return
	}
	for _, b := range bufs {
		t.route(b)
	}
}

// A scratch is memory to build frames in, for what is rare.
type scratch struct {
	mu   sync.Mutex // after neighbors.mu, before what is behind Inject
	bufs []*frame.Buf
}

func (s *scratch) init() { s.bufs = frame.NewBufs(2) }
