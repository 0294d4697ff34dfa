package vswitch

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"weft/frame"
)

// A slowSwitch is the relay in its plainest form: what Switch must be like.
type slowSwitch struct {
	ports    []*slowPort
	stations map[key]slowStation
}

type slowPort struct {
	*plug
	PortConfig
	want  [][]byte
	drops drops
}

type slowStation struct {
	port   *slowPort
	static bool
}

func (s *slowSwitch) receive(p *slowPort, f []byte) {
	h := frame.Ethernet(f)
	src, dst := h.Src(), h.Dst()
	switch {
	case p.State != Forwarding:
		p.drops[frame.DropIngressBlocked]++
		return
	case src == 0 || src.IsGroup():
		p.drops[frame.DropBadSource]++
		return
	case dst.IsReserved():
		p.drops[frame.DropReserved]++
		return
	}
	k := keyOf(p.Network, src)
	if st, ok := s.stations[k]; !ok || !st.static {
		s.stations[k] = slowStation{port: p}
	} else if st.port != p {
		p.drops[frame.DropSpoofedStatic]++
		return
	}
	if st, ok := s.stations[keyOf(p.Network, dst)]; ok {
		s.unicast(p, st.port, f)
	} else {
		s.flood(p, f)
	}
}

func (s *slowSwitch) unicast(p, to *slowPort, f []byte) {
	switch {
	case to == p:
		p.drops[frame.DropHairpin]++
	case to.Group != 0 && to.Group == p.Group:
		p.drops[frame.DropSplitHorizon]++
	case to.State != Forwarding:
		to.drops[frame.DropEgressBlocked]++
	default:
		to.leave(f)
	}
}

func (s *slowSwitch) flood(p *slowPort, f []byte) {
	reached, joined := false, false
	for _, to := range s.ports {
		switch {
		case to == p || to.Network != p.Network || to.State != Forwarding:
		case to.Group != 0 && to.Group == p.Group:
			joined = true
		default:
			reached = true
			to.leave(f)
		}
	}
	switch {
	case reached:
	case joined:
		p.drops[frame.DropSplitHorizon]++
	default:
		p.drops[frame.DropNoMember]++
	}
}

func (p *slowPort) leave(f []byte) {
	if p.MTU != 0 && len(f)-frame.EthernetLen > p.MTU {
		p.drops[frame.DropOversize]++
		return
	}
	f = bytes.Clone(f)
	if p.Pad && len(f) < frame.MinLen {
		f = append(f, make([]byte, frame.MinLen-len(f))...)
	}
	p.want = append(p.want, f)
}

func (s *slowSwitch) forget(gone func(key, slowStation) bool) { maps.DeleteFunc(s.stations, gone) }

// TestRelayModel compares the relay with its slow twin while ports, networks' members
// and stations change.
func TestRelayModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &relayModel{rig: newRig(t, Config{Stations: 100}), slow: &slowSwitch{stations: map[key]slowStation{}}}
		m.nets = []FID{m.rig.net, m.rig.network(NetworkConfig{})}
		m.add(t)
		t.Repeat(map[string]func(*rapid.T){
			"add": m.add, "remove": m.remove, "update": m.update, "state": m.state,
			"send": m.send, "again": m.send, "static": m.static, "flush": m.flush, "": m.check,
		})
	})
}

type relayModel struct {
	*rig
	nets []FID
	slow *slowSwitch
}

func (m *relayModel) draw(t *rapid.T) *slowPort {
	if len(m.slow.ports) == 0 {
		t.Skip("no ports")
	}
	return rapid.SampledFrom(m.slow.ports).Draw(t, "port")
}

func (m *relayModel) drawConfig(t *rapid.T) PortConfig {
	return PortConfig{
		MTU:   rapid.SampledFrom([]int{0, 0, 50}).Draw(t, "MTU"),
		Group: rapid.Uint8Range(0, 2).Draw(t, "group"),
		Pad:   rapid.Bool().Draw(t, "pad"),
		State: Forwarding,
	}
}

