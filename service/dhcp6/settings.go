package dhcp6

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/rfc1035label"

	"weft/frame"
)

// Settings say what clients are told.
type Settings struct {
	MAC    frame.MAC     // of the gateway: where replies come from
	Source netip.Addr    // the gateway's link-local address
	Subnet netip.Prefix  // on link; addresses are given from it
	DNS    []netip.Addr  // none: no option
	Search []string      // domains; none: no option
	Lease  time.Duration // preferred and valid lifetime; zero: one hour
}

const (
	defaultLease = time.Hour
	maxLease     = math.MaxUint32 * time.Second // for ever, as RFC 8415 7.7 says it

	// What is told has to fit into a frame of 1,500 bytes beside what a client asks for.
	maxDNS    = 16
	maxSearch = 256 // bytes
)

// check returns all that is wrong with the settings.
func (v *Settings) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if v.MAC == 0 || v.MAC.IsGroup() {
		fault("%s is no gateway's MAC", v.MAC)
	}
	if !v.Source.Is6() || !v.Source.IsLinkLocalUnicast() {
		fault("%s is not a link-local address (want the gateway's, such as fe80::1)", v.Source)
	}
	if !v.Subnet.IsValid() || !v.Subnet.Addr().Is6() || v.Subnet.Addr().Is4In6() {
		fault("%s is not an IPv6 subnet", v.Subnet)
	}
	for _, a := range v.DNS {
		if !a.Is6() || a.Is4In6() || a.IsUnspecified() {
			fault("%s cannot be a DNS server (want an IPv6 address)", a)
		}
	}
	if len(v.DNS) > maxDNS {
		fault("%d DNS servers (want at most %d)", len(v.DNS), maxDNS)
	}
	for _, d := range v.Search {
		if !isDomain(d) {
			fault("%q is not a domain", d)
		}
	}
	if n := v.search().Length(); n > maxSearch {
		fault("domains to search of %d bytes (want at most %d)", n, maxSearch)
	}
	if v.Lease < 0 || v.Lease > maxLease || v.Lease > 0 && v.Lease < time.Second {
		fault("a lease of %s (want one second or more)", v.Lease)
	}
	return errors.Join(faults...)
}

// isDomain reports whether a domain can be written as RFC 1035 3.1 says.
func isDomain(d string) bool {
	if len(d) > 253 {
		return false
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(d, "."), ".") {
		if len(l) == 0 || len(l) > 63 {
			return false
		}
	}
	return true
}

// search returns the domains as the codec takes them.
func (v *Settings) search() *rfc1035label.Labels {
	labels := rfc1035label.NewLabels()
	for _, d := range v.Search {
		labels.Labels = append(labels.Labels, strings.TrimSuffix(d, "."))
	}
	return labels
}
