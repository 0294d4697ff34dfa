package nat

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
)

// A seg is a TCP segment to be built.
type seg struct {
	flags    uint8
	seq, ack uint32
	window   uint16
	scale    int // of a SYN: one more than the option says; 0: none
	payload  int
}

const (
	syn = frame.TCPSyn
	ack = frame.TCPAck
	fin = frame.TCPFin
	rst = frame.TCPRst
)

func tcpFrame(src, dst netip.AddrPort, s seg) []byte {
	if s.window == 0 {
		s.window = 1000
	}
	t := &layers.TCP{
		SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()), Seq: s.seq, Ack: s.ack, Window: s.window,
		SYN: s.flags&syn != 0, ACK: s.flags&ack != 0, FIN: s.flags&fin != 0, RST: s.flags&rst != 0,
	}
	if s.scale > 0 {
		t.Options = []layers.TCPOption{
			{OptionType: layers.TCPOptionKindNop},
			{OptionType: layers.TCPOptionKindWindowScale, OptionLength: 3, OptionData: []byte{uint8(s.scale - 1)}},
		}
	}
	return packetFrame(src.Addr(), dst.Addr(), frame.ProtocolTCP, t, gopacket.Payload(frametest.Payload(s.payload)))
}

func udpFrame(src, dst netip.AddrPort, payload int) []byte {
	u := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	return packetFrame(src.Addr(), dst.Addr(), frame.ProtocolUDP, u, gopacket.Payload(frametest.Payload(payload)))
}

// icmpFrame returns an ICMP message: the four bytes behind the checksum, and a body.
func icmpFrame(src, dst netip.Addr, typ, code uint8, rest uint32, body []byte) []byte {
	p := append(binary.BigEndian.AppendUint32([]byte{typ, code, 0, 0}, rest), body...)
	number := frame.ProtocolICMP
	if src.Is6() {
		number = frame.ProtocolICMPv6
	}
	f := packetFrame(src, dst, number, gopacket.Payload(p))
	return fixICMP(f)
}

// fixICMP computes the checksum of the ICMP message in a frame without options.
func fixICMP(f []byte) []byte {
	l := frame.Parse(f)
	m := f[l.L4:]
	m[2], m[3] = 0, 0
	sum := uint16(0)
	if l.Version == 6 {
		sum = frame.IPv6(f[l.L3:]).PseudoSum(frame.ProtocolICMPv6, len(m))
	}
	binary.BigEndian.PutUint16(m[2:], ^frame.Sum(m, sum))
	return f
}

func echoFrame(src, dst netip.Addr, typ uint8, id uint16) []byte {
	return icmpFrame(src, dst, typ, 0, uint32(id)<<16|1, frametest.Payload(56))
}

// failureFrame returns an ICMP error about a frame, as a router would that got it.
func failureFrame(f family, from netip.Addr, about []byte) []byte {
	quoted := about[frame.EthernetLen:]
	quoted = quoted[:min(len(quoted), 500)]
	return icmpFrame(from, source(about), f.unreachable, f.portCode, 0, quoted)
}

func packetFrame(src, dst netip.Addr, p frame.Protocol, ls ...gopacket.SerializableLayer) []byte {
	t := frame.EtherTypeIPv4
	var ip gopacket.SerializableLayer = &layers.IPv4{
		Version: 4, IHL: 5, TTL: 64, Id: 0x1234, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocol(p),
		SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
	if src.Is6() {
		t = frame.EtherTypeIPv6
		ip = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocol(p), SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	if c, ok := ls[0].(interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}); ok {
		if err := c.SetNetworkLayerForChecksum(ip.(gopacket.NetworkLayer)); err != nil {
			panic(err)
		}
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append([]gopacket.SerializableLayer{ip}, ls...)...)
	if err != nil {
		panic(err)
	}
	return frametest.Ethernet(0x5254_0000_00fe, 0x5254_0000_0001, t, b.Bytes())
}

func source(p []byte) netip.Addr      { return sourceEnd(p).Addr() }
func destination(p []byte) netip.Addr { return destinationEnd(p).Addr() }

func sourceEnd(p []byte) netip.AddrPort {
	l := frame.Parse(p)
	if l.Version == 4 {
		return at(frame.IPv4(p[l.L3:]).Src(), l.SrcPort)
	}
	return at(frame.IPv6(p[l.L3:]).Src(), l.SrcPort)
}

func destinationEnd(p []byte) netip.AddrPort {
	l := frame.Parse(p)
	if l.Version == 4 {
		return at(frame.IPv4(p[l.L3:]).Dst(), l.DstPort)
	}
	return at(frame.IPv6(p[l.L3:]).Dst(), l.DstPort)
}

func wantEnds(t testing.TB, p []byte, src, dst netip.AddrPort) {
	t.Helper()
	if gotSrc, gotDst := sourceEnd(p), destinationEnd(p); gotSrc != src || gotDst != dst {
		t.Fatalf("%v > %v, want %v > %v", gotSrc, gotDst, src, dst)
	}
}
