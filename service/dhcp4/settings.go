package dhcp4

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"weft/frame"
)

// Settings say what clients are told.
type Settings struct {
	MAC     frame.MAC     // of the gateway: where replies come from
	Server  netip.Prefix  // the gateway's address and its subnet
	Routers []netip.Addr  // default: the server
	DNS     []netip.Addr  // none: no option
	NTP     []netip.Addr  // none: no option
	Domain  string        // empty: no option
	Search  []string      // domains; none: no option
	MTU     int           // zero: no option
	Routes  []Route       // beside the default route, which is added
	Lease   time.Duration // at most so long; zero: one hour
	Relays  []netip.Addr  // relay agents that may ask for others; from all else relayed messages are dropped
}

// A Route is a static route told to clients (RFC 3442).
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

const (
	defaultLease = time.Hour
	// A client that asks for a shorter lease gets one of this length: it would come so
	// often that the disk had nothing else to do.
	minLease = 2 * time.Minute
	maxLease = math.MaxUint32 * time.Second // for ever, as option 51 says it

	defaultMTU = 1500
	minMTU     = 68 // RFC 791; option 26 cannot say less (RFC 2132 5.1)
)

func (v Settings) withDefaults() Settings {
	if v.Lease == 0 {
		v.Lease = defaultLease
	}
	if len(v.Routers) == 0 {
		v.Routers = []netip.Addr{v.Server.Addr()}
	}
	return v
}

// check returns all that is wrong with the settings.
func (v *Settings) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if v.MAC == 0 || v.MAC.IsGroup() {
		fault("%s is no gateway's MAC", v.MAC)
	}
	if !v.Server.IsValid() || !v.Server.Addr().Is4() || v.Server.Bits() > 31 {
		fault("%s is not a server's address and subnet (want such as 192.0.2.1/24)", v.Server)
	}
	for what, list := range map[string][]netip.Addr{"router": v.Routers, "DNS server": v.DNS, "NTP server": v.NTP, "relay agent": v.Relays} {
		for _, a := range list {
			if !a.Is4() || a.IsUnspecified() {
				fault("%s cannot be a %s (want an IPv4 address)", a, what)
			}
		}
		if len(list) > maxAddresses {
			fault("%d addresses of a %s (want at most %d)", len(list), what, maxAddresses)
		}
	}
	for _, d := range append([]string{v.Domain}, v.Search...) {
		if d != "" && !isDomain(d) {
			fault("%q is not a domain", d)
		}
	}
	if v.MTU != 0 && (v.MTU < minMTU || v.MTU > math.MaxUint16) {
		fault("MTU %d (want %d to %d)", v.MTU, minMTU, math.MaxUint16)
	}
	for _, r := range v.Routes {
		if !r.To.IsValid() || !r.To.Addr().Is4() || r.To != r.To.Masked() || !r.Via.Is4() {
			fault("%s by %s is not a route (want an IPv4 prefix without host bits, and an IPv4 address)", r.To, r.Via)
		}
	}
	if v.Lease < 0 || v.Lease > maxLease || v.Lease > 0 && v.Lease < time.Second {
		fault("a lease of %s (want one second or more)", v.Lease)
	}
	return errors.Join(faults...)
}

const maxAddresses = 63 // in one option of 255 bytes

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
