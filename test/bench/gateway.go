package main

import (
	"fmt"
	"net/netip"

	"weft/test/bench/guest"
)

// The contestants of NAT and of routing. Each has guest a behind it; the far end,
// guest b, is at the other end of the cable of "sw"'s NIC nic0.
var (
	natWeft   = weftNAT(weft.name, weftd{})
	natCore   = weftNAT(weftCore.name, weftd{fastpath: "off"})
	natKernel = atGateway(contestant{name: "Linux bridge, nftables masquerade", make: func(l *lab) subject {
		return &masquerade{linuxBridge{lab: l}}
	}}, false)
	natSlirp = atGateway(contestant{name: "slirp4netns", make: func(l *lab) subject {
		return &slirp{lab: l, mtu: 1500}
	}}, false)
	natSlirpLarge = atGateway(contestant{name: "slirp4netns, MTU 65520", make: func(l *lab) subject {
		return &slirp{lab: l, mtu: 65520}
	}}, false)
	natNone = atGateway(contestant{name: "no weft", make: func(*lab) subject { return nobody{} }}, false)

	routedWeft   = atGateway(weftWith("weft, routed", weftd{mode: "routed"}), true)
	routedCore   = atGateway(weftWith("weft, routed, fastpath off", weftd{mode: "routed", fastpath: "off"}), true)
	routedKernel = atGateway(contestant{name: "the kernel's forwarding", make: func(l *lab) subject {
		return &forwarding{lab: l}
	}}, true)
	routedFloor = atGateway(contestant{name: floorTC.name, make: func(l *lab) subject {
		return &routerFloor{floor{lab: l, hook: guest.TC}}
	}}, true)
)

func weftNAT(name string, settings weftd) contestant {
	settings.mode = "nat"
	return atGateway(weftWith(name, settings), false)
}

// atGateway puts a contestant between guest and NIC. If it is a router, the outside
// knows the way to the guest.
func atGateway(c contestant, routed bool) contestant {
	between := c.make
	c.make = func(l *lab) subject { return &gateway{subject: between(l), lab: l, routed: routed} }
	return c
}

// behind returns the port of the guest that is behind a gateway.
func behind(k kind) port {
	p := port{name: "pa", kind: k, address: inside(10)}
	if k != tap {
		p.space = "a"
	}
	return p
}

func (b *bench) natTCP() experiment {
	return experiment{
		table: table{
			Name: "NAT", Title: "TCP and ping through NAT",
			Note: "A namespace on a veth (slirp4netns: on a TAP of its own), NAT to the address of the host's NIC, a veth, with the server at its other end. " +
				"The MTU is 1500 everywhere but in slirp4netns's last row, which is how podman starts it; it answers no ping without further rights.",
			Metrics: tcpMetrics,
		},
		contestants: []contestant{natCore, natWeft, natKernel, natSlirp, natSlirpLarge},
		rounds:      b.rounds,
		run:         b.throughGateway,
	}
}

func (b *bench) routedTCP() experiment {
	return experiment{
		table: table{
			Name: "routed", Title: "TCP and ping through a router",
			Note: "As above, but the guest has its own address outside as well. " +
				"The kernel's forwarding is between the guest's veth and the NIC, without a bridge and without a firewall.",
			Metrics: tcpMetrics,
		},
		contestants: []contestant{routedCore, routedWeft, routedKernel, routedFloor},
		rounds:      b.rounds,
		run:         b.throughGateway,
	}
}

func (b *bench) throughGateway(l *lab, c contestant) (sample, error) {
	s, err := c.build(l, []port{behind(device)})
	if err != nil {
		return nil, err
	}
	if c.name == natSlirp.name || c.name == natSlirpLarge.name {
		return b.stream(l, s, "a")
	}
	return b.throughput(l, s)
}

func (b *bench) hostBesideNAT() experiment {
	return experiment{
		table: table{
			Name: "host beside NAT", Title: "The host's own TCP on the NIC that it shares",
			Note: "iperf3 from the host itself by the NIC, with weft's NAT at work there for a guest that pings, and without weft. " +
				"Twice the rounds of the other tables.",
			Metrics: []metric{{"tcp", "Gbit/s", "%.2f"}, {"tcp cpu", "s/GB", "%.3f"}, others},
		},
		contestants: []contestant{natCore, natWeft, natNone},
		rounds:      2 * b.rounds,
		run: func(l *lab, c contestant) (sample, error) {
			s, err := c.build(l, []port{behind(device)})
			if err != nil {
				return nil, err
			}
			if c.ours {
				far := guestAddress(2).Addr().String()
				if err := l.reachable("a", far); err != nil {
					return nil, err
				}
				if _, err := l.start("a", "ping", "-q", "-i", "0.01", far); err != nil {
					return nil, err
				}
			}
			return b.stream(l, s, "sw")
		},
	}
}

// inside returns the n-th address of the network behind the gateway. The first one is
// the gateway's.
func inside(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 77, byte(n)}), 24)
}

// gateway is a subject with the outside at its NIC: a veth to guest b, or a TAP if
// the guest is behind one.
type gateway struct {
	subject
	lab    *lab
	routed bool // the outside knows the way to the guest
}

func (g *gateway) start(ports []port) error {
	attach := g.lab.veth
	if ports[0].kind == tap {
		attach = g.lab.tap
	} else if err := g.lab.addSpace("b"); err != nil {
		return err
	}
	if err := attach(port{name: "nic0", space: "b", address: guestAddress(2)}); err != nil {
		return err
	}
	if err := g.lab.address("sw", "nic0", guestAddress(1)); err != nil {
		return err
	}
	// A host has a default route, which weft follows.
	if err := g.lab.ip("sw", fmt.Sprintf("route add default via %s", guestAddress(2).Addr())); err != nil {
		return err
	}
	if err := g.subject.start(ports); err != nil {
		return err
	}
	return g.routes(ports[0])
}

// routes gives the two guests their routes, where they have kernels of their own.
func (g *gateway) routes(p port) error {
	if p.kind == tap {
		return nil
	}
	if g.routed {
		if err := g.lab.ip("b", fmt.Sprintf("route add %s via %s", inside(0), guestAddress(1).Addr())); err != nil {
			return err
		}
	}
	switch g.subject.(type) {
	case *slirp, nobody: // it has configured the guest; there is none
		return nil
	}
	return g.lab.ip(p.space, fmt.Sprintf("route add default via %s", inside(1).Addr()))
}

// frames counts what the NIC gave to the wire and took from it.
func (g *gateway) frames() (uint64, error) {
	rx, tx, err := g.lab.packets("dev", "nic0")
	return rx + tx, err
}

func (g *gateway) cache() (*cacheCount, error) { return cacheOf(g.subject) }

// nobody is what stands between a host that has the NIC for itself and its guests.
type nobody struct{}

func (nobody) start([]port) error      { return nil }
func (nobody) frames() (uint64, error) { return 0, nil }
func (nobody) link(port) string        { return "" }
