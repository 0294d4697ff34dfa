package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Resolve makes the kernel find out the MAC of an address on the link with that index,
// or confirm what it has grown unsure of. It returns before the answer is there: Watch
// tells of that. An entry that is permanent, certain, or about to be so is left alone.
//
// The kernel asks as it does for the host's own packets, with the link's settings for
// ARP and neighbor discovery, and its bounds on how often.
func Resolve(link int, a netip.Addr) error {
	s, err := open()
	if err != nil {
		return fmt.Errorf("resolve %s: %w", a, explain(err))
	}
	defer s.close()
	return s.resolve(link, a)
}

// resolve has the kernel use the entry, as if a packet was to be sent. That also makes
// a permanent entry an ordinary one and forgets it, so the entry is looked at first.
// Should somebody make it permanent just between, it is asked for like any other.
func (s socket) resolve(link int, a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || link <= 0 {
		return fmt.Errorf("resolve %s on link %d: not the address of a neighbor", a, link)
	}
	state, found, err := s.state(link, a)
	if err == nil && worthAsking(state) {
		const use = unix.NTF_USE
		flags := unix.NLM_F_ACK | unix.NLM_F_CREATE
		if !found {
			flags |= unix.NLM_F_EXCL // whoever was quicker may have made it permanent
		}
		err = s.ask(unix.RTM_NEWNEIGH, flags, func([]byte) {}, ndmsg(link, a, use), destination(a))
	}
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.ENOBUFS):
		err = fmt.Errorf("%w: the kernel's neighbor table is full: raise net.%s.neigh.default.gc_thresh3", err, sysctl(a))
	case errors.Is(err, unix.EINVAL) && a.Is6():
		err = fmt.Errorf("%w: the link has IPv6 disabled", err)
	}
	return fmt.Errorf("resolve %s on link %d: %w", a, link, explain(err))
}

// state returns the NUD_… state of the kernel's entry; NUD_NONE if there is none.
func (s socket) state(link int, a netip.Addr) (state uint16, found bool, err error) {
	err = s.ask(unix.RTM_GETNEIGH, 0, func(m []byte) {
		if len(m) >= unix.SizeofNdMsg {
			state, found = binary.NativeEndian.Uint16(m[8:]), true
		}
	}, ndmsg(link, a, 0), destination(a))
	if errors.Is(err, unix.ENOENT) {
		return unix.NUD_NONE, false, nil
	}
	return state, found, err
}

// worthAsking reports whether use of an entry in that state makes the kernel do
// something that it would not do by itself.
func worthAsking(state uint16) bool {
	const settled = unix.NUD_PERMANENT | unix.NUD_NOARP | unix.NUD_REACHABLE
	const underway = unix.NUD_INCOMPLETE | unix.NUD_DELAY | unix.NUD_PROBE
	return state&(settled|underway) == 0
}

func ndmsg(link int, a netip.Addr, flags uint8) *netlink.Ndmsg {
	m := &netlink.Ndmsg{Family: unix.AF_INET, Index: uint32(link), Flags: flags}
	if a.Is6() {
		m.Family = unix.AF_INET6
	}
	return m
}

func destination(a netip.Addr) *nl.RtAttr { return nl.NewRtAttr(unix.NDA_DST, a.AsSlice()) }

func sysctl(a netip.Addr) string {
	if a.Is6() {
		return "ipv6"
	}
	return "ipv4"
}

// A Resolver stands before Resolve for those who may not wait, as workers on the way of
// a frame.
type Resolver struct {
	queue   chan question
	dropped atomic.Uint64
}

type question struct {
	link    int
	address netip.Addr
}

// questions is how many wait at most. One takes some ten microseconds.
const questions = 256

// NewResolver returns a Resolver whose questions wait for Run.
func NewResolver() *Resolver { return &Resolver{queue: make(chan question, questions)} }

// Ask has an address resolved soon. It never blocks and may be called from anywhere;
// false: too many wait, and the question is dropped and counted.
func (r *Resolver) Ask(link int, a netip.Addr) bool {
	select {
	case r.queue <- question{link, a}:
		return true
	default:
		r.dropped.Add(1)
		return false
	}
}

// Dropped is the number of questions that found the queue full.
func (r *Resolver) Dropped() uint64 { return r.dropped.Load() }

// Run puts the questions to the kernel, in the namespace of the calling thread, until
// ctx ends. What the kernel refuses is told to failed: a link that is gone, mostly. An
// error means that no socket can be had.
func (r *Resolver) Run(ctx context.Context, failed func(error)) error {
	s, err := open()
	if err != nil {
		return fmt.Errorf("resolve neighbors: %w", explain(err))
	}
	defer s.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case q := <-r.queue:
			if err := s.resolve(q.link, q.address); err != nil {
				failed(err)
			}
		}
	}
}
