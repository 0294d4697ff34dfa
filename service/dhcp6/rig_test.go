package dhcp6

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"weft/frame"
	"weft/service/lease"
)

// Tests speak to the server by gopacket's idea of DHCPv6, and not by the server's.

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

const gatewayMAC frame.MAC = 0x525400fffe01

var (
	serverDUID = []byte{0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

	defaults = Settings{
		MAC: gatewayMAC, Source: addr("fe80::1"), Subnet: netip.MustParsePrefix("2001:db8::/64"),
		DNS: []netip.Addr{addr("2001:db8::1"), addr("2001:db8::2")}, Search: []string{"vm.internal", "example.org."},
	}
	pool = lease.Settings{Ranges: []lease.Range{{First: addr("2001:db8::1000"), Last: addr("2001:db8::1009")}}}
)

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
	return rigOn(t, b, v, l, probe)
}

func rigOn(t *testing.T, b *lease.Book, v Settings, l lease.Settings, probe func(netip.Addr, frame.MAC) bool) *rig {
	t.Helper()
	r := &rig{t, New(Config{Book: b, DUID: serverDUID, Probe: probe}), b, start}
	if err := r.s.Set(v); err != nil {
		t.Fatal(err)
	}
	if err := b.Set(l); err != nil {
		t.Fatal(err)
	}
	return r
}

func standard(t *testing.T) *rig { t.Helper(); return newRig(t, defaults, pool, nil) }

// An ask is a client's message in the making.
type ask struct {
	p        layers.DHCPv6
	port     string
	mac      frame.MAC
	from, to netip.Addr
}

func duidOf(n int) []byte    { return []byte{0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, byte(n)} }
func mac(n int) frame.MAC    { return frame.MAC(0x525400000000 + n) }
func local(n int) netip.Addr { return addr(fmt.Sprintf("fe80::5054:ff:fe00:%x", n)) }

// client begins a message of the n-th client, with its DUID.
func client(n int, t layers.DHCPv6MsgType) *ask {
	a := anonymous(n, t)
	return a.opt(layers.DHCPv6OptClientID, duidOf(n)...)
}

func anonymous(n int, t layers.DHCPv6MsgType) *ask {
	return &ask{
		p:    layers.DHCPv6{MsgType: t, TransactionID: []byte{0xc0, 0xff, byte(n)}},
		port: fmt.Sprint("vm", n), mac: mac(n), from: local(n), to: AllServers,
	}
}

func (a *ask) opt(t layers.DHCPv6Opt, value ...byte) *ask {
	a.p.Options = append(a.p.Options, layers.NewDHCPv6Option(t, value))
	return a
}

