package e2e

import (
	"fmt"
	"strings"
	"testing"

	"weft/test/lab"
)

// Containers call their NIC eth0, and so may the hypervisor: a host port's device is
// made in its own namespace, found there after a crash, and taken from nobody else.
func TestHostPortsOfOneNameInSeveralNamespaces(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.hv.Run("ip link add eth0 type veth peer name other")
	own := h.hv.Run("ip -o link show eth0")
	a, b := h.NS("a"), h.NS("b")
	w := h.hv.Weftd(fmt.Sprintf(`
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: a, network: lab, type: host, device: eth0, netns: %s, addresses: [10.77.0.11/24, "fd77::11/64"]}
  - {name: b, network: lab, type: host, device: eth0, netns: %s, addresses: [10.77.0.12/24, "fd77::12/64"]}
`, a.Name, b.Name))
	w.Up("a", "b")
	b.Serve()
	h.talks(a, 12)

	w.Kill()
	w.Start()
	w.Up("a", "b")
	h.talks(a, 12)

	w.Stop()
	for _, n := range []*lab.NS{a, b} {
		if out := n.Run("ip -o link"); strings.Contains(out, "eth0") {
			t.Errorf("left after the stop:\n%s", out)
		}
	}
	if now := h.hv.Run("ip -o link show eth0"); now != own {
		t.Errorf("the hypervisor's eth0:\n%s\nwas\n%s", now, own)
	}
}

// A second daemon, started by mistake on another socket, gets no port; and when it
// ends, it takes nothing from the first.
func TestSecondDaemonTakesNothingAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ct := h.container("ct1", 13)
	document := `
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: vm1, network: lan, owner: nobody}
  - {name: ct1, network: lan, type: device}
`
	w := h.hv.Weftd(document)
	h.guest("vm1", 11)
	w.Up("vm1", "ct1", "nic0:wire", "nic0:host")
	h.talks(ct, 11)
	links := h.hv.Run("ip -br link")

	second := h.hv.NewWeftd(document)
	second.Start()
	second.PortIs("vm1", "waiting")
	second.PortIs("ct1", "waiting")
	second.Stop()

	if now := h.hv.Run("ip -br link"); names(now) != names(links) {
		t.Errorf("links after the second daemon:\n%s\nwere\n%s", now, links)
	}
	h.talks(ct, 11)
	h.talks(h.out, 11)
}
