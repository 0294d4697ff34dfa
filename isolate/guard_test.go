package isolate_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
	"weft/isolate"
)

const (
	gatewayPort = frame.PortID(1)
	guestPort   = frame.PortID(2)
)

var (
	gateway4 = frametest.End{MAC: 0x0200_0000_0001, Addr: netip.MustParseAddr("10.0.0.254"), Port: 67}
	gateway6 = frametest.End{MAC: gateway4.MAC, Addr: netip.MustParseAddr("fe80::1"), Port: 547}
	global6  = netip.MustParseAddr("fd00::1:1")
	a4, b4   = frametest.Station(1), frametest.Station(2)
	a6, b6   = frametest.Station6(1), frametest.Station6(2)
	allNodes = frametest.End{MAC: 0x3333_0000_0001, Addr: netip.MustParseAddr("ff02::1"), Port: 546}
)

func newGuard() *isolate.Guard {
	return isolate.NewGuard(isolate.GuardConfig{
		Gateway: []netip.Addr{gateway4.Addr, gateway6.Addr, global6},
		MAC:     gateway4.MAC,
		Trusted: []frame.PortID{gatewayPort},
	})
}

// judge returns what the guard says of a frame that comes in by a port.
func judge(g *isolate.Guard, in frame.PortID, p []byte) frame.Reason {
	bufs := frame.NewBufs(1)
	bufs[0].SetBytes(p)
	bufs[0].In = in
	g.Process(0, bufs)
	return bufs[0].Reason()
}

func at(e frametest.End, port uint16) frametest.End {
	e.Port = port
	return e
}

func addressed(e frametest.End, a string) frametest.End {
	e.Addr = netip.MustParseAddr(a)
	return e
}

// bootp is the start of a DHCPv4 message.
func bootp(op byte) []byte { return append([]byte{op, 1, 6, 0}, make([]byte, 240)...) }

// icmp4 returns the frame of an ICMP message of a type.
func icmp4(src, dst frametest.End, typ byte) []byte {
	p := frametest.Ping(src, dst, 1, 1)
	p[14+20] = typ
	return p
}

// icmp6 returns the frame of an ICMPv6 message, whose checksum is of no interest.
func icmp6(src, dst frametest.End, typ byte, body []byte) []byte {
	p := frametest.Ping(src, dst, 1, 1)[:14+40]
	p[14+7] = 255
	p = append(p, typ, 0, 0, 0)
	return resized(append(p, body...))
}

// resized returns the IPv6 frame p with its payload length set right.
func resized(p []byte) []byte {
	binary.BigEndian.PutUint16(p[14+4:], uint16(len(p)-14-40))
	return p
}

func advertisement(src frametest.End) []byte { return icmp6(src, allNodes, 134, make([]byte, 12)) }

// discovery returns a message whose body is four bytes, an address, and an option
// with a link-layer address.
func discovery(src, dst frametest.End, typ byte, target netip.Addr, option byte, mac frame.MAC) []byte {
	body := append(make([]byte, 4), target.AsSlice()...)
	body = append(body, option, 1, 0, 0, 0, 0, 0, 0)
	mac.Put(body[len(body)-6:])
	return icmp6(src, dst, typ, body)
}

// solicit returns a router solicitation with a source link-layer address.
func solicit(src frametest.End) []byte {
	body := []byte{0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0}
	src.MAC.Put(body[6:])
	return icmp6(src, addressed(allNodes, "ff02::2"), 133, body)
}

// extended returns the IPv6 frame p with an extension header of a type and bytes in
// front of all that follows the IPv6 header. The first byte is filled in.
func extended(p []byte, typ byte, ext ...byte) []byte {
	q := slices.Clone(p[:14+40])
	ext = slices.Clone(ext)
	ext[0], q[14+6] = q[14+6], typ
	return resized(append(append(q, ext...), p[14+40:]...))
}

