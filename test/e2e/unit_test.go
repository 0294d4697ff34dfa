package e2e

import (
	"bufio"
	"fmt"
	"os"
	"strings"
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
	wrapper := []string{"setpriv", "--no-new-privs", "--bounding-set=" + boundingSet(t)}
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

// boundingSet returns the unit's CapabilityBoundingSet in the words of setpriv.
func boundingSet(t *testing.T) string {
	t.Helper()
	f, err := os.Open("../../packaging/weftd.service")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if list, ok := strings.CutPrefix(lines.Text(), "CapabilityBoundingSet="); ok {
			set := "-all"
			for _, c := range strings.Fields(list) {
				set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
			}
			return set
		}
	}
	t.Fatalf("the unit has no CapabilityBoundingSet (%v)", lines.Err())
	return ""
}
