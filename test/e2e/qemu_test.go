package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"weft/test/guest"
	"weft/test/lab"
)

// QEMU comes, goes, crashes and comes back on its TAP: weft shows it as link state,
// and the guest is reached again without anybody's doing.
func TestPortFollowsQEMU(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.Weftd(`
networks:
  - {name: lan, mode: bridged, uplinks: [nic0]}
ports:
  - {name: vm1, network: lan, owner: nobody}
`)
	if p := w.PortIs("vm1", "down"); !strings.Contains(p.Detail, "no guest") {
		t.Errorf("detail of a port without a guest: %q, want it to say so", p.Detail)
	}
	g := h.guest("vm1", 11)
	w.Up("vm1")
	h.talks(h.out, 11)

	for _, end := range []struct {
		name string
		call func() error
	}{
		{"stops", g.Stop},
		{"crashes", func() error { return g.Kill() }},
	} {
		t.Logf("QEMU %s", end.name)
		if err := end.call(); err != nil {
			t.Fatal(err)
		}
		w.PortIs("vm1", "down")
		h.silent(h.out, 11)
		if n := w.Network("lan"); n.Stations > 2 {
			t.Errorf("%d stations, want the host and the outside only: the guest is gone", n.Stations)
		}
		t.Log("QEMU starts again")
		g.Reboot()
		w.Up("vm1")
		g.Addresses("eth0", prefixes(11)...)
		g.Serve()
		h.talks(h.out, 11)
	}
}

// The TAP is its owner's: QEMU run by somebody else may not open it, and one that
// asks for another number of queues is refused.
func TestTAPOpensForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.hv.Weftd(`
networks:
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, network: lab, owner: "1234"}
  - {name: vm2, network: lab, owner: nobody, queues: 2}
`)
	img, err := guest.Build()
	if err != nil {
		t.Fatal(err)
	}
	refused := func(uid int, nic guest.NIC, want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var log strings.Builder
		g, err := guest.Boot(ctx, img, guest.Config{Name: nic.TAP, NICs: []guest.NIC{nic}, UID: uid, Start: h.hv.Start, Log: &log})
		if err == nil {
			t.Errorf("QEMU of user %d opened %s, want it refused", uid, nic.TAP)
			_ = g.Kill()
		} else if !strings.Contains(log.String(), want) {
			t.Errorf("QEMU of user %d on %s: %v: %s: want %q", uid, nic.TAP, err, &log, want)
		}
	}
	refused(lab.Nobody, guest.NIC{TAP: "vm1", MAC: mac(11)}, "Operation not permitted")
	refused(lab.Nobody, guest.NIC{TAP: "vm2", MAC: mac(12)}, "Invalid argument")

	t.Log("with two queues, as the port has, it opens and works")
	vm1 := h.hv.Boot("vm1", 1234, guest.NIC{TAP: "vm1", MAC: mac(11)})
	vm1.Addresses("eth0", prefixes(11)...)
	vm2 := h.hv.Boot("vm2", lab.Nobody, guest.NIC{TAP: "vm2", MAC: mac(12), Queues: 2})
	vm2.Addresses("eth0", prefixes(12)...)
	vm2.Serve()
	w.Up("vm1", "vm2")
	h.talks(vm1, 12)
}