func options8() []byte { return []byte{0, 0, 1, 4, 0, 0, 0, 0} } // a PadN option
func fragmentHeader(field uint16) []byte {
	return []byte{0, 0, byte(field >> 8), byte(field), 0, 0, 0, 9}
}

// The rules, as what becomes of frames that a guest sends.
var rules = map[string]struct {
	frame []byte
	want  frame.Reason
}{
	// What guests do all day.
	"TCPv4":                     {frametest.TCP(a4, b4, nil), 0},
	"TCPv6":                     {frametest.TCP(a6, b6, nil), 0},
	"UDPv4":                     {frametest.UDP(a4, b4, frametest.Payload(100)), 0},
	"UDPv6":                     {frametest.UDP(a6, b6, frametest.Payload(100)), 0},
	"ping":                      {frametest.Ping(a4, b4, 1, 1), 0},
	"ping v6":                   {frametest.Ping(a6, b6, 1, 1), 0},
	"DHCP DISCOVER":             {frametest.UDP(at(a4, 68), at(addressed(b4, "255.255.255.255"), 67), bootp(1)), 0},
	"DHCP from a relay":         {frametest.UDP(at(a4, 67), at(gateway4, 67), bootp(1)), 0},
	"DHCPv6 SOLICIT":            {frametest.UDP(at(a6, 546), at(addressed(allNodes, "ff02::1:2"), 547), []byte{1, 0, 0, 1}), 0},
	"DHCPv6 RELAY-FORW":         {frametest.UDP(at(a6, 547), at(gateway6, 547), []byte{12, 0, 0, 1}), 0},
	"DHCPv6 nothing":            {frametest.UDP(at(a6, 547), at(gateway6, 547), nil), 0},
	"router solicitation":       {solicit(a6), 0},
	"ARP request for gateway":   {frametest.ARPRequest(a4, gateway4.Addr), 0},
	"ARP reply":                 {frametest.ARPReply(a4, gateway4), 0},
	"ARP probe for gateway":     {frametest.ARPRequest(addressed(a4, "0.0.0.0"), gateway4.Addr), 0},
	"NS for gateway":            {discovery(a6, allNodes, 135, gateway6.Addr, 1, a6.MAC), 0},
	"DAD for gateway":           {discovery(addressed(a6, "::"), allNodes, 135, gateway6.Addr, 14, 0), 0},
	"NA of a guest":             {discovery(a6, gateway6, 136, a6.Addr, 2, a6.MAC), 0},
	"MLD report":                {extended(icmp6(a6, allNodes, 143, make([]byte, 4)), 0, 0, 0, 5, 2, 0, 0, 1, 0), 0},
	"later fragment":            {extended(frametest.UDP(a6, b6, nil), 44, fragmentHeader(8)...), 0},
	"first fragment of TCP":     {extended(frametest.TCP(a6, b6, nil), 44, fragmentHeader(1)...), 0},
	"no next header":            {extended(frametest.Ping(a6, b6, 1, 1)[:54], 60, 59, 0, 1, 4, 0, 0, 0, 0), 0},
	"spanning tree":             {frametest.Ethernet(b4.MAC, a4.MAC, 38, append([]byte{0x42, 0x42, 3}, make([]byte, 35)...)), 0},
	"LLC of one byte":           {frametest.Ethernet(b4.MAC, a4.MAC, 1, []byte{0xaa}), 0},
	"LLDP":                      {frametest.Ethernet(b4.MAC, a4.MAC, 0x88cc, nil), 0},
	"tag and nothing":           {frametest.Ethernet(b4.MAC, a4.MAC, frame.EtherTypeCTag, []byte{0, 1}), 0},
	"IPv4 header short":         {frametest.UDP(a4, at(b4, 68), nil)[:30], 0},
	"IPv4 header beyond packet": {edited(frametest.UDP(a4, at(b4, 68), nil), 14, 0x4f), 0},
	"IPv6 header short":         {advertisement(a6)[:50], 0},
	"RA chain cut short":        {resized(extended(advertisement(a6), 60, options8()...)[:14+40+4]), 0},
	"NA cut short":              {resized(discovery(a6, allNodes, 136, global6, 2, 1)[:14+40+20]), 0},

	// Claims to be the gateway.
	"ARP request from gateway":        {frametest.ARPRequest(addressed(a4, "10.0.0.254"), b4.Addr), frame.DropSpoofedGateway},
	"ARP reply for gateway":           {frametest.ARPReply(addressed(a4, "10.0.0.254"), b4), frame.DropSpoofedGateway},
	"gratuitous ARP":                  {frametest.ARPRequest(addressed(a4, "10.0.0.254"), gateway4.Addr), frame.DropSpoofedGateway},
	"gratuitous ARP reply":            {frametest.ARPReply(addressed(a4, "10.0.0.254"), at(addressed(b4, "10.0.0.254"), 0)), frame.DropSpoofedGateway},
	"ARP sender other than Ethernet":  {ethernetSource(frametest.ARPReply(gateway4, b4), a4.MAC), frame.DropSpoofedGateway},
	"ARP hardware type IEEE 802":      {edited(frametest.ARPReply(addressed(a4, "10.0.0.254"), b4), 15, 6), frame.DropSpoofedGateway},
	"ARP gateway's MAC for another":   {frametest.ARPReply(frametest.End{MAC: gateway4.MAC, Addr: b4.Addr}, a4), frame.DropSpoofedGateway},
	"NS from gateway":                 {discovery(addressed(a6, "fe80::1"), allNodes, 135, b6.Addr, 1, a6.MAC), frame.DropSpoofedGateway},
	"NA for gateway":                  {discovery(a6, allNodes, 136, gateway6.Addr, 2, a6.MAC), frame.DropSpoofedGateway},
	"NA for gateway's global address": {discovery(a6, b6, 136, global6, 2, a6.MAC), frame.DropSpoofedGateway},
	"NA without options":              {resized(discovery(a6, b6, 136, global6, 2, 0)[:14+40+24]), frame.DropSpoofedGateway},
	"NA gateway's MAC for another":    {discovery(a6, b6, 136, a6.Addr, 2, gateway4.MAC), frame.DropSpoofedGateway},
	"NS gateway's MAC for another":    {discovery(a6, b6, 135, b6.Addr, 1, gateway4.MAC), frame.DropSpoofedGateway},
	"RS from gateway":                 {solicit(addressed(a6, "fe80::1")), frame.DropSpoofedGateway},
	"RS gateway's MAC":                {solicit(frametest.End{MAC: gateway4.MAC, Addr: a6.Addr}), frame.DropSpoofedGateway},
	"NA behind options":               {extended(discovery(a6, allNodes, 136, global6, 2, a6.MAC), 60, options8()...), frame.DropSpoofedGateway},

	// DHCP servers.
	"DHCP OFFER":             {frametest.UDP(at(a4, 67), at(b4, 68), bootp(2)), frame.DropRogueDHCP},
	"DHCP OFFER, other port": {frametest.UDP(at(a4, 6767), at(b4, 68), bootp(2)), frame.DropRogueDHCP},
	"DHCP to client, op 1":   {frametest.UDP(at(a4, 67), at(b4, 68), bootp(1)), frame.DropRogueDHCP},
	"BOOTREPLY to a relay":   {frametest.UDP(at(a4, 67), at(b4, 67), bootp(2)), frame.DropRogueDHCP},
	"BOOTREPLY to server":    {frametest.UDP(at(a4, 1067), at(b4, 67), bootp(2)), frame.DropRogueDHCP},
	"DHCP OFFER, IP options": {withIPOptions(frametest.UDP(at(a4, 67), at(b4, 68), bootp(2))), frame.DropRogueDHCP},
	"DHCP OFFER, fragmented": {edited(frametest.UDP(at(a4, 67), at(b4, 68), bootp(2))[:14+28], 20, 0x20), frame.DropRogueDHCP},
	"UDP ports in fragments": {shortIPv4(edited(frametest.UDP(at(a4, 67), at(b4, 68), nil), 20, 0x20), 27), frame.DropBadFragment},
	"DHCPv6 ADVERTISE":       {frametest.UDP(at(a6, 547), at(allNodes, 546), []byte{2, 0, 0, 1}), frame.DropRogueDHCP},
	"DHCPv6, other port":     {frametest.UDP(at(a6, 5547), at(allNodes, 546), []byte{7, 0, 0, 1}), frame.DropRogueDHCP},
	"DHCPv6 RELAY-REPL":      {frametest.UDP(at(a6, 547), at(b6, 547), []byte{13, 0, 0, 1}), frame.DropRogueDHCP},
	"DHCPv6 behind options":  {extended(frametest.UDP(at(a6, 547), at(allNodes, 546), nil), 60, options8()...), frame.DropRogueDHCP},
	"DHCPv6 fragmented":      {extended(frametest.UDP(at(a6, 547), at(allNodes, 546), nil), 44, fragmentHeader(1)...), frame.DropRogueDHCP},

	// Routers.
	"RA":                       {advertisement(a6), frame.DropRogueRA},
	"RA, hop limit 64":         {edited(advertisement(a6), 14+7, 64), frame.DropRogueRA},
	"RA of the gateway":        {advertisement(gateway6), frame.DropRogueRA},
	"RA to one guest":          {icmp6(a6, b6, 134, make([]byte, 12)), frame.DropRogueRA},
	"redirect":                 {icmp6(a6, b6, 137, make([]byte, 36)), frame.DropRogueRA},
	"ICMP redirect":            {icmp4(a4, b4, 5), frame.DropRogueRA},
	"ICMP router advert":       {icmp4(a4, b4, 9), frame.DropRogueRA},
	"RA behind hop-by-hop":     {extended(advertisement(a6), 0, options8()...), frame.DropRogueRA},
	"RA behind options":        {extended(extended(advertisement(a6), 60, options8()...), 60, options8()...), frame.DropRogueRA},
	"RA behind routing":        {extended(advertisement(a6), 43, options8()...), frame.DropRogueRA},
	"RA behind authentication": {extended(advertisement(a6), 51, make([]byte, 8)...), frame.DropRogueRA},
	"RA behind 100 headers":    {behind(advertisement(a6), 100), frame.DropRogueRA},
	"RA in an atomic fragment": {extended(advertisement(a6), 44, fragmentHeader(0)...), frame.DropRogueRA},
	"RA fragmented":            {extended(advertisement(a6), 44, fragmentHeader(1)...), frame.DropRogueRA},
	"RA jumbo":                 {edited(edited(advertisement(a6), 18, 0), 19, 0), frame.DropRogueRA},
	"NS fragmented":            {extended(discovery(a6, allNodes, 135, b6.Addr, 1, a6.MAC), 44, fragmentHeader(1)...), frame.DropBadFragment},
	"NS in an atomic fragment": {extended(discovery(a6, allNodes, 135, b6.Addr, 1, a6.MAC), 44, fragmentHeader(0)...), frame.DropBadFragment},
	"NS behind options":        {extended(discovery(a6, allNodes, 135, b6.Addr, 1, a6.MAC), 60, options8()...), frame.DropBadFragment},
	"RS in an atomic fragment": {extended(solicit(a6), 44, fragmentHeader(0)...), frame.DropBadFragment},
	"SEND in a fragment":       {extended(icmp6(a6, allNodes, 149, make([]byte, 8)), 44, fragmentHeader(0)...), frame.DropBadFragment},

	// First fragments whose header chain goes on in the next.
	"chain ends in options":  {resized(extended(extended(advertisement(a6), 60, options8()...), 44, fragmentHeader(1)...)[:14+40+8+4]), frame.DropBadFragment},
	"chain ends in ICMPv6":   {resized(extended(advertisement(a6), 44, fragmentHeader(1)...)[:14+40+8+7]), frame.DropBadFragment},
	"chain ends in TCP":      {resized(extended(frametest.TCP(a6, b6, nil), 44, fragmentHeader(1)...)[:14+40+8+16]), frame.DropBadFragment},
	"options longer than it": {longer(extended(extended(frametest.UDP(a6, b6, nil), 60, options8()...), 44, fragmentHeader(1)...)), frame.DropBadFragment},
	"chain ends in padding":  {padded(resized(extended(extended(advertisement(a6), 60, options8()...), 44, fragmentHeader(1)...)[:14+40+8+4])), frame.DropBadFragment},
}

