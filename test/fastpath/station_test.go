package fastpath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"weft/frame"
)

// A station is one that the test plays. In each world it may come to be elsewhere than
// where it starts, and under another address.
type station struct {
	name   string
	jack   string
	mac    frame.MAC
	v4, v6 netip.Addr
	behind *station // the router in front of it, whose address its frames have; nil: none
}

// addr returns the station's address of a family.
func (s *station) addr(v6 bool) netip.Addr {
	if v6 {
		return s.v6
	}
	return s.v4
}

func newStation(name, jack string, mac frame.MAC, v4, v6 string) *station {
	return &station{name: name, jack: jack, mac: 0x5254_0000_0000 + mac, v4: netip.MustParseAddr(v4), v6: netip.MustParseAddr(v6)}
}

// server returns a station behind a router.
func server(name string, behind *station, v4, v6 string) *station {
	return &station{name: name, jack: behind.jack, mac: behind.mac, v4: netip.MustParseAddr(v4), v6: netip.MustParseAddr(v6), behind: behind}
}

var (
	lab1 = newStation("lab1", "vm1", 0x11, "10.9.0.1", "fd09::1")
	lab2 = newStation("lab2", "vm2", 0x12, "10.9.0.2", "fd09::2")
	lab3 = newStation("lab3", "ct1", 0x13, "10.9.0.3", "fd09::3")
	lab4 = newStation("lab4", "vm1", 0x14, "10.9.0.4", "fd09::4")

	lan1 = newStation("lan1", "vm3", 0x31, "192.0.2.31", "2001:db8:1::31")

	nat1 = newStation("nat1", "vm4", 0x41, "192.168.150.10", "fd5a:150::10")
	nat2 = newStation("nat2", "ct2", 0x42, "192.168.150.11", "fd5a:150::11")
	nat3 = newStation("nat3", "vm4", 0x43, "192.168.150.12", "fd5a:150::12")

	dmz1 = newStation("dmz1", "vm5", 0x51, "10.20.0.10", "fd10:20::10")
	dmz2 = newStation("dmz2", "ct3", 0x52, "10.20.0.11", "fd10:20::11")

	router   = newStation("router", "nic0", 0xf1, "192.0.2.1", "2001:db8:1::1")
	router2  = newStation("router2", "nic0", 0xf2, "192.0.2.2", "2001:db8:1::2")
	neighbor = newStation("neighbor", "nic0", 0xf3, "192.0.2.40", "2001:db8:1::40")
	router3  = newStation("router3", "nic1", 0xf4, "203.0.113.1", "2001:db8:3::1")

	server1 = server("server1", router, "198.51.100.2", "2001:db8:2::2")
	server2 = server("server2", router, "198.51.100.3", "2001:db8:2::3")
	server3 = server("server3", router3, "198.18.0.2", "2001:db8:4::2")

	// behind is reached by a guest, to begin with by nat1.
	behind = server("behind", nat1, "10.7.0.5", "fd10:7::5")

	// stranger is somebody of whose address nobody here is.
	stranger = newStation("stranger", "", 0x66, "10.66.6.6", "fd66::6")

	stations = []*station{
		lab1, lab2, lab3, lab4, lan1, nat1, nat2, nat3, dmz1, dmz2, behind,
		router, router2, neighbor, router3, server1, server2, server3,
	}
)

// The addresses of the host's at its NICs, by whether they are of IPv6.
var (
	host0 = map[bool]netip.Addr{false: netip.MustParseAddr("192.0.2.10"), true: netip.MustParseAddr("2001:db8:1::10")}
	host1 = map[bool]netip.Addr{false: netip.MustParseAddr("203.0.113.10"), true: netip.MustParseAddr("2001:db8:3::10")}
)

// answerLocked returns what the stations at the jack answer to a question for an address.
func (v *world) answerLocked(j *jack, f []byte) []byte {
	asked, by, ok := question(f)
	if !ok {
		return nil
	}
	for _, s := range stations {
		if s.behind != nil || v.homes[s.name] != j.name || asked != s.addr(asked.Is6()) {
			continue
		}
		if asked.Is6() {
			return advertisement(frame.MACFrom(f[6:]), v.macs[s.name], asked, by)
		}
		return arp(frame.MACFrom(f[6:]), v.macs[s.name], frame.ARPReply, asked, frame.MACFrom(f[6:]), by)
	}
	return nil
}

// question returns the address that an ARP request or a neighbor solicitation asks for,
// and the asker's.
func question(f []byte) (asked, by netip.Addr, ok bool) {
	switch p := f[min(frame.EthernetLen, len(f)):]; {
	case len(f) < frame.EthernetLen:
	case f[12] == 0x08 && f[13] == 0x06 && len(p) >= 28 && p[7] == frame.ARPRequest:
		return netip.AddrFrom4([4]byte(p[24:])), netip.AddrFrom4([4]byte(p[14:])), true
	case f[12] == 0x86 && f[13] == 0xdd && len(p) >= 64 && p[6] == icmp6 && p[40] == 135:
		return netip.AddrFrom16([16]byte(p[48:])), netip.AddrFrom16([16]byte(p[8:])), true
	}
	return asked, by, false
}

func arp(dst, src frame.MAC, op byte, sender netip.Addr, target frame.MAC, to netip.Addr) []byte {
	f := make([]byte, 60)
	dst.Put(f)
	src.Put(f[6:])
	copy(f[12:], []byte{0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, op})
	src.Put(f[22:])
	copy(f[28:], sender.AsSlice())
	target.Put(f[32:])
	copy(f[38:], to.AsSlice())
	return f
}

