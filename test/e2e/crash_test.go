package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/test/lab"
)

// everyPort has a port of each type on a bridged network, and a host port in the
// namespace of its own, %s.
const everyPort = `
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: vm1, network: lan, owner: nobody}
  - {name: ct1, network: lan, type: device}
  - {name: mgmt0, network: lan, type: host, netns: %s, addresses: [10.77.0.15/24, "fd77::15/64"]}
`

// A crash of the daemon costs the host nothing: a ping a hundredth of a second goes
// on between host and wire, both ways, while it is gone and while it comes back.
// Then every port talks again, with nothing done to guests or devices.
func TestKillCostsTheHostNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.container("ct1", 13)
	apart := h.NS("apart")
	w := h.hv.Weftd(fmt.Sprintf(everyPort, apart.Name))
	h.guest("vm1", 11)
	w.Up("vm1", "ct1", "mgmt0", "nic0:wire", "nic0:host")
	for _, to := range []int{11, 13, 15} {
		h.Reaches(h.out, addresses(to)[1])
	}

	back := time.Duration(0)
	h.Together(
		func() { h.LosesNothing(h.hv, addresses(outside)[0]) },
		func() { h.LosesNothing(h.hv, addresses(outside)[1]) },
		func() { h.LosesNothing(h.out, addresses(host)[0]) },
		func() { h.LosesNothing(h.out, addresses(host)[1]) },
		func() {
			w.Kill()
			h.NotReaches(h.out, addresses(11)[0])
			start := time.Now()
			w.Start()
			h.quickly(h.out, 11, 13, 15)
			back = time.Since(start)
		},
	)
	t.Logf("all ports talk %v after the start", back.Round(time.Millisecond))
	for _, to := range []int{11, 13, 15} {
		h.talksTo(to, h.out, h.hv)
	}
}

// Nor do the daemon's first start and its end, which put programs on the host's NIC
// and take them off.
func TestStartAndStopCostTheHostNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.NewWeftd("networks: [{name: lan, mode: bridged, uplinks: [nic0]}]\n")
	h.Together(
		func() { h.LosesNothing(h.hv, addresses(outside)[0]) },
		func() { h.LosesNothing(h.hv, addresses(outside)[1]) },
		func() { h.LosesNothing(h.out, addresses(host)[0]) },
		func() { h.LosesNothing(h.out, addresses(host)[1]) },
		func() {
			for range 3 {
				w.Start()
				w.Up("nic0:wire", "nic0:host")
				w.Stop()
			}
		},
	)
}

// SIGUSR2, which `systemctl restart` sends, leaves everything in place as well.
func TestRestartKeepsGuests(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.container("ct1", 13)
	apart := h.NS("apart")
	w := h.hv.Weftd(fmt.Sprintf(everyPort, apart.Name))
	g := h.guest("vm1", 11)
	w.Up("vm1", "ct1", "mgmt0", "nic0:wire", "nic0:host")
	h.talks(g, outside)
	links := h.hv.Run("ip -br link")

	back := time.Duration(0)
	h.Together(
		func() { h.LosesNothing(h.hv, addresses(outside)[0]) },
		func() { h.LosesNothing(h.out, addresses(host)[1]) },
		func() {
			w.Leave()
			start := time.Now()
			w.Start()
			h.quickly(h.out, 11, 13, 15)
			back = time.Since(start)
		},
	)
	t.Logf("all ports talk %v after the start", back.Round(time.Millisecond))
	if got := h.hv.Run("ip -br link"); names(got) != names(links) {
		t.Errorf("links after the restart:\n%s\nwant:\n%s", got, links)
	}
	h.talks(g, outside)
}

// Without the daemon nothing leaks: an isolated guest does not reach the host, which
// shares its subnet, reaches other guests by what the flow cache knows at most, and may
// even be started anew; when the daemon is back, it finds them.
func TestDeadDaemonLeaksNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ct := h.container("ct1", 13)
	w := h.hv.Weftd(`
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, network: lab, owner: nobody}
  - {name: ct1, network: lab, type: device}
`)
	g := h.guest("vm1", 11)
	w.Up("vm1", "ct1")
	h.talks(g, 13)
	w.Kill()
	h.silent(g, host)
	h.silent(ct, host)
	if lab.Fastpath() { // what was going on goes on
		h.talks(g, 13)
	} else {
		h.silent(g, 13)
	}
	h.silent(h.hv, 11)
	if out := h.hv.Run("ip neigh"); strings.Contains(out, mac(11)) || strings.Contains(out, mac(13)) {
		t.Errorf("the host's neighbours, want none of the isolated guests:\n%s", out)
	}

	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	g.Reboot()
	g.Addresses("eth0", prefixes(11)...)
	w.Start()
	w.Up("vm1", "ct1")
	h.talks(g, 13)
	h.silent(g, host)
}

// A daemon that was killed and whose ports are gone from the document when it comes
// back removes what it made for them.
func TestStartSweepsWhatACrashLeft(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.container("ct1", 13)
	apart := h.NS("apart")
	before := h.snapshot()
	w := h.hv.Weftd(fmt.Sprintf(everyPort, apart.Name))
	w.Up("ct1", "mgmt0", "nic0:wire")
	w.Kill()
	w.Edit("networks: [{name: lab, mode: isolated}]\n")
	w.Start()
	if after := h.snapshot(); after != before {
		t.Errorf("after the start with another document:\n%s", lab.Difference(before, after))
	}
	h.Reaches(h.hv, addresses(outside)[0])
}

// quickly waits until all stations answer, asking often.
func (h *house) quickly(from lab.Station, stations ...int) {
	h.Helper()
	for _, to := range stations {
		for _, addr := range addresses(to) {
			h.Until("ping "+addr, func() error {
				out, err := from.Sh(h.Context(), "ping -c 1 -W 0.1 "+addr)
				if err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			})
		}
	}
}

// talksTo checks that the station is reached from all of others.
func (h *house) talksTo(to int, others ...lab.Station) {
	h.Helper()
	for _, from := range others {
		for _, addr := range addresses(to) {
			h.Reaches(from, addr)
		}
	}
}
