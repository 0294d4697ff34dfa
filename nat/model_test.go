package nat

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/frame"
)

// A model holds the table beside its slow twin.
type model struct {
	*rig
	f    family
	slow *slowTable
}

// TestModel compares the table with its slow twin.
func TestModel(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { checkModel(t, rt, f) })
		})
	}
}

func checkModel(t *testing.T, rt *rapid.T, f family) {
	forwarded := map[netip.AddrPort]netip.AddrPort{
		at(f.external, 80): at(f.guest, 5000), at(f.external, 81): at(f.other, 5001), at(f.external, 83): at(f.guest, 5000),
	}
	m := &model{f: f, slow: &slowTable{
		capacity: rapid.SampledFrom([]int{6, 14, 1000}).Draw(rt, "capacity"), quota: rapid.SampledFrom([]int{0, 0, 5}).Draw(rt, "quota"),
		refresh: rapid.Bool().Draw(rt, "refresh"), forward: forwarded, mappings: map[slowEnd]*slowMapping{}, sessions: map[slowKey]*slowSession{},
	}}
	m.rig = newRigOf(t, m.slow.capacity, m.settings())
	packet := func(rt *rapid.T) (proto, netip.AddrPort, netip.AddrPort) {
		return proto(rapid.IntRange(0, 2).Draw(rt, "protocol")),
			at(rapid.SampledFrom([]netip.Addr{f.guest, f.other}).Draw(rt, "guest"), uint16(rapid.IntRange(4999, 5002).Draw(rt, "port"))),
			at(rapid.SampledFrom([]netip.Addr{f.remote, f.remote2}).Draw(rt, "remote"), uint16(rapid.IntRange(53, 54).Draw(rt, "remote port")))
	}
	rt.Repeat(map[string]func(*rapid.T){
		"out": func(rt *rapid.T) {
			p, internal, remote := packet(rt)
			m.sendOut(rt, p, internal, remote)
		},
		"in": func(rt *rapid.T) {
			p, _, remote := packet(rt)
			m.sendIn(rt, p, remote, m.drawExternal(rt, p))
		},
		"hairpin": func(rt *rapid.T) {
			p, internal, _ := packet(rt)
			if p != icmp {
				m.sendBack(rt, p, internal, m.drawExternal(rt, p))
			}
		},
		"time": func(rt *rapid.T) {
			m.slow.now += time.Duration(rapid.IntRange(0, 200).Draw(rt, "seconds")) * time.Second
			m.pass(m.slow.now - m.now)
			m.slow.settle(func(_ slowKey, x *slowSession) bool { return x.deadline <= m.slow.now })
		},
		"filtering": func(rt *rapid.T) {
			m.slow.filtering = Filtering(rapid.IntRange(0, 2).Draw(rt, "filtering"))
			m.tab.Configure(m.now, m.settings())
		},
		"flush": func(rt *rapid.T) {
			guest := rapid.SampledFrom([]netip.Addr{f.guest, f.other}).Draw(rt, "guest")
			before := len(m.slow.sessions)
			m.slow.settle(func(k slowKey, _ *slowSession) bool { return k.internal.Addr() == guest })
			if got, want := m.tab.Flush(1, guest), before-len(m.slow.sessions); got != want {
				rt.Fatalf("flushed %d, want %d", got, want)
			}
		},
		"remembered": func(rt *rapid.T) {
			handle, from := uint32(rapid.IntRange(0, 20).Draw(rt, "session")), side(rapid.IntRange(0, 1).Draw(rt, "side"))
			ago := time.Duration(rapid.IntRange(0, 100).Draw(rt, "ago")) * time.Second
			m.tab.Touch(m.now, handle, from == outside, ago)
			for _, x := range m.slow.sessions {
				if x.handle == handle {
					m.slow.remembered(x, from, ago)
				}
			}
		},
		"": m.check,
	})
}

func (m *model) settings() Settings {
	p := Policy{Filtering: m.slow.filtering, Quota: m.slow.quota, Timers: Timers{InboundRefresh: m.slow.refresh}}
	for _, from := range slices.SortedFunc(maps.Keys(m.slow.forward), netip.AddrPort.Compare) {
		p.Forwards = append(p.Forwards, bothProtocols(Forward{Pool: 1, First: from.Port(), Last: from.Port(), To: m.slow.forward[from]})...)
	}
	return Settings{Realms: map[Realm]Policy{1: p}, Pools: map[Pool]PoolConfig{1: {Addresses: []netip.Addr{m.f.external}}}}
}

// drawExternal draws an external endpoint, most often one that is in use.
func (m *model) drawExternal(rt *rapid.T, p proto) netip.AddrPort {
	list := []netip.AddrPort{at(m.f.external, 80), at(m.f.external, 81), at(m.f.external, 82), at(m.f.external, 83), at(m.f.external, 5000)}
	for e := range m.slow.mappings {
		if e.proto == p {
			list = append(list, e.at)
		}
	}
	slices.SortFunc(list, netip.AddrPort.Compare)
	return rapid.SampledFrom(list).Draw(rt, "external")
}

func (m *model) frame(p proto, src, dst netip.AddrPort) []byte {
	switch p {
	case udp:
		return udpFrame(src, dst, 10)
	case tcp:
		return tcpFrame(src, dst, seg{flags: syn, seq: 1})
	}
	if src.Addr() == m.f.guest || src.Addr() == m.f.other {
		return echoFrame(src.Addr(), dst.Addr(), m.f.echo, src.Port())
	}
	return echoFrame(src.Addr(), dst.Addr(), m.f.echoReply, dst.Port())
}

// key is that of a session; a query's remote has no port.
func key(p proto, internal, remote netip.AddrPort) slowKey {
	if p == icmp {
		remote = at(remote.Addr(), 0)
	}
	return slowKey{p, internal, remote}
}

