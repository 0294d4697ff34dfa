package route_test

import (
	"bytes"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// FuzzRoute gives the router whatever a guest or the outside may send, past the checks
// of the switch.
func FuzzRoute(f *testing.F) {
	for _, w := range []family{ipv4, ipv6} {
		add := func(port byte, p []byte) { f.Add(port, p, []byte{}) }
		add(0, w.udp(w.remote))
		add(0, frametest.UDP(w.guest, towards(w.guestB, macA), frametest.Payload(1400)))
		add(0, setHops(w.udp(w.guestB), 1))
		add(1, frametest.TCP(w.guestB, towards(w.remote, macB), nil))
		add(2, frametest.TCP(w.remote, towards(w.guestB, macU), nil))
		add(2, frametest.UDP(w.remote, towards(at(w.host), macU), nil))
		add(0, answer(w, w.guest, portA, w.gatewayA))
		add(2, w.asking(w.external, 0))
		syn, _ := w.syn(w.guestB, false, 9000)
		add(0, syn)
		s := w.superframe(w.guestB, 4000, 1400)
		h := make([]byte, frame.VirtioLen)
		s.Offload.Encode(h)
		f.Add(byte(0), s.Bytes(), h)
	}
	f.Add(byte(0), withOptions(clearDF(frametest.UDP(ipv4.guest, towards(ipv4.guestB, macA), frametest.Payload(1400))), []byte{0x94, 4, 0, 0}), []byte{})
	f.Add(byte(0), frametest.Ping(ipv4.guest, towards(ipv4.guestB, macA), 1, 1), []byte{})
	f.Add(byte(0), frametest.Tagged(ipv4.udp(ipv4.remote), frame.EtherTypeCTag, 1, 1), []byte{})

	r := newRig(f, narrow(1000))
	b, was := frame.NewBufs(1)[0], frame.NewBufs(1)[0]
	f.Fuzz(func(t *testing.T, side byte, p, header []byte) {
		r.t = t
		r.now += time.Second // so that errors are not limited
		r.meetAgain()
		if len(p) < frame.EthernetLen || len(p) > 20000 {
			return
		}
		b.SetBytes(p)
		if side&8 != 0 { // or the fuzzer hardly gets beyond it
			repair(b.Bytes())
		}
		if len(header) >= frame.VirtioLen {
			b.Offload.Decode(header)
		}
		if b.CheckOffload() != 0 {
			return
		}
		was.CopyFrom(b)
		was.Parse()
		port := []frame.PortID{guestPort, guestBPort, wirePort}[side%3]
		b.In, b.Out = port, interfaceOf(port)
		if side&16 != 0 {
			r.Listener(b.Out).Process(r.now, []*frame.Buf{b})
			r.Proxy(b.Out).Process(r.now, []*frame.Buf{b})
		} else {
			r.Route(r.now, []*frame.Buf{b})
		}
		if b.Reason() == 0 && b.In != port {
			checkRouted(t, b, was, r.mtu(b.In))
			if !b.Basis.Once && b.Basis.Neighbor == 0 {
				t.Errorf("forwarded to whoever, by a decision that may be remembered: %v", b)
			}
		}
		for _, s := range r.injected() {
			checkInjected(t, s, was)
		}
	})
}

// meetAgain is meet for a rig that has known stations before, and may have been told
// lies of them.
func (r *rig) meetAgain() {
	for _, w := range []family{ipv4, ipv6} {
		r.SetNeighbor(portU, w.hop.Addr, w.hop.MAC)
		r.hear(guestPort, w.guest, w.gatewayA)
		r.hear(guestBPort, w.guestB, w.gatewayB)
	}
	r.injected()
}

func (r *rig) mtu(at frame.PortID) int { return twin{r.view}.iface(at).MTU }

// repair sets the header checksum and the destination that make a router look further.
func repair(p []byte) {
	macA.Put(p)
	if l := frame.Parse(p); l.Version == 4 && l.L3 == frame.EthernetLen {
		frame.IPv4(p[l.L3:]).UpdateChecksum()
	}
}

// checkRouted checks a frame that was forwarded against what it was.
func checkRouted(t *testing.T, b, was *frame.Buf, mtu int) {
	p := b.Bytes()
	l := frame.Parse(p)
	if l.Version == 0 || l.Version != was.Layers.Version || l.L3 != frame.EthernetLen {
		t.Fatalf("forwarded what is no packet: %x", p)
	}
	if l.Version == 4 && !frame.IPv4(p[l.L3:]).ChecksumValid() {
		t.Errorf("forwarded with a wrong checksum: %x", p)
	}
	if getHops(p) != getHops(was.Bytes())-1 {
		t.Errorf("%d hops became %d", getHops(was.Bytes()), getHops(p))
	}
	if b.PacketLen() > mtu {
		t.Errorf("%d bytes by a link of %d", b.PacketLen(), mtu)
	}
	if eth := frame.Ethernet(p); eth.Dst().IsGroup() || eth.Src() != macOf(b.In) {
		t.Errorf("%v > %v", eth.Src(), eth.Dst())
	}
	src, dst := ends(p)
	if isSpecial(src) || isSpecial(dst) {
		t.Errorf("forwarded %v > %v", src, dst)
	}
	if b.CheckOffload() != 0 {
		t.Errorf("offload %+v is no longer sound", b.Offload)
	}
}

// checkInjected checks a frame that the router sent because of another.
func checkInjected(t *testing.T, s sent, was *frame.Buf) {
	l := frame.Parse(s.frame)
	switch {
	case l.EtherType == frame.EtherTypeARP:
		if a := frame.ARP(s.frame[14:]); !a.Valid() || a.SenderMAC() != macOf(s.in) {
			t.Errorf("ARP %x", s.frame)
		}
	case l.Version == 0:
		t.Errorf("sent %x", s.frame)
	case l.IsICMPError(s.frame):
		if err := frametest.Checksums(s.frame); err != nil {
			t.Error(err)
		}
		if was.Layers.L4 == 0 || was.Layers.IsICMPError(was.Bytes()) || frame.Ethernet(was.Bytes()).Dst().IsGroup() {
			t.Errorf("an error about %v", was)
		}
		if src, dst := ends(was.Bytes()); isSpecial(src) || isSpecial(dst) {
			t.Errorf("an error about %v > %v", src, dst)
		}
	case l.Version == 6: // a solicitation or an advertisement
		b := frame.NewBufs(1)[0]
		b.SetBytes(bytes.Clone(s.frame))
		if b.Parse(); b.Neighbor() == nil {
			t.Errorf("sent %x", s.frame)
		}
	case !frame.IPv4(s.frame[l.L3:]).ChecksumValid() || l.Fragment == frame.FragmentNone:
		t.Errorf("sent %x", s.frame)
	}
}
