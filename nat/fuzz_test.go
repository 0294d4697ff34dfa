package nat

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// The directions of a step of FuzzTable, in the low bits of its first byte.
const (
	goOut = iota
	goIn
	goBack
	directions
)

// step encodes a frame's way through the table: direction and whether its checksum is
// left to the device, length, bytes.
func step(direction uint8, partial bool, p []byte) []byte {
	if partial {
		direction |= 0x80
	}
	return append(binary.BigEndian.AppendUint16([]byte{direction}, uint16(len(p))), p...)
}

func fuzzSettings() Settings {
	return settings(filtering(AddressDependent), forwards(
		Forward{Protocol: frame.ProtocolTCP, Pool: 1, First: 80, Last: 90, To: at(families[0].guest, 8080)},
		Forward{Protocol: frame.ProtocolUDP, Pool: 1, First: 80, Last: 90, To: at(families[1].guest, 8080)},
	))
}

func addFuzzSeeds(f *testing.F) {
	for _, fam := range families {
		for _, p := range errorSubjects(fam) {
			r := newRigOf(f, 16, fuzzSettings())
			sent := bytes.Clone(r.mustOut(bytes.Clone(p)))
			f.Add(slices.Concat(step(goOut, false, p), step(goIn, false, failureFrame(fam, fam.hop, sent)), step(goBack, false, p)))
			f.Add(slices.Concat(step(goOut, true, p), step(goOut, false, failureFrame(fam, fam.guest, p))))
		}
		var fragments []byte
		for _, p := range slices.Backward(cut(udpFrame(at(fam.guest, 5000), at(fam.remote, 53), 200), 7, 72)) {
			fragments = append(fragments, step(goOut, false, p)...)
		}
		f.Add(fragments)
		f.Add(slices.Concat(
			step(goIn, false, tcpFrame(at(fam.remote, 999), at(fam.external, 81), seg{flags: syn, scale: 4})),
			step(goOut, true, tcpFrame(at(fam.guest, 8081), at(fam.remote, 999), seg{flags: syn | ack, ack: 1, scale: 4})),
			step(goIn, false, tcpFrame(at(fam.remote, 999), at(fam.external, 81), seg{flags: ack, seq: 1, ack: 1})),
			step(goBack, false, udpFrame(at(fam.other, 999), at(fam.external, 81), 9)),
			step(goBack, false, echoFrame(fam.other, fam.external, fam.echo, 9)),
		))
		f.Add(step(goOut, false, piece(udpFrame(at(fam.guest, 5000), at(fam.remote, 53), 40), 5, 0, 48, false)))
	}
}

// FuzzTable sends any frames at all through the table. It must not panic, nor write
// elsewhere than to the packet, nor make a right checksum wrong.
func FuzzTable(f *testing.F) {
	addFuzzSeeds(f)
	z := &fuzzer{rig: newRigOf(f, 16, Settings{}), bufs: frame.NewBufs(2)} // once: they are large
	f.Fuzz(func(t *testing.T, steps []byte) {
		r := z.rig
		r.t, r.host.t, r.emitted = t, t, nil
		r.tab.fragments.datagrams = [sources][perSource]datagram{}
		r.tab.Configure(r.now, fuzzSettings())
		for len(steps) >= 3 {
			direction := steps[0]
			n := min(int(binary.BigEndian.Uint16(steps[1:])), len(steps)-3)
			z.step(t, direction&0x7f%directions, direction&0x80 != 0, steps[3:3+n])
			steps = steps[3+n:]
		}
		for _, e := range r.emitted {
			e.buf.Parse()
			z.step(t, goOut, false, e.buf.Bytes())
		}
		r.pass(fragmentLife)
		checkBooks(t, r.tab)
		r.tab.Configure(r.now, Settings{})
		r.wantSessions(0)
	})
}

// A fuzzer is what FuzzTable uses again for each input.
type fuzzer struct {
	rig  *rig
	bufs []*frame.Buf
}

