package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/test/lab"
)

const twoGuests = `
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, network: lab, owner: nobody}
  - {name: vm2, network: lab, owner: nobody}
`

// What changes in the document changes in the switch, and nothing else does: a TCP
// stream between two guests runs on while ports and networks come and go around it.
func TestApplyLeavesRunningTrafficAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.container("ct1", 13)
	w := h.hv.Weftd(twoGuests)
	var vm1, vm2 *lab.Guest
	h.Together(
		func() { vm1 = h.guest("vm1", 11) },
		func() { vm2 = h.guest("vm2", 12) },
	)
	w.Up("vm1", "vm2")
	if _, err := vm2.Start("iperf3 -s -1"); err != nil {
		t.Fatal(err)
	}
	h.Reaches(vm1, addresses(12)[1])
	const seconds = 8
	stream, err := vm1.Start(fmt.Sprintf("sleep 0.5; iperf3 -J -t %d -c %s", seconds, addresses(12)[1]))
	if err != nil {
		t.Fatal(err)
	}
	more := h.Write("more.yaml", lab.Document(strings.Replace(twoGuests, "ports:",
		"  - {name: lan, mode: bridged, uplinks: [nic0]}\nports:", 1)+`
  - {name: vm3, network: lan}
  - {name: ct1, network: lab, type: device}
  - {name: mgmt0, network: lan, type: host, addresses: [172.16.9.1/24]}
`))
	rounds := 0
	for end := time.Now().Add((seconds - 1) * time.Second); time.Now().Before(end); rounds++ {
		w.MustWeft("apply", "-f", more, "--dry-run")
		w.MustWeft("apply", "-f", more)
		w.MustWeft("network", "set", "lab", "ageing=100s")
		w.MustWeft("port", "set", "ct1", "network=lan")
		w.MustWeft("port", "delete", "vm3")
		w.Edit(twoGuests)
		w.Signal(syscall.SIGHUP)
		h.Until("two ports after SIGHUP", func() error {
			if p := w.Ports(); len(p) != 2 {
				return fmt.Errorf("ports are %+v", p)
			}
			return nil
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := stream.Wait(ctx)
	if err != nil {
		t.Fatalf("iperf3 did not survive %d rounds of changes: %v: %s", rounds, err, out)
	}
	t.Logf("%d rounds of changes", rounds)
	everySecond(t, out)
}

// everySecond checks that bytes went through in every second of a run of iperf3 -J.
func everySecond(t *testing.T, out string) {
	t.Helper()
	var report struct {
		Intervals []struct {
			Sum struct {
				Start, End float64
				Bytes      int64
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("iperf3: %v: %s", err, out)
	}
	if len(report.Intervals) == 0 {
		t.Fatalf("iperf3: no intervals: %s", out)
	}
	for _, i := range report.Intervals {
		// The last one may be a remnant of milliseconds.
		if i.Sum.Bytes == 0 && i.Sum.End-i.Sum.Start > 0.9 {
			t.Errorf("iperf3: nothing went through from second %.0f to %.0f", i.Sum.Start, i.Sum.End)
		}
	}
}

// An apply that cannot be done to its end is undone to its beginning, and says why.
func TestFailedApplyChangesNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, _ := h.container("ct1", 13), h.container("ct2", 14)
	h.hv.Run("ip link add taken type bridge")
	const document = `
networks:
  - {name: lab, mode: isolated, ageing: 200s}
ports:
  - {name: ct1, network: lab, type: device}
  - {name: ct2, network: lab, type: device}
`
	w := h.hv.Weftd(document)
	w.Up("ct1", "ct2")
	h.talks(a, 14)
	networks, ports, links := w.Networks(), withoutStations(w), h.hv.Run("ip -br link")

	bad := strings.Replace(document, "200s", "100s", 1)
	bad = strings.Replace(bad, "  - {name: ct2, network: lab, type: device}", `
  - {name: early, network: more}
  - {name: taken, network: more}
`, 1)
	bad = strings.Replace(bad, "ports:", "  - {name: more, mode: bridged, uplinks: [nic0]}\nports:", 1)
	_, err := w.Weft("apply", "-f", h.Write("bad.yaml", lab.Document(bad)))
	if err == nil || !strings.Contains(err.Error(), "taken") || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("weft apply: %v, want exit status 1 and the device that is in the way", err)
	}
	if got := w.Networks(); !equalBut(got, networks) {
		t.Errorf("networks after a failed apply: %+v, want %+v", got, networks)
	}
	if got := withoutStations(w); !reflect.DeepEqual(got, ports) {
		t.Errorf("ports after a failed apply: %v, want %v", got, ports)
	}
	if got := h.hv.Run("ip -br link"); names(got) != names(links) {
		t.Errorf("links after a failed apply:\n%s\nwant:\n%s", got, links)
	}
	if b, err := os.ReadFile(w.Config); err != nil || string(b) != lab.Document(document) {
		t.Errorf("the file after a failed apply: %v: %s", err, b)
	}
	h.talks(a, 14)
}

// Faults of a document are refused as a whole, all told at once, with path and value;
// what ran goes on.
func TestFaultyDocumentsAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, _ := h.container("ct1", 13), h.container("ct2", 14)
	w := h.hv.Weftd(`
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: ct1, network: lab, type: device}
  - {name: ct2, network: lab, type: device}
`)
	w.Up("ct1", "ct2")
	const faulty = `
networks:
  - {name: lab, mode: isolatd, mtu: 12}
  - {name: lab, mode: isolated, colour: red}
ports:
  - {name: ct1, network: nowhere, type: device}
  - {name: a-name-that-is-too-long, network: lab}
`
	wants := []string{"isolatd", "12", "colour", "nowhere", "a-name-that-is-too-long"}
	_, err := w.Weft("apply", "-f", h.Write("faulty.yaml", lab.Document(faulty)))
	if err == nil {
		t.Fatal("weft apply took a faulty document")
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("weft apply: %v: want a fault about %q", err, want)
		}
	}
	w.Edit(faulty)
	w.Signal(syscall.SIGHUP)
	h.Until("the log names the faults", func() error {
		for _, want := range wants {
			if !strings.Contains(w.Log(), want) {
				return fmt.Errorf("no %q", want)
			}
		}
		return nil
	})
	h.talks(a, 14)

	second := h.hv.NewWeftd(faulty)
	out := second.Fails()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("weftd: %s: want a fault about %q", out, want)
		}
	}
}