func edited(p []byte, at int, v byte) []byte {
	p = slices.Clone(p)
	p[at] = v
	return p
}

func ethernetSource(p []byte, mac frame.MAC) []byte {
	p = slices.Clone(p)
	mac.Put(p[6:])
	return p
}

// withIPOptions returns the IPv4 frame with four bytes of no-operation options.
func withIPOptions(p []byte) []byte {
	p = slices.Insert(slices.Clone(p), 14+20, 1, 1, 1, 1)
	p[14] = 0x46
	binary.BigEndian.PutUint16(p[16:], uint16(len(p)-14))
	return p
}

// shortIPv4 returns the IPv4 frame with a packet of n bytes; what follows is padding.
func shortIPv4(p []byte, n uint16) []byte {
	binary.BigEndian.PutUint16(p[16:], n)
	return p
}

// behind returns the IPv6 frame with n options headers.
func behind(p []byte, n int) []byte {
	for range n {
		p = extended(p, 60, options8()...)
	}
	return p
}

// longer makes the destination options behind a fragment header claim 2,048 bytes.
func longer(p []byte) []byte { return edited(p, 14+40+8+1, 255) }

// padded returns the frame with padding that looks like the rest of the chain.
func padded(p []byte) []byte { return append(p, make([]byte, 60)...) }

