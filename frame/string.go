package frame

import (
	"fmt"
	"net/netip"
	"strings"
)

// String describes the frame in one line for people: addresses, tags, what it
// carries and what is left to do. It allocates; it is not for the data path.
func (b *Buf) String() string {
	p := b.Bytes()
	if len(p) < EthernetLen {
		return fmt.Sprintf("%d bytes, no Ethernet header", len(p))
	}
	var s strings.Builder
	eth := Ethernet(p)
	fmt.Fprintf(&s, "%v > %v, %d bytes", eth.Src(), eth.Dst(), len(p))
	for at := typeAt; at < eth.HeaderLen()-2; at += TagLen {
		tag := Tag(p[at:])
		fmt.Fprintf(&s, ", %v %d priority %d", tag.TPID(), tag.VID(), tag.PCP())
	}
	l := Parse(p)
	s.WriteString(", " + l.describe(p))
	switch o := b.Offload; {
	case o.GSO != GSONone:
		fmt.Fprintf(&s, ", superframe of %d-byte segments", o.SegSize)
	case o.NeedsCsum:
		s.WriteString(", checksum to do")
	}
	return s.String()
}

// describe says what the packet at L3 of p is.
func (l *Layers) describe(p []byte) string {
	switch h := p[l.L3:]; {
	case l.Version == 4:
		return l.describeIP(IPv4(h).Src(), IPv4(h).Dst())
	case l.Version == 6:
		return l.describeIP(IPv6(h).Src(), IPv6(h).Dst())
	case l.EtherType == EtherTypeARP && ARP(h).Valid():
		a := ARP(h)
		if a.Op() == ARPRequest {
			return fmt.Sprintf("ARP %v asks for %v", a.SenderIP(), a.TargetIP())
		}
		return fmt.Sprintf("ARP %v is at %v", a.SenderIP(), a.SenderMAC())
	case l.EtherType < 0x600:
		return "LLC"
	}
	return l.EtherType.String()
}

func (l *Layers) describeIP(src, dst netip.Addr) string {
	switch {
	case l.Fragment == FragmentLater:
		return fmt.Sprintf("%v > %v %v fragment", src, dst, l.Protocol)
	case l.L4 != 0 && l.Protocol.HasPorts():
		return fmt.Sprintf("%v > %v %v", netip.AddrPortFrom(src, l.SrcPort), netip.AddrPortFrom(dst, l.DstPort), l.Protocol)
	}
	return fmt.Sprintf("%v > %v %v", src, dst, l.Protocol)
}
