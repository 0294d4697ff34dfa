package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"weft/frame"
	"weft/internal/control/api"
	"weft/internal/control/capture"
	vswitch "weft/switch"
)

var errCount = errors.New("count reached")

// capture streams a port's frames until the client closes its side, the port is
// removed, the daemon stops or count is reached.
func (s *Server) capture(w http.ResponseWriter, r *http.Request) {
	q := paramsOf(r, "port", "snap", "count")
	port, snap, count := q.text("port"), q.number("snap", frame.MaxLen), q.number("count", math.MaxInt64)
	if port == "" {
		q.fail("query: port is missing")
	}
	if q.err != nil {
		answerError(w, q.err)
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	c := capture.New(port, int(snap))
	leave, err := s.captures.join(port, c, func() { cancel(fmt.Errorf("port %s was removed", port)) })
	if err != nil {
		answerError(w, err)
		return
	}
	defer leave()

	sink := &captureSink{ResponseWriter: w, ResponseController: http.NewResponseController(w)}
	defer sink.endSoonAfter(ctx)()
	w.Header().Set("Content-Type", api.ContentTypeCapture)
	w.Header().Set("Trailer", api.TrailerFrames+", "+api.TrailerDropped+", "+api.TrailerEnd)
	sum, err := c.Run(ctx, sink, count)
	if err != nil {
		panic(http.ErrAbortHandler) // the client is gone, or must not take this for a regular end
	}
	w.Header().Set(api.TrailerFrames, strconv.FormatUint(sum.Frames, 10))
	w.Header().Set(api.TrailerDropped, strconv.FormatUint(sum.Dropped, 10))
	w.Header().Set(api.TrailerEnd, endOf(ctx).Error())
}

// endOf says why a capture ended.
func endOf(ctx context.Context) error {
	switch err := context.Cause(ctx); err {
	case nil:
		return errCount
	case context.Canceled:
		return errors.New("stopped by the client")
	default:
		return err
	}
}

// A captureSink writes a capture to the client without the server's time limits.
type captureSink struct {
	http.ResponseWriter
	*http.ResponseController
}

// endSoonAfter lifts the time limits until ctx ends: a client that reads nothing
// must not hold up the daemon's end. The returned function ends the watch.
func (s *captureSink) endSoonAfter(ctx context.Context) func() {
	_ = s.SetReadDeadline(time.Time{}) // a unix socket has deadlines
	_ = s.SetWriteDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = s.SetWriteDeadline(time.Now().Add(time.Second)) })
	return func() { stop() }
}

// captures lets any number of captures share the one mirror of a port.
type captures struct {
	engine Engine
	mu     sync.Mutex
	ports  map[string]*fanout // guarded by mu
}

// join sends copies of the port's frames to m until leave is called. If the port
// is removed first, gone is called.
func (c *captures) join(port string, m vswitch.Mirror, gone func()) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.ports[port]
	if f != nil && f.ctx.Err() == nil {
		f.add(m)
	} else if f, err = c.openLocked(port, m); err != nil {
		return nil, err
	}
	unwatch := context.AfterFunc(f.ctx, gone)
	return func() {
		unwatch()
		c.mu.Lock()
		defer c.mu.Unlock()
		if f.remove(m) > 0 {
			return
		}
		f.stop()
		if c.ports[port] == f {
			delete(c.ports, port)
		}
	}, nil
}

func (c *captures) openLocked(port string, m vswitch.Mirror) (*fanout, error) {
	f := &fanout{}
	f.mirrors.Store(&[]vswitch.Mirror{m}) // frames may come before Mirror returns
	var gone context.CancelFunc
	f.ctx, gone = context.WithCancel(context.Background())
	// The engine may hold its own locks when it calls gone, so gone takes none.
	stop, err := c.engine.Mirror(port, f, gone)
	if err != nil {
		gone()
		return nil, err
	}
	f.stop = func() { stop(); gone() }
	c.ports[port] = f
	return f, nil
}

// A fanout is the mirror of one port for several captures.
type fanout struct {
	mirrors atomic.Pointer[[]vswitch.Mirror] // replaced under captures.mu, never changed
	ctx     context.Context                  // ends with the port
	stop    func()
}

// Mirror implements vswitch.Mirror.
func (f *fanout) Mirror(now time.Duration, dir vswitch.Direction, bufs []*frame.Buf) {
	for _, m := range *f.mirrors.Load() {
		m.Mirror(now, dir, bufs)
	}
}

func (f *fanout) add(m vswitch.Mirror) {
	old := *f.mirrors.Load()
	mirrors := append(old[:len(old):len(old)], m)
	f.mirrors.Store(&mirrors)
}

// remove returns how many mirrors are left.
func (f *fanout) remove(m vswitch.Mirror) int {
	var mirrors []vswitch.Mirror
	for _, other := range *f.mirrors.Load() {
		if other != m {
			mirrors = append(mirrors, other)
		}
	}
	f.mirrors.Store(&mirrors)
	return len(mirrors)
}
