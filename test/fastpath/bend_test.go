package fastpath

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"weft/frame"
)

// A bend makes of an honest packet another one.
type bend struct {
	name string
	to   func(r *rand.Rand, q *packet) []sent // nil: this kind of packet has no such thing
}

var bends = []bend{
	{"other flags", func(r *rand.Rand, q *packet) []sent {
		if q.protocol != tcp {
			return nil
		}
		q.flags = [...]byte{0, syn, syn | ack, fin, fin | ack, rst, rst | ack, ack, syn | fin, 0x3f, 0xff, ack | 0x20}[r.IntN(12)]
		return one(q)
	}},
	{"another sequence number", func(r *rand.Rand, q *packet) []sent {
		if q.protocol != tcp {
			return nil
		}
		q.seq, q.flags = q.seq+[...]uint32{1 << 31, 1 << 20, 1, -(1 << 18) & 0xffff_ffff}[r.IntN(4)], [...]byte{ack, rst, fin | ack, syn}[r.IntN(4)]
		return one(q)
	}},
	{"few hops", func(r *rand.Rand, q *packet) []sent { q.hops = byte(r.IntN(3)); return one(q) }},
	{"options", func(r *rand.Rand, q *packet) []sent {
		q.options = []byte{1, 1, 1, 0}
		if q.v6() {
			q.options = []byte{1, 4, 0, 0, 0, 0}
		}
		return one(q)
	}},
	{"fragments", func(r *rand.Rand, q *packet) []sent {
		q.df, q.payload = false, marked(streamOf(q), numberOf(q), 100+r.IntN(1300))
		return fragments(q.build().bytes, r.Uint32(), 8*(2+r.IntN(60)))
	}},
	{"too long", func(r *rand.Rand, q *packet) []sent {
		q.df, q.payload = r.IntN(2) == 0, marked(streamOf(q), numberOf(q), 1473+r.IntN(600))
		return one(q)
	}},
	{"as long as may be", func(r *rand.Rand, q *packet) []sent {
		header := map[byte]int{tcp: 40, udp: 28, icmp4: 28, icmp6: 48}[q.protocol]
		if q.v6() && q.protocol != icmp6 {
			header += 20
		}
		q.payload = marked(streamOf(q), numberOf(q), [...]int{1280, 1400, 1500, 1504}[r.IntN(4)]-header+r.IntN(3)-1)
		return one(q)
	}},
	{"a superframe", func(r *rand.Rand, q *packet) []sent {
		if q.protocol != tcp {
			return nil
		}
		q.segment, q.partial, q.flags = [...]uint16{1, 200, 255, 256, 536, 1220, 1448, 1460, 1461}[r.IntN(9)], true, [...]byte{ack, ack | psh, ack | psh | fin, ack | 0x80}[r.IntN(4)]
		q.payload = marked(streamOf(q), numberOf(q), 100+r.IntN(min(60000, 60*int(q.segment)+100)))
		f := q.build()
		if q.flags&0x80 != 0 {
			f.header[1] |= 0x80 // ECN
		}
		return []sent{f}
	}},
	{"a partial checksum", func(r *rand.Rand, q *packet) []sent {
		if q.protocol != tcp && q.protocol != udp {
			return nil
		}
		q.partial = true
		return one(q)
	}},
	{"a partial checksum elsewhere", func(r *rand.Rand, q *packet) []sent {
		f := q.build()
		start, offset := [...]int{14, 20, 26, 30, 33, 36, 54, 56}[r.IntN(8)], [...]int{0, 2, 6, 16}[r.IntN(4)]
		addresses := frame.EthernetLen + len(q.tags) + map[bool]int{false: 12, true: 8}[q.v6()]
		ports := len(f.bytes) - len(q.transport())
		switch at := start + offset; {
		case at+2 > len(f.bytes):
			return nil
		case hosts[q.to.Addr()]:
			return nil // the kernel verifies no checksum that is to be completed, wherever that is
		case at >= addresses-1 && at <= ports+5 && !switched(f.bytes):
			return nil // another endpoint, for which NAT may choose any port
		}
		f.header[0], f.header[6], f.header[8] = 1, byte(start), byte(offset)
		return []sent{f}
	}},
	{"no checksum", func(_ *rand.Rand, q *packet) []sent { q.noChecksum = true; return one(q) }},
	{"a wrong checksum", func(_ *rand.Rand, q *packet) []sent { q.badChecksum = true; return one(q) }},
	{"a wrong header checksum", func(_ *rand.Rand, q *packet) []sent { q.badHeader = true; return one(q) }},
	{"padding", func(r *rand.Rand, q *packet) []sent {
		q.payload = q.payload[:r.IntN(3)]
		q.trailer = make([]byte, max(0, 60-len(q.build().bytes)))
		for i := range q.trailer {
			q.trailer[i] = byte(r.Uint32())
		}
		return one(q)
	}},
	{"very short", func(r *rand.Rand, q *packet) []sent { q.payload = q.payload[:r.IntN(4)]; return one(q) }},
	{"bytes behind it", func(r *rand.Rand, q *packet) []sent { q.trailer = make([]byte, 1+r.IntN(100)); return one(q) }},
	{"a length that is wrong", func(r *rand.Rand, q *packet) []sent { q.said = r.IntN(200) - 100; return one(q) }},
	{"cut short", func(r *rand.Rand, q *packet) []sent {
		f := q.build()
		f.bytes = f.bytes[:frame.EthernetLen+r.IntN(len(f.bytes)-frame.EthernetLen)]
		return []sent{f}
	}},
	{"a tag", func(r *rand.Rand, q *packet) []sent { q.tags = tags[r.IntN(len(tags))]; return one(q) }},
	{"may be fragmented", func(_ *rand.Rand, q *packet) []sent { q.df = false; return one(q) }},
	{"another class", func(r *rand.Rand, q *packet) []sent { q.tos = byte(r.Uint32()); return one(q) }},
	{"somebody else's address", func(_ *rand.Rand, q *packet) []sent {
		q.from = netip.AddrPortFrom(stranger.addr(q.v6()), q.from.Port()+6000) // no talk's own
		return one(q)
	}},
	{"another message", func(r *rand.Rand, q *packet) []sent {
		if q.protocol != icmp4 && q.protocol != icmp6 {
			return nil
		}
		q.echo, q.code = [...]byte{0, 8, 17, 128, 129, 8}[r.IntN(6)], byte(r.IntN(2))
		return one(q)
	}},
	{"another protocol", func(r *rand.Rand, q *packet) []sent {
		q.raw, q.protocol = append([]byte{0, 0, 0, 0, 0, 0, 0, 0}, q.payload...), 132
		return one(q)
	}},
	{"an error about it", func(r *rand.Rand, q *packet) []sent { return []sent{q.problem(r)} }},
}

