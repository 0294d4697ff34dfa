package lab

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Snapshot describes what is set up in the namespace: devices and all that hangs on them,
// addresses, routes, firewall, settings.
func (n *NS) Snapshot() string {
	n.lab.Helper()
	var b strings.Builder
	for _, part := range []struct{ name, text string }{
		// Operational state changes by itself, and after a while; other flags and promiscuity do not.
		{"links", n.Run(`ip -d -o link | sed -E 's/ (state|mode|qdisc) [A-Z]+|NO-CARRIER,|,LOWER_UP//g'`)},
		{"addresses", n.Run(`ip -o addr | sed -E 's/(valid|preferred)_lft .*//'`)},
		{"routes", n.Run(`ip -4 route show table all; ip -6 route show table all; ip -4 rule; ip -6 rule`)},
		{"qdiscs", n.Run(`tc qdisc show`)},
		{"filters", n.Run(`for d in $(ip -br link | cut -d ' ' -f 1 | cut -d @ -f 1); do
			tc filter show dev "$d" ingress; tc filter show dev "$d" egress; done`)},
		{"tcx", n.tcx()},
		{"firewall", n.Run(`nft list ruleset`)},
		{"settings", n.Run(`sysctl -a -r '^net[.]' 2>/dev/null | grep -v nf_conntrack_count`)},
	} {
		fmt.Fprintf(&b, "== %s\n%s\n", part.name, part.text)
	}
	return b.String()
}

// tcx lists the programs that tc does not show.
func (n *NS) tcx() string {
	n.lab.Helper()
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(n.Run("ip -o link")), "\n") {
		var index int
		var name string
		if _, err := fmt.Sscanf(line, "%d: %s", &index, &name); err != nil {
			n.lab.Fatalf("ip -o link: %q: %v", line, err)
		}
		err := n.Do(func() error {
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

// Difference lists the lines that are in one text only.
func Difference(before, after string) string {
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
