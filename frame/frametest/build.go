// Package frametest builds frames for tests, with gopacket, and compares them. It
// shares no code with package frame that a test of that package is about: lengths
// and checksums come from gopacket or from the slow obvious loop.
package frametest

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
)

// An End is one of the two parties of a conversation.
type End struct {
	MAC  frame.MAC
	Addr netip.Addr
	Port uint16
}

// Station returns the nth IPv4 party: 52:54:00:00:00:n, 10.0.0.n, port 1000+n.
func Station(n uint8) End {
	return End{0x5254_0000_0000 + frame.MAC(n), netip.AddrFrom4([4]byte{10, 0, 0, n}), 1000 + uint16(n)}
}

// Station6 returns the nth IPv6 party: 52:54:00:00:00:n, fd00::n, port 1000+n.
func Station6(n uint8) End {
	return End{Station(n).MAC, netip.AddrFrom16([16]byte{0: 0xfd, 15: n}), 1000 + uint16(n)}
}

// Payload returns n bytes that repeat nowhere near, so that a misplaced one shows.
func Payload(n int) []byte {
	p := make([]byte, n)
	x := uint32(1)
	for i := range p {
		x = x*1664525 + 1013904223 // the generator of Numerical Recipes
		p[i] = byte(x >> 24)
	}
	return p
}

// Ethernet returns an untagged frame, not padded.
func Ethernet(dst, src frame.MAC, t frame.EtherType, payload []byte) []byte {
	p := make([]byte, frame.EthernetLen, frame.EthernetLen+len(payload))
	dst.Put(p)
	src.Put(p[6:])
	p[12], p[13] = byte(t>>8), byte(t)
	return append(p, payload...)
}

// Tagged returns the frame p with a VLAN tag in front of its EtherType.
func Tagged(p []byte, tpid frame.EtherType, vid frame.VID, pcp uint8) []byte {
	tag := []byte{byte(tpid >> 8), byte(tpid), pcp<<5 | byte(vid>>8), byte(vid)}
	return append(append(append([]byte{}, p[:12]...), tag...), p[12:]...)
}

// TCP returns a segment with a payload, the flags ACK and PSH, and whole checksums.
func TCP(src, dst End, payload []byte) []byte {
	t := &layers.TCP{
		SrcPort: layers.TCPPort(src.Port), DstPort: layers.TCPPort(dst.Port),
		Seq: 1, Ack: 1, ACK: true, PSH: true, Window: 0xffff,
	}
	return between(src, dst, network(src, dst, layers.IPProtocolTCP), t, gopacket.Payload(payload))
}

// UDP returns a datagram with whole checksums.
func UDP(src, dst End, payload []byte) []byte {
	u := &layers.UDP{SrcPort: layers.UDPPort(src.Port), DstPort: layers.UDPPort(dst.Port)}
	return between(src, dst, network(src, dst, layers.IPProtocolUDP), u, gopacket.Payload(payload))
}

// Ping returns an ICMP or ICMPv6 echo request with 56 bytes of data.
func Ping(src, dst End, id, seq uint16) []byte {
	if src.Addr.Is4() {
		echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: seq}
		return between(src, dst, network(src, dst, layers.IPProtocolICMPv4), echo, gopacket.Payload(Payload(56)))
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
	echo := &layers.ICMPv6Echo{Identifier: id, SeqNumber: seq}
	return between(src, dst, network(src, dst, layers.IPProtocolICMPv6), icmp, echo, gopacket.Payload(Payload(56)))
}

// ARPRequest returns src's broadcast question who has target.
func ARPRequest(src End, target netip.Addr) []byte {
	return arp(frame.ARPRequest, src, End{MAC: frame.Broadcast, Addr: target}, 0)
}

// ARPReply returns src's answer to dst that it has its address.
func ARPReply(src, dst End) []byte { return arp(frame.ARPReply, src, dst, dst.MAC) }

func arp(op uint16, src, dst End, target frame.MAC) []byte {
	return Ethernet(dst.MAC, src.MAC, frame.EtherTypeARP, serialize(&layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
		HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: hardware(src.MAC), SourceProtAddress: src.Addr.AsSlice(),
		DstHwAddress: hardware(target), DstProtAddress: dst.Addr.AsSlice(),
	}))
}

// between returns the frame from src to dst that carries an IP packet of the layers.
func between(src, dst End, ls ...gopacket.SerializableLayer) []byte {
	t := frame.EtherTypeIPv6
	if src.Addr.Is4() {
		t = frame.EtherTypeIPv4
	}
	return Ethernet(dst.MAC, src.MAC, t, serialize(ls...))
}

// A networkLayer is an IP header that the layers above can take a checksum over.
type networkLayer interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

func network(src, dst End, proto layers.IPProtocol) networkLayer {
	if src.Addr.Is4() {
		return &layers.IPv4{
			Version: 4, IHL: 5, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: proto,
			SrcIP: src.Addr.AsSlice(), DstIP: dst.Addr.AsSlice(),
		}
	}
	return &layers.IPv6{
		Version: 6, HopLimit: 64, NextHeader: proto,
		SrcIP: src.Addr.AsSlice(), DstIP: dst.Addr.AsSlice(),
	}
}

func hardware(m frame.MAC) net.HardwareAddr {
	p := make([]byte, 6)
	m.Put(p)
	return p
}

// serialize returns the layers' bytes, lengths and checksums filled in. It panics
// where gopacket cannot: the test is wrong then.
func serialize(ls ...gopacket.SerializableLayer) []byte {
	var ip gopacket.NetworkLayer
	for _, l := range ls {
		if n, ok := l.(gopacket.NetworkLayer); ok {
			ip = n
		}
		if u, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := u.SetNetworkLayerForChecksum(ip); err != nil {
				panic(fmt.Sprintf("frametest: %v", err))
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...)
	if err != nil {
		panic(fmt.Sprintf("frametest: %v", err))
	}
	return buf.Bytes()
}
