package service

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/frame/frametest"
)

func to(mac frame.MAC, address string, port uint16) frametest.End {
	return frametest.End{MAC: mac, Addr: netip.MustParseAddr(address), Port: port}
}

func changed(p []byte, at int, v byte) []byte {
	p = slices.Clone(p)
	p[at] = v
	return p
}

func TestProcessTakesWhatIsForTheServices(t *testing.T) {
	r := newRig(t, all())
	four := to(guest, "192.168.150.100", 68)
	six := to(guest, "fe80::5054:ff:fe00:1", 546)
	dhcp := func(dst string) []byte { return frametest.UDP(four, to(gatewayMAC, dst, 67), make([]byte, 240)) }
	dhcp6 := func(dst string) []byte { return frametest.UDP(six, to(gatewayMAC, dst, 547), make([]byte, 4)) }
	for name, c := range map[string]struct {
		p    []byte
		want frame.Reason
	}{
		"DHCPDISCOVER":                    {discover(guest), frame.Taken},
		"DHCP to the gateway":             {dhcp("192.168.150.1"), frame.Taken},
		"DHCP to the subnet":              {dhcp("192.168.150.255"), frame.Taken},
		"DHCP to another server":          {dhcp("192.0.2.1"), 0},
		"DHCP to the client's port":       {frametest.UDP(four, to(gatewayMAC, "192.168.150.1", 68), make([]byte, 240)), 0},
		"DHCP by TCP":                     {frametest.TCP(four, to(gatewayMAC, "192.168.150.1", 67), nil), 0},
		"DHCP in a VLAN":                  {frametest.Tagged(discover(guest), frame.EtherTypeCTag, 5, 0), 0},
		"DHCP, first fragment":            {changed(discover(guest), 14+6, 0x20), 0},
		"DHCP, later fragment":            {changed(discover(guest), 14+7, 1), 0},
		"DHCP, header too short":          {changed(discover(guest), 14, 0x44), 0},
		"DHCP, header too long":           {changed(discover(guest)[:14+40], 14, 0x4f), 0},
		"DHCP, longer than any":           {frametest.UDP(four, to(gatewayMAC, "192.168.150.1", 67), make([]byte, 2100)), 0},
		"DHCPv6 to all servers":           {dhcp6("ff02::1:2"), frame.Taken},
		"DHCPv6 to the gateway":           {dhcp6("fd5a:150::1"), frame.Taken},
		"DHCPv6 to its link-local":        {dhcp6("fe80::1"), frame.Taken},
		"DHCPv6 to another server":        {dhcp6("2001:db8::1"), 0},
		"DHCPv6 to all servers of a site": {dhcp6("ff05::1:3"), 0},
		"router solicitation":             {solicitation(), frame.Taken},
		"solicitation of another router":  {changed(solicitation(), 14+39, 3), 0},
		"neighbor solicitation":           {changed(solicitation(), 14+40, 135), 0},
		"solicitation cut short":          {solicitation()[:14+40+7], 0},
		"ping":                            {frametest.Ping(four, to(gatewayMAC, "192.168.150.1", 0), 1, 1), 0},
		"TCP":                             {frametest.TCP(six, to(gatewayMAC, "fd5a:150::1", 547), nil), 0},
		"ARP":                             {frametest.ARPRequest(four, gateway4), 0},
		"nothing":                         {frametest.Ethernet(gatewayMAC, guest, 0x0800, nil), 0},
	} {
		if got := r.process(frame.PortID(len(name)), c.p); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSuperframeIsNotTaken(t *testing.T) {
	r := newRig(t, all())
	b := frame.NewBufs(1)[0]
	b.SetBytes(discover(guest))
	b.Offload = frame.Offload{GSO: frame.GSOUDP, NeedsCsum: true, CsumStart: 34, CsumOffset: 6, HdrLen: 42, SegSize: 10}
	r.Process(0, []*frame.Buf{b})
	if b.Reason() != 0 || b.Offload.GSO == 0 {
		t.Errorf("%v, %+v", b.Reason(), b.Offload)
	}
}

// One guest that asks all the time does not keep others from being served.
func TestMessagesThatWaitAreBounded(t *testing.T) {
	r := newRig(t, all())
	taken := func(in frame.PortID) (n int) {
		for range 50 {
			if got := r.process(in, discover(guest)); got == frame.Taken {
				n++
			} else if got != frame.DropServiceBusy {
				t.Fatal(got)
			}
		}
		return n
	}
	if n := taken(1); n != maxMessagesOfOne {
		t.Errorf("%d of one guest", n)
	}
	all := maxMessagesOfOne
	for in := frame.PortID(2); in < 100; in++ {
		all += taken(in)
	}
	if all != maxMessages {
		t.Errorf("%d of all", all)
	}
	if c := r.Counters(); c.Busy != 99*50-maxMessages {
		t.Errorf("%d dropped", c.Busy)
	}
	for range maxMessages { // as Run does
		r.inbox.done(<-r.inbox.full)
	}
	if n := taken(1); n != maxMessagesOfOne {
		t.Errorf("afterwards %d", n)
	}
}

func TestProcessAllocatesNothing(t *testing.T) {
	r := newRig(t, all())
	bufs := frame.NewBufs(4)
	tcp := frametest.TCP(frametest.Station(1), frametest.Station(2), nil)
	frames := [][]byte{discover(guest), tcp, solicitation(), tcp}
	n := testing.AllocsPerRun(100, func() {
		for i, p := range frames {
			bufs[i].SetBytes(p)
		}
		r.Process(0, bufs)
		for range 2 {
			r.inbox.done(<-r.inbox.full)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkProcess(bench *testing.B) {
	w := newWanted(&Settings{DHCPv4: true, Subnets: all().Subnets})
	s := &Server{inbox: newInbox()}
	s.wanted.Store(w)
	for name, p := range map[string][]byte{
		"TCPv4": frametest.TCP(frametest.Station(1), frametest.Station(2), nil),
		"UDPv4": frametest.UDP(frametest.Station(1), frametest.Station(2), nil),
		"UDPv6": frametest.UDP(frametest.Station6(1), frametest.Station6(2), nil),
	} {
		bench.Run(name, func(bench *testing.B) {
			bufs := frame.NewBufs(64)
			for _, b := range bufs {
				b.SetBytes(p)
			}
			for n := 0; n < bench.N; n += len(bufs) {
				s.Process(0, bufs)
			}
		})
	}
}

// What is taken is what gopacket takes for a message of a client, and it is read alike.
func FuzzProcess(f *testing.F) {
	f.Add(discover(guest))
	f.Add(solicitation())
	f.Add(frametest.UDP(to(guest, "fe80::2", 546), to(gatewayMAC, "ff02::1:2", 547), make([]byte, 4)))
	v := all()
	w := newWanted(&v)
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < frame.EthernetLen {
			return
		}
		k := w.kind(p)
		d, ok := parseDatagram(p)
		if k == 0 || k == ofRouter || !ok {
			return
		}
		packet := gopacket.NewPacket(p, layers.LayerTypeEthernet, gopacket.Default)
		u, isUDP := packet.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !isUDP {
			if packet.ErrorLayer() == nil {
				t.Errorf("gopacket sees no datagram in %x", p)
			}
			return
		}
		if u.DstPort != 67 && u.DstPort != 547 || !bytes.Equal(u.Payload, d.payload) {
			t.Errorf("port %d, payload %x, want %x", u.DstPort, d.payload, u.Payload)
		}
	})
}

func TestDatagramIsChecked(t *testing.T) {
	four := frametest.UDP(to(guest, "10.0.0.1", 68), to(gatewayMAC, "10.0.0.2", 67), []byte("hello"))
	six := frametest.UDP(to(guest, "fd00::1", 546), to(gatewayMAC, "fd00::2", 547), []byte("hello"))
	none := func(p []byte, at int) []byte { return changed(changed(p, at, 0), at+1, 0) }
	for name, c := range map[string]struct {
		p  []byte
		ok bool
	}{
		"IPv4":                       {four, true},
		"IPv6":                       {six, true},
		"padded":                     {append(slices.Clone(four), make([]byte, 9)...), true},
		"IPv4 without checksum":      {none(four, 34+6), true},
		"IPv6 without checksum":      {none(six, 54+6), false},
		"IPv4 with a wrong checksum": {changed(four, 45, 'H'), false},
		"IPv6 with a wrong checksum": {changed(six, 60, 'H'), false},
		"packet beyond the frame":    {changed(four, 14+3, 34), false},
		"packet of less than UDP":    {changed(four, 14+3, 27), false},
		"UDP beyond the packet":      {append(changed(four, 34+5, 14), 0), false},
		"length beyond the packet":   {changed(four, 34+5, 14), false},
		"length of less than itself": {changed(four, 34+5, 7), false},
		"cut short":                  {four[:14+20+6], false},
		"a fragment":                 {changed(four, 14+6, 0x20), false},
		"TCP":                        {frametest.TCP(to(guest, "10.0.0.1", 68), to(gatewayMAC, "10.0.0.2", 67), nil), false},
	} {
		d, ok := parseDatagram(c.p)
		if ok != c.ok || ok && (string(d.payload) != "hello" || d.mac != guest) {
			t.Errorf("%s: %+v, %v", name, d, ok)
		}
	}
}
