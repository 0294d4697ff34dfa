package e2e

import (
	"fmt"
	"testing"

	"weft/test/guest"
	"weft/test/lab"
)

// Several NICs, case 1: one guest with ports on two networks is a member of both,
// and no way from one to the other.
func TestGuestWithPortsOnTwoNetworks(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	inLab := h.container("ct1", 13)
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
  - {name: lab, mode: isolated}
ports:
  - {name: vm1-lan, network: lan, owner: nobody}
  - {name: vm1-lab, network: lab, owner: nobody}
  - {name: ct1, network: lab, type: device}
`)
	vm := h.hv.Boot("vm1", lab.Nobody,
		guest.NIC{TAP: "vm1-lan", MAC: mac(11)}, guest.NIC{TAP: "vm1-lab", MAC: mac(12)})
	vm.Addresses("eth0", prefixes(11)...)
	vm.Addresses("eth1", "172.16.9.11/24", "fd16:9::11/64")
	vm.Serve()
	inLab.Addresses("eth0", "172.16.9.13/24", "fd16:9::13/64")
	w.Up("vm1-lan", "vm1-lab", "ct1", "nic0:wire")

	h.talks(h.out, 11)
	h.talks(h.hv, 11)
	for _, addr := range []string{"172.16.9.13", "fd16:9::13"} {
		h.Reaches(vm, addr)
		h.Transfers(vm, addr, 2<<20)
	}
	h.silent(inLab, outside)
	h.silent(h.out, 13)
}

// Case 2: two ports of one guest on one network are two stations, each reached at its
// own port, and make no loop.
func TestGuestWithTwoPortsOnOneNetwork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: vm1-a, network: lan, owner: nobody}
  - {name: vm1-b, network: lan, owner: nobody}
  - {name: vm2, network: lan, owner: nobody}
`)
	var vm2 *lab.Guest
	h.Together(
		func() {
			vm1 := h.hv.Boot("vm1", lab.Nobody,
				guest.NIC{TAP: "vm1-a", MAC: mac(11)}, guest.NIC{TAP: "vm1-b", MAC: mac(12)})
			// Each address is answered for on its own NIC only.
			vm1.Run("sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0")
			vm1.Addresses("eth0", prefixes(11)...)
			vm1.Addresses("eth1", prefixes(12)...)
			vm1.Serve()
		},
		func() { vm2 = h.guest("vm2", 13) },
	)
	w.Up("vm1-a", "vm1-b", "vm2", "nic0:wire")
	for _, from := range []lab.Station{vm2, h.out, h.hv} {
		h.talks(from, 11)
		h.talks(from, 12)
		h.pingsOnce(from, 11)
	}
	at := map[string]string{}
	for _, s := range w.Stations("lan") {
		at[s.MAC.String()] = s.Port
	}
	if at[mac(11)] != "vm1-a" || at[mac(12)] != "vm1-b" {
		t.Errorf("weft fdb show: %v, want %s at vm1-a and %s at vm1-b", at, mac(11), mac(12))
	}
}

// Case 3: each NIC of the host serves a network of its own.
func TestEachNICServesItsOwnNetwork(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	out1 := h.NS("out1")
	h.Veth(h.hv, "nic1", out1, "eth0")
	out1.Addresses("eth0", prefixes(3)...)
	w := h.hv.Weftd(`
networks:
  - {name: lan0, mode: bridged, uplinks: [nic0]}
  - {name: lan1, mode: bridged, uplinks: [nic1]}
ports:
  - {name: vm1, network: lan0, owner: nobody}
  - {name: vm2, network: lan1, owner: nobody}
`)
	var vm1, vm2 *lab.Guest
	h.Together(
		func() { vm1 = h.guest("vm1", 11) },
		func() { vm2 = h.guest("vm2", 12) },
	)
	w.Up("vm1", "vm2", "nic0:wire", "nic1:wire")
	h.talks(h.out, 11)
	h.talks(out1, 12)
	h.silent(vm1, 12)
	h.silent(vm1, 3)
	h.silent(vm2, outside)
	h.silent(h.out, 12)
}

// Case 4: several NICs serve one network, one at a time. When the active one loses
// carrier the next takes over, the world finds the guest behind it without the
// guest's doing, and no frame comes twice.
func TestStandbyUplinkTakesOver(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	h := &house{Lab: l, hv: l.NS("hv"), out: l.NS("out")}
	h.out.Run("ip link add br0 type bridge && ip link set br0 up")
	h.out.Addresses("br0", prefixes(outside)...)
	for i := range 2 {
		nic, port := fmt.Sprintf("nic%d", i), fmt.Sprintf("port%d", i)
		h.Veth(h.hv, nic, h.out, port)
		h.out.Run("ip link set %s master br0", port)
	}
	h.hv.Addresses("nic0", prefixes(host)...)
	h.hv.Serve()
	h.out.Serve()
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0, nic1]}
ports:
  - {name: vm1, network: lan, owner: nobody}
`)
	vm := h.guest("vm1", 11)
	w.Up("vm1")
	uplinks := func(nic0, nic1 string) {
		t.Helper()
		h.Until(fmt.Sprintf("nic0 %s, nic1 %s", nic0, nic1), func() error {
			u := w.Network("lan").Uplinks
			if len(u) == 2 && u[0].State == nic0 && u[1].State == nic1 {
				return nil
			}
			return fmt.Errorf("uplinks are %+v", u)
		})
	}
	uplinks("active", "standby")
	h.talks(h.out, 11)
	h.talks(vm, outside)
	h.pingsOnce(vm, outside)

	h.out.Run("ip link set port0 down")
	uplinks("no-carrier", "active")
	h.talks(h.out, 11)
	h.talks(vm, outside)
	h.pingsOnce(vm, outside)

	h.out.Run("ip link set port0 up")
	uplinks("active", "standby")
	h.talks(h.out, 11)
	h.pingsOnce(vm, outside)

	h.out.Run("ip link set port1 down")
	uplinks("active", "no-carrier")
	h.talks(vm, outside)

	h.out.Run("ip link set port0 down")
	uplinks("no-carrier", "no-carrier")
	h.silent(vm, outside)
	h.talks(h.hv, 11)
}