func (z *fuzzer) step(t *testing.T, direction uint8, partial bool, p []byte) {
	r, b := z.rig, z.bufs[0]
	b.SetBytes(p)
	b.In = guestPort
	b.Parse()
	if l := b.Layers; partial && l.L4 != 0 {
		at := map[frame.Protocol]uint16{frame.ProtocolTCP: 16, frame.ProtocolUDP: 6, frame.ProtocolICMPv6: 2}[l.Protocol]
		b.Offload = frame.Offload{NeedsCsum: true, CsumStart: l.L4, CsumOffset: at}
	}
	if b.Layers.Version == 0 || b.CheckOffload() != 0 {
		return
	}
	b.Parse()
	was := z.completed(b)
	l, before := b.Layers, around(b)
	came, _ := b.Flow()
	ours, why := true, frame.Reason(0)
	switch direction {
	case goOut:
		why = r.tab.Outbound(r.now, b, 1, 1)
	case goIn:
		ours, why = r.tab.Inbound(r.now, b)
	case goBack:
		ours, why = r.tab.Hairpin(r.now, b, 1)
	}
	after := around(b)
	is, _ := b.Flow()
	if !b.Basis.Once && (!ours || why != 0 || came.Version != 0 && !r.follows(&b.Basis, &came, &is)) {
		t.Fatalf("ours %v, %v: %+v became %+v, and that is to rest on %+v", ours, why, came, is, b.Basis)
	}
	if !ours && why != 0 {
		t.Fatalf("not ours, and %v", why)
	}
	if !ours || why != 0 {
		if !bytes.Equal(before, after) {
			t.Fatalf("not translated, yet changed:\n%x\n%x", before, after)
		}
		return
	}
	first, last := frame.Headroom+int(l.L3), frame.Headroom+end(&l, p)
	if !bytes.Equal(before[:first], after[:first]) || !bytes.Equal(before[last:], after[last:]) {
		t.Fatalf("it wrote beside the packet at %d to %d:\n%x\n%x", first, last, before, after)
	}
	b.Parse()
	wantStillRight(t, was, z.completed(b), l, b.Layers)
}

// follows reports whether the session alone makes flow is of flow was.
func (r *rig) follows(on *frame.Basis, was, is *frame.Flow) bool {
	s := r.tab.sessions.at(on.Session)
	from, to := endpoint{r.tab.hosts.at(s.host).address, s.internalPort}, endpoint{r.tab.externals[s.external].address, s.externalPort}
	if on.Outside {
		from, to = to, from
	}
	near, far := flowEnds(was, on.Outside)
	nearIs, farIs := flowEnds(is, on.Outside)
	return near == from && nearIs == to && far == s.far() && farIs == far
}

// flowEnds returns the end of a flow that is translated, and the other.
func flowEnds(f *frame.Flow, fromOutside bool) (near, far endpoint) {
	near, far = endpoint{address6(f.SrcAddr[:]), f.SrcPort}, endpoint{address6(f.DstAddr[:]), f.DstPort}
	if fromOutside {
		near, far = far, near
	}
	if p, _ := protoOf(f.Protocol); p == icmp {
		near.port, far.port = f.SrcPort, 0
	}
	return near, far
}

// around returns the frame with what is in front of it and behind it.
func around(b *frame.Buf) []byte {
	n := b.Len()
	b.Resize(n + 64)
	p := bytes.Clone(b.WithHeader(frame.Headroom))
	b.Resize(n)
	return p
}

// completed returns the frame with its checksum done.
func (z *fuzzer) completed(b *frame.Buf) []byte {
	c := z.bufs[1]
	c.CopyFrom(b)
	if c.Offload.GSO == frame.GSONone {
		c.Complete()
	}
	return bytes.Clone(c.Bytes())
}

