package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"weft/internal/control/api"
)

// CommandOf returns a command of the client, for the daemon.
func (w *Weftd) CommandOf(args ...string) *exec.Cmd {
	w.lab.Helper()
	return w.command(w.lab.Context(), args...)
}

func (w *Weftd) command(ctx context.Context, args ...string) *exec.Cmd {
	w.lab.Helper()
	return exec.CommandContext(ctx, w.lab.binary("weft"), append([]string{"--socket", w.Socket}, args...)...)
}

// Weft runs the client and returns what it prints.
func (w *Weftd) Weft(args ...string) (string, error) {
	w.lab.Helper()
	ctx, cancel := w.lab.limited()
	defer cancel()
	cmd := w.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("weft %s: %w: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), nil
}

// MustWeft runs the client, which must succeed.
func (w *Weftd) MustWeft(args ...string) string {
	w.lab.Helper()
	out, err := w.Weft(args...)
	if err != nil {
		w.lab.Fatalf("%v", err)
	}
	return out
}

// ask reads the client's answer for programs.
func ask[T any](w *Weftd, args ...string) T {
	w.lab.Helper()
	var v T
	out := w.MustWeft(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		w.lab.Fatalf("weft %s --json: %v: %s", strings.Join(args, " "), err, out)
	}
	return v
}

// Status answers `weft status`.
func (w *Weftd) Status() api.Status { w.lab.Helper(); return ask[api.Status](w, "status") }

// Networks answers `weft network list`.
func (w *Weftd) Networks() []api.Network {
	w.lab.Helper()
	return ask[[]api.Network](w, "network", "list")
}

// Network answers for one network.
func (w *Weftd) Network(name string) api.Network {
	w.lab.Helper()
	for _, n := range w.Networks() {
		if n.Name == name {
			return n
		}
	}
	w.lab.Fatalf("weft network list: no network %s", name)
	return api.Network{}
}

// Ports answers `weft port list`.
func (w *Weftd) Ports() []api.Port { w.lab.Helper(); return ask[[]api.Port](w, "port", "list") }

// Stations answers `weft fdb show`.
func (w *Weftd) Stations(network string) []api.Station {
	w.lab.Helper()
	return ask[[]api.Station](w, "fdb", "show", network)
}

// Counters answers `weft counters` for one port.
func (w *Weftd) Counters(port string) api.Counters {
	w.lab.Helper()
	all := ask[[]api.Counters](w, "counters", port)
	if len(all) != 1 {
		w.lab.Fatalf("weft counters %s: %d answers, want 1", port, len(all))
	}
	return all[0]
}

// Doctor answers `weft doctor`.
func (w *Weftd) Doctor() []api.Finding { w.lab.Helper(); return ask[[]api.Finding](w, "doctor") }

// Leases answers `weft lease list`.
func (w *Weftd) Leases() []api.Lease { w.lab.Helper(); return ask[[]api.Lease](w, "lease", "list") }

// Sessions answers `weft nat show`.
func (w *Weftd) Sessions() []api.NATSession {
	w.lab.Helper()
	return ask[[]api.NATSession](w, "nat", "show")
}

// Routes answers `weft route show`.
func (w *Weftd) Routes() []api.Route { w.lab.Helper(); return ask[[]api.Route](w, "route", "show") }

// Alarms returns what `weft doctor` finds wrong, one text a finding.
func (w *Weftd) Alarms() []string {
	w.lab.Helper()
	// It exits with 1 if it finds errors, and prints them all the same.
	out, _ := w.CommandOf("doctor", "--json").Output()
	var found []api.Finding
	if err := json.Unmarshal(out, &found); err != nil {
		w.lab.Fatalf("weft doctor --json: %v: %s", err, out)
	}
	var alarms []string
	for _, f := range found {
		if f.Severity != "ok" {
			alarms = append(alarms, fmt.Sprintf("%+v", f))
		}
	}
	return alarms
}

// Fastpath answers for the flow cache, with its entries.
func (w *Weftd) Fastpath() api.Fastpath {
	w.lab.Helper()
	var f api.Fastpath
	w.MustAPI("GET", "/v1/fastpath", nil, &f)
	return f
}
