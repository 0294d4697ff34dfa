package fastpath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"weft/frame"
)

// A talk is a conversation of two stations. Side 0 begins it.
type talk struct {
	kind     string
	stream   [2]uint16
	protocol byte
	ends     [2]*station
	from, to [2]netip.AddrPort // what stands in the packets of each side
	seq      [2]uint32         // of the next byte
	number   int32             // of the next frame, of both streams
	mute     bool              // side 1 is the host itself, which answers by itself
}

// A kind is a way that packets go.
type kind struct {
	name string
	ends [][2]*station
	// To whom the packets of side 0 and side 1 are, which are a and b.
	to0, to1  func(a, b *station, v6 bool) netip.Addr // nil: the other's own address
	protocols []byte                                  // 1 stands for an echo
	port      uint16                                  // of side 1; 0: any
	inner     uint16                                  // what that is to side 1 itself; 0: the same
	mute      bool
}

// external is the host's address by which what goes to the station leaves.
func external(to *station, v6 bool) netip.Addr {
	if to == server3 || to == router3 {
		return host1[v6]
	}
	return host0[v6]
}

var anything = []byte{icmp4, tcp, tcp, udp, udp}

var kinds = []kind{
	{name: "switched", protocols: anything, ends: [][2]*station{{lab1, lab2}, {lab1, lab3}, {lab4, lab2}, {lab3, lab4}, {lab2, lab1}}},
	{name: "bridged", protocols: anything, ends: [][2]*station{{lan1, neighbor}, {lan1, server1}, {server2, lan1}}},
	{name: "in one subnet", protocols: anything, ends: [][2]*station{{nat1, nat2}, {nat2, nat3}, {dmz1, dmz2}}},
	{
		name: "nat", protocols: anything,
		ends: [][2]*station{{nat1, server1}, {nat2, server1}, {nat3, server2}, {nat1, server3}, {nat2, neighbor}, {nat1, lan1}},
		to1:  func(_, b *station, v6 bool) netip.Addr { return external(b, v6) },
	},
	{
		name: "tcp forward", protocols: []byte{tcp}, port: 8080, inner: 80,
		ends: [][2]*station{{server1, nat1}, {neighbor, nat1}, {server3, nat1}},
		to0:  func(a, _ *station, v6 bool) netip.Addr { return external(a, v6) },
	},
	{
		name: "udp forward", protocols: []byte{udp}, port: 8080, inner: 80,
		ends: [][2]*station{{server2, nat2}, {lan1, nat2}},
		to0:  func(a, _ *station, v6 bool) netip.Addr { return external(a, v6) },
	},
	{
		name: "hairpin", protocols: []byte{tcp}, port: 8080, inner: 80, ends: [][2]*station{{nat2, nat1}},
		to0: func(_, _ *station, v6 bool) netip.Addr { return host0[v6] },
		to1: func(_, _ *station, v6 bool) netip.Addr { return host0[v6] },
	},
	{name: "routed", protocols: anything, ends: [][2]*station{
		{dmz1, server1}, {dmz2, server3}, {dmz1, neighbor}, {server2, dmz2}, {nat1, dmz1}, {dmz2, nat2}, {lan1, dmz1},
	}},
	{name: "behind a guest", protocols: anything, ends: [][2]*station{{nat3, behind}, {behind, nat3}, {behind, dmz1}}},
	{name: "to the host", protocols: []byte{icmp4, icmp4, udp, tcp}, port: 7, mute: true, ends: [][2]*station{
		{lan1, hostAt0}, {server1, hostAt0}, {nat1, hostAt0}, {nat2, gateway}, {dmz1, hostAt1},
	}},
}

// The host as a party.
var (
	hostAt0 = &station{name: "host", v4: host0[false], v6: host0[true]}
	hostAt1 = &station{name: "host at nic1", v4: host1[false], v6: host1[true]}
	gateway = &station{name: "gateway", v4: netip.MustParseAddr("192.168.150.1"), v6: netip.MustParseAddr("fd5a:150::1")}

	dmzGateway = &station{name: "gateway of dmz", v4: netip.MustParseAddr("10.20.0.1"), v6: netip.MustParseAddr("fd10:20::1")}
)

