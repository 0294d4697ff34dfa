package gateway

import (
	"net/netip"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
)

// dhcp is a client's message, from the device address mac; invalid addresses are left out.
func (s *site) dhcp(mac frame.MAC, kind layers.DHCPMsgType, wanted, server netip.Addr) []byte {
	s.Helper()
	d := &layers.DHCPv4{
		Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6,
		Xid: uint32(mac), ClientHWAddr: hardware(mac), Flags: 0x8000,
		Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)})},
	}
	if wanted.IsValid() {
		d.Options = append(d.Options, layers.NewDHCPOption(layers.DHCPOptRequestIP, wanted.AsSlice()),
			layers.NewDHCPOption(layers.DHCPOptServerID, server.AsSlice()))
	}
	return s.datagram(frame.Broadcast, mac, netip.AddrPortFrom(netip.IPv4Unspecified(), 68),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), 67), s.frameOf(d))
}

// offered reads a DHCP offer: which address, by whom, to whom.
func offered(b []byte) (offer, server netip.Addr, client frame.MAC, ok bool) {
	d, found := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy).Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
	if !found || len(d.ClientHWAddr) != 6 {
		return offer, server, client, false
	}
	for _, o := range d.Options {
		switch o.Type {
		case layers.DHCPOptMessageType:
			ok = len(o.Data) == 1 && o.Data[0] == byte(layers.DHCPMsgTypeOffer)
		case layers.DHCPOptServerID:
			server, _ = netip.AddrFromSlice(o.Data)
		}
	}
	offer, _ = netip.AddrFromSlice(d.YourClientIP.To4())
	return offer, server, frame.MACFrom(d.ClientHWAddr), ok && offer.IsValid() && server.IsValid()
}

// dhcpOffer is what a server says, from the hostile guest; behind a VLAN tag if there is one.
func (h *hostile) dhcpOffer(tag *layers.Dot1Q) []byte {
	h.Helper()
	d := &layers.DHCPv4{
		Operation: layers.DHCPOpReply, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6,
		ClientHWAddr: hardware(eui(h.b.NS, "eth0")), YourClientIP: []byte{192, 168, 150, 66}, Flags: 0x8000,
		Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(layers.DHCPMsgTypeOffer)})},
	}
	plain := h.datagram(frame.Broadcast, h.mac, netip.AddrPortFrom(parse(h.a.addr["-4"]), 67),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), 68), h.frameOf(d))
	if tag == nil {
		return plain
	}
	e := ether(frame.Broadcast, h.mac, parse(h.a.addr["-4"]))
	e.EthernetType = layers.EthernetTypeDot1Q
	return h.frameOf(e, tag, gopacket.Payload(plain[etherLen:]))
}

// advertisement is a router's, from the hostile guest.
func (h *hostile) advertisement() []byte {
	h.Helper()
	from := parse("fe80::66")
	ip6 := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: from.AsSlice(), DstIP: parse("ff02::1").AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterAdvertisement, 0)}
	h.setNetwork(icmp.SetNetworkLayerForChecksum(ip6))
	return h.frameOf(ether(0x3333_0000_0001, h.mac, from), ip6, icmp,
		&layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800})
}

// neighborAdvertisement says that the address is the hostile guest's.
func (h *hostile) neighborAdvertisement(addr string) []byte {
	h.Helper()
	ip6 := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: parse(addr).AsSlice(), DstIP: parse("ff02::1").AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborAdvertisement, 0)}
	h.setNetwork(icmp.SetNetworkLayerForChecksum(ip6))
	return h.frameOf(ether(0x3333_0000_0001, h.mac, parse(addr)), ip6, icmp, &layers.ICMPv6NeighborAdvertisement{
		Flags: 0x20, TargetAddress: parse(addr).AsSlice(), // override
		Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: hardware(h.mac)}},
	})
}

// arp says, or asks as if, the address sender were the hostile guest's.
func (h *hostile) arp(operation uint16, sender, target string) []byte {
	h.Helper()
	e := ether(frame.Broadcast, h.mac, parse(sender))
	e.EthernetType = layers.EthernetTypeARP
	return h.frameOf(e, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: operation,
		SourceHwAddress: hardware(h.mac), SourceProtAddress: parse(sender).AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: parse(target).AsSlice(),
	})
}

// reset reports whether the frame has a TCP reset, to the port if that is not 0.
func reset(b []byte, port layers.TCPPort) bool {
	tcp, ok := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Lazy).Layer(layers.LayerTypeTCP).(*layers.TCP)
	return ok && tcp.RST && (port == 0 || tcp.DstPort == port)
}
