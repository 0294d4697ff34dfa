package tap

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A foundHost is the TAP of a host port, left by an earlier process or just made.
type foundHost struct {
	at   place
	name string // there, for now
	mark mark
	made bool
}

// findHost looks for the TAP in the namespace it is for, in the daemon's, and in
// all that have a name; else it makes it in the daemon's. One that will go elsewhere
// has a name of its own there until it is moved: the daemon's namespace, and other
// namespaces too, may have a device of the port's.
func findHost(c HostConfig) (f foundHost, err error) {
	here, err := openPlace("")
	if err != nil {
		return f, err
	}
	f.mark = mark{role: roleHost, of: c.Port}
	if c.Gateway {
		f.mark.role = roleGateway
	}
	if f.mark.home, err = here.inode(); err != nil {
		here.close()
		return f, err
	}
	f.at, f.name = here, c.Name
	if c.NetNS != "" {
		there, err := openPlace(c.NetNS)
		if err != nil {
			here.close()
			return f, err
		}
		if has, err := there.holds(c.Name, f.mark); has || err != nil {
			here.close()
			f.at = there
			return f.closedIf(err)
		}
		there.close()
	}
	has, err := here.holds(c.Name, f.mark)
	if c.NetNS != "" {
		has, err = has && !here.open(c.Name), nil
	}
	if has || err != nil {
		return f.closedIf(err)
	}
	if !c.Gateway {
		if there, ok := findNamed(c.Name, f.mark); ok {
			here.close()
			f.at = there
			return f, nil
		}
	}
	if c.NetNS != "" {
		f.name = companionName(roleHost, c.NetNS+"/"+c.Name)
	}
	f.made = true
	return f.closedIf(here.makeMarked(f.name, f.mark))
}

func (f foundHost) closedIf(err error) (foundHost, error) {
	if err != nil {
		f.at.close()
	}
	return f, err
}

// makeMarked makes the TAP and marks it before anything else: then it is found again
// after a crash at any moment, wherever it is moved.
func (p place) makeMarked(name string, m mark) error {
	if err := makeTAP(name, 0, -1, false); err != nil {
		return err
	}
	l, err := p.LinkByName(name)
	if err == nil {
		if err = p.LinkSetAlias(l, m.String()); err != nil {
			err = errors.Join(err, p.LinkDel(l))
		}
	}
	if err != nil {
		return fmt.Errorf("%s: mark: %w", name, explain(err))
	}
	return nil
}

func (p place) remove(name string) error {
	l, err := p.LinkByName(name)
	if err != nil {
		return err
	}
	return p.LinkDel(l)
}

// holds reports whether the namespace has the device, as a host port of the same
// daemon; the port may have been renamed since.
func (p place) holds(name string, m mark) (bool, error) {
	l, err := p.link(name)
	if l == nil {
		return false, err
	}
	if old := parseMark(l.Attrs().Alias); old.role != m.role || old.home != m.home {
		return false, fmt.Errorf("%s: %w (its alias is %q): name the host port otherwise", name, ErrForeign, l.Attrs().Alias)
	}
	return true, nil
}

// open reports whether a program has the TAP open.
func (p place) open(name string) bool {
	l, err := p.link(name)
	return err == nil && l != nil && hasCarrier(l.Attrs())
}

// findNamed looks for the device in the namespaces of ip-netns(8). One that is open
// is another port's, or another daemon's.
func findNamed(name string, m mark) (at place, found bool) {
	namedPlaces(func(ns string, p place) bool {
		if has, err := p.holds(name, m); err == nil && has && !p.open(name) {
			var err error
			at, err = openPlace(ns)
			found = err == nil
		}
		return found
	})
	return at, found
}

// Superseded reports that the namespace the port was put into is no longer the one of
// that name: it was deleted and made anew. The old one may live on, as the descriptor
// of a port that was taken over in it holds it. A port that somebody moved on is his.
func (h *Host) Superseded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.config.NetNS == "" {
		return false
	}
	fd, err := unix.IoctlRetInt(h.keep, unix.TUNGETDEVNETNS)
	if err != nil {
		return false // its queue will say so
	}
	at := netns.NsHandle(fd)
	defer at.Close()
	named, err := netns.GetFromName(h.config.NetNS)
	if err != nil {
		return false // nowhere to go
	}
	defer named.Close()
	is, err := inode(at)
	wanted, failed := inode(named)
	return errors.Join(err, failed) == nil && is == h.there && is != wanted
}