// What the client changes stands in the file, whose comments stay; the next start
// runs the same.
func TestEditsAreWrittenBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.Weftd(`# the lab's switch
networks:
  - name: lab # for the interns
    mode: isolated
ports:
  # the first guest
  - {name: vm1, network: lab, owner: nobody} # do not touch
  - {name: vm2, network: lab}
`)
	w.MustWeft("network", "add", "lab2", "mode=isolated", "mtu=9000")
	w.MustWeft("network", "set", "lab", "ageing=60s")
	w.MustWeft("port", "add", "vm3", "network=lab2", "owner=nobody", "mac="+mac(13))
	w.MustWeft("port", "set", "vm1", "mac="+mac(11))
	w.MustWeft("port", "delete", "vm2")
	ports, networks := withoutStations(w), w.Networks()

	b, err := os.ReadFile(w.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# the lab's switch", "# for the interns", "# the first guest", "# do not touch", "vm3", "lab2", "9000", "60s", mac(11)} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the file lost, or never got, %q:\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "vm2") {
		t.Errorf("the file still has vm2:\n%s", b)
	}
	w.Stop()
	w.Start()
	if got := withoutStations(w); !reflect.DeepEqual(got, ports) {
		t.Errorf("ports after a restart: %v, want %v", got, ports)
	}
	if got := w.Networks(); !equalBut(got, networks) {
		t.Errorf("networks after a restart: %+v, want %+v", got, networks)
	}

	t.Log("--runtime leaves the file alone")
	w.MustWeft("port", "add", "vm4", "network=lab", "--runtime")
	w.PortIs("vm4", "down")
	if after, err := os.ReadFile(w.Config); err != nil || string(after) != string(b) {
		t.Errorf("--runtime changed the file: %v:\n%s", err, after)
	}
	for _, args := range [][]string{
		{"port", "add", "vm1", "network=lab"},     // it is there
		{"port", "delete", "vm9"},                 // it is not there
		{"port", "set", "vm1", "network=nowhere"}, // no such network
	} {
		if _, err := w.Weft(args...); err == nil || !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("weft %s: %v, want exit status 1", strings.Join(args, " "), err)
		}
	}
	if _, err := w.Weft("port", "juggle"); err == nil || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("weft port juggle: %v, want exit status 2", err)
	}
}

// Clients that edit at the same time do not undo each other's edits.
func TestEditsAtOnceAllHappen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.Weftd("networks: [{name: lab, mode: isolated}]\n")
	const n = 8
	add := make([]func(), n)
	for i := range add {
		add[i] = func() { w.MustWeft("port", "add", fmt.Sprintf("vm%d", i), "network=lab") }
	}
	h.Together(add...)
	if p := w.Ports(); len(p) != n {
		t.Errorf("%d ports, want %d: %+v", len(p), n, p)
	}
	w.Kill()
	w.Start()
	if p := w.Ports(); len(p) != n {
		t.Errorf("%d ports after a restart, want %d: %+v", len(p), n, p)
	}
}