func TestGuestsSayNothingForTheGateway(t *testing.T) {
	g := newGuard()
	for name, r := range rules {
		if got := judge(g, guestPort, r.frame); got != r.want {
			t.Errorf("%s: %v, want %v", name, got, r.want)
		}
	}
}

// CVE-2021-27853, CVE-2021-27861: whatever is in front, the verdict is the same.
func TestGuardLooksBehindTagsAndSNAP(t *testing.T) {
	g := newGuard()
	for name, r := range rules {
		if len(r.frame) < 16 {
			continue
		}
		for how, p := range map[string][]byte{
			"in a VLAN":      frametest.Tagged(r.frame, frame.EtherTypeCTag, 5, 0),
			"priority tags":  frametest.Tagged(frametest.Tagged(frametest.Tagged(r.frame, frame.EtherTypeCTag, 0, 7), frame.EtherTypeSTag, 0, 0), frame.EtherTypeCTag, 0, 0),
			"in SNAP":        snap(r.frame, 100),
			"in SNAP, long":  snap(r.frame, 0x5ff),
			"tagged in SNAP": snap(frametest.Tagged(r.frame, frame.EtherTypeCTag, 0, 0), 0),
			"SNAP in a tag":  frametest.Tagged(snap(r.frame, 100), frame.EtherTypeCTag, 0, 0),
		} {
			if got := judge(g, guestPort, p); got != r.want {
				t.Errorf("%s, %s: %v, want %v", name, how, got, r.want)
			}
		}
	}
}

