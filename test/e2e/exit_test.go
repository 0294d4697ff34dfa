package e2e

import (
	"fmt"
	"testing"

	"weft/test/lab"
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
		t.Errorf("after SIGTERM:\n%s", lab.Difference(before, after))
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
		t.Errorf("after --cleanup:\n%s", lab.Difference(before, after))
	}
	h.Reaches(h.hv, addresses(outside)[0])
}

// snapshot describes the hypervisor.
func (h *house) snapshot() string {
	h.Helper()
	return h.hv.Snapshot()
}