func (a *ask) ours() *ask                { return a.opt(layers.DHCPv6OptServerID, serverDUID...) }
func (a *ask) theirs() *ask              { return a.opt(layers.DHCPv6OptServerID, 0, 3, 0, 1, 9, 9, 9, 9, 9, 9) }
func (a *ask) rapid() *ask               { return a.opt(layers.DHCPv6OptRapidCommit) }
func (a *ask) on(port string) *ask       { a.port = port; return a }
func (a *ask) sentTo(to netip.Addr) *ask { a.to = to; return a }
func (a *ask) sentBy(by netip.Addr) *ask { a.from = by; return a }
func (a *ask) wants(codes ...uint16) *ask {
	var b []byte
	for _, c := range codes {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	return a.opt(layers.DHCPv6OptOro, b...)
}

// ia adds an association of a kind with addresses.
func (a *ask) ia(kind layers.DHCPv6Opt, id uint32, addresses ...netip.Addr) *ask {
	b := binary.BigEndian.AppendUint32(nil, id)
	if kind != layers.DHCPv6OptIATA {
		b = append(b, make([]byte, 8)...)
	}
	for _, x := range addresses {
		b = append(append(append(b, 0, 5, 0, 24), x.AsSlice()...), make([]byte, 8)...)
	}
	return a.opt(kind, b...)
}

func (a *ask) na(id uint32, addresses ...netip.Addr) *ask {
	return a.ia(layers.DHCPv6OptIANA, id, addresses...)
}

func (a *ask) bytes(t interface{ Fatal(...any) }) []byte {
	b := gopacket.NewSerializeBuffer()
	if err := a.p.SerializeTo(b, gopacket.SerializeOptions{FixLengths: true}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (a *ask) request(t interface{ Fatal(...any) }) Request {
	return Request{Port: a.port, MAC: a.mac, From: a.from, To: a.to, Payload: a.bytes(t)}
}

// An answer is a reply as gopacket reads its frame.
type answer struct {
	*testing.T
	Reply
	p       *layers.DHCPv6
	options map[layers.DHCPv6Opt][]byte
	ias     map[iaKey]ia
}

type iaKey struct {
	kind layers.DHCPv6Opt
	id   uint32
}

// An ia is an association of an answer.
type ia struct {
	t1, t2    uint32
	status    int                   // -1: none
	addresses map[netip.Addr]uint32 // valid lifetimes
}

// say has the server handle a message that it must answer, and checks what is so in
// every answer.
func (r *rig) say(a *ask) *answer {
	r.Helper()
	q := a.request(r)
	reply, err := r.s.Handle(r.now, q)
	if err != nil || reply.Frame == nil {
		r.Fatalf("no answer: %+v, %v", reply, err)
	}
	return r.read(q, reply)
}

func (r *rig) read(q Request, reply Reply) *answer {
	r.Helper()
	p := gopacket.NewPacket(reply.Frame, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		r.Fatal(e.Error())
	}
	n := &answer{T: r.T, Reply: reply, options: make(map[layers.DHCPv6Opt][]byte), ias: make(map[iaKey]ia)}
	eth, ip, udp := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeIPv6).(*layers.IPv6), p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	n.p = p.Layer(layers.LayerTypeDHCPv6).(*layers.DHCPv6)
	way := fmt.Sprintf("%s %s:%d ▸ %s %s:%d", frame.MACFrom(eth.SrcMAC), ip.SrcIP, udp.SrcPort, frame.MACFrom(eth.DstMAC), ip.DstIP, udp.DstPort)
	if want := fmt.Sprintf("%s fe80::1:547 ▸ %s %s:546", gatewayMAC, q.MAC, q.From); way != want {
		r.Errorf("goes %s, want %s", way, want)
	}
	if !bytes.Equal(n.p.TransactionID, q.Payload[1:4]) {
		r.Errorf("transaction %x", n.p.TransactionID)
	}
	if ip.Length > 1500-40 {
		r.Errorf("%d bytes", ip.Length)
	}
	for _, o := range n.p.Options {
		switch o.Code {
		case layers.DHCPv6OptIANA, layers.DHCPv6OptIATA, layers.DHCPv6OptIAPD:
			n.associate(o)
		default:
			n.options[o.Code] = append([]byte{}, o.Data...)
		}
	}
	if !bytes.Equal(n.options[layers.DHCPv6OptServerID], serverDUID) {
		r.Errorf("server %x", n.options[layers.DHCPv6OptServerID])
	}
	return n
}

func (n *answer) associate(o layers.DHCPv6Option) {
	got := ia{status: -1, addresses: make(map[netip.Addr]uint32)}
	inner := o.Data[4:]
	if o.Code != layers.DHCPv6OptIATA {
		got.t1, got.t2, inner = binary.BigEndian.Uint32(inner), binary.BigEndian.Uint32(inner[4:]), inner[8:]
	}
	// By way of a whole message.
	var p layers.DHCPv6
	if err := p.DecodeFromBytes(append([]byte{7, 0, 0, 0}, inner...), gopacket.NilDecodeFeedback); err != nil {
		n.Fatal(err)
	}
	for _, o := range p.Options {
		switch o.Code {
		case layers.DHCPv6OptStatusCode:
			got.status = int(binary.BigEndian.Uint16(o.Data))
		case layers.DHCPv6OptIAAddr:
			preferred, valid := binary.BigEndian.Uint32(o.Data[16:]), binary.BigEndian.Uint32(o.Data[20:])
			if preferred > valid {
				n.Errorf("preferred for %d s, valid for %d s", preferred, valid)
			}
			got.addresses[netip.AddrFrom16([16]byte(o.Data))] = valid
		}
	}
	if got.t1 > got.t2 {
		n.Errorf("T1 %d is after T2 %d", got.t1, got.t2)
	}
	n.ias[iaKey{o.Code, binary.BigEndian.Uint32(o.Data)}] = got
}

func (n *answer) kind(want string) *answer {
	n.Helper()
	got := map[layers.DHCPv6MsgType]string{layers.DHCPv6MsgTypeAdverstise: "ADVERTISE", layers.DHCPv6MsgTypeReply: "REPLY"}[n.p.MsgType]
	if got != want || n.Kind != want {
		n.Fatalf("got %s, called %s (%s), want %s", got, n.Kind, n.Note, want)
	}
	return n
}

// status checks the status of the whole message; -1: none.
func (n *answer) status(want int) *answer {
	n.Helper()
	got := -1
	if o := n.options[layers.DHCPv6OptStatusCode]; len(o) >= 2 {
		got = int(binary.BigEndian.Uint16(o))
	}
	if got != want {
		n.Errorf("status %d, want %d", got, want)
	}
	return n
}

// state checks that an association has a status and no address.
func (n *answer) state(kind layers.DHCPv6Opt, id uint32, want int) *answer {
	n.Helper()
	if got, ok := n.ias[iaKey{kind, id}]; !ok || got.status != want || len(got.addresses) != 0 {
		n.Errorf("association %d: %+v, want status %d", id, got, want)
	}
	return n
}

// gives checks that an association has an address, and returns it.
func (n *answer) gives(id uint32) netip.Addr {
	n.Helper()
	got := n.ias[iaKey{layers.DHCPv6OptIANA, id}]
	for a, valid := range got.addresses {
		if valid > 0 && got.status == -1 {
			return a
		}
	}
	n.Fatalf("association %d: %+v", id, got)
	return netip.Addr{}
}

// takes checks that an association has an address back.
func (n *answer) takes(id uint32, a netip.Addr) *answer {
	n.Helper()
	if valid, ok := n.ias[iaKey{layers.DHCPv6OptIANA, id}].addresses[a]; !ok || valid != 0 {
		n.Errorf("association %d: %s has %d s, %t; want 0 s", id, a, valid, ok)
	}
	return n
}

// has checks an option's value; nil: it is not there.
func (n *answer) has(t layers.DHCPv6Opt, want []byte) *answer {
	n.Helper()
	if got := n.options[t]; !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		n.Errorf("option %d is %v, want %v", t, got, want)
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

// join gives the n-th client an address for the association 1.
func (r *rig) join(n int) netip.Addr {
	r.Helper()
	a := r.say(client(n, solicitMsg).na(1)).kind("ADVERTISE").gives(1)
	if got := r.say(client(n, requestMsg).ours().na(1, a)).kind("REPLY").gives(1); got != a {
		r.Errorf("was offered %s and got %s", a, got)
	}
	return a
}

// state returns the state of the n-th client's lease in the book.
func (r *rig) state(n int) lease.State {
	c := lease.Client{Family: lease.IPv6, ID: string(duidOf(n)), IAID: 1, MAC: mac(n), Port: fmt.Sprint("vm", n)}
	l, _ := r.book.Find(r.now, c)
	return l.State
}
