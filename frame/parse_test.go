package frame_test

import (
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
)

// ipv6 returns a frame with an IPv6 packet of the next header and payload.
func ipv6(next byte, payload ...byte) []byte {
	h := make([]byte, 40)
	h[0], h[5], h[6], h[7] = 0x60, byte(len(payload)), next, 64
	return frametest.Ethernet(b6.MAC, a6.MAC, frame.EtherTypeIPv6, append(h, payload...))
}

// ipv4 returns a frame with an IPv4 packet, after edit changed its header.
func ipv4(proto byte, payload []byte, edit func(frame.IPv4)) []byte {
	h := frame.IPv4(make([]byte, 20))
	h[0], h[8], h[9] = 0x45, 64, proto
	h.SetTotalLen(20 + len(payload))
	edit(h)
	return frametest.Ethernet(b4.MAC, a4.MAC, frame.EtherTypeIPv4, append(h, payload...))
}

func asItIs(frame.IPv4) {}

func TestParse(t *testing.T) {
	const (
		v4, v6, arp = frame.EtherTypeIPv4, frame.EtherTypeIPv6, frame.EtherTypeARP
		tcp, udp    = frame.ProtocolTCP, frame.ProtocolUDP
	)
	ports := []byte{0, 80, 1, 0, 0, 8, 0, 0}
	udp4 := frametest.UDP(a4, b4, []byte("x"))
	for name, c := range map[string]struct {
		frame []byte
		want  frame.Layers
	}{
		"empty":    {nil, frame.Layers{}},
		"runt":     {udp4[:13], frame.Layers{}},
		"bare":     {udp4[:14], frame.Layers{EtherType: v4, L3: 14}},
		"LLC":      {frametest.Ethernet(b4.MAC, a4.MAC, 38, make([]byte, 46)), frame.Layers{EtherType: 38, L3: 14}},
		"ARP":      {frametest.ARPRequest(a4, b4.Addr), frame.Layers{EtherType: arp, L3: 14}},
		"UDPv4":    {udp4, frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: udp, SrcPort: 1001, DstPort: 1002}},
		"TCPv6":    {frametest.TCP(a6, b6, nil), frame.Layers{EtherType: v6, L3: 14, L4: 54, Version: 6, Protocol: tcp, SrcPort: 1001, DstPort: 1002}},
		"SCTP":     {ipv4(132, ports, asItIs), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: 132, SrcPort: 80, DstPort: 256}},
		"GRE":      {ipv4(47, ports, asItIs), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: 47}},
		"ping":     {frametest.Ping(a4, b4, 7, 1), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: 1, SrcPort: 7, DstPort: 7}},
		"ping6":    {frametest.Ping(a6, b6, 7, 1), frame.Layers{EtherType: v6, L3: 14, L4: 54, Version: 6, Protocol: 58, SrcPort: 7, DstPort: 7}},
		"no ping":  {ipv4(1, []byte{3, 4, 0, 0, 0, 9, 5, 0}, asItIs), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: 1}},
		"one tag":  {frametest.Tagged(udp4, frame.EtherTypeCTag, 5, 0), frame.Layers{EtherType: v4, L3: 18, L4: 38, Version: 4, Protocol: udp, SrcPort: 1001, DstPort: 1002}},
		"two tags": {tagged(udp4, 2), frame.Layers{EtherType: v4, L3: 22, L4: 42, Version: 4, Protocol: udp, SrcPort: 1001, DstPort: 1002}},

		"three tags": {tagged(udp4, 3), frame.Layers{EtherType: frame.EtherTypeSTag}},
		"cut tag":    {tagged(udp4, 1)[:17], frame.Layers{EtherType: frame.EtherTypeSTag}},

		"IPv4 options":      {ipv4(17, append([]byte{1, 1, 1, 0}, ports...), func(h frame.IPv4) { h[0] = 0x46 }), frame.Layers{EtherType: v4, L3: 14, L4: 38, Version: 4, Protocol: udp, SrcPort: 80, DstPort: 256}},
		"IPv4 cut":          {udp4[:33], frame.Layers{EtherType: v4, L3: 14}},
		"IPv4 version 5":    {ipv4(17, ports, func(h frame.IPv4) { h[0] = 0x55 }), frame.Layers{EtherType: v4, L3: 14}},
		"IPv4 short header": {ipv4(17, ports, func(h frame.IPv4) { h[0] = 0x44 }), frame.Layers{EtherType: v4, L3: 14}},
		"IPv4 short length": {ipv4(17, ports, func(h frame.IPv4) { h.SetTotalLen(19) }), frame.Layers{EtherType: v4, L3: 14}},
		"IPv4 long length":  {ipv4(17, ports, func(h frame.IPv4) { h.SetTotalLen(1000) }), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: udp, SrcPort: 80, DstPort: 256}},
		"IPv4 length zero":  {ipv4(17, ports, func(h frame.IPv4) { h.SetTotalLen(0) }), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: udp, SrcPort: 80, DstPort: 256}},
		"ports in padding":  {ipv4(17, ports, func(h frame.IPv4) { h.SetTotalLen(23) }), frame.Layers{EtherType: v4, L3: 14, Version: 4, Protocol: udp}},
		"first fragment":    {ipv4(17, ports, func(h frame.IPv4) { h[6] = 0x20 }), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: udp, Fragment: frame.FragmentFirst, SrcPort: 80, DstPort: 256}},
		"later fragment":    {ipv4(17, ports, func(h frame.IPv4) { h[7] = 1 }), frame.Layers{EtherType: v4, L3: 14, Version: 4, Protocol: udp, Fragment: frame.FragmentLater}},

		"IPv6 extensions": {
			ipv6(0, slices.Concat([]byte{43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 17, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ports)...),
			frame.Layers{EtherType: v6, L3: 14, L4: 86, Version: 6, Protocol: udp, SrcPort: 80, DstPort: 256},
		},
		"IPv6 authentication": {
			ipv6(51, slices.Concat([]byte{17, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ports)...),
			frame.Layers{EtherType: v6, L3: 14, L4: 70, Version: 6, Protocol: udp, SrcPort: 80, DstPort: 256},
		},
		"IPv6 cut extension": {ipv6(60, 17, 9, 0, 0, 0, 0, 0, 0), frame.Layers{EtherType: v6, L3: 14, Version: 6, Protocol: 60}},
		"IPv6 first fragment": {
			ipv6(44, slices.Concat([]byte{17, 0, 0, 1, 0, 0, 0, 0}, ports)...),
			frame.Layers{EtherType: v6, L3: 14, L4: 62, Version: 6, Protocol: udp, Fragment: frame.FragmentFirst, SrcPort: 80, DstPort: 256},
		},
		"IPv6 later fragment": {
			ipv6(44, slices.Concat([]byte{17, 0, 0, 8, 0, 0, 0, 0}, ports)...),
			frame.Layers{EtherType: v6, L3: 14, Version: 6, Protocol: udp, Fragment: frame.FragmentLater},
		},
		"IPv6 atomic fragment": {
			ipv6(44, slices.Concat([]byte{17, 0, 0, 0, 0, 0, 0, 0}, ports)...),
			frame.Layers{EtherType: v6, L3: 14, L4: 62, Version: 6, Protocol: udp, SrcPort: 80, DstPort: 256},
		},
		"IPv6 endless":     {ipv6(60, slices.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 20)...), frame.Layers{EtherType: v6, L3: 14, Version: 6, Protocol: 60}},
		"IPv6 no next":     {ipv6(59), frame.Layers{EtherType: v6, L3: 14, Version: 6, Protocol: 59}},
		"IPv6 in IPv4":     {ipv4(41, ports, asItIs), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4, Protocol: 41}},
		"IPv4 hop-by-hop?": {ipv4(0, ports, asItIs), frame.Layers{EtherType: v4, L3: 14, L4: 34, Version: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := frame.Parse(slices.Clip(c.frame)); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func tagged(p []byte, n int) []byte {
	for range n {
		p = frametest.Tagged(p, frame.EtherTypeSTag, 5, 0)
	}
	return p
}

// seeds are frames of all kinds for the fuzz targets.
func seeds() [][]byte {
	all := [][]byte{
		frametest.UDP(a4, b4, nil), frametest.TCP(a6, b6, []byte("x")), frametest.Ping(a4, b4, 1, 2), frametest.Ping(a6, b6, 1, 2),
		frametest.ARPRequest(a4, b4.Addr), frametest.ARPReply(b4, a4), tagged(frametest.TCP(a4, b4, nil), 2),
		ipv6(0, 44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 0, 0, 80, 1, 0, 0, 8, 0, 0),
		ipv6(51, 6, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 80, 1, 0, 0, 8, 0, 0),
		ipv4(17, []byte{0, 80, 1, 0, 0, 8, 0, 0}, func(h frame.IPv4) { h[6] = 0x20 }),
	}
	return all
}

// FuzzParse asks gopacket for a second opinion: where it finds a transport header,
// so do we, in the same place.
func FuzzParse(f *testing.F) {
	for _, p := range seeds() {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		p = slices.Clip(p)
		got := frame.Parse(p)
		if got.L4 != 0 && (int(got.L4) >= len(p) || got.L4 <= got.L3 || got.Version == 0) {
			t.Fatalf("L4 outside of the packet: %+v", got)
		}
		want, sure := opinion(p)
		if got.EtherType != want.EtherType || got.L3 != want.L3 {
			t.Fatalf("link layer: got %+v, gopacket %+v", got, want)
		}
		if sure && got != want {
			t.Fatalf("got %+v, gopacket %+v", got, want)
		}
	})
}

// opinion returns what gopacket makes of p, and whether it got as far as a whole
// TCP or UDP header.
func opinion(p []byte) (l frame.Layers, sure bool) {
	var eth layers.Ethernet
	if eth.DecodeFromBytes(p, gopacket.NilDecodeFeedback) != nil {
		return l, false
	}
	l.EtherType, l.L3 = frame.EtherType(eth.EthernetType), 14
	if eth.EthernetType == layers.EthernetTypeLLC {
		l.EtherType = frame.EtherType(eth.Length)
	}
	for rest := eth.Payload; l.EtherType.IsTag(); l.L3 += 4 {
		var tag layers.Dot1Q
		if l.L3 == 22 || tag.DecodeFromBytes(rest, gopacket.NilDecodeFeedback) != nil {
			return frame.Layers{EtherType: l.EtherType}, false
		}
		l.EtherType, rest = frame.EtherType(tag.Type), tag.Payload
	}
	packet := p[l.L3:]
	switch l.EtherType {
	case frame.EtherTypeIPv4:
		var ip layers.IPv4
		if ip.DecodeFromBytes(packet, gopacket.NilDecodeFeedback) != nil || ip.Version != 4 {
			return l, false
		}
		l.Version, l.Protocol, l.Fragment = 4, frame.Protocol(ip.Protocol), fragment(ip.FragOffset, ip.Flags&layers.IPv4MoreFragments != 0)
		return opinionOfTransport(p, ip.Payload, l)
	case frame.EtherTypeIPv6:
		var ip layers.IPv6
		if ip.DecodeFromBytes(packet, gopacket.NilDecodeFeedback) != nil || ip.Version != 6 {
			return l, false
		}
		l.Version, l.Protocol = 6, frame.Protocol(ip.NextHeader)
		rest := packet[40:min(len(packet), 40+int(ip.Length))]
		for range 8 {
			var ext layers.IPv6ExtensionSkipper
			if !layers.LayerClassIPv6Extension.Contains(layers.IPProtocol(l.Protocol).LayerType()) || l.Protocol == 44 {
				break // it takes a fragment header for what its second byte says
			}
			if ext.DecodeFromBytes(rest, gopacket.NilDecodeFeedback) != nil {
				return l, false
			}
			l.Protocol, rest = frame.Protocol(ext.NextHeader), ext.Payload
		}
		return opinionOfTransport(p, rest, l)
	}
	return l, false
}

// opinionOfTransport adds to l what gopacket makes of rest, the end of the packet in p.
func opinionOfTransport(p, rest []byte, l frame.Layers) (frame.Layers, bool) {
	at := uint16(cap(p) - cap(rest)) // they share their memory
	var tcp layers.TCP
	var udp layers.UDP
	switch {
	case l.Fragment == frame.FragmentLater:
		return l, false
	case l.Protocol == frame.ProtocolTCP && tcp.DecodeFromBytes(rest, gopacket.NilDecodeFeedback) == nil:
		l.L4, l.SrcPort, l.DstPort = at, uint16(tcp.SrcPort), uint16(tcp.DstPort)
		return l, true
	case l.Protocol == frame.ProtocolUDP && udp.DecodeFromBytes(rest, gopacket.NilDecodeFeedback) == nil:
		l.L4, l.SrcPort, l.DstPort = at, uint16(udp.SrcPort), uint16(udp.DstPort)
		return l, true
	}
	return l, false
}

func fragment(offset uint16, more bool) frame.Fragment {
	switch {
	case offset != 0:
		return frame.FragmentLater
	case more:
		return frame.FragmentFirst
	}
	return frame.FragmentNone
}

func FuzzARP(f *testing.F) {
	f.Add(frametest.ARPRequest(a4, b4.Addr)[14:])
	f.Add(frametest.ARPReply(a4, b4)[14:])
	f.Fuzz(func(t *testing.T, p []byte) {
		got := frame.ARP(slices.Clip(p))
		if !got.Valid() {
			return
		}
		var want layers.ARP
		if err := want.DecodeFromBytes(p, gopacket.NilDecodeFeedback); err != nil {
			t.Fatalf("gopacket: %v", err)
		}
		if got.Op() != want.Operation ||
			got.SenderMAC() != frame.MACFrom(want.SourceHwAddress) || got.TargetMAC() != frame.MACFrom(want.DstHwAddress) ||
			!slices.Equal(got.SenderIP().AsSlice(), want.SourceProtAddress) || !slices.Equal(got.TargetIP().AsSlice(), want.DstProtAddress) {
			t.Errorf("%x: gopacket reads %+v", p, want)
		}
	})
}

func TestARPIsValidForIPv4OverEthernetOnly(t *testing.T) {
	good := frametest.ARPRequest(a4, b4.Addr)[14:]
	if !frame.ARP(good).Valid() {
		t.Error("a request is not valid")
	}
	if frame.ARP(good[:27]).Valid() {
		t.Error("a request cut short is valid")
	}
	for i := range 6 {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if frame.ARP(bad).Valid() {
			t.Errorf("valid with byte %d changed", i)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	b := frame.NewBufs(1)[0]
	b.SetBytes(tagged(frametest.TCP(a6, b6, nil), 2))
	if n := testing.AllocsPerRun(100, b.Parse); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkParse(bench *testing.B) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"ARP", frametest.ARPRequest(a4, b4.Addr)},
		{"TCPv4", frametest.TCP(a4, b4, nil)},
		{"TCPv6", frametest.TCP(a6, b6, nil)},
		{"TCPv4-tagged", tagged(frametest.TCP(a4, b4, nil), 1)},
	} {
		bench.Run(c.name, func(bench *testing.B) {
			b := frame.NewBufs(1)[0]
			b.SetBytes(c.frame)
			for bench.Loop() {
				b.Parse()
			}
		})
	}
}
