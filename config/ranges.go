package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// IsValid reports whether r holds addresses.
func (r AddressRange) IsValid() bool { return r.First.IsValid() }

// Contains reports whether a is one of r.
func (r AddressRange) Contains(a netip.Addr) bool {
	return r.First.BitLen() == a.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// String returns "first-last", or "" if r holds no addresses.
func (r AddressRange) String() string {
	if !r.IsValid() {
		return ""
	}
	return r.First.String() + "-" + r.Last.String()
}

// MarshalText implements encoding.TextMarshaler.
func (r AddressRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "first-last".
func (r *AddressRange) UnmarshalText(text []byte) error {
	from, to, _ := strings.Cut(string(text), "-")
	first, err := netip.ParseAddr(strings.TrimSpace(from))
	last, err2 := netip.ParseAddr(strings.TrimSpace(to))
	switch {
	case err != nil || err2 != nil:
		return fmt.Errorf("%q is not a range of addresses (want one such as 192.0.2.100-192.0.2.200)", text)
	case first.BitLen() != last.BitLen() || last.Less(first):
		return fmt.Errorf("%q ends before it begins (want the lower address first)", text)
	}
	*r = AddressRange{first, last}
	return nil
}

// Len returns how many ports r has.
func (r PortRange) Len() int { return int(r.Last) - int(r.First) + 1 }

// Overlaps reports whether a port is in both.
func (r PortRange) Overlaps(o PortRange) bool { return r.First <= o.Last && o.First <= r.Last }

// String returns "first-last", or one number for one port.
func (r PortRange) String() string {
	if r.First == r.Last {
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText implements encoding.TextMarshaler.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "2222" or "8000-8010". No port is 0.
func (r *PortRange) UnmarshalText(text []byte) error {
	from, to, ranged := strings.Cut(string(text), "-")
	if !ranged {
		to = from
	}
	first, err := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	last, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	switch {
	case err != nil || err2 != nil || first == 0:
		return fmt.Errorf("%q is neither a port nor a range of ports (want 1 to 65535, or such as 8000-8010)", text)
	case last < first:
		return fmt.Errorf("%q ends before it begins (want the lower port first)", text)
	}
	*r = PortRange{uint16(first), uint16(last)}
	return nil
}
