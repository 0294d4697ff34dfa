package tap

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// watchBuffer is the size, in bytes, of the receive buffer for link messages: some
// thousand of them, while the callback is busy.
const watchBuffer = 4 << 20

// Watch calls f with each link there is, then with each change, until ctx ends. f
// is called from one goroutine; the same state may be told more than once. Lost
// messages are made good by a full read.
func Watch(ctx context.Context, f func(Link)) error {
	w := watcher{known: make(map[int]Link), tell: f}
	for ctx.Err() == nil {
		if err := w.follow(ctx); err != nil {
			return fmt.Errorf("watch links: %w", err)
		}
	}
	return nil
}

// A watcher knows what it told last, to name masters and to see, after messages
// were lost, which links are gone.
type watcher struct {
	known map[int]Link
	tell  func(Link)
}

// follow subscribes, reads everything, and tells changes until messages are lost
// (nil: call it again) or ctx ends.
func (w *watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ReceiveBufferSize:      watchBuffer,
		ReceiveBufferForceSize: true,
	})
	if err != nil {
		return explain(err)
	}
	// The reader behind updates ends by itself once the socket is closed, but not
	// while it has something to hand over.
	defer func() {
		cancel()
		for range updates {
		}
	}()
	// Subscribed first, read second: nothing falls between.
	if err := w.readAll(); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-updates:
			if !ok {
				return nil
			}
			w.update(u)
		}
	}
}

func (w *watcher) readAll() error {
	links, err := Links()
	if err != nil {
		return err
	}
	gone := w.known
	w.known = make(map[int]Link, len(links))
	for _, l := range links {
		delete(gone, l.Index)
		w.known[l.Index] = l
	}
	for _, l := range gone {
		l.Deleted = true
		w.tell(l)
	}
	for _, l := range links {
		w.tell(l)
	}
	return nil
}

func (w *watcher) update(u netlink.LinkUpdate) {
	// A bridge tells changes of its ports in messages of its own family, among them
	// a DELLINK that only says that a port left.
	if u.Family != unix.AF_UNSPEC {
		return
	}
	l := newLink(u.Link)
	if u.Header.Type == unix.RTM_DELLINK {
		l.Deleted = true
		delete(w.known, l.Index)
		w.tell(l)
		return
	}
	if index := u.Attrs().MasterIndex; index != 0 {
		l.Master = w.name(index)
	}
	w.known[l.Index] = l
	w.tell(l)
}

func (w *watcher) name(index int) string {
	if l, ok := w.known[index]; ok {
		return l.Name
	}
	l, err := netlink.LinkByIndex(index)
	if errors.Is(err, unix.ENODEV) || err != nil {
		return ""
	}
	return l.Attrs().Name
}
