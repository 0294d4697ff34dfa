package nat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// cut cuts the packet of a frame without options into pieces of size bytes.
func cut(p []byte, id uint32, size int) [][]byte {
	var list [][]byte
	l := frame.Parse(p)
	payload := p[l.L4:]
	for from := 0; from < len(payload); from += size {
		list = append(list, piece(p, id, from, min(from+size, len(payload)), from+size < len(payload)))
	}
	return list
}

// piece returns bytes from to to of the payload of p's packet as a fragment.
func piece(p []byte, id uint32, from, to int, more bool) []byte {
	l := frame.Parse(p)
	q := slices.Clone(p[:l.L4])
	field := uint16(from)
	if l.Version == 4 {
		field >>= 3
		if more {
			field |= 0x2000
		}
		h := frame.IPv4(q[l.L3:])
		h.SetTotalLen(20 + to - from)
		h.SetID(uint16(id))
		binary.BigEndian.PutUint16(h[6:], field)
		h.UpdateChecksum()
	} else {
		if more {
			field |= 1
		}
		h := frame.IPv6(q[l.L3:])
		q = append(q, h[6], 0, byte(field>>8), byte(field))
		q = binary.BigEndian.AppendUint32(q, id)
		h = frame.IPv6(q[l.L3:])
		h[6] = headerFragment
		h.SetPayloadLen(8 + to - from)
	}
	return append(q, p[int(l.L4)+from:int(l.L4)+to]...)
}

// reassemble puts the frame together of which fragments are, in any order, and checks
// that they are of one datagram.
func reassemble(t testing.TB, f family, fragments [][]byte) []byte {
	t.Helper()
	at := frame.EthernetLen + f.headerLen + f.fragmentHdr
	whole := make([]byte, frame.EthernetLen+f.headerLen, 1<<17)
	var id []byte
	end := 0
	for _, p := range fragments {
		l := frame.Parse(p)
		if l.Version == 4 && !frame.IPv4(p[l.L3:]).ChecksumValid() {
			t.Fatal("a fragment's header checksum is wrong")
		}
		field, myID := binary.BigEndian.Uint16(p[frame.EthernetLen+6:])<<3, p[frame.EthernetLen+4:][:2]
		if l.Version == 6 {
			field, myID = binary.BigEndian.Uint16(p[at-6:])&^7, p[at-4:at]
		}
		if id == nil {
			id = myID
		}
		if !bytes.Equal(id, myID) {
			t.Fatalf("fragments have identifications %x and %x", id, myID)
		}
		n := copy(whole[frame.EthernetLen+f.headerLen+int(field):cap(whole)], p[at:])
		end = max(end, frame.EthernetLen+f.headerLen+int(field)+n)
		if l.Fragment == frame.FragmentFirst {
			copy(whole, p[:frame.EthernetLen+f.headerLen])
		}
	}
	whole = whole[:end]
	if f.name == "v4" {
		h := frame.IPv4(whole[frame.EthernetLen:])
		h.SetTotalLen(len(h))
		h[6], h[7] = 0, 0
		h.UpdateChecksum()
	} else {
		h := frame.IPv6(whole[frame.EthernetLen:])
		h[6] = byte(frame.ProtocolUDP)
		h.SetPayloadLen(len(h) - 40)
	}
	return whole
}

// passAll sends fragments by a direction, those emitted again too, and returns what came
// through.
func (r *rig) passAll(send func(*frame.Buf) (bool, frame.Reason), fragments [][]byte) (through [][]byte) {
	r.t.Helper()
	try := func(b *frame.Buf) {
		before := bytes.Clone(b.Bytes())
		ours, why := send(b)
		if q := r.done(b, before, ours && why == 0); q != nil {
			through = append(through, bytes.Clone(q))
		}
	}
	for _, p := range fragments {
		try(buf(p, guestPort))
	}
	for len(r.emitted) > 0 {
		e := r.emitted[0]
		r.emitted = r.emitted[1:]
		if e.in != guestPort {
			r.t.Errorf("emitted by port %d, want that of entry", e.in)
		}
		e.buf.Parse()
		try(e.buf)
	}
	return through
}