// wantStillRight wants checksums right that were right before.
func wantStillRight(t *testing.T, was, is []byte, before, after frame.Layers) {
	t.Helper()
	if before.Version == 4 && frame.IPv4(was[before.L3:]).ChecksumValid() && !frame.IPv4(is[after.L3:]).ChecksumValid() {
		t.Fatalf("header checksum is wrong:\n%x\n%x", was, is)
	}
	if before.Fragment == frame.FragmentNone && transportSum(was, before) == 0xffff && transportSum(is, after) != 0xffff {
		t.Fatalf("transport checksum is wrong:\n%x\n%x", was, is)
	}
}

// transportSum returns the sum that a right transport checksum makes 0xffff.
func transportSum(p []byte, l frame.Layers) uint16 {
	h := p[l.L4:end(&l, p)]
	switch {
	case l.Version == 6:
		return frametest.SlowSum(append(binary.BigEndian.AppendUint16(nil, frame.IPv6(p[l.L3:]).PseudoSum(l.Protocol, len(h))), h...))
	case l.Protocol == frame.ProtocolICMP:
		return frametest.SlowSum(h)
	}
	return frametest.SlowSum(append(binary.BigEndian.AppendUint16(nil, frame.IPv4(p[l.L3:]).PseudoSum(l.Protocol, len(h))), h...))
}

// checkBooks wants the index to have what the records want, and nothing else.
func checkBooks(t interface{ Fatalf(string, ...any) }, tab *Table) {
	slots, want := 0, tab.hosts.used+tab.mappings.used+2*tab.sessions.used+tab.peers.used
	for _, s := range tab.index.slots {
		if s != 0 {
			slots++
		}
	}
	for _, e := range tab.externals {
		if e != nil {
			want++
		}
	}
	for i := range tab.mappings.made {
		if m := tab.mappings.at(i + 1); m.sessions != 0 && m.flags&primary != 0 {
			want++
		}
	}
	if slots != want {
		t.Fatalf("%d slots of the index, want %d", slots, want)
	}
}

// FuzzWindowScale reads options of any kind.
func FuzzWindowScale(f *testing.F) {
	f.Add([]byte{1, 3, 3, 7})
	f.Add([]byte{2, 4, 5, 180, 4, 2, 3, 3, 20, 0})
	f.Add([]byte{3, 3})
	f.Fuzz(func(t *testing.T, options []byte) {
		if got := windowScale(options); got > scaleMost && got != scaleNone {
			t.Errorf("scale %d", got)
		}
	})
}

// FuzzSettings configures whatever an API may bring, with packets in between.
func FuzzSettings(f *testing.F) {
	f.Add(uint16(80), uint16(90), uint16(8080), uint16(0), uint16(0), uint16(1), false, byte(0))
	f.Add(uint16(0), uint16(65535), uint16(65535), uint16(65535), uint16(1), uint16(2), true, byte(7))
	r := newRigOf(f, 16, Settings{})
	f.Fuzz(func(t *testing.T, first, last, to, low, high, pool uint16, isShared bool, mask byte) {
		fam := families[mask&1]
		a := netip.Addr{}
		if mask&2 != 0 {
			a = fam.external
		}
		s := settings(func(_ *Policy, c *PoolConfig) { c.Shared, c.First, c.Last = isShared, low, high }, forwards(
			bothProtocols(Forward{Pool: pool % 3, Address: a, First: first, Last: last, To: at(fam.guest, to)})...))
		r.t, r.host.t = t, t
		r.tab.Configure(0, settings())
		send := func() {
			for _, tr := range transports {
				r.out(tr.frame(at(fam.guest, to|1), at(fam.remote, 53)))
				r.in(tr.frame(at(fam.remote, 54), at(fam.external, first|1)))
				r.hairpin(tr.frame(at(fam.other, to|1), at(fam.external, first|1)))
			}
			checkBooks(t, r.tab)
		}
		send()
		r.tab.Configure(0, s)
		send()
		r.tab.Configure(0, settings())
		send()
		r.tab.Configure(0, Settings{})
		r.wantSessions(0)
		if len(r.host.claims) != 0 {
			t.Errorf("claims are left: %v", r.host.claims)
		}
	})
}
