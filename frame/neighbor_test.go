package frame_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
)

func TestMakeARPIsWhatOthersBuild(t *testing.T) {
	b := frame.NewBufs(1)[0]
	b.MakeARP(frame.Broadcast, frame.ARPRequest, host4.MAC, host4.Addr, peer4.Addr)
	frametest.Equal(t, b.Bytes(), frametest.ARPRequest(host4, peer4.Addr))
	b.MakeARP(peer4.MAC, frame.ARPReply, host4.MAC, host4.Addr, peer4.Addr)
	frametest.Equal(t, b.Bytes(), frametest.ARPReply(host4, peer4))
}

func TestMakeSolicitationIsWhatOthersRead(t *testing.T) {
	b := frame.NewBufs(1)[0]
	b.MakeSolicitation(0, host6.MAC, router6, peer6.Addr)
	if err := frametest.Checksums(b.Bytes()); err != nil {
		t.Error(err)
	}
	d := frametest.Decode(b.Bytes())
	eth, ip := d.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), d.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	last := peer6.Addr.As16()
	if !bytes.Equal(eth.DstMAC, []byte{0x33, 0x33, 0xff, last[13], last[14], last[15]}) {
		t.Errorf("to %v", eth.DstMAC)
	}
	if ip.HopLimit != 255 || frame.SolicitedNode(peer6.Addr).String() != ip.DstIP.String() {
		t.Errorf("to %v, hop limit %d", ip.DstIP, ip.HopLimit)
	}
	ns := d.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation)
	if ns.TargetAddress.String() != peer6.Addr.String() || ns.Options[0].Type != layers.ICMPv6OptSourceAddress || frame.MACFrom(ns.Options[0].Data) != host6.MAC {
		t.Errorf("asks for %v with %v", ns.TargetAddress, ns.Options)
	}
	b.Parse()
	if n := b.Neighbor(); n == nil || n.Target() != peer6.Addr || n.LinkAddr() != host6.MAC {
		t.Errorf("read back %v", n)
	}
	b.MakeSolicitation(peer6.MAC, host6.MAC, router6, peer6.Addr)
	if eth := frame.Ethernet(b.Bytes()); eth.Dst() != peer6.MAC || frame.IPv6(b.Bytes()[14:]).Dst() != peer6.Addr {
		t.Error("a probe goes to the group")
	}
}

func TestMakeAdvertisementIsWhatOthersRead(t *testing.T) {
	b := frame.NewBufs(1)[0]
	b.MakeAdvertisement(peer6.MAC, host6.MAC, router6, peer6.Addr, frame.AdvertSolicited|frame.AdvertOverride, host6.Addr)
	if err := frametest.Checksums(b.Bytes()); err != nil {
		t.Error(err)
	}
	na := frametest.Decode(b.Bytes()).Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	if na.Flags != 0x60 || na.TargetAddress.String() != host6.Addr.String() || na.Options[0].Type != layers.ICMPv6OptTargetAddress {
		t.Errorf("%+v", na)
	}
	b.Parse()
	if n := b.Neighbor(); n == nil || n.Flags() != 0x60 || n.LinkAddr() != host6.MAC {
		t.Errorf("read back %v", n)
	}
}

// TestNeighborRefusesWhatIsNotValid bears the list of RFC 4861 7.1.1 and 7.1.2.
func TestNeighborRefusesWhatIsNotValid(t *testing.T) {
	const ip, icmp = 14, 54
	unspecified := netip.IPv6Unspecified()
	for name, c := range map[string]struct {
		make func(b *frame.Buf)
		edit func(p []byte)
	}{
		"hop limit 254":          {edit: func(p []byte) { p[ip+7] = 254 }},
		"wrong checksum":         {edit: func(p []byte) { p[icmp+2]++ }},
		"code 1":                 {edit: func(p []byte) { p[icmp+1] = 1; p[icmp+3]-- }},
		"multicast target":       {make: func(b *frame.Buf) { b.MakeSolicitation(0, host6.MAC, router6, frame.AllNodes) }},
		"option of length 0":     {edit: func(p []byte) { p[icmp+25] = 0; p[icmp+3]++ }},
		"option behind the end":  {edit: func(p []byte) { p[icmp+25] = 2; p[icmp+3]-- }},
		"short":                  {edit: func(p []byte) { p[ip+5] = 16 }},
		"longer than the frame":  {edit: func(p []byte) { p[ip+5]++ }},
		"DAD with source option": {make: func(b *frame.Buf) { b.MakeSolicitation(0, host6.MAC, unspecified, peer6.Addr) }},
		"solicited to a group": {make: func(b *frame.Buf) {
			b.MakeAdvertisement(peer6.MAC, host6.MAC, router6, frame.AllNodes, frame.AdvertSolicited, host6.Addr)
		}},
	} {
		b := frame.NewBufs(1)[0]
		b.MakeSolicitation(0, host6.MAC, router6, peer6.Addr)
		if c.make != nil {
			c.make(b)
		}
		if c.edit != nil {
			c.edit(b.Bytes())
		}
		b.Parse()
		if b.Neighbor() != nil {
			t.Errorf("%s is taken", name)
		}
	}
	b := frame.NewBufs(1)[0]
	b.MakeSolicitation(0, host6.MAC, unspecified, peer6.Addr)
	b.Resize(b.Len() - 8) // no option: what a node sends for duplicate address detection
	p := b.Bytes()
	frame.IPv6(p[ip:]).SetPayloadLen(24)
	p[icmp+2], p[icmp+3] = 0, 0
	sum := ^frame.Sum(p[icmp:], frame.IPv6(p[ip:]).PseudoSum(frame.ProtocolICMPv6, 24))
	p[icmp+2], p[icmp+3] = byte(sum>>8), byte(sum)
	b.Parse()
	if n := b.Neighbor(); n == nil || n.LinkAddr() != 0 {
		t.Error("duplicate address detection is refused")
	}
}