func (r *rig) outward(b *frame.Buf) (bool, frame.Reason) {
	return true, r.tab.Outbound(r.now, b, 1, 1)
}

func (r *rig) inward(b *frame.Buf) (bool, frame.Reason) { return r.tab.Inbound(r.now, b) }

func (r *rig) back(b *frame.Buf) (bool, frame.Reason) { return r.tab.Hairpin(r.now, b, 1) }

// Fragments pass in any order (RFC 4787 REQ-14), all of a datagram alike (RFC 3022 6.3).
func TestU14FragmentsInAnyOrder(t *testing.T) { testFragmentOrders(t) }

func TestN03FragmentsMapAlike(t *testing.T) { testFragmentOrders(t) }

func testFragmentOrders(t *testing.T) {
	t.Helper()
	for name, order := range map[string][]int{
		"in order": {0, 1, 2, 3, 4}, "reverse": {4, 3, 2, 1, 0}, "first last": {1, 2, 3, 4, 0}, "mixed": {3, 0, 4, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			forFamilies(t, func(t *testing.T, f family) {
				r := newRig(t, settings())
				r.mustOut(udpFrame(at(f.other, 5000), at(f.remote, 53), 1)) // so that ports change
				whole := udpFrame(at(f.guest, 5000), at(f.remote, 53), 1000)
				shuffle := func(list [][]byte) (shuffled [][]byte) {
					for _, i := range order {
						shuffled = append(shuffled, list[i])
					}
					return shuffled
				}
				through := r.passAll(r.outward, shuffle(cut(whole, 77, 208)))
				if len(through) != 5 {
					t.Fatalf("%d of 5 fragments passed", len(through))
				}
				got := reassemble(t, f, through)
				external := sourceEnd(got)
				wantEnds(t, got, at(f.external, external.Port()), at(f.remote, 53))
				if err := frametest.Checksums(got); err != nil {
					t.Fatal(err)
				}
				answer := udpFrame(at(f.remote, 53), external, 1000)
				got = reassemble(t, f, r.passAll(r.inward, shuffle(cut(answer, 78, 208))))
				wantEnds(t, got, at(f.remote, 53), at(f.guest, 5000))
				if err := frametest.Checksums(got); err != nil {
					t.Fatal(err)
				}
				if c := r.tab.Counters(); c.FragmentsHeld != 0 || c.FragmentsLost != 0 {
					t.Errorf("%+v", c)
				}
				for _, group := range r.tab.fragments.datagrams {
					for _, d := range group {
						if d.deadline != 0 {
							t.Error("a datagram of which all was here is still known: another may have its identification")
						}
					}
				}
			})
		})
	}
}

// Hairpins come in fragments too.
func TestU14HairpinnedFragments(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(filtering(EndpointIndependent)))
		external := sourceEnd(r.mustOut(udpFrame(at(f.other, 5000), at(f.remote, 53), 1)))
		list := cut(udpFrame(at(f.guest, 6000), external, 500), 5, 200)
		slices.Reverse(list)
		got := reassemble(t, f, r.passAll(r.back, list))
		wantEnds(t, got, at(f.external, 6000), at(f.other, 5000))
		if err := frametest.Checksums(got); err != nil {
			t.Error(err)
		}
	})
}

// Fragments of what is the host's are left to it, also those behind the first.
func TestFragmentsForTheHost(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(shared))
		list := cut(udpFrame(at(f.guest, 6000), at(f.external, 2049), 500), 5, 200)
		for _, p := range list {
			if _, ours, why := r.hairpin(p); ours || why != 0 {
				t.Errorf("ours %v, %v", ours, why)
			}
		}
		// If they come before it they are held, then let go.
		slices.Reverse(list)
		if n := len(r.passAll(r.back, cut(udpFrame(at(f.guest, 6000), at(f.external, 2049), 500), 6, 200))); n != 0 {
			t.Errorf("%d fragments translated", n)
		}
		for _, p := range cut(udpFrame(at(f.guest, 6000), at(f.hop, 2049), 500), 6, 200)[1:] {
			if _, ours, why := r.hairpin(p); ours || why != 0 {
				t.Errorf("for an address that is none of ours: ours %v, %v", ours, why)
			}
		}
	})
}

