package client

import (
	"context"
	"io"
	"net"
	"net/http"
	"strconv"

	"weft/internal/control/api"
)

// CaptureOptions limit a capture. The zero value does not.
type CaptureOptions struct {
	Snap  int    // bytes kept of each frame; 0: all
	Count uint64 // frames; 0: until Stop
}

// A Capture is a running capture: Read gives its pcapng stream.
type Capture struct {
	io.Reader
	conn   net.Conn
	resp   *http.Response
	cancel context.CancelFunc
}

// A CaptureSummary says what a capture came to. It is known after io.EOF.
type CaptureSummary struct {
	Frames  uint64
	Dropped uint64 // lost because the stream was read too slowly
	End     string // why it ended
}

// Capture starts to capture a port. ctx is for the start only.
func (c *Client) Capture(ctx context.Context, port string, o CaptureOptions) (*Capture, error) {
	q := query("port", port)
	if o.Snap != 0 {
		q.Set("snap", strconv.Itoa(o.Snap))
	}
	if o.Count != 0 {
		q.Set("count", strconv.FormatUint(o.Count, 10))
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)()
	r, err := newRequest(running, http.MethodGet, "/v1/capture", q, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	capture := &Capture{cancel: cancel}
	// A connection of its own, of which Stop can close one side.
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
			capture.conn, err = c.dial(ctx)
			return capture.conn, err
		},
	}
	if capture.resp, err = transport.RoundTrip(r); err != nil {
		cancel()
		return nil, trim(err)
	}
	capture.Reader = capture.resp.Body
	if capture.resp.StatusCode >= 400 {
		err := refused(capture.resp)
		capture.Close()
		return nil, err
	}
	return capture, nil
}

// Stop asks the daemon to end the stream: Read gives what is left, then io.EOF.
func (c *Capture) Stop() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // if it failed the stream has ended already
	}
}

// Close ends the capture, whatever is left.
func (c *Capture) Close() {
	c.cancel()
	_ = c.resp.Body.Close()
}

// Summary is complete once Read has returned io.EOF.
func (c *Capture) Summary() CaptureSummary {
	t := c.resp.Trailer
	frames, _ := strconv.ParseUint(t.Get(api.TrailerFrames), 10, 64)
	dropped, _ := strconv.ParseUint(t.Get(api.TrailerDropped), 10, 64)
	return CaptureSummary{Frames: frames, Dropped: dropped, End: t.Get(api.TrailerEnd)}
}
