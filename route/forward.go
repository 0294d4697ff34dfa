package route

import (
	"cmp"
	"net/netip"

	"weft/frame"
)

// route decides on one frame.
func (t *turn) route(b *frame.Buf) {
	// RFC 1812 5.3.4: what came in a frame for a group is not forwarded.
	eth := frame.Ethernet(b.Bytes())
	if eth.Dst() != t.in.MAC {
		return
	}
	switch eth.Type() {
	case frame.EtherTypeARP:
		b.Parse()
		t.hearARP(b)
	case frame.EtherTypeIPv4, frame.EtherTypeIPv6:
		b.Parse()
		if !sound(b) {
			b.Drop(frame.DropBadPacket)
			return
		}
		t.routePacket(b)
	default:
		if eth.Type().IsTag() && !t.in.Outside {
			t.leaveTagged(b)
		}
	}
}

// routePacket decides on a frame with a sound packet.
func (t *turn) routePacket(b *frame.Buf) {
	switch j := t.judge(b); j.verdict {
	case leave:
		b.Basis.Once = j.target.ofLink()
		t.leave(b)
	case drop:
		t.refuse(b, j.reason, 0)
	case forward:
		t.forward(b, j.target, t.memo.dst)
	case translate:
		t.routeTranslated(b, j.reason)
	}
}

// hops returns the packet's time to live or hop limit.
func hops(b *frame.Buf) uint8 {
	p := b.Bytes()[b.Layers.L3:]
	if b.Layers.Version == 4 {
		return frame.IPv4(p).TTL()
	}
	return frame.IPv6(p).HopLimit()
}

// translate asks the translator for the packet's destination, and returns it if the
// packet is to be forwarded there. If it is of no session, it ends for reason none, or
// is the host's if that is zero.
func (t *turn) translate(b *frame.Buf, none frame.Reason) *target {
	if t.r.translator == nil {
		b.Drop(none)
		return nil
	}
	var ours bool
	var why frame.Reason
	if t.in.Outside {
		ours, why = t.r.translator.Inbound(t.now, b)
	} else {
		ours, why = t.r.translator.Hairpin(t.now, b, t.in.Realm)
	}
	if !ours {
		why = none
	}
	if why != 0 {
		t.refuse(b, why, 0)
	}
	if !ours || why != 0 {
		return nil
	}
	_, dst := addresses(b)
	d := t.behind(dst)
	if d == nil {
		b.Drop(frame.DropNoRoute)
	}
	return d
}

// routeTranslated sends the packet to whom the translator says.
func (t *turn) routeTranslated(b *frame.Buf, none frame.Reason) {
	if hops(b) <= 1 || b.PacketLen() > t.v.minMTU {
		t.translateOrRefuse(b, none)
	} else if d := t.translate(b, none); d != nil {
		t.forwardTranslated(b, d)
	}
}

// translateOrRefuse is routeTranslated for a packet that may turn out to be at the end
// of its hops, or too long, for the host that it is translated to. The error is to quote
// what was sent, so that is kept.
func (t *turn) translateOrRefuse(b *frame.Buf, none frame.Reason) {
	var sent [frame.EthernetLen + maxQuoted]byte
	n := copy(sent[:], b.Bytes())
	d := t.translate(b, none)
	if d == nil {
		return
	}
	if why := obstacle(b, d.iface.MTU); why != 0 {
		copy(b.Bytes(), sent[:n])
		b.Parse()
		t.refuse(b, why, d.iface.MTU)
		return
	}
	t.forwardTranslated(b, d)
}

// obstacle returns what keeps the packet from a link with the given MTU, or zero.
func obstacle(b *frame.Buf, mtu int) frame.Reason {
	if hops(b) <= 1 {
		return frame.DropTTLExpired // RFC 1812 5.3.1, RFC 8200 3
	}
	if b.PacketLen() > mtu && !divisible(b, mtu) {
		return frame.DropTooBig
	}
	return 0
}

// forward sends the packet to its destination, which is d.
func (t *turn) forward(b *frame.Buf, d *target, dst netip.Addr) {
	out := d.iface
	if why := obstacle(b, out.MTU); why != 0 {
		t.refuse(b, why, out.MTU)
		return
	}
	hop := d.next(dst)
	mac := t.known(b, out, hop)
	if mac == 0 {
		var why frame.Reason
		if mac, why = t.await(b, out, hop, b.In); why != 0 {
			t.refuse(b, why, 0)
			return
		}
	}
	if t.in.Realm != 0 && out.Outside {
		if why := t.masquerade(b, out); why != 0 {
			t.refuse(b, why, 0)
			return
		}
	}
	cause := b.In
	t.ready(b, out)
	t.r.address(b, out, mac)
	t.r.fit(b, out.MTU, cause)
}

// forwardTranslated is forward for a packet with a new destination, which nothing keeps
// from d's link.
func (t *turn) forwardTranslated(b *frame.Buf, d *target) {
	out, cause := d.iface, b.In
	t.ready(b, out)
	hop := d.next(t.memo.translated)
	mac := t.known(b, out, hop)
	if mac == 0 {
		var why frame.Reason
		if mac, why = t.await(b, out, hop, cause); why != 0 {
			t.loseTranslated(b, out, why)
			return
		}
	}
	t.r.address(b, out, mac)
	t.r.fit(b, out.MTU, cause)
}

// loseTranslated ends a packet that was translated, ready to leave by out.
func (t *turn) loseTranslated(b *frame.Buf, out *iface, why frame.Reason) {
	if why == frame.DropNoNeighbor {
		back := turn{r: t.r, v: t.v, in: out, now: t.now}
		back.tellTranslated(b, why)
	}
	b.Drop(why)
}

// masquerade gives the packet a source that the outside knows.
func (t *turn) masquerade(b *frame.Buf, out *iface) frame.Reason {
	own := t.in.Pool
	if b.Layers.Version == 6 {
		own = t.in.Pool6
	}
	pool := cmp.Or(own, out.Pool)
	if pool == 0 {
		return frame.DropNATNoPort
	}
	return t.r.translator.Outbound(t.now, b, t.in.Realm, pool)
}

// ready does to the packet what each router on its way does, and has it leave by an
// interface.
func (t *turn) ready(b *frame.Buf, out *iface) {
	p := b.Bytes()[b.Layers.L3:]
	if b.Layers.Version == 4 {
		frame.IPv4(p).DecrementTTL()
	} else {
		frame.IPv6(p).DecrementHopLimit()
	}
	if t.in.MTU != out.MTU && b.Layers.Protocol == frame.ProtocolTCP {
		clampMSS(b, min(t.in.MTU, out.MTU))
	}
	b.In = out.Port
}

// address puts the Ethernet addresses of the next link on the frame.
func (r *Router) address(b *frame.Buf, out *iface, mac frame.MAC) {
	p := b.Bytes()
	mac.Put(p)
	out.MAC.Put(p[6:])
}