// A datagram whose first fragment is lost is lost as a whole, for the same reason.
func TestFragmentsOfARefusedDatagram(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		external := sourceEnd(r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)))
		for _, p := range cut(udpFrame(at(f.remote2, 53), external, 500), 5, 200) {
			r.refuse(p, frame.DropNATFiltered)
		}
	})
}

// A piece of a datagram in units of eight bytes.
type units struct {
	from, to int
	last     bool
}

// Fragments that overlap end their datagram (RFC 5722, RFC 8200 4.5), what is repeated
// is dropped alone, and what cannot be is dropped.
func TestFragmentOverlaps(t *testing.T) {
	const bad, passes = frame.DropBadFragment, frame.Reason(0)
	for name, c := range map[string]struct {
		pieces []units
		want   []frame.Reason
	}{
		"overlap at the front": {[]units{{0, 4, false}, {3, 6, false}, {6, 9, true}}, []frame.Reason{passes, bad, bad}},
		"overlap at the back":  {[]units{{0, 4, false}, {6, 9, false}, {4, 7, false}, {4, 6, false}}, []frame.Reason{passes, passes, bad, bad}},
		"overlap of both":      {[]units{{0, 4, false}, {6, 9, false}, {3, 7, false}, {4, 6, false}}, []frame.Reason{passes, passes, bad, bad}},
		"larger than another":  {[]units{{0, 4, false}, {5, 6, false}, {4, 8, true}}, []frame.Reason{passes, passes, bad}},
		"TCP flags once more":  {[]units{{0, 4, false}, {1, 5, true}}, []frame.Reason{passes, bad}},
		"repeated":             {[]units{{0, 4, false}, {4, 6, false}, {4, 6, false}, {0, 4, false}, {6, 8, true}}, []frame.Reason{passes, passes, bad, bad, passes}},
		"part repeated":        {[]units{{0, 4, false}, {4, 8, false}, {5, 6, false}, {8, 9, true}}, []frame.Reason{passes, passes, bad, passes}},
		"beyond the end":       {[]units{{0, 4, false}, {8, 9, true}, {9, 10, false}, {4, 8, false}}, []frame.Reason{passes, passes, bad, bad}},
		"end before another":   {[]units{{0, 4, false}, {8, 9, false}, {6, 7, true}}, []frame.Reason{passes, passes, bad}},
		"two ends":             {[]units{{0, 4, false}, {8, 9, true}, {6, 7, true}}, []frame.Reason{passes, passes, bad}},
		"each gap filled":      {[]units{{0, 3, false}, {5, 6, false}, {3, 5, false}, {9, 12, true}, {6, 9, false}}, []frame.Reason{passes, passes, passes, passes, passes}},
	} {
		t.Run(name, func(t *testing.T) {
			forFamilies(t, func(t *testing.T, f family) {
				r := newRig(t, settings())
				whole := udpFrame(at(f.guest, 5000), at(f.remote, 53), 400)
				for i, u := range c.pieces {
					if _, why := r.out(piece(whole, 9, 8*u.from, 8*u.to, !u.last)); why != c.want[i] {
						t.Errorf("piece %d: %v, want %v", i, why, c.want[i])
					}
				}
			})
		})
	}
}

// Malformed fragments: no payload, a middle one of no multiple of eight bytes, one that
// reaches beyond 65,535 bytes, a first one without the whole transport header (RFC 1858).
func TestMalformedFragments(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		whole := udpFrame(at(f.guest, 5000), at(f.remote, 53), 400)
		tcp := tcpFrame(at(f.guest, 5000), at(f.remote, 53), seg{flags: syn, payload: 100})
		far := piece(whole, 9, 0, 400, false)
		if f.name == "v4" {
			binary.BigEndian.PutUint16(far[frame.EthernetLen+6:], 0x1fff)
			frame.IPv4(far[frame.EthernetLen:]).UpdateChecksum()
		} else {
			binary.BigEndian.PutUint16(far[frame.EthernetLen+42:], 0xfff8)
		}
		for name, c := range map[string]struct {
			p    []byte
			want frame.Reason
		}{
			"empty":         {piece(whole, 1, 8, 8, false), frame.DropBadFragment},
			"odd":           {piece(whole, 2, 8, 23, true), frame.DropBadFragment},
			"beyond":        {far, frame.DropBadFragment},
			"tiny TCP":      {piece(tcp, 3, 0, 16, true), frame.DropBadPacket},
			"first, filled": {piece(whole, 4, 0, 16, true), 0},
		} {
			r := newRig(t, settings())
			if _, why := r.out(c.p); why != c.want {
				t.Errorf("%s: %v, want %v", name, why, c.want)
			}
		}
	})
}

