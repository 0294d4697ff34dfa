package nat

import (
	"encoding/binary"
	"slices"
	"time"

	"weft/frame"
)

const (
	sources      = 64 // groups of senders; one has a share of everything
	perSource    = 16 // packets in fragments that are under way, of one group
	maxRuns      = 24 // gaps of a packet, plus one
	maxHeld      = 192
	maxHeldOf    = 48 // of one group; as many as a packet of 64 kB has, sent last first
	fragmentLife = 5 * time.Second
)

// fragments is what is known of packets that come in fragments. Only the first of one
// says what the others are part of. If they come before it they are held.
type fragments struct {
	datagrams [sources][perSource]datagram
	held      []heldFragment
	next      int // group that is aged next
}

type heldFragment struct {
	buf *frame.Buf
	of  *datagram // nil: free
}

// A datagram is a packet that comes in fragments.
type datagram struct {
	datagramKey
	deadline uint32 // in ticks; zero: there is none

	decided bool         // the first fragment was here
	ours    bool         // as Inbound says it
	why     frame.Reason // why it is lost; zero: it is translated
	to      datagramKey  // addresses and identification of the translated

	runs []run // what was here, in order, with gaps between
	kept [maxRuns]run
	end  uint16 // of the last fragment; zero: it was not here yet
	held int
}

// A datagramKey tells datagrams apart (RFC 791 3.2, RFC 8200 4.5).
type datagramKey struct {
	src, dst address
	id       uint32
	realm    Realm
	protocol frame.Protocol // of IPv4
}

// A run is a part of a datagram, in bytes.
type run struct{ from, to uint16 }

// A part is a fragment.
type part struct {
	datagramKey
	run
	last   bool
	header []byte // IPv4's, or IPv6's fragment header: where the identification is
}

// readPart returns false if the fragment is malformed.
func readPart(b *frame.Buf, r Realm) (f part, ok bool) {
	l, p := &b.Layers, b.Bytes()
	f.src, f.dst = addresses(l, p)
	f.realm = r
	var from, more, at int
	if l.Version == 4 {
		h := frame.IPv4(p[l.L3:])
		f.header, f.id, f.protocol = h, uint32(h.ID()), l.Protocol
		from, more, at = h.FragmentOffset(), int(h[6]>>5&1), int(l.L3)+h.HeaderLen()
	} else {
		if at = findFragmentHeader(p[l.L3:]); at == 0 {
			return f, false
		}
		h := p[int(l.L3)+at:]
		f.header, f.id = h, binary.BigEndian.Uint32(h[4:])
		from, more, at = int(word(h[2:])&^7), int(word(h[2:])&1), int(l.L3)+at+fragmentLen
	}
	n := end(l, p) - at
	f.from, f.to, f.last = uint16(from), uint16(from+n), more == 0
	return f, n > 0 && from+n <= 0xffff && (f.last || n%8 == 0)
}

// findFragmentHeader returns the offset of the fragment header in the IPv6 packet p,
// zero if it cannot be found.
func findFragmentHeader(p []byte) int {
	for at, next := ipv6Len, p[6]; at+fragmentLen <= len(p); {
		switch next {
		case headerFragment:
			return at
		case headerHopByHop, headerRouting, headerDestination:
			next, at = p[at], at+(int(p[at+1])+1)*8
		default:
			return 0
		}
	}
	return 0
}

// fragment translates a fragment as the first of its datagram is translated.
func (t *Table) fragment(k *packet) (ours bool, why frame.Reason) {
	b := k.buf
	f, ok := readPart(b, k.realm)
	if !ok {
		return k.lost(frame.DropBadFragment)
	}
	if k.back && t.findExternal(f.dst) == 0 {
		return false, 0
	}
	d := t.datagram(k.now, &f, b.In)
	switch {
	case !d.decided && f.from != 0:
		return true, t.hold(b, d)
	case !d.decided:
		return t.decide(k, d, &f)
	case !d.ours || d.why != 0:
		return d.ours, d.why
	}
	if why := d.add(&f); why != 0 {
		return true, why
	}
	putAddresses(&b.Layers, b.Bytes(), d.to.src, d.to.dst)
	f.putID(b, d.to.id)
	t.finishDatagram(d)
	return true, 0
}

// group returns the datagrams of the group of senders that one belongs to. Inside, senders
// are told apart by their port: addresses they can make up.
func (t *Table) group(k *datagramKey, in frame.PortID) *[perSource]datagram {
	if k.realm != 0 {
		return &t.fragments.datagrams[t.index.tag(0, 0, uint64(in), address{})%sources]
	}
	return &t.fragments.datagrams[t.index.tag(0, 0, 0, k.src)%sources]
}

