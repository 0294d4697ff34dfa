package dns

import (
	"net/netip"
	"strconv"
	"strings"
)

const (
	suffix4 = "in-addr.arpa."
	suffix6 = "ip6.arpa."
	hexits  = "0123456789abcdef"
)

// parseReverse returns the prefix that a canonical name below in-addr.arpa (RFC 1035
// 3.5) or ip6.arpa (RFC 3596 2.5) stands for, one label for eight or four bits: from the
// root to the first label that is none of an address. whole: that was all of the name.
// The prefix is not valid for other names.
func parseReverse(name string) (p netip.Prefix, whole bool) {
	var address [16]byte
	size, step, rest := 0, 0, ""
	switch {
	case strings.HasSuffix(name, "."+suffix4):
		size, step, rest = 4, 8, strings.TrimSuffix(name, "."+suffix4)
	case strings.HasSuffix(name, "."+suffix6):
		size, step, rest = 16, 4, strings.TrimSuffix(name, "."+suffix6)
	default:
		return p, false
	}
	for bits := 0; ; {
		dot := strings.LastIndexByte(rest, '.')
		v, ok := parseLabel(rest[dot+1:], step)
		whole = ok && dot < 0
		if ok {
			address[bits/8] |= v << (8 - step - bits%8)
			bits += step
		}
		if !ok || dot < 0 || bits == size*8 {
			a, _ := netip.AddrFromSlice(address[:size])
			return netip.PrefixFrom(a, bits), whole
		}
		rest = rest[:dot]
	}
}

// parseLabel reads a label that stands for step bits: a decimal number for eight, as
// an address is written, or a hexadecimal digit for four.
func parseLabel(label string, step int) (byte, bool) {
	if step == 4 {
		i := strings.Index(hexits, label)
		return byte(max(i, 0)), len(label) == 1 && i >= 0
	}
	v, err := strconv.ParseUint(label, 10, 8)
	return byte(v), err == nil && strconv.FormatUint(v, 10) == label
}

// reverseName returns the canonical reverse name of a prefix of whole labels.
func reverseName(p netip.Prefix) string {
	var s strings.Builder
	address := p.Addr().AsSlice()
	if p.Addr().Is4() {
		for i := p.Bits()/8 - 1; i >= 0; i-- {
			s.WriteString(strconv.Itoa(int(address[i])) + ".")
		}
		return s.String() + suffix4
	}
	for i := p.Bits()/4 - 1; i >= 0; i-- {
		s.WriteByte(hexits[address[i/2]>>(4-4*(i%2))&0xf])
		s.WriteByte('.')
	}
	return s.String() + suffix6
}

// covers reports whether all of p, which may be invalid, lies in the subnet.
func covers(subnet, p netip.Prefix) bool {
	return p.IsValid() && p.Bits() >= subnet.Bits() && subnet.Contains(p.Addr())
}

// apexOf returns the reverse name of the zone that an address of the subnet is in. A
// subnet that does not end between two labels is several zones; one that ends within
// the last label is named like the zone above, of which it is a part.
func apexOf(subnet netip.Prefix, a netip.Addr) string {
	step := 8
	if a.Is6() {
		step = 4
	}
	bits := min((subnet.Bits()+step-1)/step*step, a.BitLen()-step)
	return reverseName(netip.PrefixFrom(a, bits))
}
