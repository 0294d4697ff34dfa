package e2e

import (
	"strings"
	"testing"

	"weft/test/lab"
)

const twoContainers = `
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: ct1, network: lab, type: device}
  - {name: ct2, network: lab, type: device}
`

// containers starts weftd with twoContainers, stations 13 and 14, on one network.
func (h *house) containers() (a, b *lab.NS, w *lab.Weftd) {
	h.Helper()
	a, b = h.container("ct1", 13), h.container("ct2", 14)
	w = h.hv.Weftd(twoContainers)
	w.Up("ct1", "ct2")
	return a, b, w
}

// A port whose device is missing waits for it, and keeps nobody else waiting.
func TestMissingDeviceAppearsLater(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.container("ct1", 13)
	w := h.hv.Weftd(twoContainers + "  - {name: vm1, network: lab}\n")
	w.Up("ct1")
	if p := w.PortIs("ct2", "waiting"); !strings.Contains(p.Detail, "ct2") {
		t.Errorf("detail of a port without device: %q, want its name", p.Detail)
	}
	w.PortIs("vm1", "down")

	t.Log("it appears")
	h.container("ct2", 14)
	w.Up("ct2")
	h.talks(a, 14)
}

// A device that vanishes takes its port down and nothing else; one that comes by
// that name is attached.
func TestVanishedDeviceComesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b, w := h.containers()
	h.talks(a, 14)
	links := h.hv.Run("ip -br link")

	h.hv.Run("ip link del ct2")
	w.PortIs("ct2", "waiting")
	h.silent(a, 14)
	if n := len(w.Stations("lab")); n > 1 {
		t.Errorf("%d stations, want ct1's only", n)
	}

	h.plug(b, "ct2", 14)
	w.Up("ct2")
	h.talks(a, 14)
	if got := h.hv.Run("ip -br link"); len(strings.Fields(names(got))) != len(strings.Fields(names(links))) {
		t.Errorf("links after it came back:\n%s\nbefore:\n%s", got, links)
	}

	t.Log("ten times in a row")
	for range 10 {
		h.hv.Run("ip link del ct2")
		h.plug(b, "ct2", 14)
	}
	w.Up("ct2")
	h.talks(a, 14)
}

// The same for the NIC of a bridged network.
func TestVanishedUplinkComesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.container("ct1", 13)
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: ct1, network: lan, type: device}
`)
	w.Up("ct1", "nic0:wire", "nic0:host")
	h.talks(h.out, 13)
	h.hv.Run("ip link del nic0")
	w.PortIs("nic0:wire", "waiting")
	if s := w.Status(); len(s.Warnings) == 0 || !strings.Contains(strings.Join(s.Warnings, " "), "lan") {
		t.Errorf("warnings of weft status: %q, want one about network lan", s.Warnings)
	}
	h.Veth(h.hv, "nic0", h.out, "eth0")
	h.hv.Addresses("nic0", prefixes(host)...)
	h.out.Addresses("eth0", prefixes(outside)...)
	w.Up("nic0:wire", "nic0:host")
	h.talks(h.out, 13)
	h.talks(h.hv, 13)
}

// What weft itself made can be removed behind its back: it is made again.
func TestRemovedTAPsAreMadeAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.container("ct1", 13)
	w := h.hv.Weftd(`
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, network: lab, owner: nobody}
  - {name: ct1, network: lab, type: device}
`)
	w.PortIs("vm1", "down")
	w.Up("ct1")
	h.hv.Run("ip link del vm1")
	h.hv.Run(`for d in $(ip -br link | cut -d ' ' -f 1 | grep ^wf-); do ip link del "$d" || true; done`)
	h.guestWhen("vm1", 11)
	w.Up("vm1", "ct1")
	h.talks(a, 11)
}

// guestWhen boots a guest once its TAP is there.
func (h *house) guestWhen(tap string, station int) {
	h.Helper()
	h.Until("TAP "+tap, func() error {
		_, err := h.hv.Sh(h.Context(), "ip link show "+tap)
		return err
	})
	h.guest(tap, station)
}

// A device that belongs to a kernel bridge is left alone, with the reason in the
// port's detail, until the bridge lets go of it.
func TestEnslavedDeviceIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a, b := h.container("ct1", 13), h.container("ct2", 14)
	h.hv.Run("ip link add br0 type bridge && ip link set br0 up && ip link set ct2 master br0")
	h.hv.Addresses("br0", "172.16.9.1/24")
	b.Addresses("eth0", "172.16.9.14/24")
	w := h.hv.Weftd(twoContainers)
	w.Up("ct1")
	if p := w.PortIs("ct2", "waiting"); !strings.Contains(p.Detail, "br0") && !strings.Contains(p.Detail, "master") {
		t.Errorf("detail of an enslaved device's port: %q, want it to say who has it", p.Detail)
	}
	h.Reaches(b, "172.16.9.1")
	h.silent(a, 14)

	t.Log("the bridge lets go")
	h.hv.Run("ip link set ct2 nomaster")
	w.Up("ct2")
	h.talks(a, 14)

	t.Log("the bridge takes it again, and weft says so")
	h.hv.Run("ip link set ct2 master br0")
	h.Until("weft names the bridge", func() error {
		for _, f := range w.Doctor() {
			if f.Severity != "ok" && strings.Contains(f.Text+f.Remedy, "br0") {
				return nil
			}
		}
		return errNotYet
	})
	h.hv.Run("ip link set ct2 nomaster")
	w.Up("ct2")
	h.talks(a, 14)
}

// A TAP's name that is taken is an error of that port only, and the device stays whose
// it is.
func TestForeignDeviceIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.container("ct1", 13)
	h.container("ct2", 14)
	h.hv.Run("ip tuntap add vm1 mode tap user 1234")
	before := h.hv.Run("ip -d -o link show vm1")
	w := h.hv.Weftd(twoContainers + "  - {name: vm1, network: lab, owner: nobody}\n")
	w.Up("ct1", "ct2")
	if p := w.PortIs("vm1", "error"); !strings.Contains(p.Detail, "vm1") {
		t.Errorf("detail: %q, want the device and what to do", p.Detail)
	}
	h.talks(a, 14)
	w.Stop()
	if after := h.hv.Run("ip -d -o link show vm1"); after != before {
		t.Errorf("the foreign TAP changed:\n%s\nbefore:\n%s", after, before)
	}
}