func (m *relayModel) add(t *rapid.T) {
	if len(m.slow.ports) == 8 {
		t.Skip("enough ports")
	}
	c := m.drawConfig(t)
	c.Network = rapid.SampledFrom(m.nets).Draw(t, "network")
	m.slow.ports = append(m.slow.ports, &slowPort{plug: m.port(c), PortConfig: c, drops: drops{}})
}

func (m *relayModel) remove(t *rapid.T) {
	p := m.draw(t)
	if err := m.RemovePort(p.id); err != nil {
		t.Fatal(err)
	}
	m.slow.ports = slices.DeleteFunc(m.slow.ports, func(o *slowPort) bool { return o == p })
	m.slow.forget(func(_ key, st slowStation) bool { return st.port == p })
}

func (m *relayModel) update(t *rapid.T) {
	p, c := m.draw(t), m.drawConfig(t)
	c.State, c.Network = p.State, p.Network
	if err := m.UpdatePort(p.id, c); err != nil {
		t.Fatal(err)
	}
	p.PortConfig = c
}

func (m *relayModel) state(t *rapid.T) {
	p := m.draw(t)
	p.State = rapid.SampledFrom([]State{Down, Standby, Forwarding, Forwarding}).Draw(t, "state")
	if err := m.SetState(p.id, p.State); err != nil {
		t.Fatal(err)
	}
	if p.State != Forwarding {
		m.slow.forget(func(_ key, st slowStation) bool { return st.port == p && !st.static })
	}
}

func (m *relayModel) send(t *rapid.T) {
	p := m.draw(t)
	address := rapid.SampledFrom([]frame.MAC{
		mac(1), mac(2), mac(3), mac(4), mac(5), mac(6), 0, frame.Broadcast, 0x0100_5e00_0001, 0x0180_c200_0003,
	})
	var frames [][]byte
	for n := range rapid.IntRange(1, 6).Draw(t, "frames") {
		f := etherLen(address.Draw(t, "dst"), address.Draw(t, "src"), rapid.SampledFrom([]int{20, 60, 64, 65, 100}).Draw(t, "length"))
		f[14] = byte(n)
		frames = append(frames, f)
		m.slow.receive(p, f)
	}
	m.rig.send(p.plug, frames...)
}

func (m *relayModel) static(t *rapid.T) {
	p, address := m.draw(t), mac(rapid.IntRange(1, 6).Draw(t, "station"))
	k := keyOf(p.Network, address)
	st, ok := m.slow.stations[k]
	err := m.AddStation(p.Network, address, p.id)
	if taken := ok && st.static && st.port != p; taken != (err != nil) {
		t.Fatalf("static %s at port %d: %v", address, p.id, err)
	}
	if err == nil {
		m.slow.stations[k] = slowStation{p, true}
	}
}

func (m *relayModel) flush(t *rapid.T) {
	id := rapid.SampledFrom(m.nets).Draw(t, "network")
	before := len(m.slow.stations)
	m.slow.forget(func(k key, st slowStation) bool { return k.network() == id && !st.static })
	if got, want := m.FlushStations(id, 0), before-len(m.slow.stations); got != want {
		t.Fatalf("flushed %d, want %d", got, want)
	}
}

func (m *relayModel) check(t *rapid.T) {
	for _, p := range m.slow.ports {
		m.expect(p.plug, p.want...)
		p.want = nil
		m.expectDrops(p.plug, p.drops)
	}
	if got := m.Stations(0); len(got) != len(m.slow.stations) {
		t.Fatalf("stations %v, want %d", got, len(m.slow.stations))
	}
	for _, st := range m.Stations(0) {
		want, ok := m.slow.stations[keyOf(st.Network, st.MAC)]
		if !ok || want.port.id != st.Port || want.static != st.Static {
			t.Fatalf("station %+v, want %+v", st, want)
		}
	}
}
