package dhcp4

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weft/frame"
	"weft/service/datagram"
	"weft/service/lease"
)

// offer offers the lease.
func (x *exchange) offer(l lease.Lease) Reply {
	x.add(&x.count.Offer)
	l.Expiry = x.now.Add(x.term())
	return x.grant(offer, l)
}

// ack says that the lease is the client's.
func (x *exchange) ack(l lease.Lease) Reply {
	x.add(&x.count.Ack)
	return x.grant(ack, l)
}

// refuse says that the client may not have what it asks for.
func (x *exchange) refuse(format string, args ...any) Reply {
	x.add(&x.count.Nak)
	why := fmt.Errorf(format, args...).Error()
	p := x.blank()
	if x.m.giaddr.IsValid() {
		binary.BigEndian.PutUint16(p[flagsAt:], x.m.packet.flags()|broadcast) // RFC 2131 4.3.2: for the relay agent to pass it on so
	}
	o := append(x.head(nak), option{optMessage, []byte(why[:min(len(why), 255)])})
	return Reply{
		Kind: nak.String(), Note: why,
		Frame: x.frame(p.with(o, nil, x.room(), x.relayed()), x.destination(nak, netip.Addr{})),
	}
}

// grant builds an OFFER or ACK. Without a lease it tells the rest only (RFC 2131 4.3.5).
func (x *exchange) grant(k kind, l lease.Lease) Reply {
	p := x.blank()
	p.setAddress(yiaddrAt, l.Address)
	if k == ack {
		p.setAddress(ciaddrAt, x.m.ciaddr)
	}
	o := x.head(k)
	if l.Address.IsValid() {
		// Rounded down: the client must not think to have it for longer than it has.
		term := uint32(l.Expiry.Sub(x.now) / time.Second)
		o = append(o,
			option{optLeaseTime, binary.BigEndian.AppendUint32(nil, term)},
			option{optRenewal, binary.BigEndian.AppendUint32(nil, term/2)}, // RFC 2131 4.4.5
			option{optRebinding, binary.BigEndian.AppendUint32(nil, term-term/8)},
		)
	}
	whole := p.with(o, x.v.told(x.m, l), x.room(), x.relayed())
	return Reply{Kind: k.String(), Lease: l, Frame: x.frame(whole, x.destination(k, l.Address))}
}

// blank returns the fixed fields of a reply, with what each copies (RFC 2131 table 3).
func (x *exchange) blank() packet {
	p := make(packet, fixedLen, minPacket)
	p[0], p[1], p[2] = bootReply, ethernet, macLen
	copy(p[xidAt:], x.m.packet[xidAt:xidAt+4])
	binary.BigEndian.PutUint16(p[flagsAt:], x.m.packet.flags())
	p.setAddress(giaddrAt, x.m.giaddr)
	copy(p[chaddrAt:snameAt], x.m.packet[chaddrAt:snameAt])
	binary.BigEndian.PutUint32(p[cookieAt:], cookie)
	return p
}

// head returns the options that each reply has. The client identifier comes back as it
// came (RFC 6842).
func (x *exchange) head(k kind) []option {
	o := []option{{optMessageType, []byte{byte(k)}}, {optServer, x.v.Server.Addr().AsSlice()}}
	if id := x.m.options[optClientID]; len(id) > 0 {
		o = append(o, option{optClientID, id})
	}
	return o
}

// relayed returns what the relay agent said, which comes back to it, behind all else
// (RFC 3046 2.2); nil: nothing.
func (x *exchange) relayed() []option {
	if info, said := x.m.options[optRelayAgent]; said {
		return []option{{optRelayAgent, info}}
	}
	return nil
}

// room returns how long the reply may be, in bytes of UDP payload (RFC 2132 9.10).
func (x *exchange) room() int {
	mtu := x.v.MTU
	if mtu == 0 {
		mtu = defaultMTU
	}
	return min(x.m.datagram, mtu) - headers
}

// with returns the packet with its options: first and last always, and of told what
// finds room, most of it in the field for options.
func (p packet) with(first, told []option, room int, last []option) packet {
	room -= fixedLen + 1 // and the end
	for _, o := range slices.Concat(first, last) {
		room -= o.len()
	}
	total := 0
	for _, o := range told {
		total += o.len()
	}
	if total > room {
		var overload option
		if overload, told = p.spill(told, room); overload.value[0] != 0 {
			first = append(first, overload)
		}
	}
	for _, o := range slices.Concat(first, told, last) {
		p = o.append(p)
	}
	p = append(p, byte(optEnd))
	for len(p) < minPacket {
		p = append(p, byte(optPad))
	}
	return p
}

// spill puts what finds no room into the field file, else into sname (RFC 2131 4.1). It
// returns the option that says so, and what found room.
func (p packet) spill(told []option, room int) (overload option, here []option) {
	fields := [...][]byte{p[fileAt:fileAt:cookieAt], p[snameAt:snameAt:fileAt]}
	overload = option{optOverload, []byte{0}}
	room -= overload.len()
	for _, o := range told {
		if o.len() <= room {
			here = append(here, o)
			room -= o.len()
			continue
		}
		for i, f := range fields {
			if len(o.value) <= 255 && o.len() < cap(f)-len(f) { // and the end
				fields[i] = o.append(f) // in p
				break
			}
		}
	}
	for i, f := range fields {
		if len(f) > 0 {
			_ = append(f, byte(optEnd)) // in p, too
			overload.value[0] |= [...]byte{overloadFile, overloadSname}[i]
		}
	}
	return overload, here
}

// destination returns where a reply goes (RFC 2131 4.1).
func (x *exchange) destination(k kind, yiaddr netip.Addr) datagram.Endpoint {
	to := func(mac frame.MAC, a netip.Addr, port uint16) datagram.Endpoint {
		return datagram.Endpoint{MAC: mac, Addr: netip.AddrPortFrom(a, port)}
	}
	switch {
	case x.m.giaddr.IsValid():
		return to(x.q.MAC, x.m.giaddr, ServerPort) // by the way that the request came
	case k != nak && x.m.ciaddr.IsValid():
		return to(x.m.client.MAC, x.m.ciaddr, ClientPort)
	case k == nak || x.m.packet.flags()&broadcast != 0:
		return to(frame.Broadcast, netip.AddrFrom4([4]byte{255, 255, 255, 255}), ClientPort)
	default:
		return to(x.m.client.MAC, yiaddr, ClientPort)
	}
}

func (x *exchange) frame(p packet, to datagram.Endpoint) []byte {
	from := datagram.Endpoint{MAC: x.v.MAC, Addr: netip.AddrPortFrom(x.v.Server.Addr(), ServerPort)}
	return datagram.Frame(from, to, p)
}
