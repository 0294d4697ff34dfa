package tap

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// A portSet is a set of ports.
type portSet [1 << 16 / 64]uint64

// parsePorts reads a list of ports and ranges as net.ipv4.ip_local_reserved_ports has
// it: "80,8000-8010", or nothing.
func parsePorts(list string) (*portSet, error) {
	s := new(portSet)
	list = strings.TrimSpace(list)
	if list == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is no port or range of ports", part)
		}
		last, err := strconv.ParseUint(high, 10, 16)
		if err != nil || last < first {
			return nil, fmt.Errorf("%q is no port or range of ports", part)
		}
		s.add(uint16(first), uint16(last))
	}
	return s, nil
}

func (s *portSet) has(port int) bool { return s[port/64]>>(port%64)&1 != 0 }

func (s *portSet) add(first, last uint16) {
	for p := int(first); p <= int(last); p++ {
		s[p/64] |= 1 << (p % 64)
	}
}

func (s *portSet) remove(t *portSet) {
	for i := range s {
		s[i] &^= t[i]
	}
}

// len returns the number of ports.
func (s *portSet) len() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// String returns the list in the kernel's way: in order, neighbors as one range.
func (s *portSet) String() string {
	var b strings.Builder
	for p := 0; p < 1<<16; p++ {
		if !s.has(p) {
			continue
		}
		first := p
		for p+1 < 1<<16 && s.has(p+1) {
			p++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(first))
		if p > first {
			b.WriteString("-" + strconv.Itoa(p))
		}
	}
	return b.String()
}
