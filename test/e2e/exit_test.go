package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// At its end weftd removes what it made, and nothing else: links, addresses, tc
// programs of both kinds, promiscuity.
func TestExitLeavesNothing(t *testing.T) {
	h := newHouse(t)
	h.container("ct1", 13)
	apart := h.NS("apart")
	h.hv.Run("ip link add wf-foreign type bridge") // somebody else's, for all its name
	h.hv.Run("ip tuntap add tap-foreign mode tap")
	before := h.snapshot()
	w := h.hv.Weftd(fmt.Sprintf(everyPort, apart.Name))
	w.Up("ct1", "mgmt0", "nic0:wire", "nic0:host")
	if h.snapshot() == before {
		t.Fatal("the snapshot does not see what weftd made")
	}
	w.Stop()
	if after := h.snapshot(); after != before {
		t.Errorf("after SIGTERM:\n%s", difference(before, after))
	}

	t.Log("--cleanup does the same after a crash")
	w.Start()
	w.Up("ct1", "mgmt0", "nic0:wire", "nic0:host")
	w.Kill()
	if h.snapshot() == before {
		t.Error("SIGKILL left nothing: there is nothing to clean up")
	}
	w.Cleanup()
	if after := h.snapshot(); after != before {
		t.Errorf("after --cleanup:\n%s", difference(before, after))
	}
	h.Reaches(h.hv, addresses(outside)[0])
}

// snapshot describes the devices of the hypervisor and all that hangs on them.
func (h *house) snapshot() string {
	h.Helper()
	var b strings.Builder
	for _, ns := range []struct{ name, text string }{
		// Operational state changes by itself; flags and promiscuity do not.
		{"links", h.hv.Run(`ip -d -o link | sed -E 's/ (state|mode|qdisc) [A-Z]+//g'`)},
		{"addresses", h.hv.Run(`ip -o addr | sed -E 's/(valid|preferred)_lft .*//'`)},
		{"qdiscs", h.hv.Run(`tc qdisc show`)},
		{"filters", h.hv.Run(`for d in $(ip -br link | cut -d ' ' -f 1 | cut -d @ -f 1); do
			tc filter show dev "$d" ingress; tc filter show dev "$d" egress; done`)},
		{"tcx", h.tcx()},
	} {
		fmt.Fprintf(&b, "== %s\n%s\n", ns.name, ns.text)
	}
	return b.String()
}

// tcx lists the programs that tc does not show.
func (h *house) tcx() string {
	h.Helper()
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(h.hv.Run("ip -o link")), "\n") {
		var index int
		var name string
		if _, err := fmt.Sscanf(line, "%d: %s", &index, &name); err != nil {
			h.Fatalf("ip -o link: %q: %v", line, err)
		}
		err := h.hv.Do(func() error {
			for _, hook := range []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress} {
				found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: hook})
				if err != nil {
					return err
				}
				if len(found.Programs) > 0 {
					fmt.Fprintf(&b, "%s %s: %d programs\n", name, hook, len(found.Programs))
				}
			}
			return nil
		})
		if err != nil {
			// Before Linux 6.6 there is no tcx to look for.
			return "none: " + err.Error()
		}
	}
	return b.String()
}

// difference lists the lines that are in one text only.
func difference(before, after string) string {
	var b strings.Builder
	for line := range strings.Lines(after) {
		if !strings.Contains(before, line) {
			b.WriteString("+ " + line)
		}
	}
	for line := range strings.Lines(before) {
		if !strings.Contains(after, line) {
			b.WriteString("- " + line)
		}
	}
	return b.String()
}