// chosen checks a port that the table chose for a new mapping, and returns it.
func (m *model) chosen(rt *rapid.T, p proto, internal netip.AddrPort, q []byte) func() netip.AddrPort {
	return func() netip.AddrPort {
		if q == nil {
			rt.Fatal("the table made no mapping")
		}
		got := sourceEnd(q)
		taken := func(e netip.AddrPort) bool {
			return m.slow.mappings[slowEnd{p, e}] != nil || p != icmp && m.slow.forward[e].IsValid()
		}
		kept := at(m.f.external, internal.Port())
		switch {
		case taken(got) || got.Addr() != m.f.external:
			rt.Fatalf("%v was taken already, or is not external", got)
		case !taken(kept) && got != kept:
			rt.Fatalf("%v became %v, and its port was free", internal, got)
		case p == udp && got.Port()%2 != internal.Port()%2 || p != icmp && got.Port() < 1024:
			rt.Fatalf("%v became %v", internal, got)
		}
		return got
	}
}

func (m *model) sendOut(rt *rapid.T, p proto, internal, remote netip.AddrPort) {
	q, why := m.out(m.frame(p, internal, remote))
	x, want := m.slow.outward(key(p, internal, remote), guestPort, m.chosen(rt, p, internal, q))
	if why != want {
		rt.Fatalf("%v, want %v", why, want)
	}
	if want == 0 && sourceEnd(q) != x.external {
		rt.Fatalf("from %v, want %v", sourceEnd(q), x.external)
	}
	m.checkBasis(rt, x, inside)
}

func (m *model) sendIn(rt *rapid.T, p proto, remote, external netip.AddrPort) {
	k, x, ours, want := m.slow.inward(p, key(p, external, remote).remote, external, uplinkPort, m.slow.capacity/2)
	q, gotOurs, why := m.in(m.frame(p, remote, external))
	if gotOurs != ours || why != want {
		rt.Fatalf("ours %v, %v, want %v, %v", gotOurs, why, ours, want)
	}
	if q != nil && destinationEnd(q) != k.internal {
		rt.Fatalf("to %v, want %v", destinationEnd(q), k.internal)
	}
	m.checkBasis(rt, x, outside)
}

// checkBasis checks what the translation of the last packet rests on: x, if that is not nil.
// A SYN is no packet like others.
func (m *model) checkBasis(rt *rapid.T, x *slowSession, from side) {
	got, want := m.one.Basis, frame.Basis{Once: true}
	if x != nil {
		if x.handle == 0 {
			x.handle = got.Session
		}
		settled := x.state == active || x.state == queried
		x.offered = x.offered || settled
		want = frame.Basis{Once: !settled, Session: x.handle, Outside: from == outside, Idle: m.slow.idle(x.state) - 5*time.Second}
		want.Forward = want.Outside && x.state.proto() != icmp && m.slow.forward[x.external].IsValid()
	}
	if got != want || x != nil && x.handle == 0 {
		rt.Fatalf("it rests on %+v, want %+v", got, want)
	}
}

func (m *model) sendBack(rt *rapid.T, p proto, internal, external netip.AddrPort) {
	wanted := m.slow.mappings[slowEnd{p, external}] != nil || m.slow.forward[external].IsValid()
	q, gotOurs, why := m.hairpin(m.frame(p, internal, external))
	if !wanted {
		if gotOurs || why != 0 {
			rt.Fatalf("ours %v, %v, want it left to the host", gotOurs, why)
		}
		return
	}
	// What became of the source is seen in the table if the packet was lost.
	if q == nil {
		for s := range m.tab.Sessions {
			if protoIs(s.Protocol, p) && s.Inside == internal && s.Remote == external {
				q = m.frame(p, s.External, external)
			}
		}
	}
	x, want := m.slow.outward(slowKey{p, internal, external}, guestPort, m.chosen(rt, p, internal, q))
	k, ours := slowKey{}, true
	if want == 0 {
		k, _, ours, want = m.slow.inward(p, x.external, external, guestPort, m.slow.quota)
	}
	if gotOurs != ours || why != want {
		rt.Fatalf("ours %v, %v, want %v, %v", gotOurs, why, ours, want)
	}
	m.checkBasis(rt, nil, inside)
	if want == 0 && (sourceEnd(q) != x.external || destinationEnd(q) != k.internal) {
		rt.Fatalf("%v > %v, want %v > %v", sourceEnd(q), destinationEnd(q), x.external, k.internal)
	}
}

func protoIs(n frame.Protocol, p proto) bool {
	got, _ := protoOf(n)
	return got == p
}

// check compares all sessions, and the books.
func (m *model) check(rt *rapid.T) {
	got := map[slowKey]string{}
	for s := range m.tab.Sessions {
		p, _ := protoOf(s.Protocol)
		got[key(p, s.Inside, s.Remote)] = fmt.Sprint(s.External, s.Port, s.State, s.Expires)
	}
	want := map[slowKey]string{}
	for k, x := range m.slow.sessions {
		want[k] = fmt.Sprint(x.external, x.port, x.state, x.deadline)
	}
	if !maps.Equal(got, want) {
		rt.Fatalf("sessions\n%v, want\n%v", got, want)
	}
	if n := m.tab.mappings.used; n != len(m.slow.mappings) {
		rt.Fatalf("%d mappings, want %d", n, len(m.slow.mappings))
	}
	slices.Sort(m.changed)
	slices.Sort(m.slow.changed)
	if !slices.Equal(m.changed, m.slow.changed) {
		rt.Fatalf("sessions %v changed, want %v", m.changed, m.slow.changed)
	}
	m.changed, m.slow.changed = nil, nil
	checkBooks(rt, m.tab)
}
