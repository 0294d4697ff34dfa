package nat

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// Guests behind one address choose identifications that collide; outside they differ
// (RFC 7857 10, RFC 6864 5.3.1). Of atomic datagrams they mean nothing, and stay.
func TestU17Identification(t *testing.T) {
	f := families[0]
	r := newRig(t, settings())
	seen := map[uint16]bool{}
	for _, guest := range []netip.Addr{f.guest, f.other} {
		p := udpFrame(at(guest, 5000), at(f.remote, 53), 20)
		h := frame.IPv4(p[frame.EthernetLen:])
		if got := frame.IPv4(r.mustOut(bytes.Clone(p))[frame.EthernetLen:]).ID(); got != h.ID() {
			t.Errorf("the identification of an atomic datagram becomes %#x", got)
		}
		h[6] = 0 // DF clear
		h.UpdateChecksum()
		for range 10 {
			seen[frame.IPv4(r.mustOut(bytes.Clone(p))[frame.EthernetLen:]).ID()] = true
		}
		for _, q := range r.passAll(r.outward, cut(p, 0x1234, 16)) {
			seen[frame.IPv4(q[frame.EthernetLen:]).ID()] = true
		}
	}
	if len(seen) != 22 {
		t.Errorf("%d identifications for 22 datagrams", len(seen))
	}
}

// Each segment of a superframe has an identification, too.
func TestU17IdentificationOfSuperframes(t *testing.T) {
	f := families[0]
	r := newRig(t, settings())
	seen := map[uint16]bool{}
	for range 10 {
		s := frametest.Superframe{
			Src: frametest.End{MAC: 1, Addr: f.guest, Port: 5000}, Dst: frametest.End{MAC: 2, Addr: f.remote, Port: 53},
			GSO: frame.GSOUDP, Len: 5000, SegSize: 1000,
		}
		b := s.Buf()
		b.Parse()
		h := frame.IPv4(b.Bytes()[b.Layers.L3:])
		h[6] = 0 // DF clear
		h.UpdateChecksum()
		if why := b.CheckOffload(); why != 0 {
			t.Fatal(why)
		}
		if why := r.tab.Outbound(0, b, 1, 1); why != 0 {
			t.Fatal(why)
		}
		for _, p := range segments(b) {
			seen[frame.IPv4(p[frame.EthernetLen:]).ID()] = true
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d identifications for 50 datagrams", len(seen))
	}
}

func TestU17IdentificationOfIPv6(t *testing.T) {
	f := families[1]
	r := newRig(t, settings())
	seen := map[uint32]bool{}
	for _, guest := range []netip.Addr{f.guest, f.other} {
		for _, q := range r.passAll(r.outward, cut(udpFrame(at(guest, 5000), at(f.remote, 53), 40), 0x1234, 16)) {
			seen[binary.BigEndian.Uint32(q[frame.EthernetLen+44:])] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d identifications for 2 datagrams", len(seen))
	}
}
