package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A socket asks the kernel, one question after the other. It belongs to the namespace
// of the thread that opened it.
type socket struct{ handle *nl.SocketHandle }

func open() (socket, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return socket{}, err
	}
	err = errors.Join(s.SetSendTimeout(&nl.SocketTimeoutTv), s.SetReceiveTimeout(&nl.SocketTimeoutTv))
	// Since Linux 4.20 a dump is of one table, if it is asked for properly. What an older
	// kernel sends beyond that is sorted out here.
	_ = unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	return socket{&nl.SocketHandle{Socket: s}}, err
}

func (s socket) close() { s.handle.Close() }

// ask sends one request and calls f with each message of the answer.
func (s socket) ask(kind, flags int, f func(m []byte), body ...nl.NetlinkRequestData) error {
	q := nl.NewNetlinkRequest(kind, flags)
	q.Data = body
	q.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: s.handle}
	return q.ExecuteIter(unix.NETLINK_ROUTE, 0, func(m []byte) bool {
		f(m)
		return true
	})
}

// dump reads all there is of a kind. A change interrupts it, which happens all the
// time on a busy host: then it begins anew, with an empty list.
func dump[T any](s socket, kind int, body nl.NetlinkRequestData, read func(m []byte) (T, bool)) ([]T, error) {
	for range 30 {
		var all []T
		err := s.ask(kind, unix.NLM_F_DUMP, func(m []byte) {
			if v, ok := read(m); ok {
				all = append(all, v)
			}
		}, body)
		switch {
		case err == nil:
			return all, nil
		case !errors.Is(err, netlink.ErrDumpInterrupted) && !errors.Is(err, unix.EINTR):
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w 30 times: the host's network changes too fast", netlink.ErrDumpInterrupted)
}

// names returns the links' names by index.
func (s socket) names() (map[int]string, error) {
	all, err := dump(s, unix.RTM_GETLINK, &nl.IfInfomsg{}, readLink)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	names := make(map[int]string, len(all))
	for _, l := range all {
		names[l.index] = l.name
	}
	return names, nil
}

func (s socket) addresses(names map[int]string) ([]Address, error) {
	all, err := dump(s, unix.RTM_GETADDR, &nl.IfAddrmsg{}, readAddress)
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	for i := range all {
		all[i].Name = names[all[i].Link]
	}
	return all, nil
}

func (s socket) rules() ([]Rule, error) {
	all, err := dump(s, unix.RTM_GETRULE, &nl.RtMsg{}, readRule)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // a kernel without policy routing
	}
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return all, nil
}

func (s socket) neighbors() ([]Neighbor, error) {
	all, err := dump(s, unix.RTM_GETNEIGH, &netlink.Ndmsg{}, readNeighbor)
	if err != nil {
		return nil, fmt.Errorf("read neighbors: %w", err)
	}
	return all, nil
}

// routes reads the table main of both families and, where it counts, the table
// default behind it, which IPv6 has not.
func (s socket) routes(names map[int]string, rules []Rule) ([]Route, error) {
	all, err := s.table(unix.AF_INET, unix.RT_TABLE_MAIN)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(rules, func(r Rule) bool { return r.Family == IPv4 }) {
		last, err := s.table(unix.AF_INET, unix.RT_TABLE_DEFAULT)
		if err != nil {
			return nil, err
		}
		all = behind(all, last)
	}
	six, err := s.table(unix.AF_INET6, unix.RT_TABLE_MAIN)
	if err != nil {
		return nil, err
	}
	all = append(all, six...)
	for i := range all {
		all[i].Name = names[all[i].Link]
	}
	return all, nil
}

func (s socket) table(family, table int) ([]Route, error) {
	q := &nl.RtMsg{RtMsg: unix.RtMsg{Family: uint8(family), Table: uint8(table)}}
	all, err := dump(s, unix.RTM_GETROUTE, q, func(m []byte) (Route, bool) {
		r, of, ok := readRoute(m)
		// A kernel without IPv6 tells of IPv4 instead.
		return r, ok && of == table && r.Prefix.Addr().Is4() == (family == unix.AF_INET)
	})
	if errors.Is(err, unix.ENOENT) {
		return nil, nil // a table that never had a route
	}
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return all, nil
}

// behind returns the routes of two tables, of which the second is looked into only for
// what the first has no route for, as one table.
func behind(first, second []Route) []Route {
	if len(second) == 0 {
		return first
	}
	known := make(map[netip.Prefix]bool, len(first))
	for _, r := range first {
		known[r.Prefix] = true
	}
	for _, r := range second {
		covered := false
		for bits := 0; bits <= r.Prefix.Bits() && !covered; bits++ {
			p, _ := r.Prefix.Addr().Prefix(bits)
			covered = known[p]
		}
		if !covered {
			first = append(first, r)
		}
	}
	return first
}
