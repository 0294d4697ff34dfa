package e2e

import (
	"strings"
	"testing"

	"weft/frame"
	"weft/test/lab"
)

// The rows of the table of modes for a bridged network: everybody reaches everybody.
func TestBridgedReachesGuestsHostAndOutside(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ct := h.container("ct1", 13)
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: vm1, network: lan, owner: nobody}
  - {name: vm2, network: lan, owner: nobody}
  - {name: ct1, network: lan, type: device}
`)
	var vm1 *lab.Guest
	h.Together(
		func() { vm1 = h.guest("vm1", 11) },
		func() { h.guest("vm2", 12) },
	)
	w.Up("vm1", "vm2", "ct1", "nic0:wire", "nic0:host")

	for _, row := range []struct {
		name string
		from lab.Station
		to   int
	}{
		{"guest to guest", vm1, 12},
		{"guest to container", vm1, 13},
		{"container to guest", ct, 11},
		{"guest to host", vm1, host},
		{"host to guest", h.hv, 11},
		{"host to container", h.hv, 13},
		{"guest to outside", vm1, outside},
		{"outside to guest", h.out, 11},
		{"outside to container", h.out, 13},
		{"host to outside", h.hv, outside},
		{"outside to host", h.out, host},
	} {
		t.Logf("%s", row.name)
		h.talks(row.from, row.to)
	}

	t.Log("each answer comes once")
	for _, from := range []lab.Station{h.out, h.hv, ct} {
		h.pingsOnce(from, 11)
	}

	t.Log("each station is learned on its own port")
	at := map[string]string{}
	for _, s := range w.Stations("lan") {
		at[s.MAC.String()] = s.Port
	}
	for m, port := range map[string]string{
		mac(11): "vm1", mac(12): "vm2",
		mac(13): "ct1", h.macOf(h.out, "eth0"): "nic0:wire", h.macOf(h.hv, "nic0"): "nic0:host",
	} {
		if at[m] != port {
			t.Errorf("weft fdb show: %s at port %q, want %s", m, at[m], port)
		}
	}
}

// The rows for an isolated network: its guests reach each other, and nobody else
// reaches them or is reached, though all share a subnet and a hypervisor.
func TestIsolatedReachesItsGuestsOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	inside, elsewhere := h.container("ct1", 13), h.container("ct2", 14)
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
  - {name: lab, mode: isolated}
  - {name: lab2, mode: isolated}
ports:
  - {name: vm1, network: lab, owner: nobody}
  - {name: ct1, network: lab, type: device}
  - {name: ct2, network: lab2, type: device}
  - {name: vm2, network: lan, owner: nobody}
`)
	atWire, atHost := h.out.Sniff("eth0"), h.hv.Sniff("nic0")
	var vm1, vm2 *lab.Guest
	h.Together(
		func() { vm1 = h.guest("vm1", 11) },
		func() { vm2 = h.guest("vm2", 12) },
	)
	w.Up("vm1", "vm2", "ct1", "ct2", "nic0:wire", "nic0:host")

	t.Log("yes: guest to container, container to guest")
	h.talks(vm1, 13)
	h.talks(inside, 11)
	t.Log("yes: the other network is alive: guest to host and outside")
	h.talks(h.out, 12)
	h.talks(h.hv, 12)

	for _, row := range []struct {
		name string
		from lab.Station
		to   int
	}{
		{"guest to host", vm1, host},
		{"container to host", inside, host},
		{"host to guest", h.hv, 11},
		{"host to container", h.hv, 13},
		{"guest to outside", vm1, outside},
		{"outside to guest", h.out, 11},
		{"guest to a bridged guest", vm1, 12},
		{"bridged guest to guest", vm2, 11},
		{"guest to another isolated network", vm1, 14},
		{"another isolated network to guest", elsewhere, 11},
	} {
		t.Logf("no: %s", row.name)
		h.silent(row.from, row.to)
	}

	t.Log("not one frame of the isolated guests came to host or wire")
	for _, m := range []string{mac(11), mac(13), mac(14)} {
		if n := atWire.From(parseMAC(t, m)); n > 0 {
			t.Errorf("%d frames from %s on the wire, want 0", n, m)
		}
		if n := atHost.From(parseMAC(t, m)); n > 0 {
			t.Errorf("%d frames from %s at the host's NIC, want 0", n, m)
		}
	}
	if atWire.From(parseMAC(t, mac(12))) == 0 {
		t.Error("no frame from the bridged guest on the wire: the sniffer is blind")
	}
}

