package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// weftd is the daemon of this repository, with one network.
type weftd struct {
	lab      *lab
	mode     string // of the network; default: isolated
	uplink   string // of a bridged network: a NIC of "sw"
	fastpath string // on (default), off, or xdp at every port
	rules    int    // so many port forwards, and as many routes
	process  *process
}

// binary is the path of the daemon under test.
var binary = "bin/weftd"

func (w *weftd) path(name string) string { return filepath.Join(w.lab.dir, name) }

func (w *weftd) start(ports []port) error {
	for _, p := range ports {
		if p.kind != device {
			continue
		}
		if err := w.lab.veth(p); err != nil {
			return err
		}
	}
	if err := os.WriteFile(w.path("weft.yaml"), []byte(w.document(ports)), 0o600); err != nil {
		return err
	}
	return w.launch()
}

// document returns the configuration.
func (w *weftd) document(ports []port) string {
	var b strings.Builder
	if w.fastpath == "off" {
		b.WriteString("switch: {fastpath: off}\n")
	}
	b.WriteString("networks:\n")
	switch w.mode {
	case "":
		b.WriteString("  - {name: bench, mode: isolated}\n")
	case "bridged":
		fmt.Fprintf(&b, "  - {name: bench, mode: bridged, uplink: %s}\n", w.uplink)
	default:
		fmt.Fprintf(&b, "  - name: bench\n    mode: %s\n    subnets: [%s]\n    dhcp: {enabled: false}\n", w.mode, inside(1))
		w.rulesTo(&b)
	}
	b.WriteString("ports:\n")
	for _, p := range ports {
		fmt.Fprintf(&b, "  - {name: %s, network: bench", p.name)
		switch p.kind {
		case host:
			fmt.Fprintf(&b, ", type: host, netns: %s, addresses: [%q]", w.lab.space(p.space), p.address)
		case device:
			b.WriteString(", type: device")
		case tap:
			b.WriteString(", type: tap")
		}
		if w.fastpath == "xdp" {
			b.WriteString(", fastpath: xdp")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// rulesTo writes the network's port forwards and routes, all by a guest that is
// not there.
func (w *weftd) rulesTo(b *strings.Builder) {
	if w.rules == 0 {
		return
	}
	const firstPort = 20000
	guest := inside(20).Addr()
	b.WriteString("    forwards:\n")
	for i := range w.rules {
		fmt.Fprintf(b, "      - {proto: tcp, port: %d, to: \"%s:%d\"}\n", firstPort+i, guest, firstPort+i)
	}
	b.WriteString("    routes:\n")
	for i := range w.rules {
		fmt.Fprintf(b, "      - {to: 10.%d.%d.0/24, via: %s}\n", i>>8, i&0xff, guest)
	}
}

// launch starts the daemon and waits until its API answers.
func (w *weftd) launch() error {
	path, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	w.process, err = w.lab.start("sw", path, "--config", w.path("weft.yaml"), "--socket", w.path("weft.sock"))
	if err != nil {
		return err
	}
	var status struct{ PID int }
	err = w.lab.until("weftd's API", func() bool {
		return w.process.ended() || w.get("/v1/status", &status) == nil && status.PID == w.process.cmd.Process.Pid
	})
	if err == nil && w.process.ended() {
		return fmt.Errorf("weftd has ended: %s", w.process.out.tail())
	}
	return err
}

// get asks the API.
func (w *weftd) get(path string, answer any) error {
	if w.process.ended() {
		return fmt.Errorf("weftd has ended: %s", w.process.out.tail())
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", w.path("weft.sock"))
		},
	}}
	request, err := http.NewRequestWithContext(w.lab.ctx, http.MethodGet, "http://weft"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // read only
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}

func (w *weftd) frames() (uint64, error) {
	var counters []struct {
		RxFrames uint64 `json:"rx_frames"`
	}
	if err := w.get("/v1/counters", &counters); err != nil {
		return 0, err
	}
	var n uint64
	for _, c := range counters {
		n += c.RxFrames
	}
	return n, nil
}

func (w *weftd) link(p port) string { return "tap:" + p.name }
