// Package e2e proves what weft promises, from outside: the programs weftd and weft,
// real guests, namespaces and devices.
package e2e

import (
	"fmt"
	"testing"

	"weft/test/guest"
	"weft/test/lab"
)

// A house is the scene of most tests: a hypervisor with one NIC, and the world at
// the other end of its cable. All addresses are in one subnet of each family, so
// that what reaches what is the switch's decision alone.
//
//	hv: host 10.77.0.1 and fd77::1 on nic0 ═══ eth0 of out: 10.77.0.2 and fd77::2
type house struct {
	*lab.Lab
	hv, out *lab.NS
}

// The house's own addresses, by their last number.
const (
	host    = 1
	outside = 2
)

func newHouse(t *testing.T) *house {
	t.Helper()
	l := lab.New(t)
	h := &house{Lab: l, hv: l.NS("hv"), out: l.NS("out")}
	l.Veth(h.hv, "nic0", h.out, "eth0")
	h.hv.Addresses("nic0", prefixes(host)...)
	h.out.Addresses("eth0", prefixes(outside)...)
	h.hv.Serve()
	h.out.Serve()
	return h
}

// addresses returns a station's addresses in both families.
func addresses(station int) []string {
	return []string{fmt.Sprintf("10.77.0.%d", station), fmt.Sprintf("fd77::%d", station)}
}

func prefixes(station int) []string {
	a := addresses(station)
	return []string{a[0] + "/24", a[1] + "/64"}
}

// mac is the address of the station's NIC.
func mac(station int) string { return fmt.Sprintf("52:54:00:00:00:%02x", station) }

// guest boots a virtual machine with one NIC on the TAP, with the station's addresses.
// QEMU runs as a user who may open the TAP because weft gave it to them.
func (h *house) guest(tap string, station int) *lab.Guest {
	h.Helper()
	g := h.hv.Boot(tap, lab.Nobody, guest.NIC{TAP: tap, MAC: mac(station)})
	g.Addresses("eth0", prefixes(station)...)
	g.Serve()
	return g
}

// container makes a namespace behind the veth end dev on the hypervisor, with the
// station's addresses.
func (h *house) container(dev string, station int) *lab.NS {
	h.Helper()
	n := h.NS(dev)
	h.plug(n, dev, station)
	n.Serve()
	return n
}

// plug joins a container to the veth end dev on the hypervisor, as the station. It has
// the same MAC address each time, as one that is plugged in again.
func (h *house) plug(n *lab.NS, dev string, station int) {
	h.Helper()
	h.Veth(h.hv, dev, n, "eth0")
	n.Run("ip link set eth0 address %s", mac(station))
	n.Addresses("eth0", prefixes(station)...)
}

// talks checks that a station reaches the other one, which serves transfers, in
// both families: by ping, then by TCP with both directions' payload compared.
func (h *house) talks(from lab.Station, to int) {
	h.Helper()
	for _, addr := range addresses(to) {
		h.Reaches(from, addr)
		h.Transfers(from, addr, 2<<20)
	}
}

// silent checks that a station does not reach the other one in either family.
func (h *house) silent(from lab.Station, to int) {
	h.Helper()
	a := addresses(to)
	h.Together(
		func() { h.NotReaches(from, a[0]) },
		func() { h.NotReaches(from, a[1]) },
	)
}
