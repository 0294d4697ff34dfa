package fastpath

import (
	"encoding/binary"
	"slices"
	"testing"

	"weft/frame"
	"weft/frame/frametest"
)

// A trial is a frame that the switch is to see, or not.
type trial struct {
	name   string
	frame  []byte
	as     frame.Offload
	direct bool
}

func (r *rig) try(all []trial) {
	r.Helper()
	for _, x := range all {
		if x.as.GSO == frame.GSOUDP && !r.a.uso {
			continue
		}
		r.open()
		got, _ := r.send(x.frame, x.as)
		if (got != nil) != x.direct {
			r.Errorf("%s: forwarded %t, want %t; %v", x.name, got != nil, x.direct, r.Stats().Misses)
		}
	}
}

// changed returns a copy of the frame, changed.
func changed(p []byte, change func(p []byte)) []byte {
	p = slices.Clone(p)
	change(p)
	return p
}

// typed returns a frame of another EtherType.
func typed(p []byte, t frame.EtherType) []byte {
	return changed(p, func(p []byte) { binary.BigEndian.PutUint16(p[12:], uint16(t)) })
}

// Between two stations everything goes but what the switch has to see.
func TestStationsExceptions(t *testing.T) {
	r := newRig(t, Config{})
	one, two := frametest.Station(1), frametest.Station(2)
	udp := frametest.UDP(one, two, frametest.Payload(100))
	d := bridged(t, udp)
	d.MTU, d.Least = 1000, 60
	d.Was.Version, d.Is.Version = 0, 0
	r.learn(d)
	tagged := bridged(t, frametest.Tagged(udp, frame.EtherTypeCTag, 5, 3))
	tagged.MTU = 1000
	r.learn(tagged)
	super := func(s frametest.Superframe) trial {
		s.Src, s.Dst = one, two
		return trial{frame: s.Bytes(), as: s.Offload()}
	}
	with := func(x trial, name string, direct bool) trial {
		x.name, x.direct = name, direct
		return x
	}
	six := frametest.UDP(frametest.Station6(1), frametest.Station6(2), frametest.Payload(100))
	r.try([]trial{
		{name: "IPv4", frame: udp, direct: true},
		{name: "IPv6", frame: six, direct: true},
		{name: "another protocol", frame: typed(udp, 0x88b5), direct: true},
		{name: "LLC", frame: typed(udp, 86), direct: true},
		{name: "a fragment", frame: changed(frametest.TCP(one, two, frametest.Payload(100)), func(p []byte) { p[14+6] = 0x20 }), direct: true},
		{name: "as long as may be", frame: frametest.UDP(one, two, frametest.Payload(1000-28)), direct: true},
		{name: "too long", frame: frametest.UDP(one, two, frametest.Payload(1000-27))},
		{name: "shorter than least", frame: frametest.UDP(one, two, frametest.Payload(60-42-1))},
		{name: "least", frame: frametest.UDP(one, two, frametest.Payload(60-42)), direct: true},
		{name: "ARP", frame: typed(udp, frame.EtherTypeARP)},
		{name: "a slow protocol", frame: typed(udp, 0x8809)},
		{name: "tagged", frame: frametest.Tagged(udp, frame.EtherTypeCTag, 5, 3), direct: true},
		{name: "tagged otherwise", frame: frametest.Tagged(udp, frame.EtherTypeCTag, 6, 3)},
		{name: "of another priority", frame: frametest.Tagged(udp, frame.EtherTypeCTag, 5, 2)},
		{name: "a service tag", frame: frametest.Tagged(udp, frame.EtherTypeSTag, 5, 3)},
		{name: "two tags", frame: frametest.Tagged(frametest.Tagged(udp, frame.EtherTypeCTag, 7, 0), frame.EtherTypeCTag, 5, 3)},
		{name: "a service tag behind", frame: frametest.Tagged(frametest.Tagged(udp, frame.EtherTypeSTag, 7, 0), frame.EtherTypeCTag, 5, 3)},
		{name: "to another", frame: frametest.UDP(one, frametest.Station(3), nil)},
		{name: "from another", frame: frametest.UDP(frametest.Station(3), two, nil)},
		{name: "the other way", frame: frametest.UDP(two, one, frametest.Payload(100))},
		{name: "DHCP", frame: frametest.UDP(frametest.End{MAC: one.MAC, Addr: one.Addr, Port: 68}, two, frametest.Payload(300))},
		with(super(frametest.Superframe{GSO: frame.GSOTCPv4, Len: 9000, SegSize: 960}), "a superframe", true),
		with(super(frametest.Superframe{GSO: frame.GSOTCPv4, Len: 9000, SegSize: 961}), "of segments too long", false),
		with(super(frametest.Superframe{GSO: frame.GSOTCPv4, Len: 9000, SegSize: 255}), "of tiny segments", false),
		with(super(frametest.Superframe{GSO: frame.GSOUDP, Len: 9000, SegSize: 972}), "of datagrams", true),
		with(super(frametest.Superframe{GSO: frame.GSOUDP, Len: 9000, SegSize: 973}), "of datagrams too long", false),
	})
}

// Of a flow that is routed the switch sees what does not match exactly, and what routers
// and translators look into.
func TestFlowExceptions(t *testing.T) {
	for _, six := range []bool{false, true} {
		was := ends{end(1, "10.0.0.1", 1001), end(2, "192.0.2.7", 443)}
		is := ends{end(3, "203.0.113.9", 40001), end(4, "192.0.2.7", 443)}
		name, ip := "v4", 20
		if six {
			was, is = ends{end(1, "fd00::1", 1001), end(2, "2001:db8::7", 443)}, ends{end(3, "2001:db8:1::9", 40001), end(4, "2001:db8::7", 443)}
			name, ip = "v6", 40
		}
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{})
			for _, build := range builds {
				d := routed(t, build(was, 0), hop(build(is, 0)))
				d.MTU, d.Session = 1000, 1
				r.learn(d)
			}
			r.try(flowTrials(was, ip))
		})
	}
}

