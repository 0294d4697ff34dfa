package control

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Group is the group whose members may use the socket.
const Group = "weft"

// maxSocketPath is the longest path, in bytes, that fits sockaddr_un (unix(7)).
const maxSocketPath = 107

// GroupID returns the number of Group. Without one it returns -1, which makes
// Listen serve root alone, and an error that is worth a warning.
func GroupID() (int, error) {
	g, err := user.LookupGroup(Group)
	if err != nil {
		return -1, fmt.Errorf("no group %s, so only root can use the control socket: groupadd --system %[1]s", Group)
	}
	return strconv.Atoi(g.Gid)
}

// A Listener is the daemon's socket. Close removes it.
type Listener struct {
	net.Listener
	lock  *os.File
	close func() error
}

// Listen makes the socket with mode 0660 for root and the group gid (-1: root
// alone, mode 0600). A socket that a dead daemon left is replaced; one that a
// living daemon serves is an error. A lock on PATH.lock keeps two daemons that
// start together from doing both.
func Listen(path string, gid int) (*Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %s: path has %d bytes, at most %d are possible: use a shorter --socket", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, err
	}
	l, err := listenUnix(path, gid)
	if err != nil {
		return nil, errors.Join(err, unlockSocket(lock))
	}
	return &Listener{
		Listener: l,
		lock:     lock,
		close: sync.OnceValue(func() error {
			return errors.Join(l.Close(), unlockSocket(lock)) // in this order: the lock guards the socket file
		}),
	}, nil
}

// Close ends listening and removes the socket. It may be called twice.
func (l *Listener) Close() error { return l.close() }

func listenUnix(path string, gid int) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	mode := fs.FileMode(0o600)
	if gid >= 0 {
		mode = 0o660
		err = os.Chown(path, -1, gid)
	}
	// A peer that connects before this is still judged by its credentials.
	if err = errors.Join(err, os.Chmod(path, mode)); err != nil {
		return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
	}
	return l, nil
}

// removeStale removes a socket that nobody serves.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket %s: there is a file that is no socket: remove it or use --socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		p, _ := peerOf(c) // pid 0 then; that it answers is what counts
		return errors.Join(errInUse(path, strconv.Itoa(int(p.pid))), c.Close())
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("stale control socket: %w", err)
	}
	return nil
}

func errInUse(path, pid string) error {
	return fmt.Errorf("another weftd serves %s (pid %s); stop it or use --socket", path, pid)
}

// lockSocket takes PATH.lock and writes our pid to it.
func lockSocket(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("control socket lock: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			pid, _ := io.ReadAll(io.LimitReader(f, 16))
			return nil, errors.Join(errInUse(path, strings.TrimSpace(string(pid))), f.Close())
		}
		if err == nil && !isCurrent(f) {
			// Its owner removed it between our open and our lock: lock the next one.
			_ = f.Close()
			continue
		}
		if err == nil {
			err = writePID(f)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("control socket lock: %w", err), f.Close())
		}
		return f, nil
	}
}

// isCurrent reports whether f is still the file at its path.
func isCurrent(f *os.File) bool {
	ours, err1 := f.Stat()
	there, err2 := os.Stat(f.Name())
	return err1 == nil && err2 == nil && os.SameFile(ours, there)
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

// unlockSocket removes the lock's file while the lock is held, then gives it up.
func unlockSocket(lock *os.File) error {
	return errors.Join(os.Remove(lock.Name()), lock.Close())
}
