// Package client speaks to weftd over its unix socket: see package api for what is
// said.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"weft/frame"
	"weft/internal/control/api"
)

// A Client asks the daemon behind one socket. Its methods may be called at once.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a Client. It connects when it is first asked something.
func New(socket string) *Client {
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
	}}
	return c
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// A RefusedError is the daemon's answer to what it does not do.
type RefusedError struct {
	Status int // of HTTP
	Text   string
	Faults []string // all faults of a document, each with its path
}

// Error says why, with the faults one a line.
func (e *RefusedError) Error() string {
	return strings.Join(append([]string{e.Text}, e.Faults...), "\n  ")
}

// Status asks how the daemon is.
func (c *Client) Status(ctx context.Context) (s api.Status, err error) {
	return s, c.get(ctx, "/v1/status", nil, &s)
}

// Networks lists the networks.
func (c *Client) Networks(ctx context.Context) (n []api.Network, err error) {
	return n, c.get(ctx, "/v1/networks", nil, &n)
}

// Network returns one network.
func (c *Client) Network(ctx context.Context, name string) (n api.Network, err error) {
	return n, c.get(ctx, "/v1/networks/"+url.PathEscape(name), nil, &n)
}

// Ports lists the ports.
func (c *Client) Ports(ctx context.Context) (p []api.Port, err error) {
	return p, c.get(ctx, "/v1/ports", nil, &p)
}

// Port returns one port.
func (c *Client) Port(ctx context.Context, name string) (p api.Port, err error) {
	return p, c.get(ctx, "/v1/ports/"+url.PathEscape(name), nil, &p)
}

// Stations lists the filtering database of a network, of all if network is "".
func (c *Client) Stations(ctx context.Context, network string) (s []api.Station, err error) {
	return s, c.get(ctx, "/v1/fdb", query("network", network), &s)
}

// AddStation makes a static entry.
func (c *Client) AddStation(ctx context.Context, network string, mac frame.MAC, port string) (s api.Station, err error) {
	return s, c.do(ctx, http.MethodPost, "/v1/fdb", nil, api.Station{Network: network, MAC: mac, Port: port}, &s)
}

// DeleteStation removes an entry.
func (c *Client) DeleteStation(ctx context.Context, network string, mac frame.MAC) (f api.Flushed, err error) {
	return f, c.do(ctx, http.MethodDelete, "/v1/fdb", query("network", network, "mac", mac.String()), nil, &f)
}

// FlushStations removes the dynamic entries of a network and port; "" means all.
func (c *Client) FlushStations(ctx context.Context, network, port string) (f api.Flushed, err error) {
	return f, c.do(ctx, http.MethodDelete, "/v1/fdb", query("network", network, "port", port), nil, &f)
}

// Counters returns the counters of a port, of all if port is "".
func (c *Client) Counters(ctx context.Context, port string) (k []api.Counters, err error) {
	return k, c.get(ctx, "/v1/counters", query("port", port), &k)
}

// Apply makes the daemon run another document.
func (c *Client) Apply(ctx context.Context, a api.Apply) (done api.Applied, err error) {
	return done, c.do(ctx, http.MethodPost, "/v1/apply", nil, a, &done)
}

// Doctor asks what is wrong with the daemon and its host.
func (c *Client) Doctor(ctx context.Context) (f []api.Finding, err error) {
	return f, c.get(ctx, "/v1/doctor", nil, &f)
}

// A Noun is what an edit changes: an entry of the document's networks or ports.
type Noun string

// The nouns.
const (
	Network Noun = "networks"
	Port    Noun = "ports"
)

// A Mode says what an edit expects to find.
type Mode string

// The modes.
const (
	Set    Mode = ""       // whatever is there
	Create Mode = "create" // nothing
	Update Mode = "update" // the entry
)

// Edit sets values of an entry; a nil value removes its key. With runtime it
// changes the running switch only, not the daemon's file.
func (c *Client) Edit(ctx context.Context, n Noun, name string, m Mode, values map[string]any, runtime bool) (done api.Applied, err error) {
	q := url.Values{}
	if m != Set {
		q.Set(string(m), "1")
	}
	if runtime {
		q.Set("runtime", "1")
	}
	return done, c.do(ctx, http.MethodPut, path(n, name), q, api.Edit{Values: values}, &done)
}

// Delete removes an entry.
func (c *Client) Delete(ctx context.Context, n Noun, name string, runtime bool) (done api.Applied, err error) {
	q := url.Values{}
	if runtime {
		q.Set("runtime", "1")
	}
	return done, c.do(ctx, http.MethodDelete, path(n, name), q, nil, &done)
}

func path(n Noun, name string) string { return "/v1/" + string(n) + "/" + url.PathEscape(name) }

// query makes parameters of names and values, leaving out empty ones.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func (c *Client) get(ctx context.Context, path string, q url.Values, answer any) error {
	return c.do(ctx, http.MethodGet, path, q, nil, answer)
}

func (c *Client) do(ctx context.Context, method, path string, q url.Values, body, answer any) error {
	r, err := newRequest(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return trim(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 400 {
		return refused(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("answer of weftd: %w", err)
	}
	return nil
}

func newRequest(ctx context.Context, method, path string, q url.Values, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
		content = bytes.NewReader(b)
	}
	target := "http://weftd" + path // the name is for the log; the socket is dialled
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	return http.NewRequestWithContext(ctx, method, target, content)
}

// refused reads an answer with a status of 400 or more.
func refused(resp *http.Response) error {
	var e api.Error
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || e.Error == "" {
		e.Error = "weftd answered " + resp.Status
	}
	return &RefusedError{Status: resp.StatusCode, Text: e.Error, Faults: e.Faults}
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: %w: join group weft (usermod -aG weft USER, then log in again) or be root", c.socket, fs.ErrPermission)
	case err != nil:
		var errno syscall.Errno
		if errors.As(err, &errno) {
			err = errno // the operation and the path are said here
		}
		return nil, fmt.Errorf("cannot reach weftd at %s: %w (is the service running? systemctl status weftd)", c.socket, err)
	}
	return conn, nil
}

// trim takes net/http's own words (Get "http://weftd/…") off an error.
func trim(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
