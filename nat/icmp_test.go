package nat

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"

	"weft/frame"
	"weft/frame/frametest"
)

func payload(n int) gopacket.Payload { return frametest.Payload(n) }

// wantQuoted wants the ICMP error p to quote the packet of the frame sent, byte for byte.
func wantQuoted(t testing.TB, p, sent []byte) {
	t.Helper()
	l := frame.Parse(p)
	quoted, want := p[int(l.L4)+8:], sent[frame.EthernetLen:]
	if want = want[:min(len(want), len(quoted))]; !bytes.Equal(quoted, want) {
		t.Errorf("quotes\n%x, want\n%x", quoted, want)
	}
}

// Queries from inside pass, and answers to them (RFC 5508 REQ-1); the identifier is
// mapped for all remotes (a). Nobody else gets through.
func TestI01Queries(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		wantEnds(t, r.mustOut(echoFrame(f.guest, f.remote, f.echo, 77)), at(f.external, 77), at(f.remote, 77))
		got := r.mustOut(echoFrame(f.other, f.remote, f.echo, 77))
		id := sourceEnd(got).Port()
		if id == 77 {
			t.Fatal("two guests have the same identifier")
		}
		wantEnds(t, got, at(f.external, id), at(f.remote, id))
		wantEnds(t, r.mustOut(echoFrame(f.other, f.remote2, f.echo, 77)), at(f.external, id), at(f.remote2, id))
		wantEnds(t, r.mustIn(echoFrame(f.remote, f.external, f.echoReply, 77)), at(f.remote, 77), at(f.guest, 77))
		wantEnds(t, r.mustIn(echoFrame(f.remote2, f.external, f.echoReply, id)), at(f.remote2, 77), at(f.other, 77))
		r.leave(echoFrame(f.remote2, f.external, f.echoReply, 77))
		r.leave(echoFrame(f.hop, f.external, f.echo, 77))
		if _, why := r.out(echoFrame(f.guest, f.remote2, f.echoReply, 5)); why != frame.DropNATInvalid {
			t.Errorf("an answer to nobody: %v, want nat-invalid", why)
		}
	})
}

// The host's address answers pings, and its own pings get their answers.
func TestI01QueriesOnSharedAddress(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings(shared))
		r.mustOut(echoFrame(f.guest, f.remote, f.echo, 77))
		if !r.host.claims[hostKey(f.icmp, at(f.external, 77))] {
			t.Error("the identifier is not claimed")
		}
		r.leave(echoFrame(f.remote, f.external, f.echo, 77))
		r.leave(echoFrame(f.remote, f.external, f.echoReply, 78))
		r.mustIn(echoFrame(f.remote, f.external, f.echoReply, 77))
		r.pass(time.Minute + tick)
		if len(r.host.claims) != 0 {
			t.Errorf("claims are left: %v", r.host.claims)
		}
	})
}

// flows of each kind, for errors to be about: what is sent from inside.
func errorSubjects(f family) map[string][]byte {
	return map[string][]byte{
		"UDP":  udpFrame(at(f.guest, 5000), at(f.remote, 53), 100),
		"TCP":  tcpFrame(at(f.guest, 5000), at(f.remote, 80), seg{flags: syn, payload: 50}),
		"echo": echoFrame(f.guest, f.remote, f.echo, 77),
	}
}

// An ICMP error with a bad checksum, or with a bad IP checksum in the quoted header, is
// dropped; the quoted transport checksum does not matter (RFC 5508 REQ-3).
func TestI03Checksums(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for name, p := range errorSubjects(f) {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, settings())
				sent := r.mustOut(bytes.Clone(p))
				good := failureFrame(f, f.hop, sent)
				bad := bytes.Clone(good)
				bad[len(bad)-1] ^= 1
				r.leave(bad)
				if f.name == "v4" {
					bad = bytes.Clone(good)
					bad[frame.EthernetLen+20+8+8] ^= 1 // TTL of the quoted header
					r.leave(fixICMP(bad))
				}
				odd := bytes.Clone(good)
				odd[len(odd)-1] ^= 1
				r.mustIn(fixICMP(odd))
			})
		}
	})
}

