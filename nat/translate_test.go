package nat

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// Checksums cover the pseudo-header, whole, partial, or of a superframe (RFC 3022 4.2).
func TestN01Checksums(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		kinds := []frame.GSO{frame.GSONone, frame.GSOUDP, frame.GSOTCPv4}
		if f.name == "v6" {
			kinds[2] = frame.GSOTCPv6
		}
		for _, gso := range kinds {
			for _, udp := range []bool{false, true} {
				for _, extension := range []bool{false, f.name == "v6"} {
					if udp && gso != frame.GSONone {
						continue
					}
					t.Run(fmt.Sprint(gso, udp, extension), func(t *testing.T) {
						s := frametest.Superframe{
							Src: frametest.End{MAC: 1, Addr: f.guest, Port: 5000}, Dst: frametest.End{MAC: 2, Addr: f.remote, Port: 53},
							GSO: gso, UDP: udp, Len: 9000, SegSize: 1400, Extension: extension, Flags: syn,
						}
						testSuperframe(t, f, s)
					})
				}
			}
		}
	})
}

// testSuperframe sends a superframe out and its mirror image in: the segments of what
// comes out are those that were translated one by one.
func testSuperframe(t *testing.T, f family, s frametest.Superframe) {
	r, one := newRig(t, settings()), newRig(t, settings())
	for _, r := range []*rig{r, one} { // so that ports change, alike
		r.mustOut(udpFrame(at(f.other, 5000), at(f.remote, 53), 1))
		r.mustOut(tcpFrame(at(f.other, 5000), at(f.remote, 53), seg{flags: syn}))
		r.tab.ids = [groupsOfIDs]uint32{}
	}
	b := s.Buf()
	b.In = guestPort
	if why := b.CheckOffload(); why != 0 {
		t.Fatal(why)
	}
	b.Parse()
	want := segments(b)
	q, why := r.outBuf(b)
	if why != 0 {
		t.Fatal(why)
	}
	got := segments(b)
	for i := range want {
		want[i], why = one.out(want[i])
		if why != 0 {
			t.Fatal(why)
		}
		if err := frametest.Checksums(got[i]); err != nil && !s.Extension {
			t.Error(err)
		}
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("segment %d of %d:\n%x, want\n%x", i, len(want), got[i], want[i])
		}
	}
	s.Src, s.Dst = s.Dst, frametest.End{MAC: 1, Addr: f.external, Port: sourceEnd(q).Port()}
	b = s.Buf()
	if why := b.CheckOffload(); why != 0 {
		t.Fatal(why)
	}
	b.Parse()
	if ours, why := r.tab.Inbound(0, b); !ours || why != 0 {
		t.Fatal(why)
	}
	for _, p := range segments(b) {
		wantEnds(t, p, at(f.remote, 53), at(f.guest, 5000))
		if err := frametest.Checksums(p); err != nil && !s.Extension {
			t.Error(err)
		}
	}
}

// segments returns the frames that leave for b at a device that can nothing.
func segments(b *frame.Buf) (list [][]byte) {
	dst := frame.NewBufs(1)[0]
	for s := b.Segment(0); s.Next(dst); {
		list = append(list, bytes.Clone(dst.Bytes()))
	}
	return list
}

// A UDP checksum of zero, none, stays so; one that becomes zero is sent as 0xffff
// (RFC 3022 4.2, RFC 768).
func TestN01UDPChecksumZero(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		for _, want := range []uint16{0, 0xffff} {
			b := buf(udpFrame(at(f.guest, 5000), at(f.remote, 53), 2), guestPort)
			h := b.Bytes()[b.Layers.L4:]
			if want == 0 {
				h[6], h[7] = 0, 0
			} else { // a payload that makes the sum over the translated datagram 0xffff
				out := r.mustOut(bytes.Clone(b.Bytes()))
				sum := binary.BigEndian.Uint16(out[b.Layers.L4+6:])
				data := frame.Change(0).Word(0, binary.BigEndian.Uint16(h[8:])).Word(0, sum)
				binary.BigEndian.PutUint16(h[8:], uint16(data))
				h[6], h[7] = 0, 0
				binary.BigEndian.PutUint16(h[6:], ^frame.Sum(h, pseudo(b)))
			}
			if why := r.tab.Outbound(0, b, 1, 1); why != 0 {
				t.Fatal(why)
			}
			if got := binary.BigEndian.Uint16(h[6:]); got != want {
				t.Errorf("checksum %#x, want %#x", got, want)
			}
		}
	})
}

// pseudo returns the sum of the pseudo-header of b, which ends with the packet.
func pseudo(b *frame.Buf) uint16 {
	p, l := b.Bytes(), &b.Layers
	if l.Version == 4 {
		return frame.IPv4(p[l.L3:]).PseudoSum(l.Protocol, b.Len()-int(l.L4))
	}
	return frame.IPv6(p[l.L3:]).PseudoSum(l.Protocol, b.Len()-int(l.L4))
}

// Nothing of what packets carry is changed: no ALG is there (RFC 3022 4.4, RFC 4787
// REQ-10, RFC 5382 REQ-6).
func TestN04NoALG(t *testing.T) { testNoALG(t) }

func TestU10NoALG(t *testing.T) { testNoALG(t) }

func TestT06NoALG(t *testing.T) { testNoALG(t) }