// datagram finds the datagram of a fragment, or makes room for it: the oldest of its
// group makes way.
func (t *Table) datagram(now time.Duration, f *part, in frame.PortID) *datagram {
	group := t.group(&f.datagramKey, in)
	best := &group[0]
	for i := range group {
		d := &group[i]
		if d.deadline != 0 && d.datagramKey == f.datagramKey {
			return d
		}
		if d.deadline < best.deadline {
			best = d
		}
	}
	t.forget(best)
	best.datagramKey, best.deadline = f.datagramKey, ticksUp(now+fragmentLife)
	best.runs = best.kept[:0]
	return best
}

// decide translates the first fragment, and has those that were held come again.
func (t *Table) decide(k *packet, d *datagram, f *part) (ours bool, why frame.Reason) {
	b := k.buf
	ours, why = t.whole(k)
	d.decided, d.ours, d.why = true, ours, why
	if ours && why == 0 {
		d.to.src, d.to.dst = addresses(&b.Layers, b.Bytes())
		d.to.id = t.nextID(d.to.src, d.to.dst, b.Layers.Protocol, 1)
		f.putID(b, d.to.id)
		d.add(f)
	}
	for i := range t.fragments.held {
		if h := &t.fragments.held[i]; h.of == d {
			h.of = nil
			if t.emit == nil || !t.emit(h.buf.In, h.buf) {
				t.counters.FragmentsLost++
			}
		}
	}
	d.held = 0
	t.finishDatagram(d)
	return ours, why
}

func (f *part) putID(b *frame.Buf, id uint32) {
	if b.Layers.Version == 4 {
		putID(f.header, uint16(id))
		return
	}
	binary.BigEndian.PutUint32(f.header[4:], id)
}

// hold keeps a copy of a fragment whose first has not come yet (RFC 4787 REQ-14), within
// bounds (REQ-14 a).
func (t *Table) hold(b *frame.Buf, d *datagram) frame.Reason {
	n := 0
	group := t.group(&d.datagramKey, b.In)
	for i := range group {
		n += group[i].held
	}
	h := t.fragments.room()
	if n >= maxHeldOf || h == nil {
		return frame.DropFragmentExpired
	}
	h.buf.CopyFrom(b)
	h.of = d
	d.held++
	return frame.Taken
}

// room returns where a fragment more can be held, nil if there are too many. Memory for
// them is got when they come, a little at a time: on most networks none ever does.
func (f *fragments) room() *heldFragment {
	for i := range f.held {
		if f.held[i].of == nil {
			return &f.held[i]
		}
	}
	if len(f.held) == maxHeld {
		return nil
	}
	n := len(f.held)
	for _, buf := range frame.NewBufs(maxHeld / 16) {
		f.held = append(f.held, heldFragment{buf: buf})
	}
	return &f.held[n]
}

// add notes a fragment. One that brings nothing new is dropped alone, as networks
// duplicate packets; one that overlaps ends its datagram (RFC 5722, RFC 8200 4.5).
func (d *datagram) add(f *part) frame.Reason {
	at := 0
	for ; at < len(d.runs) && d.runs[at].to <= f.from; at++ {
	}
	if at < len(d.runs) && d.runs[at].from <= f.from && f.to <= d.runs[at].to {
		return frame.DropBadFragment
	}
	overlaps := at < len(d.runs) && d.runs[at].from < f.to
	beyond := d.end != 0 && (f.last || f.to > d.end) || f.last && len(d.runs) > 0 && d.runs[len(d.runs)-1].to > f.to
	if overlaps || beyond || len(d.runs) == maxRuns {
		d.why = frame.DropBadFragment
		return d.why
	}
	if f.last {
		d.end = f.to
	}
	d.runs = slices.Insert(d.runs, at, f.run)
	if at+1 < len(d.runs) && d.runs[at].to == d.runs[at+1].from {
		d.runs[at].to = d.runs[at+1].to
		d.runs = slices.Delete(d.runs, at+1, at+2)
	}
	if at > 0 && d.runs[at-1].to == d.runs[at].from {
		d.runs[at-1].to = d.runs[at].to
		d.runs = slices.Delete(d.runs, at, at+1)
	}
	return 0
}

// finishDatagram forgets a datagram of which all was here: its identification may soon
// be that of another.
func (t *Table) finishDatagram(d *datagram) {
	if len(d.runs) == 1 && d.runs[0].from == 0 && d.runs[0].to == d.end {
		t.forget(d)
	}
}

// forget ends a datagram. Fragments that were held for it are lost.
func (t *Table) forget(d *datagram) {
	if d.held > 0 {
		for i := range t.fragments.held {
			if h := &t.fragments.held[i]; h.of == d {
				h.of = nil
				t.counters.FragmentsLost++
			}
		}
	}
	*d = datagram{}
}

// ageFragments ends the datagrams of one group whose time is over.
func (t *Table) ageFragments(now time.Duration) {
	f := &t.fragments
	group := &f.datagrams[f.next%sources]
	f.next++
	for i := range group {
		if d := &group[i]; d.deadline != 0 && d.deadline <= ticks(now) {
			t.forget(d)
		}
	}
}