// snap returns the frame in 802.3 form, with an LLC/SNAP header in front of its type.
func snap(p []byte, length uint16) []byte {
	return slices.Insert(slices.Clone(p), 12, byte(length>>8), byte(length), 0xaa, 0xaa, 3, 0, 0, 0)
}

func TestTrustedPortsMaySayAnything(t *testing.T) {
	g := newGuard()
	for name, r := range rules {
		if got := judge(g, gatewayPort, r.frame); got != 0 {
			t.Errorf("%s: %v from the gateway's port", name, got)
		}
	}
}

func TestSetTakesEffectWithTheNextBatch(t *testing.T) {
	g := newGuard()
	claim := frametest.ARPReply(a4, b4)
	if r := judge(g, guestPort, claim); r != 0 {
		t.Fatalf("before: %v", r)
	}
	g.Set(isolate.GuardConfig{Gateway: []netip.Addr{a4.Addr}, MAC: gateway4.MAC})
	if r := judge(g, guestPort, claim); r != frame.DropSpoofedGateway {
		t.Errorf("after Set: %v", r)
	}
	if r := judge(g, gatewayPort, claim); r != frame.DropSpoofedGateway {
		t.Errorf("from the port that is trusted no more: %v", r)
	}
}

func TestProcessTakesAnEmptyBatch(t *testing.T) { newGuard().Process(0, nil) }