// builds make frames that carry so many bytes, of each protocol.
var builds = []func(e ends, n int) []byte{
	func(e ends, n int) []byte { return frametest.UDP(e.src, e.dst, frametest.Payload(n)) },
	func(e ends, n int) []byte { return frametest.TCP(e.src, e.dst, frametest.Payload(n)) },
	func(e ends, _ int) []byte { return frametest.Ping(e.src, e.dst, e.src.Port, 7) },
}

// flowTrials are frames between ends whose IP header is as long as ip.
func flowTrials(e ends, ip int) []trial {
	udp, tcp, echo := builds[0](e, 100), builds[1](e, 100), builds[2](e, 100)
	l4 := frame.EthernetLen + ip
	poke := func(p []byte, at int, v byte) []byte { return changed(p, func(p []byte) { p[at] = v }) }
	other := func(change func(e *ends)) []byte {
		e := e
		change(&e)
		return builds[0](e, 100)
	}
	all := []trial{
		{name: "UDP", frame: udp, direct: true},
		{name: "TCP", frame: tcp, direct: true},
		{name: "echo", frame: echo, direct: true},
		{name: "another source MAC", frame: other(func(e *ends) { e.src.MAC++ })},
		{name: "another destination MAC", frame: other(func(e *ends) { e.dst.MAC++ })},
		{name: "another source", frame: other(func(e *ends) { e.src.Addr = e.src.Addr.Next() })},
		{name: "another destination", frame: other(func(e *ends) { e.dst.Addr = e.dst.Addr.Next() })},
		{name: "another source port", frame: other(func(e *ends) { e.src.Port++ })},
		{name: "another destination port", frame: other(func(e *ends) { e.dst.Port++ })},
		{name: "tagged", frame: frametest.Tagged(udp, frame.EtherTypeCTag, 1, 0)},
		{name: "as long as may be", frame: builds[0](e, 1000-ip-8), direct: true},
		{name: "too long", frame: builds[0](e, 1000-ip-7)},
		{name: "SYN", frame: poke(tcp, l4+13, 0x02)},
		{name: "SYN+ACK", frame: poke(tcp, l4+13, 0x12)},
		{name: "FIN", frame: poke(tcp, l4+13, 0x11)},
		{name: "RST", frame: poke(tcp, l4+13, 0x04)},
		{name: "URG, ECE", frame: poke(tcp, l4+13, 0x70), direct: true},
		{name: "a TCP header too short", frame: poke(tcp, l4+12, 0x40)},
		{name: "a TCP header longer than the segment", frame: poke(builds[1](e, 0), l4+12, 0x60)},
		{name: "another protocol", frame: poke(udp, l4-ip+map[int]int{20: 9, 40: 6}[ip], 132)},
		{name: "an echo's code", frame: poke(echo, l4+1, 1)},
		{name: "an error", frame: poke(echo, l4, 3)},
		{name: "cut short", frame: udp[:len(udp)-1]},
		{name: "half a header", frame: udp[:l4+4]},
		{name: "with a trailer", frame: append(slices.Clone(udp), 0)},
		{name: "with padding", frame: append(builds[0](e, 0), make([]byte, max(0, frame.MinLen-l4-8))...), direct: true},
	}
	if ip == 20 {
		return append(all, ipv4Trials(e, udp)...)
	}
	return append(all, ipv6Trials(udp)...)
}

func ipv4Trials(e ends, udp []byte) []trial {
	header := func(at int, v byte) []byte {
		return changed(udp, func(p []byte) {
			p[frame.EthernetLen+at] = v
			frame.IPv4(p[frame.EthernetLen:]).UpdateChecksum()
		})
	}
	lie := func(start, offset uint16) trial {
		s := frametest.Superframe{Src: e.src, Dst: e.dst, Len: 100}
		o := s.Offload()
		o.CsumStart, o.CsumOffset = start, offset
		return trial{name: "a checksum elsewhere", frame: s.Bytes(), as: o}
	}
	return []trial{
		{name: "the last hop", frame: header(8, 1)},
		{name: "no hop", frame: header(8, 0)},
		{name: "two hops", frame: header(8, 2), direct: true},
		{name: "a class of service", frame: header(1, 0xb8), direct: true},
		{name: "a first fragment", frame: header(6, 0x20)},
		{name: "a later fragment", frame: header(7, 1)},
		{name: "options", frame: header(0, 0x46)},
		{name: "another version", frame: header(0, 0x65)},
		{name: "a wrong header checksum", frame: changed(udp, func(p []byte) { p[frame.EthernetLen+10]++ })},
		lie(34, 4), lie(34, 6), lie(30, 16), lie(26, 0), lie(36, 16),
	}
}

func ipv6Trials(udp []byte) []trial {
	header := func(at int, v byte) []byte {
		return changed(udp, func(p []byte) { p[frame.EthernetLen+at] = v })
	}
	return []trial{
		{name: "the last hop", frame: header(7, 1)},
		{name: "no hop", frame: header(7, 0)},
		{name: "two hops", frame: header(7, 2), direct: true},
		{name: "hop-by-hop options", frame: header(6, 0)},
		{name: "a fragment", frame: header(6, 44)},
		{name: "another version", frame: header(0, 0x40)},
		{name: "a jumbogram", frame: changed(udp, func(p []byte) { p[frame.EthernetLen+4], p[frame.EthernetLen+5] = 0, 0 })},
	}
}
