package isolate_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
)

// Whatever comes, the guard does not panic and changes nothing; a tag more does not
// alter its verdict; of a flow all frames pass, or each is judged alone; and what gopacket takes for a router advertisement or a DHCP
// server's message does not pass.
func FuzzGuard(f *testing.F) {
	for _, r := range rules {
		f.Add(r.frame)
	}
	g := newGuard()
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < frame.EthernetLen || len(p) > 9000 {
			return
		}
		before := slices.Clone(p)
		got := judge(g, guestPort, p)
		if !bytes.Equal(p, before) {
			t.Error("the frame has changed")
		}
		if tagged := judge(g, guestPort, frametest.Tagged(p, frame.EtherTypeCTag, 1, 0)); tagged != got {
			t.Errorf("%v, but with a tag %v", got, tagged)
		}
		if what := rogue(p); what != "" && got == 0 {
			t.Errorf("%s passes: %x", what, p)
		}
		if flow, why, once := judgeOnce(g, p); flow.Version != 0 && why != 0 && !once {
			t.Errorf("%v, and others of %+v may pass: %x", why, flow, p)
		}
	})
}

// rogue says what gopacket takes the frame for, if a guest must not send it.
func rogue(p []byte) string {
	packet := gopacket.NewPacket(p, layers.LayerTypeEthernet, gopacket.Lazy)
	if beyond(packet) {
		return ""
	}
	if packet.Layer(layers.LayerTypeICMPv6RouterAdvertisement) != nil {
		return "a router advertisement"
	}
	if packet.Layer(layers.LayerTypeICMPv6Redirect) != nil {
		return "a redirect"
	}
	u, ok := packet.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if !ok || len(packet.Layers()) == 0 || packet.Layers()[0].LayerType() != layers.LayerTypeEthernet {
		return ""
	}
	ip, isIPv4 := packet.NetworkLayer().(*layers.IPv4)
	switch {
	case isIPv4 && ip.Version == 4 && ip.FragOffset == 0 && u.DstPort == 68:
		return "a DHCPv4 server's message"
	case !isIPv4 && u.DstPort == 546 && packet.NetworkLayer().(*layers.IPv6).Version == 6:
		return "a DHCPv6 server's message"
	}
	return ""
}

// beyond reports whether gopacket sees more than a host on the link would.
func beyond(packet gopacket.Packet) bool {
	networks := 0
	for _, l := range packet.Layers() {
		if _, ok := l.(gopacket.NetworkLayer); ok {
			networks++
		}
	}
	if networks > 1 {
		return true // what is in a tunnel is for its far end
	}
	if packet.Layer(layers.LayerTypeIPv6Fragment) != nil {
		return true // it does not tell first fragments from later ones
	}
	ip, ok := packet.NetworkLayer().(*layers.IPv6)
	// Behind this header it does not mind where the packet ends.
	return ok && ip.HopByHop != nil && int(ip.Length) < len(ip.HopByHop.Contents)+len(ip.HopByHop.Payload)
}
