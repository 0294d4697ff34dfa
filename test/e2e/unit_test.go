package e2e

import (
	"fmt"
	"testing"

	"weft/test/lab"
)

// The capabilities that the systemd unit leaves to weftd suffice for every type of
// port, for a restart and for the end.
func TestUnitsCapabilitiesSuffice(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ct := h.container("ct1", 13)
	apart := h.NS("apart")
	before := h.snapshot()
	w := h.hv.NewWeftd(fmt.Sprintf(everyPort, apart.Name))
	wrapper := []string{"setpriv", "--no-new-privs", "--bounding-set=" + h.UnitCapabilities()}
	w.Start(wrapper...)
	w.Up("ct1", "mgmt0", "nic0:wire", "nic0:host")
	h.guest("vm1", 11)
	w.Up("vm1")
	for _, to := range []int{11, host, outside} {
		h.talks(ct, to)
	}
	w.MustWeft("port", "add", "vm2", "network=lan", "owner=nobody")
	w.Kill()
	w.Start(wrapper...)
	h.talksTo(15, h.out, h.hv, ct)
	w.Stop()
	if after := h.snapshot(); after != before {
		t.Errorf("after the end:\n%s", lab.Difference(before, after))
	}
}
