package nat

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weft/frame"
	"weft/frame/frametest"
)

// The ports of entry of the rig's frames.
const (
	guestPort  frame.PortID = 7
	uplinkPort frame.PortID = 8
	hostPort   frame.PortID = 9
)

// A rig is a table with what tests see of it: frames as gopacket decodes them.
type rig struct {
	t       testing.TB
	tab     *Table
	host    *fakeHost
	now     time.Duration
	one     *frame.Buf // used again for each frame
	emitted []emitted
	changed []uint32 // sessions that decisions may no longer rest on, since last asked
	said    map[speaker]frame.TCPSeen
}

// A speaker is a side of a session whose segments a cache forwards.
type speaker struct {
	session uint32
	outside bool
}

type emitted struct {
	in  frame.PortID
	buf *frame.Buf
}

// family is what tests run for each IP version with.
type family struct {
	name                   string
	guest, other           netip.Addr // of realm 1
	external, secondExt    netip.Addr // of pool 1
	remote, remote2, hop   netip.Addr // outside
	echo, echoReply        uint8
	unreachable, portCode  uint8
	icmp                   frame.Protocol
	headerLen, fragmentHdr int
}

var families = []family{
	{
		name: "v4", guest: addr("192.168.150.10"), other: addr("192.168.150.11"),
		external: addr("203.0.113.1"), secondExt: addr("203.0.113.2"),
		remote: addr("198.51.100.7"), remote2: addr("198.51.100.8"), hop: addr("192.0.2.99"),
		echo: 8, echoReply: 0, unreachable: 3, portCode: 3, icmp: frame.ProtocolICMP, headerLen: 20,
	},
	{
		name: "v6", guest: addr("fd5a:150::10"), other: addr("fd5a:150::11"),
		external: addr("2001:db8:1::1"), secondExt: addr("2001:db8:1::2"),
		remote: addr("2001:db8:f::7"), remote2: addr("2001:db8:f::8"), hop: addr("2001:db8:e::99"),
		echo: 128, echoReply: 129, unreachable: 1, portCode: 4, icmp: frame.ProtocolICMPv6, headerLen: 40, fragmentHdr: 8,
	},
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// forFamilies runs a test for both IP versions.
func forFamilies(t *testing.T, test func(t *testing.T, f family)) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// settings are those of one realm and one pool, not shared, with one address of each
// family, after edits.
func settings(edits ...func(p *Policy, c *PoolConfig)) Settings {
	p, c := Policy{}, PoolConfig{Addresses: []netip.Addr{families[0].external, families[1].external}}
	for _, edit := range edits {
		edit(&p, &c)
	}
	return Settings{Realms: map[Realm]Policy{1: p}, Pools: map[Pool]PoolConfig{1: c}}
}

func filtering(f Filtering) func(*Policy, *PoolConfig) {
	return func(p *Policy, _ *PoolConfig) { p.Filtering = f }
}

func shared(_ *Policy, c *PoolConfig) { c.Shared = true }

func twoAddresses(_ *Policy, c *PoolConfig) {
	c.Addresses = append(c.Addresses, families[0].secondExt, families[1].secondExt)
}

func forwards(fs ...Forward) func(*Policy, *PoolConfig) {
	return func(p *Policy, _ *PoolConfig) { p.Forwards = append(p.Forwards, fs...) }
}

func newRig(t testing.TB, s Settings) *rig { return newRigOf(t, 1000, s) }

func newRigOf(t testing.TB, capacity int, s Settings) *rig {
	r := &rig{t: t, host: newFakeHost(t), one: frame.NewBufs(1)[0], said: map[speaker]frame.TCPSeen{}}
	r.tab = New(Config{
		Capacity: capacity, Host: r.host, Seed: 1,
		Emit: func(in frame.PortID, b *frame.Buf) bool {
			c := frame.NewBufs(1)[0]
			c.CopyFrom(b)
			r.emitted = append(r.emitted, emitted{in, c})
			return true
		},
		Changed: func(session uint32) { r.changed = append(r.changed, session) },
		Seen: func(session uint32, outside bool) (frame.TCPSeen, bool) {
			said, ok := r.said[speaker{session, outside}]
			return said, ok
		},
	})
	r.tab.Configure(0, s)
	return r
}

// out sends a frame from inside realm 1 to the outside and returns it translated; nil
// if it was not, for the reason.
func (r *rig) out(p []byte) (q []byte, why frame.Reason) {
	r.t.Helper()
	return r.outBuf(r.buf(p, guestPort))
}

func (r *rig) outBuf(b *frame.Buf) (q []byte, why frame.Reason) {
	r.t.Helper()
	before := bytes.Clone(b.Bytes())
	why = r.tab.Outbound(r.now, b, 1, 1)
	return r.done(b, before, why == 0), why
}

// in sends a frame from outside; nil if it is not translated.
func (r *rig) in(p []byte) (q []byte, ours bool, why frame.Reason) {
	r.t.Helper()
	b := r.buf(p, uplinkPort)
	b.Out = hostPort
	ours, why = r.tab.Inbound(r.now, b)
	return r.done(b, p, ours && why == 0), ours, why
}

// hairpin sends a frame from inside realm 1 to an external address.
func (r *rig) hairpin(p []byte) (q []byte, ours bool, why frame.Reason) {
	r.t.Helper()
	b := r.buf(p, guestPort)
	ours, why = r.tab.Hairpin(r.now, b, 1)
	return r.done(b, p, ours && why == 0), ours, why
}

// done checks what holds of every frame: that a translated one has right checksums, and
// another is as it was, and about that frame alone.
func (r *rig) done(b *frame.Buf, before []byte, translated bool) []byte {
	r.t.Helper()
	if s := b.Basis; !s.Once && (!translated || s.Session == 0 || s.Idle <= 0 || b.Layers.Fragment != frame.FragmentNone) {
		r.t.Fatalf("a decision with %+v may be remembered", s)
	}
	if !translated {
		if !bytes.Equal(b.Bytes(), before) {
			r.t.Fatalf("a frame that is not translated was changed:\n%x\n%x", before, b.Bytes())
		}
		return nil
	}
	was := b.Layers
	b.Parse()
	if was != b.Layers {
		r.t.Fatalf("layers %+v, want %+v", was, b.Layers)
	}
	if b.Layers.Fragment == frame.FragmentNone && b.Offload == (frame.Offload{}) {
		if err := checksums(b); err != nil {
			r.t.Fatal(err)
		}
	}
	return bytes.Clone(b.Bytes())
}

// checksums is frametest.Checksums also behind extension headers, which gopacket does
// not all look behind.
func checksums(b *frame.Buf) error {
	p, l := b.Bytes(), b.Layers
	if l.Version == 6 && l.L4-l.L3 > ipv6Len {
		p = slices.Concat(p[:l.L3+ipv6Len], p[l.L4:])
		h := frame.IPv6(p[l.L3:])
		h[6] = byte(l.Protocol)
		h.SetPayloadLen(h.PayloadLen() - int(l.L4-l.L3-ipv6Len))
	}
	return frametest.Checksums(p)
}

// mustOut, mustIn and mustHairpin want the frame translated.
func (r *rig) mustOut(p []byte) []byte {
	r.t.Helper()
	q, why := r.out(p)
	if why != 0 {
		r.t.Fatalf("outbound: %v, want it translated", why)
	}
	return q
}

func (r *rig) mustIn(p []byte) []byte {
	r.t.Helper()
	q, ours, why := r.in(p)
	if q == nil {
		r.t.Fatalf("inbound: ours %v, %v, want it translated", ours, why)
	}
	return q
}

func (r *rig) mustHairpin(p []byte) []byte {
	r.t.Helper()
	q, ours, why := r.hairpin(p)
	if q == nil {
		r.t.Fatalf("hairpin: ours %v, %v, want it translated", ours, why)
	}
	return q
}

// refuse wants the frame from outside to be ours, and lost for a reason.
func (r *rig) refuse(p []byte, want frame.Reason) {
	r.t.Helper()
	if _, ours, why := r.in(p); !ours || why != want {
		r.t.Fatalf("inbound: ours %v, %v, want it ours and %v", ours, why, want)
	}
}

// leave wants the frame from outside not to be ours.
func (r *rig) leave(p []byte) {
	r.t.Helper()
	if _, ours, why := r.in(p); ours || why != 0 {
		r.t.Fatalf("inbound: ours %v, %v, want it left to the host", ours, why)
	}
}

// pass lets time pass, with Expire called often enough to go over the whole table.
func (r *rig) pass(d time.Duration) {
	r.now += d
	for range 2*sources + int(r.tab.sessions.made)/ends {
		r.tab.Expire(r.now)
	}
}

func (r *rig) wantSessions(n int) {
	r.t.Helper()
	listed := slices.Collect(r.tab.Sessions)
	if len(listed) != n || r.tab.Counters().Sessions != n {
		r.t.Fatalf("%d sessions, %d listed, want %d: %+v", r.tab.Counters().Sessions, len(listed), n, listed)
	}
}

func (r *rig) state() string {
	r.t.Helper()
	r.wantSessions(1)
	for s := range r.tab.Sessions {
		return s.State.String()
	}
	return ""
}

func (r *rig) buf(p []byte, in frame.PortID) *frame.Buf {
	r.one.SetBytes(p)
	r.one.In = in
	r.one.Parse()
	return r.one
}

// buf returns a new Buf with a frame.
func buf(p []byte, in frame.PortID) *frame.Buf {
	b := frame.NewBufs(1)[0]
	b.SetBytes(p)
	b.In = in
	b.Parse()
	return b
}

// A fakeHost is a host's kernel: sockets that exist, and claims that balance.
type fakeHost struct {
	t       testing.TB
	sockets map[string]bool
	claims  map[string]bool
	refuse  func(at netip.AddrPort) bool
	asked   int
}

func newFakeHost(t testing.TB) *fakeHost {
	return &fakeHost{t: t, sockets: map[string]bool{}, claims: map[string]bool{}}
}

func hostKey(p frame.Protocol, at netip.AddrPort) string { return fmt.Sprint(p, at) }

func (h *fakeHost) Free(p frame.Protocol, at netip.AddrPort) bool {
	h.asked++
	return !h.sockets[hostKey(p, at)]
}

func (h *fakeHost) Claim(p frame.Protocol, at netip.AddrPort) error {
	if h.refuse != nil && h.refuse(at) {
		return net.ErrClosed
	}
	if h.claims[hostKey(p, at)] {
		h.t.Errorf("%v %v is claimed twice", p, at)
	}
	h.claims[hostKey(p, at)] = true
	return nil
}

func (h *fakeHost) Release(p frame.Protocol, at netip.AddrPort) {
	if !h.claims[hostKey(p, at)] {
		h.t.Errorf("%v %v is released and was not claimed", p, at)
	}
	delete(h.claims, hostKey(p, at))
}

// A transport is one that sessions of ports are made of, with a packet that opens one.
type transport struct {
	name   string
	number frame.Protocol
	frame  func(src, dst netip.AddrPort) []byte
}

var (
	overUDP = transport{"UDP", frame.ProtocolUDP, func(src, dst netip.AddrPort) []byte { return udpFrame(src, dst, 30) }}
	overTCP = transport{"TCP", frame.ProtocolTCP, func(src, dst netip.AddrPort) []byte {
		return tcpFrame(src, dst, seg{flags: syn, seq: 100})
	}}
	transports = []transport{overUDP, overTCP}
)

// in runs a test for both IP versions with one transport.
func (tr transport) in(t *testing.T, test func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte)) {
	forFamilies(t, func(t *testing.T, f family) { test(t, f, tr.frame) })
}

// forTransports runs a test for both IP versions with TCP and UDP.
func forTransports(t *testing.T, test func(t *testing.T, f family, build func(src, dst netip.AddrPort) []byte)) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) { tr.in(t, test) })
	}
}
