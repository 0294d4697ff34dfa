package fastpath

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"

	"weft/frame"
)

// Numbers of protocols.
const (
	icmp4 = 1
	tcp   = 6
	udp   = 17
	icmp6 = 58
)

// Flags of TCP.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// A sent is a frame as a guest's driver hands it over.
type sent struct {
	header [frame.VirtioLen]byte
	bytes  []byte
}

// A packet is what a frame is built of. It need not make sense.
type packet struct {
	dst, src frame.MAC
	tags     []byte // VLAN tags, each of four bytes

	from, to  netip.AddrPort // of ICMP, the port of from is the identifier
	protocol  byte
	hops, tos byte
	df        bool
	id        uint16
	options   []byte // IPv4 options; of IPv6, a destination options header's
	said      int    // what the length in the IP header is too much
	badHeader bool   // the checksum of the IPv4 header is wrong

	seq, ack uint32 // of ICMP, seq is the sequence number
	flags    byte
	echo     byte // type of an ICMP message
	code     byte
	payload  []byte
	raw      []byte // instead of a transport header with payload; a checksum is put in for ICMP

	noChecksum  bool // of UDP: zero
	badChecksum bool
	partial     bool   // the device is to complete the checksum
	segment     uint16 // the device is to cut the payload into segments of so many bytes; partial
	trailer     []byte // behind the packet
}

func (p *packet) v6() bool { return p.from.Addr().Is6() }

// build returns the frame, with lengths and checksums filled in.
func (p *packet) build() (s sent) {
	t := p.transport()
	ip := p.network(len(t))
	at := frame.EthernetLen + len(p.tags) + len(ip)
	switch offset := p.checksumAt(); {
	case offset < 0 || p.protocol == udp && p.noChecksum:
	case p.partial:
		binary.BigEndian.PutUint16(t[offset:], p.pseudo(len(t)))
		s.header[0] = 1
		binary.LittleEndian.PutUint16(s.header[6:], uint16(at))
		binary.LittleEndian.PutUint16(s.header[8:], uint16(offset))
	default:
		sum := ^ones(t, p.pseudo(len(t)))
		if sum == 0 && p.protocol == udp {
			sum = 0xffff
		}
		if p.badChecksum {
			sum ^= 0x5555
		}
		binary.BigEndian.PutUint16(t[offset:], sum)
	}
	if p.segment > 0 {
		s.header[1] = 1
		if p.v6() {
			s.header[1] = 4
		}
		binary.LittleEndian.PutUint16(s.header[2:], uint16(at+20))
		binary.LittleEndian.PutUint16(s.header[4:], p.segment)
	}
	s.bytes = bytes.Join([][]byte{p.ethernet(), ip, t, p.trailer}, nil)
	return s
}

func (p *packet) ethernet() []byte {
	b := make([]byte, 12, 32)
	p.dst.Put(b)
	p.src.Put(b[6:])
	b = append(b, p.tags...)
	if p.v6() {
		return append(b, 0x86, 0xdd)
	}
	return append(b, 0x08, 0x00)
}

// network returns the IP header in front of n bytes.
func (p *packet) network(n int) []byte {
	if p.v6() {
		b := make([]byte, 40, 64)
		next := p.protocol
		if p.options != nil {
			next = 60
			b = append(append(b, p.protocol, byte((len(p.options)+2)/8-1)), p.options...)
		}
		b[0], b[1], b[6], b[7] = 0x60|p.tos>>4, p.tos<<4, next, p.hops
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40+n+p.said))
		copy(b[8:], p.from.Addr().AsSlice())
		copy(b[24:], p.to.Addr().AsSlice())
		return b
	}
	b := append(make([]byte, 20, 60), p.options...)
	b[0], b[1], b[8], b[9] = 0x40|byte(len(b)/4), p.tos, p.hops, p.protocol
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+n+p.said))
	binary.BigEndian.PutUint16(b[4:], p.id)
	if p.df {
		b[6] = 0x40
	}
	copy(b[12:], p.from.Addr().AsSlice())
	copy(b[16:], p.to.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^ones(b, 0))
	if p.badHeader {
		b[10] ^= 0x55
	}
	return b
}

func (p *packet) transport() []byte {
	var b []byte
	switch {
	case p.raw != nil:
		return bytes.Clone(p.raw)
	case p.protocol == tcp:
		b = make([]byte, 20)
		binary.BigEndian.PutUint32(b[4:], p.seq)
		binary.BigEndian.PutUint32(b[8:], p.ack)
		b[12], b[13] = 5<<4, p.flags
		binary.BigEndian.PutUint16(b[14:], 60000)
	case p.protocol == udp:
		b = make([]byte, 8)
		binary.BigEndian.PutUint16(b[4:], uint16(8+len(p.payload)))
	default:
		b = make([]byte, 8)
		b[0], b[1] = p.echo, p.code
		binary.BigEndian.PutUint16(b[4:], p.from.Port())
		binary.BigEndian.PutUint16(b[6:], uint16(p.seq))
	}
	if p.protocol == tcp || p.protocol == udp {
		binary.BigEndian.PutUint16(b, p.from.Port())
		binary.BigEndian.PutUint16(b[2:], p.to.Port())
	}
	return append(b, p.payload...)
}

// checksumAt returns where the transport header has its checksum, or -1.
func (p *packet) checksumAt() int {
	switch {
	case p.protocol == tcp && p.raw == nil:
		return 16
	case p.protocol == udp && p.raw == nil:
		return 6
	case p.protocol == icmp4, p.protocol == icmp6:
		return 2
	}
	return -1
}

