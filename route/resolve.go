package route

import (
	"net/netip"
	"time"

	"weft/frame"
)

// maxAsked is how many neighbors are asked for in one Tick: what the switch takes of
// injected frames is bounded.
const maxAsked = 64

// await has a packet wait for its next hop, which is not known, and asks for that. It
// returns the next hop's MAC if it has just become known, else why the packet ends.
func (t *turn) await(b *frame.Buf, out *iface, hop netip.Addr, cause frame.PortID) (frame.MAC, frame.Reason) {
	b.Basis.Once = true
	ns := &t.r.neighbors
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.find(out.Port, hop)
	if n == nil {
		if n = ns.addLocked(out.Port, hop, cause); n == nil {
			return 0, frame.DropNeighborQueue
		}
		t.r.askLocked(t.now, out, n)
	}
	if mac := n.mac.Load(); mac != 0 {
		return frame.MAC(mac), 0
	}
	if n.state == failed {
		return 0, frame.DropNoNeighbor
	}
	if !ns.holdLocked(n, b) {
		return 0, frame.DropNeighborQueue
	}
	return 0, frame.Taken
}

// askLocked sends one request for a neighbor: to itself if it was known, else to all.
func (r *Router) askLocked(now time.Duration, i *iface, n *neighbor) {
	n.asked = now
	n.tries++
	if i.Outside {
		if r.resolve != nil {
			r.resolve(n.at, n.addr)
		}
		return
	}
	from := i.asks(n.addr)
	if !from.IsValid() {
		return
	}
	r.scratch.mu.Lock()
	defer r.scratch.mu.Unlock()
	b, mac := r.scratch.bufs[0], frame.MAC(n.mac.Load())
	switch {
	case n.addr.Is6():
		b.MakeSolicitation(mac, i.MAC, from, n.addr)
	case mac == 0:
		b.MakeARP(frame.Broadcast, frame.ARPRequest, i.MAC, from, n.addr)
	default:
		b.MakeARP(mac, frame.ARPRequest, i.MAC, from, n.addr)
	}
	b.In = n.cause
	r.inject(n.at, b)
}

// A word is what a station says of itself.
type word struct {
	addr     netip.Addr
	mac      frame.MAC
	asks     bool // in a request to us: we are going to answer it, so it is worth to be remembered
	answers  bool // to us, or so that it need not be asked whether it is there
	override bool // even if another station was known by the address
}