// A host port is the host's own place in a network, the isolated ones included:
// here in the daemon's namespace, and given to another one.
func TestHostPortsHaveAddresses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	apart := h.NS("apart")
	w := h.hv.Weftd(`
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, network: lab, owner: nobody}
  - {name: mgmt0, network: lab, type: host, addresses: [172.16.9.1/24, "fd16:9::1/64"]}
  - {name: mgmt1, network: lab, type: host, netns: ` + apart.Name + `, addresses: [172.16.9.2/24, "fd16:9::2/64"], mac: "02:00:00:00:00:77"}
  - {name: mgmt2, network: lab, type: host, addresses: [172.16.9.3/24], offloads: false}
`)
	vm := h.guest("vm1", 11)
	vm.Addresses("eth0", "172.16.9.11/24", "fd16:9::11/64")
	w.Up("vm1", "mgmt0", "mgmt1", "mgmt2")
	apart.Serve()
	for _, addr := range []string{"172.16.9.1", "fd16:9::1", "172.16.9.2", "fd16:9::2", "172.16.9.3"} {
		h.Reaches(vm, addr)
		h.Transfers(vm, addr, 2<<20)
	}
	for _, addr := range []string{"172.16.9.11", "fd16:9::11"} {
		h.Reaches(apart, addr)
		h.Transfers(apart, addr, 2<<20)
	}
	if got := h.macOf(apart, "mgmt1"); got != "02:00:00:00:00:77" {
		t.Errorf("address of mgmt1: %s, want 02:00:00:00:00:77", got)
	}
	if p := w.PortIs("mgmt2", "up"); len(p.Offloads) > 0 {
		t.Errorf("offloads of mgmt2: %v, want none", p.Offloads)
	}
}

// A NIC that computes no checksums and cuts no segments sees complete frames: a veth
// pair with its offloads off verifies every checksum, as the other end of a cable does.
func TestFramesAreCompleteOnAPlainWire(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ct := h.container("ct1", 13)
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: vm1, network: lan, owner: nobody}
  - {name: ct1, network: lan, type: device}
`)
	vm := h.guest("vm1", 11)
	for _, side := range []struct {
		ns  *lab.NS
		dev string
	}{{h.hv, "nic0"}, {h.out, "eth0"}} {
		side.ns.Run("ethtool -K %s rx off tx off tso off gso off gro off", side.dev)
	}
	w.Up("vm1", "ct1", "nic0:wire", "nic0:host")
	for _, from := range []lab.Station{vm, ct, h.hv} {
		h.talks(from, outside)
	}
	h.talks(h.out, 11)
	h.talks(h.out, 13)
	h.talks(h.hv, 11)
	h.talks(vm, host)
}

// A network's MTU holds for the ports that weft makes. A device with a smaller one
// gets no frame that it could not take: such are dropped, and counted.
func TestLargeMTU(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	large := h.container("ct1", 13)
	h.container("ct2", 14)
	h.hv.Run("ip link set ct1 mtu 9000")
	large.Run("ip link set eth0 mtu 9000")
	w := h.hv.Weftd(`
networks:
  - {name: lab, mode: isolated, mtu: 9000}
ports:
  - {name: vm1, network: lab, owner: nobody}
  - {name: ct1, network: lab, type: device}
  - {name: ct2, network: lab, type: device}
  - {name: mgmt0, network: lab, type: host, addresses: [10.77.0.15/24, "fd77::15/64"]}
`)
	vm := h.guest("vm1", 11)
	vm.Run("ip link set eth0 mtu 9000")
	w.Up("vm1", "ct1", "ct2", "mgmt0")
	h.hv.Run("ip addr flush dev nic0") // the host is in the network by mgmt0 alone
	for _, to := range []int{11, 15} {
		for _, addr := range addresses(to) {
			large.Run("ping -c 2 -M do -s 8900 %s", addr)
		}
	}
	h.talks(large, 11)
	h.talks(large, 14)

	before := w.Counters("ct2").Drops["oversize"]
	if out, err := large.Sh(t.Context(), "ping -c 2 -i 0.2 -W 1 -M do -s 8900 "+addresses(14)[0]); err == nil {
		t.Errorf("a frame of 8,900 bytes reached a device with MTU 1500: %s", out)
	}
	if n := w.Counters("ct2").Drops["oversize"] - before; n != 2 {
		t.Errorf("%d frames counted as oversize at ct2, want 2", n)
	}
}

// pingsOnce checks that no answer comes twice.
func (h *house) pingsOnce(from lab.Station, to int) {
	h.Helper()
	for _, addr := range addresses(to) {
		out, err := from.Sh(h.Context(), "ping -c 10 -i 0.05 -W 2 "+addr)
		if err != nil || strings.Contains(out, "DUP") || strings.Contains(out, "duplicate") {
			h.Errorf("ping %s: want one answer to each: %v: %s", addr, err, out)
		}
	}
}

// macOf returns the address of a namespace's device.
func (h *house) macOf(n *lab.NS, dev string) string {
	h.Helper()
	return strings.TrimSpace(n.Run("ip -br link show %s | awk '{print $3}'", dev))
}

func parseMAC(t *testing.T, s string) frame.MAC {
	t.Helper()
	m, err := frame.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
