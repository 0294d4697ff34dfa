package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A peer is the process at the other side of a connection, as it was when it
// connected (unix(7)): pid, user, and all its groups.
type peer struct {
	pid    int32
	uid    uint32
	groups []uint32
}

// allowed reports whether the peer may use the API: root, our own user, and members
// of group gid.
func (p peer) allowed(gid int) bool {
	return p.uid == 0 || int(p.uid) == os.Geteuid() ||
		gid >= 0 && slices.Contains(p.groups, uint32(gid))
}

type peerKey struct{}

// withPeer is the server's ConnContext. A peer that cannot be told is nobody.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p, err := peerOf(c)
	if err != nil {
		p = peer{uid: ^uint32(0)}
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerFrom(ctx context.Context) peer {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return peer{uid: ^uint32(0)}
	}
	return p
}

func peerOf(c net.Conn) (p peer, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return p, fmt.Errorf("peer of a %T: not a unix socket", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return p, fmt.Errorf("peer: %w", err)
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); optErr != nil {
			return
		}
		p.pid, p.uid = cred.Pid, cred.Uid
		p.groups, optErr = peerGroups(fd)
		p.groups = append(p.groups, cred.Gid)
	})
	if err == nil {
		err = optErr
	}
	if err != nil {
		return peer{}, fmt.Errorf("peer: %w", err)
	}
	return p, nil
}

// peerGroups reads the peer's supplementary groups. Unlike /proc/PID/status they
// are those of the process that connected, even if its pid is in other hands now.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/4], nil
		case unix.ERANGE: // size says how many there are
			groups = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}
