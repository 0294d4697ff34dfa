package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weft/frame"
)

// A Range is a span of addresses of one family, both ends included.
type Range struct{ First, Last netip.Addr }

// A Reservation is what one station always gets.
type Reservation struct {
	MAC      frame.MAC
	Address  netip.Addr // IPv4; zero: none
	Address6 netip.Addr // IPv6; zero: none
	Name     string     // a label; empty: none
}

// Settings say which addresses a Book gives out.
type Settings struct {
	Ranges       []Range       // of either family, at most 2²⁴ addresses each
	Exclude      []netip.Addr  // never given out: the gateway's
	Reservations []Reservation // may lie outside the ranges
	Quota        int           // addresses of one family that one port may keep from others, reserved ones not counted; 0: no limit
	Quarantine   time.Duration // how long a declined address rests; 0: 10 minutes
}

// defaultQuarantine is long enough for an operator to see the conflict, and short
// enough for a pool not to be lost to one.
const defaultQuarantine = 10 * time.Minute

func (s *Settings) quarantine() time.Duration {
	if s.Quarantine == 0 {
		return defaultQuarantine
	}
	return s.Quarantine
}

func (s *Settings) rangesOf(f Family) []Range {
	return slices.DeleteFunc(slices.Clone(s.Ranges), func(r Range) bool { return FamilyOf(r.First) != f })
}

// addresses returns the one or two addresses of the reservation.
func (r *Reservation) addresses() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{r.Address, r.Address6}, func(a netip.Addr) bool { return !a.IsValid() })
}

// check returns all that is wrong with the settings.
func (s *Settings) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	for _, r := range s.Ranges {
		if !plain(r.First) || !plain(r.Last) || r.First.BitLen() != r.Last.BitLen() || r.Last.Less(r.First) {
			fault("%s-%s is not a range (want two addresses of one family, the lower one first)", r.First, r.Last)
		}
	}
	if a, b, found := overlap(s.Ranges); found && len(faults) == 0 {
		fault("the ranges %s-%s and %s-%s overlap", a.First, a.Last, b.First, b.Last)
	}
	for _, a := range s.Exclude {
		if !plain(a) {
			fault("%s cannot be excluded (want an address without a zone)", a)
		}
	}
	if s.Quota < 0 || s.Quarantine < 0 {
		fault("quota %d, quarantine %s (want none of them negative)", s.Quota, s.Quarantine)
	}
	return errors.Join(append(faults, s.checkReservations()...)...)
}

func (s *Settings) checkReservations() (faults []error) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	macs, addresses, names := make(map[frame.MAC]bool), make(map[netip.Addr]bool), make(map[string]bool)
	for _, r := range s.Reservations {
		switch {
		case r.MAC == 0 || r.MAC.IsGroup():
			fault("no station has the MAC %s (reservation)", r.MAC)
		case macs[r.MAC]:
			fault("%s has two reservations (want one, of an address of each family)", r.MAC)
		}
		macs[r.MAC] = true
		if r.Address.IsValid() && !r.Address.Is4() || r.Address6.IsValid() && (!plain(r.Address6) || r.Address6.Is4()) {
			fault("%s has %s and %s reserved (want an IPv4 and an IPv6 address)", r.MAC, r.Address, r.Address6)
		}
		for _, a := range r.addresses() {
			switch {
			case addresses[a]:
				fault("%s is reserved twice", a)
			case slices.Contains(s.Exclude, a):
				fault("%s is reserved for %s, but is the gateway's", a, r.MAC)
			}
			addresses[a] = true
		}
		switch {
		case r.Name == "":
		case Label(r.Name) != r.Name:
			fault("%q cannot be the name of %s (want a label of letters, digits and hyphens, in lower case)", r.Name, r.MAC)
		case names[r.Name]:
			fault("the name %q is reserved twice", r.Name)
		}
		names[r.Name] = true
	}
	return faults
}

// plain reports whether a is an address as it stands in a header: no zone, no IPv4 in
// IPv6.
func plain(a netip.Addr) bool { return a.IsValid() && a.Zone() == "" && !a.Is4In6() }