// Errors from outside: outer and quoted addresses and ports are those of inside again
// (RFC 5508 REQ-4), whoever sent the error (RFC 4787 REQ-12 a).
func TestI04ErrorsFromOutside(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for name, p := range errorSubjects(f) {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, settings(func(_ *Policy, c *PoolConfig) { c.Addresses = []netip.Addr{f.external} }))
				r.mustOut(udpFrame(at(f.other, 5000), at(f.remote, 1), 1)) // has port 5000, so that ports change
				r.mustOut(tcpFrame(at(f.other, 5000), at(f.remote, 1), seg{flags: syn}))
				r.mustOut(echoFrame(f.other, f.remote, f.echo, 77))
				sent := r.mustOut(bytes.Clone(p))
				if sourceEnd(sent).Port() == sourceEnd(p).Port() {
					t.Fatal("the port does not change")
				}
				for _, from := range []netip.Addr{f.hop, f.remote} {
					got := r.mustIn(failureFrame(f, from, sent))
					if source(got) != from || destination(got) != f.guest {
						t.Errorf("%v > %v, want %v > %v", source(got), destination(got), from, f.guest)
					}
					wantQuoted(t, got, p)
				}
				// Of what is quoted the end may be cut off: eight bytes are enough.
				short := failureFrame(f, f.hop, sent[:frame.EthernetLen+f.headerLen+8])
				wantQuoted(t, r.mustIn(short), p)
				// To another than it is about (RFC 5508 REQ-7 a).
				stray := icmpFrame(f.hop, f.secondExt, f.unreachable, f.portCode, 0, sent[frame.EthernetLen:])
				r.leave(stray)
				// About what was never sent.
				never := bytes.Clone(sent)
				never[frame.EthernetLen+f.headerLen-1] ^= 1 // the destination
				if f.name == "v4" {
					frame.IPv4(never[frame.EthernetLen:]).UpdateChecksum()
				}
				r.leave(failureFrame(f, f.hop, never))
			})
		}
	})
}

// Errors from inside about what came from outside (RFC 5508 REQ-5): from a router there,
// too, they appear with the NAT's address (c).
func TestI05ErrorsFromInside(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		for name, p := range map[string]func(src, dst netip.AddrPort) []byte{"UDP": transports[0].frame, "TCP": transports[1].frame} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, settings())
				r.mustOut(p(at(f.other, 5000), at(f.remote, 53)))
				external := sourceEnd(r.mustOut(p(at(f.guest, 5000), at(f.remote, 53))))
				came := p(at(f.remote, 53), external)
				got := r.mustIn(bytes.Clone(came))
				for _, from := range []netip.Addr{f.guest, f.guest.Next().Next()} {
					out := r.mustOut(failureFrame(f, from, got))
					if source(out) != f.external || destination(out) != f.remote {
						t.Errorf("%v > %v, want %v > %v", source(out), destination(out), f.external, f.remote)
					}
					wantQuoted(t, out, came)
				}
				stray := p(at(f.remote2, 53), at(f.guest, 5000))
				if _, why := r.out(failureFrame(f, f.guest, stray)); why != frame.DropNATInvalid {
					t.Errorf("an error about nothing: %v, want nat-invalid", why)
				}
			})
		}
	})
}

// Errors keep nothing alive and end nothing (RFC 5508 REQ-6, RFC 4787 REQ-12, RFC 5382
// REQ-10).
func TestI06ErrorsChangeNoSession(t *testing.T) { testErrorsChangeNoSession(t) }

func TestU12ErrorsEndNoMapping(t *testing.T) { testErrorsChangeNoSession(t) }

func TestT10ErrorsEndNoConnection(t *testing.T) { testErrorsChangeNoSession(t) }

