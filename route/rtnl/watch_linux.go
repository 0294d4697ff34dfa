package rtnl

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// watchBuffer is the size, in bytes, of the receive buffer for messages: some
	// thousand of them, while a callback is busy.
	watchBuffer = 4 << 20
	// settle is how long a change waits for those that come with it: an address takes
	// its routes along, and whoever sets one up anew has none for a moment.
	settle = 50 * time.Millisecond
	// share bounds the time spent on reading: a host with a full routing table and no
	// rest is read less often.
	share = 10
)

// Watch calls host with all that the kernel knows, and neighbor with each neighbor
// there is, then with each change, until ctx ends. Changes that come within 50 ms are
// told as one, and what remains the same is not told again. Neighbors are told at
// once, and those that vanish as Gone, also when their link does.
//
// Both functions are called from the goroutine of Watch, never at once; while they
// are busy, messages may be lost, which is made good by reading everything again. An
// error means that the kernel cannot be asked: then all neighbors are told as Gone, as
// nobody would tell of their end, and Watch may be called again. It follows the
// namespace of the calling thread.
func Watch(ctx context.Context, host func(Host), neighbor func(Neighbor)) error {
	return watch(ctx, watchBuffer, host, neighbor)
}

func watch(ctx context.Context, buffer int, host func(Host), neighbor func(Neighbor)) error {
	ask, err := open()
	if err != nil {
		return fmt.Errorf("watch the host's network: %w", explain(err))
	}
	defer ask.close()
	w := watcher{ask: ask, tellHost: host, tellNeighbor: neighbor, known: make(map[place]Neighbor)}
	if err := w.run(ctx, buffer); err != nil {
		return fmt.Errorf("watch the host's network: %w", explain(err))
	}
	return nil
}

// A part of what the kernel knows has to be read again as a whole.
type part uint8

const (
	links part = 1 << iota
	addresses
	routes
	rules
	everything = links | addresses | routes | rules
)

// A place is where a neighbor is.
type place struct {
	link    int
	address netip.Addr
}

// A watcher knows what it told last.
type watcher struct {
	ask          socket
	tellHost     func(Host)
	tellNeighbor func(Neighbor)
	names        map[int]string
	host         Host // nothing of it is changed after it was told
	told         bool
	known        map[place]Neighbor // but for those that are Gone
	dirty        part
	due          time.Time     // when what is dirty is read
	took         time.Duration // the last time
}

// run follows until ctx ends, or something is wrong that does not pass.
func (w *watcher) run(ctx context.Context, buffer int) error {
	for ctx.Err() == nil {
		err := w.follow(ctx, buffer)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			for at := range w.known {
				w.tell(Neighbor{Link: at.link, Address: at.address})
			}
			return err
		}
		// Whoever loses messages all the time, or is interrupted, shall not read all the time.
		select {
		case <-time.After(w.pause()):
		case <-ctx.Done():
		}
	}
	return nil
}

// groups are the multicast groups of rtnetlink(7) that tell of changes.
var groups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP,
	unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
}

// follow subscribes, reads everything, and tells changes until messages are lost
// (nil, or ErrDumpInterrupted: call it again) or ctx ends. A new socket each time: what the old one still
// holds is older than what is read.
func (w *watcher) follow(ctx context.Context, buffer int) error {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.SetReceiveBufferSize(buffer, true); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Close)() // ends Receive
	// Subscribed first, read second: nothing falls between.
	w.mark(everything)
	if err := w.read(); err != nil {
		return err
	}
	if err := w.readNeighbors(); err != nil {
		return err
	}
	for ctx.Err() == nil {
		wait := unix.Timeval{} // without end
		if w.dirty != 0 {
			left := time.Until(w.due)
			if left <= 0 {
				if err := w.read(); err != nil {
					return err
				}
				continue
			}
			wait = unix.NsecToTimeval(max(left, time.Millisecond).Nanoseconds())
		}
		if err := s.SetReceiveTimeout(&wait); err != nil {
			return err
		}
		messages, from, err := s.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			return nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		}
		for _, m := range messages {
			if from.Pid == nl.PidKernel {
				w.note(m.Header.Type, m.Data)
			}
		}
	}
	return nil
}

// note takes one message.
func (w *watcher) note(kind uint16, m []byte) {
	switch kind {
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		if n, ok := readNeighbor(m); ok {
			if kind == unix.RTM_DELNEIGH {
				n.MAC, n.State = 0, Gone
			}
			w.tell(n)
		}
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		// IPv4 routes vanish with their link or address without a word of their own.
		if _, ok := readLink(m); ok {
			w.mark(links | addresses | routes)
		}
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		w.mark(addresses | routes)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		if followed(m) {
			w.mark(routes)
		}
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		w.mark(routes)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		w.mark(rules | routes)
	}
}

// followed reports whether a message of a route is of a table that is read.
func followed(m []byte) bool {
	const table = 4 // rtm_table; RT_TABLE_COMPAT for numbers beyond a byte
	return len(m) > table && (m[table] == unix.RT_TABLE_MAIN || m[table] == unix.RT_TABLE_DEFAULT)
}

func (w *watcher) mark(p part) {
	if w.dirty == 0 {
		w.due = time.Now().Add(w.pause())
	}
	w.dirty |= p
}

// pause is the time between a change and its reading.
func (w *watcher) pause() time.Duration { return max(settle, share*w.took) }

// read reads what changed, and tells it if it is another than before.
func (w *watcher) read() (err error) {
	begin := time.Now()
	defer func() { w.took = time.Since(begin) }()
	next := w.host
	if w.dirty&links != 0 {
		if w.names, err = w.ask.names(); err != nil {
			return err
		}
	}
	if w.dirty&addresses != 0 {
		if next.Addresses, err = w.ask.addresses(w.names); err != nil {
			return err
		}
	}
	if w.dirty&rules != 0 {
		if next.Rules, err = w.ask.rules(); err != nil {
			return err
		}
	}
	if w.dirty&routes != 0 {
		if next.Routes, err = w.ask.routes(w.names, next.Rules); err != nil {
			return err
		}
	}
	w.dirty = 0
	if w.told && next.equal(&w.host) {
		return nil
	}
	w.host, w.told = next, true
	w.tellHost(next)
	return nil
}

func (w *watcher) readNeighbors() error {
	all, err := w.ask.neighbors()
	if err != nil {
		return err
	}
	there := make(map[place]bool, len(all))
	for _, n := range all {
		there[place{n.Link, n.Address}] = true
	}
	for at := range w.known {
		if !there[at] {
			w.tell(Neighbor{Link: at.link, Address: at.address})
		}
	}
	for _, n := range all {
		w.tell(n)
	}
	return nil
}

// tell tells of a neighbor that is not as it was.
func (w *watcher) tell(n Neighbor) {
	at := place{n.Link, n.Address}
	if w.known[at] == n || n.State == Gone && w.known[at].State == Gone {
		return
	}
	if n.State == Gone {
		delete(w.known, at)
	} else {
		w.known[at] = n
	}
	w.tellNeighbor(n)
}

// explain names the capability behind a refusal.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: CAP_NET_ADMIN is missing (run as root, or set AmbientCapabilities=)", err)
	}
	return err
}
