package e2e

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft/test/lab"
)

// A capture is read by Wireshark's own program, from a pipe and from a file.
func TestCaptureIsReadByTshark(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, _, w := h.containers()
	h.talks(a, 14)

	// More frames than one round of the traffic below, so that each capture has all of it.
	const count = 200
	file := h.Dir + "/ct1.pcapng"
	var piped []byte
	var ended atomic.Int32
	h.Together(
		func() {
			defer ended.Add(1)
			h.captured(w.CommandOf("capture", "ct1", "-w", file, "--count", strconv.Itoa(count)))
		},
		func() {
			defer ended.Add(1)
			c := w.CommandOf("capture", "ct2", "--count", strconv.Itoa(count))
			pipe, err := c.StdoutPipe()
			if err != nil {
				h.Fatalf("%v", err)
			}
			h.Together(
				func() { h.captured(c) },
				func() { piped = h.tshark(pipe) },
			)
		},
		func() {
			h.Until("both captures end", func() error {
				for _, addr := range addresses(14) {
					_, _ = a.Sh(h.Context(), "ping -c 5 -i 0.02 -W 1 "+addr)
				}
				h.Transfers(a, addresses(14)[1], 100_000)
				if ended.Load() < 2 {
					return errNotYet
				}
				return nil
			})
		},
	)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, text := range map[string]string{"file": string(h.tshark(f)), "pipe": string(piped)} {
		if n := strings.Count(text, "\n"); n != count {
			t.Errorf("%s: %d frames, want %d", name, n, count)
		}
		for _, want := range []string{addresses(13)[0], addresses(14)[0], addresses(13)[1], addresses(14)[1], "ICMP", "ICMPv6", "TCP"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s in what tshark read:\n%s", name, want, text)
			}
		}
	}
}

// tshark returns one line a frame.
func (h *house) tshark(r io.Reader) []byte {
	h.Helper()
	cmd := exec.Command("tshark", "-n", "-r", "-", "-T", "fields", "-e", "ip.src", "-e", "ipv6.src", "-e", "_ws.col.Protocol")
	cmd.Stdin = r
	out, err := cmd.Output()
	if err != nil {
		h.Fatalf("tshark: %v", err)
	}
	return out
}

// captured runs a capture to its end.
func (h *house) captured(c *exec.Cmd) {
	h.Helper()
	if err := c.Run(); err != nil {
		h.Errorf("weft capture: %v", err)
	}
}

// Every command answers for people and, with --json, for programs.
func TestClientAnswersPeopleAndPrograms(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, _, w := h.containers()
	h.talks(a, 14)
	for _, args := range [][]string{
		{"status"},
		{"network", "list"},
		{"network", "show", "lab"},
		{"port", "list"},
		{"port", "show", "ct1"},
		{"fdb", "show"},
		{"fdb", "show", "lab"},
		{"counters"},
		{"counters", "ct1"},
		{"doctor"},
		{"apply", "--dry-run"},
	} {
		if out := w.MustWeft(args...); strings.TrimSpace(out) == "" && args[0] != "apply" {
			t.Errorf("weft %s says nothing", strings.Join(args, " "))
		}
		if out := w.MustWeft(append(args, "--json")...); !json.Valid([]byte(out)) {
			t.Errorf("weft %s --json: %s", strings.Join(args, " "), out)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := w.MustWeft("completion", shell); !strings.Contains(out, "weft") {
			t.Errorf("weft completion %s: %q", shell, out)
		}
	}
	if s := w.Status(); s.Networks != 1 || s.Ports != 2 || s.PortsUp != 2 || s.PID != w.PID() || time.Since(s.Started) > time.Hour {
		t.Errorf("weft status: %+v", s)
	}
	if c := w.Counters("ct1"); c.RxFrames == 0 || c.TxFrames == 0 || c.RxSegments < c.RxFrames || c.RxBytes < 2<<20 {
		t.Errorf("weft counters ct1: %+v, want the transfer in it", c)
	}
}

// Static entries hold an address at its port whoever else uses it; flushing forgets
// the learned ones only.
func TestStaticEntriesHold(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b, w := h.containers()
	h.talks(a, 14)
	addr := mac(14)
	w.MustWeft("fdb", "add", "lab", addr, "ct2")
	w.MustWeft("fdb", "flush", "lab")
	if s := w.Stations("lab"); len(s) != 1 || !s[0].Static || s[0].Port != "ct2" || s[0].MAC.String() != addr {
		t.Errorf("stations after a flush: %+v, want the static one", s)
	}
	h.talks(a, 14)

	t.Log("ct1 claims the address")
	a.Run("ip link set eth0 down && ip link set eth0 address %s && ip link set eth0 up", addr)
	a.Addresses("eth0")
	_, _ = a.Sh(t.Context(), "ping -c 1 -W 1 "+addresses(14)[0])
	if d := w.Counters("ct1").Drops["spoofed-static"]; d == 0 {
		t.Error("no frame of ct1 was dropped as spoofed-static")
	}
	for _, n := range []*lab.NS{a, b} { // that nobody is learned anew
		n.Run("ip link set eth0 down")
	}
	w.MustWeft("fdb", "delete", "lab", addr)
	if _, err := w.Weft("fdb", "delete", "lab", addr); err == nil {
		t.Error("weft fdb delete of an entry that is gone: want a failure")
	}
}

// The socket is for root and the group weft.
func TestOthersAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.Weftd("networks: [{name: lab, mode: isolated}]\n")
	c := w.CommandOf("status")
	other := exec.Command("setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "--"}, c.Args...)...)
	out, err := other.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "group weft") {
		t.Errorf("weft status as nobody: %v: %s: want it refused, with the group named", err, out)
	}
}