func testErrorsChangeNoSession(t *testing.T) {
	t.Helper()
	forFamilies(t, func(t *testing.T, f family) {
		for name, p := range errorSubjects(f) {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, settings())
				sent := r.mustOut(bytes.Clone(p))
				var before, after Session
				for before = range r.tab.Sessions {
				}
				r.now += 30 * time.Second
				r.mustIn(failureFrame(f, f.remote, sent))
				for after = range r.tab.Sessions {
				}
				if before != after {
					t.Errorf("%+v became %+v", before, after)
				}
				r.wantSessions(1)
			})
		}
	})
}

// ICMP type 3 is translated for TCP (RFC 5382 REQ-9), with what path MTU discovery needs.
func TestT09TooBig(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		p := tcpFrame(at(f.guest, 5000), at(f.remote, 80), seg{flags: syn})
		sent := r.mustOut(bytes.Clone(p))
		typ, code := uint8(3), uint8(4)
		if f.name == "v6" {
			typ, code = 2, 0
		}
		got := r.mustIn(icmpFrame(f.hop, f.external, typ, code, 1280, sent[frame.EthernetLen:]))
		m := got[frame.Parse(got).L4:]
		if m[0] != typ || m[1] != code || binary.BigEndian.Uint32(m[4:]) != 1280 {
			t.Errorf("type %d, code %d, %x", m[0], m[1], m[4:8])
		}
		wantQuoted(t, got, p)
	})
}

// What is no query and no error cannot be translated, nor are redirects: they are about
// their sender's own link.
func TestOtherICMP(t *testing.T) {
	f := families[0]
	r := newRig(t, settings())
	sent := r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1))
	for _, typ := range []uint8{5, 9, 10, 13, 17, 128, 200} {
		r.leave(icmpFrame(f.remote, f.external, typ, 0, 0, sent[frame.EthernetLen:]))
		if _, why := r.out(icmpFrame(f.guest, f.remote, typ, 0, 0, sent[frame.EthernetLen:])); why != frame.DropNATUnsupported {
			t.Errorf("type %d: %v, want nat-unsupported", typ, why)
		}
	}
	f = families[1]
	for _, typ := range []uint8{130, 133, 135, 137, 200} {
		if _, why := r.out(icmpFrame(f.guest, f.remote, typ, 0, 0, nil)); why != frame.DropNATUnsupported {
			t.Errorf("ICMPv6 type %d: %v, want nat-unsupported", typ, why)
		}
	}
}

// An error whose checksum the guest left to the device.
func TestPartialChecksumOfAnError(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		external := sourceEnd(r.mustOut(udpFrame(at(f.guest, 5000), at(f.remote, 53), 1)))
		came := udpFrame(at(f.remote, 53), external, 9)
		b := buf(failureFrame(f, f.guest, r.mustIn(bytes.Clone(came))), guestPort)
		l := b.Layers
		sum := uint16(0)
		if f.name == "v6" {
			sum = frame.IPv6(b.Bytes()[l.L3:]).PseudoSum(frame.ProtocolICMPv6, b.Len()-int(l.L4))
		}
		binary.BigEndian.PutUint16(b.Bytes()[l.L4+2:], sum)
		b.Offload = frame.Offload{NeedsCsum: true, CsumStart: l.L4, CsumOffset: 2}
		if _, why := r.outBuf(b); why != 0 {
			t.Fatal(why)
		}
		b.Complete()
		if err := frametest.Checksums(b.Bytes()); err != nil {
			t.Error(err)
		}
		wantQuoted(t, b.Bytes(), came)
	})
}

// A quoted query that is cut off in front of its identifier is about none.
func TestI03QuotedQueryWithoutIdentifier(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		r := newRig(t, settings())
		r.mustOut(echoFrame(f.guest, f.remote, f.echo, 0))
		quoted := echoFrame(f.remote, f.guest, f.echoReply, 0)
		for n := 1; n < icmpLen; n++ {
			if _, why := r.out(failureFrame(f, f.guest, quoted[:frame.EthernetLen+f.headerLen+n])); why != frame.DropNATInvalid {
				t.Errorf("%d bytes of it: %v, want %v", n, why, frame.DropNATInvalid)
			}
		}
	})
}