// newTalk draws a conversation, the nth.
func newTalk(r *rand.Rand, n int) *talk {
	k := &kinds[r.IntN(len(kinds))]
	ends := k.ends[r.IntN(len(k.ends))]
	v6 := r.IntN(3) == 0
	t := &talk{
		kind: k.name, stream: [2]uint16{uint16(2 * n), uint16(2*n + 1)}, protocol: k.protocols[r.IntN(len(k.protocols))],
		ends: ends, seq: [2]uint32{r.Uint32(), r.Uint32()}, mute: k.mute,
	}
	if v6 && t.protocol == icmp4 {
		t.protocol = icmp6
	}
	addr := func(of func(a, b *station, v6 bool) netip.Addr, otherwise *station) netip.Addr {
		if of == nil {
			return otherwise.addr(v6)
		}
		return of(ends[0], ends[1], v6)
	}
	own, outer := uint16(20000+n%6000), k.port
	if outer == 0 {
		outer = uint16(1000 + n)
	}
	inner := outer
	if k.inner != 0 {
		inner = k.inner
	}
	t.from = [2]netip.AddrPort{netip.AddrPortFrom(ends[0].addr(v6), own), netip.AddrPortFrom(ends[1].addr(v6), inner)}
	t.to = [2]netip.AddrPort{netip.AddrPortFrom(addr(k.to0, ends[1]), outer), netip.AddrPortFrom(addr(k.to1, ends[0]), own)}
	if t.echoes() { // one identifier for both ways
		t.from[1], t.to[0] = netip.AddrPortFrom(t.from[1].Addr(), own), netip.AddrPortFrom(t.to[0].Addr(), own)
	}
	return t
}

func (t *talk) echoes() bool { return t.protocol == icmp4 || t.protocol == icmp6 }

func (t *talk) String() string {
	return fmt.Sprintf("%s %d %v→%v (%s %s)", t.kind, t.protocol, t.from[0], t.to[0], t.ends[0].name, t.ends[1].name)
}

// next returns to whom on its own link a station sends what is for an address.
func (p *pair) next(s *station, to netip.Addr) frame.MAC {
	near := func(all ...*station) *station {
		for _, other := range all {
			if other.addr(to.Is6()) == to {
				return other
			}
		}
		return nil
	}
	v := p.plain
	switch jack := v.jack(s).name; {
	case s.behind == router3 || s == router3:
		return nic1MAC
	case jack == "nic0" || s == lan1:
		if peer := near(lan1, neighbor, router, router2); peer != nil {
			return v.mac(peer)
		}
		if s == lan1 && near(server1, server2) != nil {
			return v.mac(router)
		}
		return nic0MAC
	case near(lab1, lab2, lab3, lab4) != nil:
		return v.mac(near(lab1, lab2, lab3, lab4))
	case s == dmz1 || s == dmz2:
		if peer := near(dmz1, dmz2); peer != nil {
			return v.mac(peer)
		}
		return p.gateways["dmz"]
	default:
		if peer := near(nat1, nat2, nat3); peer != nil && s != behind {
			return v.mac(peer)
		}
		return p.gateways["default"]
	}
}

// packet returns the next one of a side, with n bytes of payload.
func (p *pair) packet(t *talk, side, n int) packet {
	s := t.ends[side]
	t.number++
	q := packet{
		dst: p.next(s, t.to[side].Addr()), src: p.plain.mac(s), from: t.from[side], to: t.to[side],
		protocol: t.protocol, hops: 64, df: true, id: uint16(t.number), payload: marked(t.stream[side], t.number, n),
	}
	switch t.protocol {
	case tcp:
		q.seq, q.ack, q.flags = t.seq[side], t.seq[1-side], ack|psh
		t.seq[side] += uint32(len(q.payload))
	case icmp4:
		q.echo, q.seq = byte(8*(1-side)), uint32(t.number)
	case icmp6:
		q.echo, q.seq = byte(128+side), uint32(t.number)
	}
	return q
}

// open has the talk begin, as two honest stations do.
func (p *pair) open(t *talk) {
	p.Helper()
	p.tell("begin %v", t)
	say := func(side int, flags byte) {
		q := p.packet(t, side, 0)
		if q.flags = flags; flags&syn != 0 {
			t.seq[side]++
		}
		if side == 0 && flags == syn {
			q.ack = 0
		}
		p.exchange(t.ends[side], q.build())
	}
	switch {
	case t.protocol == tcp && t.mute:
		say(0, syn)
	case t.protocol == tcp:
		say(0, syn)
		say(1, syn|ack)
		say(0, ack)
	default:
		q := p.packet(t, 0, 40)
		p.exchange(t.ends[0], q.build())
		if !t.mute {
			q = p.packet(t, 1, 40)
			p.exchange(t.ends[1], q.build())
		}
	}
}
