package dhcp4

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/service/lease"
)

// Tests speak to the server by gopacket's idea of DHCP, and not by the server's.

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

const gatewayMAC frame.MAC = 0x525400fffe01

var defaults = Settings{
	MAC:    gatewayMAC,
	Server: netip.MustParsePrefix("192.0.2.1/24"),
	DNS:    []netip.Addr{addr("192.0.2.1"), addr("192.0.2.2")},
	Domain: "vm.internal",
	Search: []string{"vm.internal", "example.org."},
	NTP:    []netip.Addr{addr("192.0.2.3")},
	MTU:    1450,
}

// A rig is a server with its book, and the clients' time.
type rig struct {
	*testing.T
	s    *Server
	book *lease.Book
	now  time.Time
}

func newRig(t *testing.T, v Settings, l lease.Settings, probe func(netip.Addr, frame.MAC) bool) *rig {
	t.Helper()
	b, err := lease.Open(t.TempDir(), "net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t, New(Config{Book: b, Probe: probe}), b, start}
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(l); err != nil {
		t.Fatal(err)
	}
	return r
}

// pool gives out 192.0.2.10 to .19.
var pool = lease.Settings{
	Ranges:  []lease.Range{{First: addr("192.0.2.10"), Last: addr("192.0.2.19")}},
	Exclude: []netip.Addr{addr("192.0.2.1")},
}

func standard(t *testing.T) *rig { t.Helper(); return newRig(t, defaults, pool, nil) }

// An ask is a client's message in the making.
type ask struct {
	p    layers.DHCPv4
	port string
	from frame.MAC
}

func mac(n int) frame.MAC { return frame.MAC(0x525400000000 + n) }

func hardware(m frame.MAC) net.HardwareAddr {
	var b [6]byte
	m.Put(b[:])
	return b[:]
}

// client begins a message of the n-th client.
func client(n int, t layers.DHCPMsgType) *ask {
	a := &ask{port: fmt.Sprint("vm", n), from: mac(n)}
	a.p = layers.DHCPv4{
		Operation: layers.DHCPOpRequest, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6,
		Xid: 0xc0ffee00 + uint32(n), ClientHWAddr: hardware(mac(n)),
	}
	return a.opt(layers.DHCPOptMessageType, byte(t))
}

func (a *ask) opt(t layers.DHCPOpt, value ...byte) *ask {
	a.p.Options = append(a.p.Options, layers.NewDHCPOption(t, value))
	return a
}

func (a *ask) optAddr(t layers.DHCPOpt, s string) *ask { return a.opt(t, addr(s).AsSlice()...) }
func (a *ask) requested(s string) *ask                 { return a.optAddr(layers.DHCPOptRequestIP, s) }

func (a *ask) server(s string) *ask { return a.optAddr(layers.DHCPOptServerID, s) }

func (a *ask) wants(codes ...byte) *ask { return a.opt(layers.DHCPOptParamsRequest, codes...) }

func (a *ask) ciaddr(s string) *ask { a.p.ClientIP = addr(s).AsSlice(); return a }

func (a *ask) giaddr(s string) *ask { a.p.RelayAgentIP = addr(s).AsSlice(); return a }
func (a *ask) broadcast() *ask      { a.p.Flags |= 0x8000; return a }
func (a *ask) on(port string) *ask  { a.port = port; return a }
func (a *ask) by(m frame.MAC) *ask  { a.from = m; return a }

func (a *ask) bytes(t interface{ Fatal(...any) }) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := a.p.SerializeTo(b, gopacket.SerializeOptions{FixLengths: true}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (a *ask) request(t interface{ Fatal(...any) }) Request {
	return Request{Port: a.port, MAC: a.from, Payload: a.bytes(t)}
}

// An answer is a reply as gopacket reads its frame.
type answer struct {
	*testing.T
	Reply
	eth     *layers.Ethernet
	ip      *layers.IPv4
	udp     *layers.UDP
	p       *layers.DHCPv4
	options map[layers.DHCPOpt][]byte
}

// say has the server handle a message that it must answer.
func (r *rig) say(a *ask) *answer {
	r.Helper()
	reply, err := r.s.Handle(r.now, a.request(r))
	if err != nil || reply.Frame == nil {
		r.Fatalf("no answer: %+v, %v", reply, err)
	}
	return r.read(reply)
}

func (r *rig) read(reply Reply) *answer {
	r.Helper()
	p := gopacket.NewPacket(reply.Frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		r.Fatal(e.Error())
	}
	n := &answer{T: r.T, Reply: reply, options: make(map[layers.DHCPOpt][]byte)}
	n.eth = p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	n.ip = p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	n.udp = p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	n.p = p.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
	n.collect(n.p.Options)
	if o := n.options[52]; o != nil {
		for bit, field := range map[byte][]byte{1: n.p.File, 2: n.p.ServerName} {
			if o[0]&bit != 0 {
				n.collect(fieldOptions(r, field))
			}
		}
	}
	if n.p.Operation != layers.DHCPOpReply || n.p.HardwareType != layers.LinkTypeEthernet || n.p.HardwareLen != 6 {
		r.Errorf("op %d, htype %d, hlen %d", n.p.Operation, n.p.HardwareType, n.p.HardwareLen)
	}
	if len(n.udp.Payload) < 300 {
		r.Errorf("%d bytes, and a BOOTP message has at least 300", len(n.udp.Payload))
	}
	if end := bytes.TrimRight(n.udp.Payload, "\x00"); end[len(end)-1] != 255 {
		r.Error("there is no end option")
	}
	if kind := "DHCP" + map[byte]string{2: "OFFER", 5: "ACK", 6: "NAK"}[n.options[layers.DHCPOptMessageType][0]]; kind != reply.Kind {
		r.Errorf("%s was called %s", kind, reply.Kind)
	}
	return n
}

func (n *answer) collect(options layers.DHCPOptions) {
	for _, o := range options {
		if o.Type != layers.DHCPOptPad && o.Type != layers.DHCPOptEnd {
			n.options[o.Type] = append(n.options[o.Type], o.Data...)
		}
	}
}

// fieldOptions reads the options in file or sname, by way of a whole message.
func fieldOptions(r *rig, field []byte) layers.DHCPOptions {
	whole := append(client(0, 0).bytes(r)[:240:240], field...)
	var p layers.DHCPv4
	if err := p.DecodeFromBytes(whole, gopacket.NilDecodeFeedback); err != nil {
		r.Fatal(err)
	}
	return p.Options
}

func (n *answer) kind(want string) *answer {
	n.Helper()
	if n.Kind != want {
		n.Fatalf("got %s (%s), want %s", n.Kind, n.Note, want)
	}
	return n
}

// gives checks the address given.
func (n *answer) gives(a netip.Addr) *answer {
	n.Helper()
	if got, _ := netip.AddrFromSlice(n.p.YourClientIP.To4()); got != a {
		n.Errorf("gives %s, want %s", got, a)
	}
	return n
}

func (n *answer) yiaddr() netip.Addr { a, _ := netip.AddrFromSlice(n.p.YourClientIP.To4()); return a }

// has checks an option's value; nil: it is not there.
func (n *answer) has(t layers.DHCPOpt, want []byte) *answer {
	n.Helper()
	if got := n.options[t]; !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		n.Errorf("option %d is %v, want %v", t, got, want)
	}
	return n
}

// goesTo checks where the reply is sent.
func (n *answer) goesTo(m frame.MAC, end string) *answer {
	n.Helper()
	got := fmt.Sprintf("%s %s:%d", frame.MACFrom(n.eth.DstMAC), n.ip.DstIP, n.udp.DstPort)
	if want := fmt.Sprintf("%s %s", m, end); got != want {
		n.Errorf("goes to %s, want %s", got, want)
	}
	if from := fmt.Sprintf("%s %s:%d", frame.MACFrom(n.eth.SrcMAC), n.ip.SrcIP, n.udp.SrcPort); from != gatewayMAC.String()+" 192.0.2.1:67" {
		n.Errorf("comes from %s", from)
	}
	return n
}

// silent has the server handle a message that it must not answer.
func (r *rig) silent(a *ask) error {
	r.Helper()
	reply, err := r.s.Handle(r.now, a.request(r))
	if reply.Frame != nil {
		r.Fatalf("answered: %+v", reply)
	}
	return err
}

// join gives the n-th client an address by DISCOVER and REQUEST.
func (r *rig) join(n int) netip.Addr {
	r.Helper()
	a := r.say(client(n, layers.DHCPMsgTypeDiscover)).kind("DHCPOFFER").yiaddr()
	r.say(client(n, layers.DHCPMsgTypeRequest).server("192.0.2.1").requested(a.String())).kind("DHCPACK").gives(a)
	return a
}

// state returns the state of the n-th client's lease in the book.
func (r *rig) state(n int) lease.State {
	c := lease.Client{Family: lease.IPv4, ID: "\x01" + string(hardware(mac(n))), MAC: mac(n), Port: fmt.Sprint("vm", n)}
	l, _ := r.book.Find(r.now, c)
	return l.State
}
