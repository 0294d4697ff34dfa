package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/service"
)

// A disk that is full is the operator's business, though it is a guest's question that
// meets it. A guest that asks a thousand times fills no log.
func TestLeasesThatCannotBeWritten(t *testing.T) {
	d := start(t, newMemKernel(t, "eth0"), natted)
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	u := d.networks["default"].gateway.leases
	full := service.Event{What: "DHCPREQUEST", Port: "vm1", Err: fmt.Errorf("default: %w", syscall.ENOSPC)}
	told := 0
	for second := range 90 {
		if u.note(full, time.Unix(int64(second), 0)) {
			told++
		}
	}
	if told != 2 {
		t.Errorf("said %d times in 90 s, want once a minute", told)
	}
	if got := findings(d); len(got) != 1 || !strings.Contains(got[0], "guests get no addresses") {
		t.Errorf("the doctor says %q", got)
	}
	want(t, "status", d.Status().Warnings, []string{"network default: guests get no addresses: default: no space left on device"})

	if u.note(service.Event{What: "DHCPDISCOVER", Port: "vm1", Err: fmt.Errorf("not answered")}, time.Unix(200, 0)) {
		t.Error("what a guest does wrong is said")
	}
	u.note(service.Event{What: "DHCPACK", Port: "vm1", Addresses: []netip.Addr{netip.MustParseAddr("192.168.150.100")}}, time.Unix(201, 0))
	want(t, "after a lease that could", findings(d), nil)
}