func testNoALG(t *testing.T) {
	t.Helper()
	forFamilies(t, func(t *testing.T, f family) {
		for port, text := range map[uint16]string{
			21:   "PORT 192,168,150,10,19,136\r\n",
			5060: "INVITE sip:b@example.com SIP/2.0\r\nContact: <sip:a@192.168.150.10:5000>\r\n",
			69:   "\x00\x01file\x00octet\x00",
		} {
			r := newRig(t, settings())
			for _, tr := range transports {
				p := tr.frame(at(f.guest, 5000), at(f.remote, port))
				p = append(p, text...)
				b := buf(p, guestPort)
				l := b.Layers
				if l.Version == 4 {
					frame.IPv4(p[l.L3:]).SetTotalLen(len(p) - int(l.L3))
					frame.IPv4(p[l.L3:]).UpdateChecksum()
				} else {
					frame.IPv6(p[l.L3:]).SetPayloadLen(len(p) - int(l.L3) - ipv6Len)
				}
				at := int(l.L4) + 6
				if l.Protocol == frame.ProtocolTCP {
					at = int(l.L4) + 16
				} else {
					frame.UDP(p[l.L4:]).SetLen(len(p) - int(l.L4))
				}
				b = buf(p, guestPort)
				h := b.Bytes()
				h[at], h[at+1] = 0, 0
				binary.BigEndian.PutUint16(h[at:], ^frame.Sum(h[l.L4:], pseudo(b)))
				if got := r.mustOut(h); !bytes.HasSuffix(got, []byte(text)) {
					t.Errorf("%q became %q", text, got[len(got)-len(text):])
				}
			}
		}
	})
}

// What cannot be translated is said so, and is not changed.
func TestUntranslatable(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		udp := udpFrame(at(f.guest, 5000), at(f.remote, 53), 40)
		short := bytes.Clone(udp[:frame.EthernetLen+f.headerLen+6])
		tcp := tcpFrame(at(f.guest, 5000), at(f.remote, 53), seg{flags: syn})
		offset := bytes.Clone(tcp)
		offset[frame.EthernetLen+f.headerLen+12] = 0x40
		for name, c := range map[string]struct {
			p    []byte
			want frame.Reason
		}{
			"GRE":                  {packetFrame(f.guest, f.remote, 47, payload(30)), frame.DropNATUnsupported},
			"SCTP":                 {packetFrame(f.guest, f.remote, 132, payload(30)), frame.DropNATUnsupported},
			"UDP-Lite":             {packetFrame(f.guest, f.remote, 136, payload(30)), frame.DropNATUnsupported},
			"the other ICMP":       {packetFrame(f.guest, f.remote, map[string]frame.Protocol{"v4": 58, "v6": 1}[f.name], payload(30)), frame.DropNATUnsupported},
			"no source port":       {udpFrame(at(f.guest, 0), at(f.remote, 53), 1), frame.DropBadPacket},
			"no destination port":  {udpFrame(at(f.guest, 5000), at(f.remote, 0), 1), frame.DropBadPacket},
			"half a UDP header":    {short, frame.DropBadPacket},
			"half a TCP header":    {tcp[:frame.EthernetLen+f.headerLen+18], frame.DropBadPacket},
			"TCP header too short": {offset, frame.DropBadPacket},
		} {
			if _, why := r.out(c.p); why != c.want {
				t.Errorf("%s: %v, want %v", name, why, c.want)
			}
		}
		r.wantSessions(0)
	})
}

// Behind a routing header the checksum covers another destination, while the packet is
// under way (RFC 8200 8.1); what is authenticated must not change (RFC 4302).
func TestExtensionHeaders(t *testing.T) {
	f := families[1]
	for name, c := range map[string]struct {
		next   byte
		header []byte
		want   frame.Reason
	}{
		"hop by hop":              {headerHopByHop, []byte{17, 0, 1, 4, 0, 0, 0, 0}, 0},
		"destination options":     {headerDestination, []byte{17, 0, 1, 4, 0, 0, 0, 0}, 0},
		"routing, at its end":     {headerRouting, []byte{17, 0, 0, 0, 0, 0, 0, 0}, 0},
		"routing, under way":      {headerRouting, []byte{17, 0, 0, 1, 0, 0, 0, 0}, frame.DropBadPacket},
		"authentication":          {headerAuth, []byte{17, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1}, frame.DropBadPacket},
		"routing behind an other": {headerDestination, []byte{headerRouting, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 0}, frame.DropBadPacket},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, settings())
			p := udpFrame(at(f.guest, 5000), at(f.remote, 53), 20)
			ip := frame.EthernetLen + ipv6Len
			p = slices.Insert(p, ip, c.header...)
			p[frame.EthernetLen+6] = c.next
			frame.IPv6(p[frame.EthernetLen:]).SetPayloadLen(len(p) - ip)
			if _, why := r.out(p); why != c.want {
				t.Errorf("%v, want %v", why, c.want)
			}
		})
	}
}

// Addresses of IPv6 that mean IPv4 ones must not be taken for those.
func TestMappedAddresses(t *testing.T) {
	f := families[0]
	r := newRig(t, settings(filtering(EndpointIndependent)))
	r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
	wide := func(a netip.AddrPort) netip.AddrPort { return at(addr("::ffff:"+a.Addr().String()), a.Port()) }
	if _, why := r.out(udpFrame(wide(at(f.guest, 5000)), wide(at(f.remote, 53)), 1)); why != frame.DropMartian {
		t.Errorf("outbound: %v, want martian", why)
	}
	r.leave(udpFrame(wide(at(f.remote, 53)), wide(at(f.external, 5000)), 1))
}
