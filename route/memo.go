package route

import (
	"encoding/binary"
	"net/netip"

	"weft/frame"
)

// A memo is what was found out for the frame before. Those of one batch mostly belong to
// few flows.
type memo struct {
	version  uint8     // of the packet that the judgement is about; 0: none
	ends     [4]uint64 // its addresses as they are in the header
	src, dst netip.Addr
	s, d     *target // what the two are
	judgement

	translated netip.Addr // a destination given by the translator
	found      *target    // what it is; nil: not known

	out      *iface
	hop      netip.Addr
	neighbor *neighbor // hop at out; nil: not known
}

// judge decides on the packet by its addresses.
func (t *turn) judge(b *frame.Buf) *judgement {
	m, version := &t.memo, b.Layers.Version
	p := b.Bytes()[b.Layers.L3:]
	var ends [4]uint64
	if version == 4 {
		ends[0] = binary.LittleEndian.Uint64(p[12:])
	} else {
		_ = p[39]
		for k := range ends {
			ends[k] = binary.LittleEndian.Uint64(p[8+8*k:])
		}
	}
	if m.version == version && m.ends == ends {
		return &m.judgement
	}
	m.version, m.ends = version, ends
	src, dst := addresses(b)
	if m.src != src {
		m.src, m.s = src, t.in.lookup(src)
	}
	if m.dst != dst {
		m.dst, m.d = dst, t.in.lookup(dst)
	}
	m.judgement = judge(t.in, m.s, m.d)
	return &m.judgement
}

// behind returns what the destination is that the translator gave the packet, or nil if
// it is none that may be reached.
func (t *turn) behind(dst netip.Addr) *target {
	m := &t.memo
	if m.found == nil || m.translated != dst {
		m.translated, m.found = dst, t.v.lookup(dst)
	}
	if !m.found.reachable() {
		return nil
	}
	return m.found
}

// known returns the MAC of the next hop that a packet is for, or zero if it is not known.
func (t *turn) known(b *frame.Buf, out *iface, hop netip.Addr) frame.MAC {
	m := &t.memo
	if m.neighbor == nil || m.out != out || m.hop != hop {
		m.out, m.hop, m.neighbor = out, hop, t.r.neighbors.find(out.Port, hop)
		if m.neighbor == nil {
			return 0
		}
	}
	m.neighbor.use(t.now)
	b.Basis.Neighbor = m.neighbor.handle
	return frame.MAC(m.neighbor.mac.Load())
}

// addresses returns source and destination of the packet.
func addresses(b *frame.Buf) (src, dst netip.Addr) {
	p := b.Bytes()[b.Layers.L3:]
	if b.Layers.Version == 4 {
		return frame.IPv4(p).Src(), frame.IPv4(p).Dst()
	}
	return frame.IPv6(p).Src(), frame.IPv6(p).Dst()
}
