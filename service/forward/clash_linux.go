package forward

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/frame"
)

// A PortError is a port that cannot be listened on. It wraps EADDRINUSE where somebody
// else does.
type PortError struct {
	Protocol frame.Protocol
	At       netip.AddrPort // the address is 0.0.0.0 or :: for all
	Owner    string         // who has it: "sshd (pid 812)"; "" if nobody, or it cannot be found out, as for who lacks CAP_SYS_PTRACE
	Err      error
}

func (e *PortError) Error() string {
	name := fmt.Sprintf("%s port %d", protocolName(e.Protocol), e.At.Port())
	if !errors.Is(e.Err, unix.EADDRINUSE) {
		return fmt.Sprintf("listen on %s: %v", name, e.Err)
	}
	unknown := fmt.Sprintf("a program that ss -lnp 'sport = :%d' names", e.At.Port())
	return fmt.Sprintf("%s is taken by %s: %v: forward another port, or have it listen elsewhere",
		name, cmp.Or(e.Owner, unknown), unix.EADDRINUSE)
}

func (e *PortError) Unwrap() error { return e.Err }

// Without returns the forwards that an error of Open or Set has no PortError for.
func Without(forwards []Forward, err error) []Forward {
	faults := portErrors(err)
	return slices.DeleteFunc(slices.Clone(forwards), func(f Forward) bool {
		return slices.ContainsFunc(faults, func(e *PortError) bool {
			return e.Protocol == f.Protocol && e.At.Addr() == f.at() && f.First <= e.At.Port() && e.At.Port() <= f.Last
		})
	})
}

func portErrors(err error) (all []*PortError) {
	switch e := err.(type) {
	case *PortError:
		return []*PortError{e}
	case interface{ Unwrap() error }:
		return portErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = append(all, portErrors(err)...)
		}
	}
	return all
}

// A census is what sockets the host has, and whose they are. It is read once, and when
// it is wanted: a range of ports may have many faults.
type census struct {
	sockets   map[frame.Protocol][]*netlink.Socket
	processes map[uint32]string // by inode of the socket
}

// explain makes a PortError of an error of listening.
func (c *census) explain(p port, err error) *PortError {
	e := &PortError{Protocol: p.protocol, At: p.at, Err: err}
	if errors.Is(err, unix.EADDRINUSE) {
		e.Owner = c.owner(p)
	}
	return e
}

// owner names the process whose socket has a port.
func (c *census) owner(p port) string {
	if c.processes == nil {
		c.processes = processes()
		c.sockets = map[frame.Protocol][]*netlink.Socket{
			frame.ProtocolTCP: sockets(netlink.SocketDiagTCP),
			frame.ProtocolUDP: sockets(netlink.SocketDiagUDP),
		}
	}
	name := ""
	for _, s := range c.sockets[p.protocol] {
		const listening = 10 // TCP_LISTEN
		bound, _ := netip.AddrFromSlice(s.ID.Source)
		if s.ID.SourcePort != p.at.Port() || !inTheWay(bound.Unmap(), p.at.Addr()) {
			continue
		}
		if found := c.processes[s.INode]; found != "" && (name == "" || s.State == listening) {
			name = found
		}
	}
	return name
}

func sockets(list func(family uint8) ([]*netlink.Socket, error)) (all []*netlink.Socket) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		found, _ := list(family) // what there is of an interrupted list may do
		all = append(all, found...)
	}
	return all
}

// processes returns name and number of those that have sockets, by the sockets' inodes.
func processes() map[uint32]string {
	all := make(map[uint32]string)
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		var inode uint32
		to, err := os.Readlink(link)
		if err != nil {
			continue
		}
		if _, err := fmt.Sscanf(to, "socket:[%d]", &inode); err != nil {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		all[inode] = fmt.Sprintf("%s (pid %s)", cmp.Or(strings.TrimSpace(string(name)), "a process"), pid)
	}
	return all
}

// inTheWay reports whether a socket that is bound to one address may keep others from
// the port at another. One for all of IPv6 may be for all of IPv4 too.
func inTheWay(bound, at netip.Addr) bool {
	return bound == at || bound == netip.IPv6Unspecified() ||
		bound.Is4() == at.Is4() && (bound.IsUnspecified() || at.IsUnspecified())
}
