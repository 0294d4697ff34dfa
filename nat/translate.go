package nat

import (
	"encoding/binary"

	"weft/frame"
)

// rewrite makes a packet of the flow was one of the flow is: addresses, ports or
// identifier, checksums.
func rewrite(b *frame.Buf, was, is *flow) {
	l, p := &b.Layers, b.Bytes()
	pseudo := putAddresses(l, p, is.src.address, is.dst.address)
	own := frame.Change(0).Word(was.src.port, is.src.port)
	if h := p[l.L4:]; is.proto == icmp {
		frame.ICMP(h).SetID(is.src.port)
	} else {
		own = own.Word(was.dst.port, is.dst.port)
		frame.Ports(h).SetSrc(is.src.port)
		frame.Ports(h).SetDst(is.dst.port)
	}
	l.SrcPort, l.DstPort = is.src.port, is.dst.port
	b.AdjustTransport(pseudo, own)
}

// putAddresses sets the addresses of the packet at L3. It returns the change of them,
// which that of the pseudo-header is too.
func putAddresses(l *frame.Layers, p []byte, src, dst address) (c frame.Change) {
	h := p[l.L3:]
	if l.Version == 4 {
		was, is := binary.BigEndian.Uint64(h[12:]), src.lo<<32|dst.lo&0xffff_ffff
		binary.BigEndian.PutUint64(h[12:], is)
		c = c.Words(was, is)
		putWord(h[10:], c.Update(word(h[10:])))
		return c
	}
	wasSrc, wasDst := address6(h[8:]), address6(h[24:])
	src.put6(h[8:])
	dst.put6(h[24:])
	return c.Words(wasSrc.hi, src.hi).Words(wasSrc.lo, src.lo).Words(wasDst.hi, dst.hi).Words(wasDst.lo, dst.lo)
}

func word(p []byte) uint16       { return binary.BigEndian.Uint16(p) }
func putWord(p []byte, v uint16) { binary.BigEndian.PutUint16(p, v) }

// groupsOfIDs is for how many groups of source, destination and protocol IP
// identifications are counted.
const groupsOfIDs = 1 << 10

// nextID returns the first of n identifications in a row.
func (t *Table) nextID(src, dst address, p frame.Protocol, n int) uint32 {
	last := &t.ids[t.index.tag(0, proto(p), src.hi^src.lo, dst)%groupsOfIDs]
	*last += uint32(n)
	return *last - uint32(n) + 1
}

// identify gives an IPv4 packet that is translated an identification of our own, as
// those that the hosts behind an address choose may be the same (RFC 6864 5.3.1). That
// of a packet which is no fragment and must not become one means nothing (4.1). For
// fragments see decide.
func (t *Table) identify(b *frame.Buf) {
	l, p := &b.Layers, b.Bytes()
	h := frame.IPv4(p[l.L3:])
	if l.Version != 4 || l.Fragment != frame.FragmentNone || h.DF() {
		return
	}
	src, dst := addresses(l, p)
	putID(h, uint16(t.nextID(src, dst, l.Protocol, b.Segments())))
}

func putID(h frame.IPv4, id uint16) {
	putWord(h[10:], frame.Change(0).Word(h.ID(), id).Update(word(h[10:])))
	h.SetID(id)
}