var tags = [][]byte{
	{0x81, 0, 0, 5}, {0x81, 0, 0, 0}, {0x81, 0, 0xe0, 5}, {0x81, 0, 0x10, 5}, // one; priority only; with priority; drop eligible
	{0x88, 0xa8, 0, 5}, {0x88, 0xa8, 0, 7, 0x81, 0, 0, 5}, {0x81, 0, 0, 7, 0x81, 0, 0, 5},
}

func one(q *packet) []sent { return []sent{q.build()} }

func streamOf(q *packet) uint16 { s, _, _ := markIn(q.payload); return s }
func numberOf(q *packet) int32  { _, n, _ := markIn(q.payload); return n }

// problem is an ICMP error of the packet's sender about the one that it answers, in which
// that is quoted.
func (q *packet) problem(r *rand.Rand) sent {
	about := packet{protocol: q.protocol, from: q.to, to: q.from, hops: 60, df: true, seq: q.ack, ack: q.seq, payload: q.payload[:20]}
	switch q.protocol {
	case icmp4:
		about.echo = 8 - q.echo
	case icmp6:
		about.echo = byte(128 + 129 - int(q.echo))
	}
	kinds4 := [...][2]byte{{3, 1}, {3, 4}, {11, 0}, {3, 13}}
	kinds6 := [...][2]byte{{1, 0}, {2, 0}, {3, 0}, {1, 4}}
	n := r.IntN(4)
	message := *q
	message.raw = append([]byte{kinds4[n][0], kinds4[n][1], 0, 0, 0, 0, 5, 0x14}, about.build().bytes[frame.EthernetLen:]...) // MTU 1300
	message.protocol = icmp4
	if q.v6() {
		message.raw[0], message.raw[1], message.protocol = kinds6[n][0], kinds6[n][1], icmp6
	}
	return message.build()
}

// speak sends some frames of one side: honest ones first and last, so that a flow cache
// has taken over when the odd ones come.
func (p *pair) speak(r *rand.Rand, t *talk, side int) {
	p.Helper()
	var all []sent
	story := fmt.Sprintf("say %v, side %d:", t, side)
	for range 1 + r.IntN(3) {
		q := p.packet(t, side, sizes[r.IntN(len(sizes))])
		all = append(all, q.build())
	}
	if r.IntN(3) > 0 {
		b := bends[r.IntN(len(bends))]
		q := p.packet(t, side, 40+r.IntN(100))
		odd := b.to(r, &q)
		all = append(all, odd...)
		story += fmt.Sprintf(" %s (%d frames)", b.name, len(odd))
		q = p.packet(t, side, 50)
		all = append(all, q.build())
	}
	p.tell("%s", story)
	p.exchange(t.ends[side], all...)
}

// sizes of payloads. An odd one is not a multiple of two.
var sizes = []int{markLen, 18, 19, 33, 100, 101, 512, 1000, 1001}