// pseudo is the sum of the pseudo-header for a transport of n bytes.
func (p *packet) pseudo(n int) uint16 {
	if p.protocol == icmp4 {
		return 0
	}
	return ones(bytes.Join([][]byte{p.from.Addr().AsSlice(), p.to.Addr().AsSlice(), {0, p.protocol, byte(n >> 8), byte(n)}}, nil), 0)
}

// ones is the sum of RFC 1071, slow and obvious.
func ones(b []byte, initial uint16) uint16 {
	sum := uint32(initial)
	for i := range b {
		sum += uint32(b[i]) << (8 * (1 - i%2))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// fragments cuts the frame of a packet without options into pieces of at most size bytes,
// a multiple of eight.
func fragments(f []byte, id uint32, size int) (all []sent) {
	v6 := f[12] == 0x86
	header := frame.EthernetLen + 20
	if v6 {
		header += 20
	}
	body := f[header:]
	for at := 0; at < len(body); at += size {
		piece := body[at:min(at+size, len(body))]
		more := uint16(0)
		if at+size < len(body) {
			more = 1
		}
		b := bytes.Clone(f[:header])
		ip := b[frame.EthernetLen:]
		if v6 {
			extension := []byte{ip[6], 0}
			extension = binary.BigEndian.AppendUint16(extension, uint16(at)|more)
			extension = binary.BigEndian.AppendUint32(extension, id)
			ip[6] = 44
			binary.BigEndian.PutUint16(ip[4:], uint16(8+len(piece)))
			b = append(b, extension...)
		} else {
			binary.BigEndian.PutUint16(ip[2:], uint16(20+len(piece)))
			binary.BigEndian.PutUint16(ip[4:], uint16(id))
			binary.BigEndian.PutUint16(ip[6:], uint16(at/8)|more<<13)
			binary.BigEndian.PutUint16(ip[10:], 0)
			binary.BigEndian.PutUint16(ip[10:], ^ones(ip, 0))
		}
		all = append(all, sent{bytes: append(b, piece...)})
	}
	return all
}

// Payloads say which frame of which stream they are.
const (
	magic    = "wEfT"
	markLen  = len(magic) + 2 + 4 + 1
	unmarked = 0xffff // a stream whose frames are nobody's business
	watched  = 0xfffe // one that a test has its own eye on
)

// marked returns a payload of n bytes that repeats nowhere near.
func marked(stream uint16, number int32, n int) []byte {
	b := binary.BigEndian.AppendUint16([]byte(magic), stream)
	b = binary.BigEndian.AppendUint32(b, uint32(number))
	b = append(b, check(b))
	for x := uint32(stream)<<16 + uint32(number); len(b) < n; {
		x = x*1664525 + 1013904223
		b = append(b, byte(x>>24))
	}
	return b[:n]
}

// check tells a mark from one that was cut.
func check(b []byte) (sum byte) {
	for i, c := range b[:markLen-1] {
		sum += c * byte(2*i+1)
	}
	return ^sum
}

// markIn returns which frame it is.
func markIn(f []byte) (stream uint16, number int32, ok bool) {
	at := bytes.Index(f, []byte(magic))
	if at < 0 || len(f) < at+markLen || f[at+markLen-1] != check(f[at:]) {
		return 0, 0, false
	}
	m := f[at+len(magic):]
	return binary.BigEndian.Uint16(m), int32(binary.BigEndian.Uint32(m[2:])), true
}

// normal returns a frame in a form that is the same however far it is finished: with
// the checksum that its receiver would complete. Where NAT is in between, the
// identification of packets that are or may be fragments is free, as is that of the host's.
func normal(jack string, header [frame.VirtioLen]byte, f []byte) string {
	f = bytes.Clone(f)
	segments := ""
	if header[0]&1 != 0 {
		start := int(binary.LittleEndian.Uint16(header[6:]))
		at := start + int(binary.LittleEndian.Uint16(header[8:]))
		if at+2 > len(f) {
			return fmt.Sprintf("a checksum at %d of %x", at, f)
		}
		if header[1] == 0 {
			sum := ^ones(f[start:], 0)
			if sum == 0 {
				sum = 0xffff // as Linux has it in all protocols
			}
			binary.BigEndian.PutUint16(f[at:], sum)
		}
	}
	if header[1] != 0 {
		segments = fmt.Sprintf("%#x %d ", header[1], binary.LittleEndian.Uint16(header[4:]))
	}
	if translated[jack] || len(f) >= 38 && (hosts[netip.AddrFrom4([4]byte(f[26:]))] || hosts[netip.AddrFrom16([16]byte(f[22:]))]) {
		mask(f)
	}
	return segments + hex.EncodeToString(f)
}

// mask takes the identification out of a packet, if its header is right so far.
func mask(f []byte) {
	switch ip := f[frame.EthernetLen:]; {
	case f[12] == 0x08 && f[13] == 0x00 && len(ip) >= 20 && ip[6]&0x40 == 0 && len(ip) >= int(ip[0]&15)*4 && ones(ip[:int(ip[0]&15)*4], 0) == 0xffff:
		copy(ip[4:], []byte{0, 0})
		copy(ip[10:], []byte{0, 0})
	case f[12] == 0x86 && f[13] == 0xdd && len(ip) >= 48 && ip[6] == 44:
		copy(ip[44:], []byte{0, 0, 0, 0})
	}
}

// translated are the jacks to which NAT is on the way.
var translated = map[string]bool{"nic0": true, "nic1": true, "vm4": true, "ct2": true, "vm3": true}

// hosts are the addresses that the host itself answers from.
var hosts = map[netip.Addr]bool{
	host0[false]: true, host1[false]: true, gateway.v4: true, netip.MustParseAddr("10.20.0.1"): true,
	host0[true]: true, host1[true]: true, gateway.v6: true, netip.MustParseAddr("fd10:20::1"): true,
}
