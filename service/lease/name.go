package lease

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// maxLabel is the length of the longest label (RFC 1035 2.3.4).
const maxLabel = 63

// Names that programs on other hosts look for by themselves: whoever has one of them
// could lead those programs astray.
var neverNames = map[string]bool{"localhost": true, "wpad": true, "isatap": true}

// Label makes a host name label (RFC 1123 2.1) of what a client calls itself: the first
// label, in lower case, with hyphens for what may not be in it. It is "" if nothing is
// left or the name is one that no client may have.
func Label(name string) string {
	name, _, _ = strings.Cut(name, ".")
	label := []byte(name[:min(len(name), maxLabel)])
	for i, c := range label {
		switch {
		case c >= 'A' && c <= 'Z':
			label[i] = c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		default:
			label[i] = '-'
		}
	}
	s := strings.Trim(string(label), "-")
	if neverNames[s] {
		return ""
	}
	return s
}

// allNames returns all names in use, ordered by label and address.
func (t *table) allNames() []Name {
	var all []Name
	for label := range t.names {
		for _, a := range t.lookup(label) {
			all = append(all, Name{label, a})
		}
	}
	for label := range t.labels {
		if t.names[label] == nil {
			for _, a := range t.lookup(label) {
				all = append(all, Name{label, a})
			}
		}
	}
	slices.SortFunc(all, func(a, b Name) int { return cmp.Or(cmp.Compare(a.Label, b.Label), a.Address.Compare(b.Address)) })
	return all
}

// lookup returns the addresses of a label: of the leases that have it, and of its
// reservation for a family without a lease.
func (t *table) lookup(label string) (found []netip.Addr) {
	has := make(map[Family]bool)
	for _, e := range t.names[label] {
		found = append(found, e.Address)
		has[FamilyOf(e.Address)] = true
	}
	if mac, reserved := t.labels[label]; reserved {
		r := t.stations[mac]
		for _, a := range r.addresses() {
			if !has[FamilyOf(a)] {
				found = append(found, a)
			}
		}
	}
	return found
}

// reverse returns the label of an address, if lookup leads back to the address.
func (t *table) reverse(a netip.Addr) string {
	if e := t.addresses[a]; e != nil && e.State == Bound {
		return e.Client.Name
	}
	label := t.stations[t.reserved[a]].Name
	if label != "" && slices.Contains(t.lookup(label), a) {
		return label
	}
	return ""
}