// advertisement is a neighbor advertisement for an address (RFC 4861 4.4), solicited by a
// station unless to is the group of all nodes.
func advertisement(dst, src frame.MAC, addr, to netip.Addr) []byte {
	body := make([]byte, 32)
	body[0], body[4] = 136, 0x60 // solicited, override
	if to.IsMulticast() {
		body[4] = 0x20
	}
	copy(body[8:], addr.AsSlice())
	body[24], body[25] = 2, 1
	src.Put(body[26:])
	p := packet{dst: dst, src: src, from: netip.AddrPortFrom(addr, 0), to: netip.AddrPortFrom(to, 0), protocol: icmp6, hops: 255, raw: body}
	return p.build().bytes
}

// solicitation is a neighbor solicitation of a station's for its gateway (RFC 4861 4.3).
func solicitation(dst, src frame.MAC, from, target netip.Addr) []byte {
	body := make([]byte, 32)
	body[0] = 135
	copy(body[8:], target.AsSlice())
	body[24], body[25] = 1, 1
	src.Put(body[26:])
	p := packet{dst: dst, src: src, from: netip.AddrPortFrom(from, 0), to: netip.AddrPortFrom(target, 0), protocol: icmp6, hops: 255, raw: body}
	return p.build().bytes
}

// announce has all who hear it know where the station is, and its address.
func (v *world) announce(s *station) {
	v.Helper()
	mac := v.mac(s)
	v.send(s, sent{bytes: arp(frame.Broadcast, mac, frame.ARPRequest, s.v4, 0, s.v4)})
	v.send(s, sent{bytes: advertisement(0x3333_0000_0001, mac, s.v6, netip.MustParseAddr("ff02::1"))})
}

// barrierType marks frames that say that all before them came through: one that IEEE 802
// keeps for experiments.
const barrierType = 0x88b5

// barrier is a frame to all in the network.
func barrier(src frame.MAC, n uint32) sent {
	f := make([]byte, 60)
	frame.Broadcast.Put(f)
	src.Put(f[6:])
	binary.BigEndian.PutUint16(f[12:], barrierType)
	binary.BigEndian.PutUint32(f[14:], n)
	return sent{bytes: f}
}

// routedBarrier is what never comes from the cache, and says as much where a frame to all
// goes nowhere: a packet with options.
func routedBarrier(n uint32) sent {
	p := packet{
		dst: nic1MAC, src: router3.mac, from: netip.AddrPortFrom(server3.v4, 9), to: netip.AddrPortFrom(dmz1.v4, barrierType),
		protocol: udp, hops: 64, options: []byte{1, 1, 1, 1}, payload: binary.BigEndian.AppendUint32(nil, n),
	}
	return p.build()
}

func barrierIn(f []byte) (n uint32, ok bool) {
	const optioned, port = 0x46, frame.EthernetLen + 24 + 2
	switch {
	case len(f) >= 18 && binary.BigEndian.Uint16(f[12:]) == barrierType:
		return binary.BigEndian.Uint32(f[14:]), true
	case len(f) >= port+10 && f[14] == optioned && binary.BigEndian.Uint16(f[port:]) == barrierType:
		return binary.BigEndian.Uint32(f[port+6:]), true
	}
	return 0, false
}

// noise is what is said at its own time: neighbor discovery, group membership.
func noise(f []byte) bool {
	if len(f) < frame.EthernetLen+42 {
		return len(f) >= frame.EthernetLen && f[12] == 0x08 && f[13] == 0x06
	}
	ip := f[frame.EthernetLen:]
	switch {
	case f[12] == 0x08 && f[13] == 0x06:
		return true
	case f[12] == 0x08 && f[13] == 0x00:
		return ip[9] == 2 // IGMP
	case f[12] == 0x86 && f[13] == 0xdd && ip[6] == icmp6:
		return ip[40] >= 130 && ip[40] <= 137 || ip[40] == 143
	case f[12] == 0x86 && f[13] == 0xdd && ip[6] == 0: // MLD, behind a router alert
		return bytes.HasPrefix(ip[40:], []byte{icmp6, 0, 5, 2})
	}
	return f[12] == 0x80 && f[13] == 0x35 // RARP: weft announces guests
}

// isError reports whether a frame is about another one.
func isError(f []byte) bool {
	switch ip := f[frame.EthernetLen:]; {
	case f[12] == 0x08 && f[13] == 0x00 && len(ip) > 20:
		return ip[9] == icmp4 && ip[20] != 0 && ip[20] != 8
	case f[12] == 0x86 && f[13] == 0xdd && len(ip) > 40:
		return ip[6] == icmp6 && ip[40] < 128
	}
	return false
}

// class returns what the frames of a stream have in common whose order is kept. Between
// stations of the isolated network that is all; elsewhere packets that are no part of a flow
// by their headers, such as fragments, may be overtaken, and those that open a connection.
func class(f []byte, stream uint16) string {
	ip := f[frame.EthernetLen:]
	key := fmt.Sprintf("%d %x", stream, f[:frame.EthernetLen])
	switch {
	case switched(f):
		return key
	case f[12] == 0x08 && f[13] == 0x00 && len(ip) > 33:
		return fmt.Sprintf("%s %x %v %d %x %v", key, ip[0], ip[6]&0x3f|ip[7] != 0, ip[9], ip[12:24], ip[9] == tcp && ip[33]&(syn|ack) == syn)
	case f[12] == 0x86 && f[13] == 0xdd && len(ip) > 53:
		return fmt.Sprintf("%s %d %x %v", key, ip[6], ip[8:44], ip[6] == tcp && ip[53]&(syn|ack) == syn)
	}
	return key
}

// switched reports whether a frame is from one station of the isolated network to another.
func switched(f []byte) bool {
	src := frame.MACFrom(f[6:])
	return src >= lab1.mac && src <= lab4.mac
}
