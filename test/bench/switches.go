package main

import (
	"fmt"
	"net/netip"

	"weft/test/bench/guest"
)

// A port is one guest's connection to the switch under test.
type port struct {
	name    string // of the device in "sw"
	kind    kind
	space   string       // namespace of the guest, if it is one
	address netip.Prefix // of that guest's device "eth0"
}

// A kind says who makes the port's device and who is behind it.
type kind int

const (
	host   kind = iota + 1 // a device that the switch makes, moved to the guest's namespace
	device                 // a veth that is there before
	tap                    // a TAP that a process holds, as QEMU does
)

// A subject is a switch under test, once per lab.
type subject interface {
	// start brings the switch up with these ports, ready to forward.
	start(ports []port) error

	// frames returns how many frames the switch, by its own counters, took from or
	// gave to its ports.
	frames() (uint64, error)

	// link says how a guest dials the tap port: see guest.Dial.
	link(p port) string
}

// A contestant is a subject and how to make it.
type contestant struct {
	name  string
	ours  bool // weft, in one setting or another
	idle  int  // further ports, without traffic
	flows int  // that the traffic consists of, where that matters
	make  func(*lab) subject
}

// The contestants between two ports.
var (
	weft     = weftWith("weft", weftd{})
	weftCore = weftWith("weft, fastpath off", weftd{fastpath: "off"})
	weftXDP  = weftWith("weft, fastpath xdp", weftd{fastpath: "xdp"})
	crowds   = contestant{name: "weft, fastpath off, 64 more ports", ours: true, idle: 64, make: weftCore.make}

	ovs      = contestant{name: "Open vSwitch, userspace", make: func(l *lab) subject { return &openVSwitch{lab: l} }}
	vde      = contestant{name: "vde_switch", make: func(l *lab) subject { return &vdeSwitch{lab: l} }}
	bridge   = contestant{name: "Linux bridge", make: func(l *lab) subject { return &linuxBridge{lab: l} }}
	bridgeNF = contestant{name: "Linux bridge, bridge-nf", make: func(l *lab) subject { return &linuxBridge{lab: l, netfilter: true} }}

	floorTC   = contestant{name: "floor: tc redirect", make: func(l *lab) subject { return &floor{lab: l, hook: guest.TC} }}
	floorPeer = contestant{name: "floor: tc redirect to the peer", make: func(l *lab) subject { return &floor{lab: l, hook: guest.Peer} }}
	floorXDP  = contestant{name: "floor: XDP redirect", make: func(l *lab) subject { return &floor{lab: l, hook: guest.XDP} }}
)

// weftWith returns weft with its settings as a contestant.
func weftWith(name string, settings weftd) contestant {
	return contestant{name: name, ours: true, make: func(l *lab) subject {
		w := settings
		w.lab = l
		return &w
	}}
}

// pair returns the two ports that traffic runs between, and their namespaces if
// they have any.
func pair(k kind) []port {
	ports := []port{{name: "pa", kind: k}, {name: "pb", kind: k}}
	if k == tap {
		return ports
	}
	for i, space := range []string{"a", "b"} {
		ports[i].space = space
		ports[i].address = guestAddress(i + 1)
	}
	return ports
}

// idlers returns n tap ports without traffic.
func idlers(n int) []port {
	ports := make([]port, n)
	for i := range ports {
		ports[i] = port{name: fmt.Sprintf("idle%d", i), kind: tap}
	}
	return ports
}

// guestAddress returns the n-th address of the test network (RFC 2544 C.2.2).
func guestAddress(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(n)}), 24)
}

// build makes a lab with the contestant's switch, its ports and the holders of the
// idle ones. The caller closes the lab, also after an error if it is not nil.
func (c contestant) build(l *lab, ports []port) (subject, error) {
	for _, p := range ports {
		if p.space == "" {
			continue
		}
		if err := l.addSpace(p.space); err != nil {
			return nil, err
		}
	}
	idle := idlers(c.idle)
	s := c.make(l)
	if err := s.start(append(ports, idle...)); err != nil {
		return nil, err
	}
	return s, l.hold(s, idle)
}

// hold starts an idle guest behind the tap ports.
func (l *lab) hold(s subject, ports []port) error {
	if len(ports) == 0 {
		return nil
	}
	args := []string{"hold"}
	for _, p := range ports {
		args = append(args, s.link(p))
	}
	p, err := l.guest("sw", args...)
	if err != nil {
		return err
	}
	return p.awaitLine(l, holding)
}