// hear takes a station's word, in frame b, at an inside interface. If it is a question
// that should have no answer, it ends the frame.
func (t *turn) hear(w word, b *frame.Buf) {
	if w.mac == 0 || w.mac.IsGroup() || w.asks && t.isStrange(w.addr) {
		if w.asks && !w.addr.IsUnspecified() {
			b.Drop(frame.DropMartian)
		}
		return
	}
	ns := &t.r.neighbors
	if !w.asks && ns.find(t.in.Port, w.addr) == nil {
		return
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.find(t.in.Port, w.addr)
	if n == nil && w.asks {
		if n = ns.addLocked(t.in.Port, w.addr, b.In); n == nil {
			b.Drop(frame.DropNeighborQueue)
		}
	}
	if n == nil {
		return
	}
	known := frame.MAC(n.mac.Load())
	if known != 0 && known != w.mac {
		if !w.override {
			n.confirmed = min(n.confirmed, t.now-reachableTime) // RFC 4861 7.2.5: stale
			return
		}
		if t.now-n.heard < lockTime {
			return
		}
		if n.cause != b.In {
			t.doubtLocked(n)
			return
		}
	}
	switch {
	case w.answers:
		n.confirmed, n.state, n.tries = t.now, resolved, 0
	case known != w.mac:
		n.confirmed, n.state, n.tries = t.now-reachableTime, resolved, 0
	}
	n.heard = t.now
	ns.resolveLocked(n, w.mac)
	t.r.releaseLocked(t.in, n)
	ns.countLocked(n, b.In)
}

// doubtLocked asks a station whether it still has its address, which one behind another
// port claims. As long as it answers the address is its own; else the next packet for it
// asks all. So a guest that only says so gets nobody's traffic, and one that took over an
// address gets its own with some seconds' delay.
func (t *turn) doubtLocked(n *neighbor) {
	if n.state == resolved {
		n.state, n.tries = probed, 0
		t.r.askLocked(t.now, t.in, n)
	}
}

// releaseLocked sends what waited for a neighbor on its way.
func (r *Router) releaseLocked(out *iface, n *neighbor) {
	for _, b := range n.waiting {
		if b.In == n.at {
			r.address(b, out, frame.MAC(n.mac.Load()))
			if !r.fit(b, out.MTU, n.cause) {
				continue
			}
		}
		r.inject(b.In, b)
	}
	r.neighbors.discardLocked(n)
}

// SetNeighbor says that the host's kernel knows a neighbor at an outside interface.
func (r *Router) SetNeighbor(at frame.PortID, a netip.Addr, mac frame.MAC) {
	if mac == 0 || mac.IsGroup() {
		return
	}
	v, a := r.view.Load(), a.WithZone("")
	ns := &r.neighbors
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n := ns.find(at, a)
	if n == nil {
		if n = ns.addLocked(at, a, 0); n == nil {
			return
		}
	}
	n.kernel, n.state, n.tries = true, resolved, 0
	ns.resolveLocked(n, mac)
	if out := v.byPort[at]; out != nil {
		r.releaseLocked(out, n)
	}
	ns.discardLocked(n)
	ns.countLocked(n, 0)
}

// Learn has the router know a neighbor that was known to an earlier process, unless it
// knows one by that address. It is sent to at once, and asked whether it still is there. Frames
// of port cause made it necessary.
func (r *Router) Learn(now time.Duration, at frame.PortID, a netip.Addr, mac frame.MAC, cause frame.PortID) {
	if mac == 0 || mac.IsGroup() || r.view.Load().byPort[at] == nil {
		return
	}
	ns := &r.neighbors
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.find(at, a) != nil {
		return
	}
	n := ns.addLocked(at, a, cause)
	if n == nil {
		return
	}
	n.state, n.heard, n.confirmed = resolved, now, now-reachableTime // RFC 4861 7.3.2: stale
	n.use(now)
	ns.resolveLocked(n, mac)
}

// DeleteNeighbor says that the host's kernel no longer knows a neighbor at an outside
// interface. If it is asked for at the time, that goes on.
func (r *Router) DeleteNeighbor(at frame.PortID, a netip.Addr) {
	ns := &r.neighbors
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if n := ns.find(at, a.WithZone("")); n != nil && n.kernel {
		ns.removeLocked(n)
	}
}

// Tick asks again for neighbors that did not answer, gives up those that still do not,
// and forgets those that nobody uses. It is to be called every 100 ms, by one caller.
func (r *Router) Tick(now time.Duration) {
	t := turn{r: r, v: r.view.Load(), now: now}
	lost := t.age()
	for _, b := range lost {
		t.tellLost(b)
	}
	r.neighbors.recycle(lost)
}

// age ends what is due to end, has neighbors asked for that are due, and returns the
// packets that waited for those that did not answer.
func (t *turn) age() (lost []*frame.Buf) {
	ns := &t.r.neighbors
	ns.mu.Lock()
	defer ns.mu.Unlock()
	asked := 0
	for k := len(ns.all) - 1; k >= 0; k-- {
		n := ns.all[k]
		i := t.v.byPort[n.at]
		switch {
		case i == nil && !n.kernel:
			ns.removeLocked(n)
		case i == nil:
		case n.state == incomplete && n.tries >= maxSolicits && t.now-n.asked >= retransTimer:
			n.state, n.asked = failed, t.now
			lost = append(lost, ns.withdrawLocked(n)...)
		case t.ageLocked(n) && asked < maxAsked:
			asked++
			t.r.askLocked(t.now, i, n)
		}
	}
	return lost
}

// ageLocked ends what is due to end and reports whether the neighbor is to be asked for.
func (t *turn) ageLocked(n *neighbor) bool {
	ns := &t.r.neighbors
	used := n.lastUsed()
	switch {
	case n.state == failed:
		if t.now-n.asked >= failedTime {
			ns.removeLocked(n)
		}
	case n.state == resolved && n.kernel:
		return t.now-n.asked >= refreshTime && t.now-used < refreshTime
	case n.state == resolved && t.now-max(n.heard, used) >= unusedTime:
		ns.removeLocked(n)
	case n.state == resolved:
		if t.now-n.confirmed >= reachableTime && used >= n.confirmed {
			n.state, n.tries = probed, 0
			return true
		}
	case t.now-n.asked < retransTimer:
	case n.tries < maxSolicits:
		return true
	default:
		ns.removeLocked(n) // it was known: the next packet asks all for it
	}
	return false
}

// tellLost tells the sender of a packet whose next hop did not answer (RFC 1812 5.2.7.1,
// RFC 4861 7.2.2).
func (t *turn) tellLost(b *frame.Buf) {
	if out := t.v.byPort[b.In]; out != nil { // translated, and ready to leave there
		back := turn{r: t.r, v: t.v, in: out, now: t.now}
		back.tellTranslated(b, frame.DropNoNeighbor)
	} else if in := t.v.byPort[b.Out]; in != nil {
		about := turn{r: t.r, v: t.v, in: in, now: t.now}
		about.refuse(b, frame.DropNoNeighbor, 0)
	}
}
