package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// API asks the daemon by its socket, as the client does but without a new process each
// time: when it returns, the daemon has answered. The answer's body is decoded into
// answer unless that is nil; so is body encoded.
func (w *Weftd) API(method, path string, body, answer any) error {
	w.lab.Helper()
	ctx, cancel := w.lab.limited()
	defer cancel()
	response, err := w.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// MustAPI asks the daemon, which must do it.
func (w *Weftd) MustAPI(method, path string, body, answer any) {
	w.lab.Helper()
	if err := w.API(method, path, body, answer); err != nil {
		w.lab.Fatalf("%v", err)
	}
}

// Set changes values of a network or a port ("networks/lab"), and makes it if it is not
// there. It is in force when Set returns.
func (w *Weftd) Set(what string, values map[string]any) {
	w.lab.Helper()
	w.MustAPI(http.MethodPut, "/v1/"+what, map[string]any{"values": values}, nil)
}

// Capture starts a capture at a port, and returns once its first bytes have come: from
// then on it sees all frames. What it reads goes to each.
func (w *Weftd) Capture(port string, each func(p []byte)) (stop func()) {
	w.lab.Helper()
	ctx, cancel := context.WithCancel(w.lab.Context())
	response, err := w.ask(ctx, http.MethodGet, "/v1/capture?port="+port, nil)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("capture %s: %s", port, response.Status)
	}
	b := make([]byte, 1<<16)
	var n int
	if err == nil {
		n, err = response.Body.Read(b)
	}
	if err != nil {
		cancel()
		w.lab.Fatalf("%v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ; err == nil; n, err = response.Body.Read(b) {
			each(b[:n])
		}
		_ = response.Body.Close()
	}()
	return func() { cancel(); <-ended }
}

func (w *Weftd) ask(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://weft"+strings.ReplaceAll(path, " ", "%20"), text)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		DisableKeepAlives: true, // a daemon that is killed leaves none
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", w.Socket)
		},
	}
	return t.RoundTrip(r)
}