// An atomic fragment is a whole packet (RFC 6946), and a nested fragment header none.
func TestAtomicFragment(t *testing.T) {
	f := families[1]
	r := newRig(t, settings())
	whole := udpFrame(at(f.guest, 5000), at(f.remote, 53), 40)
	got := r.mustOut(piece(whole, 5, 0, 48, false))
	wantEnds(t, got, at(f.external, 5000), at(f.remote, 53))
	nested := piece(piece(whole, 5, 0, 48, false), 6, 0, 48, true)
	nested[frame.EthernetLen+40], nested[frame.EthernetLen+48] = headerFragment, byte(frame.ProtocolUDP)
	if _, why := r.out(nested); why == 0 {
		t.Error("a fragment of a fragment was translated")
	}
}

// Fragments that wait are bounded, for one sender and for all, and do not wait for long;
// unfragmented packets do not suffer (RFC 4787 REQ-14 a).
func TestU14HeldFragmentsAreBounded(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		guest, in := f.guest, guestPort
		hold := func(id uint32) frame.Reason {
			whole := udpFrame(at(guest, 5000), at(f.remote, 53), 400)
			_, why := r.outBuf(r.buf(piece(whole, id, 200, 208, false), in))
			return why
		}
		for id := range uint32(1000) {
			if why := hold(id); why != frame.Taken {
				t.Fatalf("%v, want it taken: what is older makes way", why)
			}
		}
		if c := r.tab.Counters(); c.FragmentsHeld != perSource || c.FragmentsLost != 1000-perSource {
			t.Errorf("%+v, want %d held", c, perSource)
		}
		whole := udpFrame(at(guest, 5000), at(f.remote, 53), 65000/8)
		for i := range 60 {
			_, why := r.out(piece(whole, 5000, 80+8*i, 88+8*i, true))
			if want := i < maxHeldOf-perSource+1; (why == frame.Taken) != want && why != frame.DropFragmentExpired {
				t.Errorf("fragment %d of a datagram: %v", i, why)
			}
		}
		for id := range uint32(1000) { // as somebody else
			guest = guest.Next()
			hold(id)
		}
		if c := r.tab.Counters(); c.FragmentsHeld > maxHeldOf {
			t.Errorf("%d held of one port that makes up addresses, want %d at most", c.FragmentsHeld, maxHeldOf)
		}
		for range 200 {
			in++
			for id := range uint32(10) {
				hold(id)
			}
		}
		if c := r.tab.Counters(); c.FragmentsHeld > maxHeld || c.FragmentsHeld < maxHeld/2 {
			t.Errorf("%d held, want nearly %d", c.FragmentsHeld, maxHeld)
		}
		r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
		if got := len(r.passAll(r.outward, cut(udpFrame(at(f.guest, 5001), at(f.remote, 53), 400), 7777, 200))); got != 3 {
			t.Errorf("%d of 3 fragments in order passed", got)
		}
		r.pass(fragmentLife + 2*tick)
		if c := r.tab.Counters(); c.FragmentsHeld != 0 {
			t.Errorf("%d are held still", c.FragmentsHeld)
		}
	})
}

// At least two seconds a fragment waits (RFC 6146 4), and what comes for it later finds it.
func TestHeldFragmentWaits(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		list := cut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 300), 5, 200)
		if _, why := r.out(list[1]); why != frame.Taken {
			t.Fatal(why)
		}
		r.pass(2 * time.Second)
		if got := len(r.passAll(r.outward, list[:1])); got != 2 {
			t.Errorf("%d of 2 fragments passed", got)
		}
	})
}
