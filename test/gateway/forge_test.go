package gateway

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
)

// frameOf serializes layers, of a frame or a part of one, with lengths and checksums
// filled in.
func (s *site) frameOf(all ...gopacket.SerializableLayer) []byte {
	s.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		s.Fatalf("forge: %v", err)
	}
	return b.Bytes()
}

func hardware(m frame.MAC) net.HardwareAddr {
	b := make([]byte, 6)
	m.Put(b)
	return b
}

// ether is the Ethernet header of an IP packet of the address's family.
func ether(dst, src frame.MAC, of netip.Addr) *layers.Ethernet {
	e := &layers.Ethernet{DstMAC: hardware(dst), SrcMAC: hardware(src), EthernetType: layers.EthernetTypeIPv4}
	if of.Is6() {
		e.EthernetType = layers.EthernetTypeIPv6
	}
	return e
}

// An ip is a header of either version, which checksums of what follows need to know.
type ip interface {
	gopacket.SerializableLayer
	gopacket.NetworkLayer
}

func ipHeader(src, dst netip.Addr, p layers.IPProtocol) ip {
	if src.Is4() {
		return &layers.IPv4{Version: 4, TTL: 64, Id: 4711, Protocol: p, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: p, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

// datagram is a UDP datagram in a frame.
func (s *site) datagram(dst, src frame.MAC, from, to netip.AddrPort, payload []byte) []byte {
	s.Helper()
	h := ipHeader(from.Addr(), to.Addr(), layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	s.setNetwork(udp.SetNetworkLayerForChecksum(h))
	return s.frameOf(ether(dst, src, from.Addr()), h, udp, gopacket.Payload(payload))
}

// syn is the first segment of a TCP connection in a frame.
func (s *site) syn(dst, src frame.MAC, from, to netip.AddrPort) []byte {
	s.Helper()
	h := ipHeader(from.Addr(), to.Addr(), layers.IPProtocolTCP)
	tcp := &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), SYN: true, Seq: 1, Window: 1000}
	s.setNetwork(tcp.SetNetworkLayerForChecksum(h))
	return s.frameOf(ether(dst, src, from.Addr()), h, tcp)
}

func (s *site) setNetwork(err error) {
	s.Helper()
	if err != nil {
		s.Fatalf("forge: %v", err)
	}
}

// Header lengths.
const (
	etherLen    = frame.EthernetLen
	ip4Len      = 20
	ip6Len      = 40
	fragmentLen = 8 // the fragment extension header of IPv6
)

// A fragment is a piece of a packet's payload.
type fragment struct{ offset, end int }

// pieces cuts a payload of n bytes.
func pieces(n, size int) []fragment {
	var all []fragment
	for o := 0; o < n; o += size {
		all = append(all, fragment{o, min(n, o+size)})
	}
	return all
}

// fragments cuts the frame of an IP packet without options or extension headers. The
// pieces' offsets are multiples of eight.
func fragments(f []byte, id uint32, cut []fragment) [][]byte {
	v6 := f[12] == 0x86
	header := etherLen + ip4Len
	if v6 {
		header = etherLen + ip6Len
	}
	payload := f[header:]
	var all [][]byte
	for _, c := range cut {
		more := c.end < len(payload)
		b := append([]byte{}, f[:header]...)
		if v6 {
			next := b[etherLen+6]
			b[etherLen+6] = 44
			h := make([]byte, fragmentLen)
			h[0] = next
			binary.BigEndian.PutUint16(h[2:], uint16(c.offset)|bit(more, 1))
			binary.BigEndian.PutUint32(h[4:], id)
			b = append(b, h...)
			binary.BigEndian.PutUint16(b[etherLen+4:], uint16(fragmentLen+c.end-c.offset))
		} else {
			h := b[etherLen:]
			binary.BigEndian.PutUint16(h[2:], uint16(ip4Len+c.end-c.offset))
			binary.BigEndian.PutUint16(h[4:], uint16(id))
			binary.BigEndian.PutUint16(h[6:], uint16(c.offset/8)|bit(more, 0x2000))
			binary.BigEndian.PutUint16(h[10:], 0)
			binary.BigEndian.PutUint16(h[10:], ^onesSum(h[:ip4Len]))
		}
		all = append(all, append(b, payload[c.offset:c.end]...))
	}
	return all
}

func bit(set bool, value uint16) uint16 {
	if set {
		return value
	}
	return 0
}

// onesSum is the sum of RFC 1071.
func onesSum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