func TestProcessAllocatesNothing(t *testing.T) {
	g := newGuard()
	bufs := frame.NewBufs(4)
	for i, p := range [][]byte{advertisement(a6), frametest.ARPReply(a4, b4), frametest.UDP(a4, b4, nil), behind(advertisement(a6), 9)} {
		bufs[i].SetBytes(p)
	}
	if n := testing.AllocsPerRun(100, func() { g.Process(0, bufs) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGuard(bench *testing.B) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"TCPv4", frametest.TCP(a4, b4, nil)},
		{"TCPv6", frametest.TCP(a6, b6, nil)},
		{"TCPv4-tagged", frametest.Tagged(frametest.TCP(a4, b4, nil), frame.EtherTypeCTag, 1, 0)},
		{"UDPv4", frametest.UDP(a4, b4, nil)},
		{"UDPv6", frametest.UDP(a6, b6, nil)},
		{"ARP", frametest.ARPReply(a4, b4)},
		{"NA", discovery(a6, gateway6, 136, a6.Addr, 2, a6.MAC)},
	} {
		bench.Run(c.name, func(bench *testing.B) {
			g := newGuard()
			bufs := frame.NewBufs(64)
			for _, b := range bufs {
				b.SetBytes(c.frame)
			}
			for n := 0; n < bench.N; n += len(bufs) {
				g.Process(0, bufs)
			}
		})
	}
}

// A driver may have the device store a checksum anywhere, and bytes behind make it whatever
// the guest likes: the guard sees what comes of it.
func TestChecksumThatBecomesARouterAdvertisement(t *testing.T) {
	const at, router = frame.EthernetLen + 40, 0x8600
	for name, start := range map[string]uint16{"an echo": at, "a segment": 20} {
		t.Run(name, func(t *testing.T) {
			ra := frametest.Ping(a6, b6, 1, 1) // its sender has a router advertisement in mind
			binary.BigEndian.PutUint16(ra[at:], router)
			b := frame.NewBufs(1)[0]
			b.SetBytes(append(slices.Clone(ra), 0, 0))
			p := b.Bytes()
			aim := binary.BigEndian.Uint16(p[start:]) // what the checksum is to be
			p[start], p[start+1] = byte(frame.ProtocolTCP), 64
			binary.BigEndian.PutUint16(p[len(p)-2:], ^frame.Sum(p[start:], aim))
			b.In = guestPort
			b.Offload = frame.Offload{NeedsCsum: true, CsumStart: start}
			if why := b.CheckOffload(); why != 0 {
				t.Fatal(why)
			}
			newGuard().Process(0, []*frame.Buf{b})
			if got := binary.BigEndian.Uint16(b.Bytes()[at:]); got != router {
				t.Fatalf("type and code became %04x", got)
			}
			if got := b.Reason(); got != frame.DropRogueRA {
				t.Errorf("got %v", got)
			}
		})
	}
}
