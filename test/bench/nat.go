package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
)

// The contestants of NAT. Each has guest a behind it; the far end, guest b, is at the
// other end of the cable of "sw"'s NIC nic0.
var (
	natWeft = contestant{name: weft.name, make: func(l *lab) subject {
		return &behindNAT{lab: l, inner: &weftd{lab: l, nat: true}}
	}}
	natKernel = contestant{name: "Linux bridge, nftables masquerade", make: func(l *lab) subject {
		return &behindNAT{lab: l, inner: &masquerade{linuxBridge{lab: l}}}
	}}
	natSlirp = contestant{name: "slirp4netns", make: func(l *lab) subject {
		return &behindNAT{lab: l, inner: &slirp{lab: l, mtu: 1500}}
	}}
	natSlirpLarge = contestant{name: "slirp4netns, MTU 65520", make: func(l *lab) subject {
		return &behindNAT{lab: l, inner: &slirp{lab: l, mtu: 65520}}
	}}
	natNone = contestant{name: "no weft", make: func(l *lab) subject {
		return &behindNAT{lab: l}
	}}
)

func (b *bench) natTCP() experiment {
	return experiment{
		table: table{
			Name: "NAT", Title: "TCP and ping through NAT",
			Note: "A namespace on a veth (slirp4netns: on a TAP of its own), NAT to the address of the host's NIC, a veth, with the server at its other end. " +
				"The MTU is 1500 everywhere but in slirp4netns's last row, which is how podman starts it; it answers no ping without further rights.",
			Metrics: tcpMetrics,
		},
		contestants: []contestant{natWeft, natKernel, natSlirp, natSlirpLarge},
		rounds:      b.rounds,
		run:         b.throughNAT,
	}
}

func (b *bench) throughNAT(l *lab, c contestant) (sample, error) {
	s, err := c.build(l, []port{{name: "pa", kind: device, space: "a", address: inside(10)}})
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
				"Twice the rounds of the other tables; the target is the median of each round's ratio.",
			Metrics: []metric{{"tcp", "Gbit/s", "%.2f"}, {"tcp cpu", "s/GB", "%.3f"}, others},
		},
		contestants: []contestant{natWeft, natNone},
		rounds:      2 * b.rounds,
		run: func(l *lab, c contestant) (sample, error) {
			s, err := c.build(l, []port{{name: "pa", kind: device, space: "a", address: inside(10)}})
			if err != nil {
				return nil, err
			}
			if c.name == natWeft.name {
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

// inside returns the n-th address of the network behind NAT. The first one is the
// gateway's.
func inside(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 77, byte(n)}), 24)
}

// behindNAT is a subject with the outside at its NIC.
type behindNAT struct {
	lab   *lab
	inner subject // nil: none, and no guest
}

func (n *behindNAT) start(ports []port) error {
	if err := n.lab.addSpace("b"); err != nil {
		return err
	}
	if err := n.lab.veth(port{name: "nic0", space: "b", address: guestAddress(2)}); err != nil {
		return err
	}
	if err := n.lab.address("sw", "nic0", guestAddress(1)); err != nil {
		return err
	}
	// A host has a default route, which weft's NAT follows.
	if err := n.lab.ip("sw", fmt.Sprintf("route add default via %s", guestAddress(2).Addr())); err != nil {
		return err
	}
	if n.inner == nil {
		return nil
	}
	if err := n.inner.start(ports); err != nil {
		return err
	}
	if _, own := n.inner.(*slirp); own {
		return nil // it has configured the guest
	}
	return n.lab.ip("a", fmt.Sprintf("route add default via %s", inside(1).Addr()))
}

// frames counts what the NIC gave to the wire and took from it.
func (n *behindNAT) frames() (uint64, error) {
	out, err := n.lab.run("sw", "", "ip", "-j", "-s", "link", "show", "nic0")
	if err != nil {
		return 0, err
	}
	var links []struct {
		Stats64 struct {
			RX, TX struct{ Packets uint64 }
		}
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil || len(links) != 1 {
		return 0, fmt.Errorf("ip -j -s link: %d links: %w", len(links), err)
	}
	return links[0].Stats64.RX.Packets + links[0].Stats64.TX.Packets, nil
}

func (n *behindNAT) link(p port) string { return n.inner.link(p) }

// masquerade is the kernel's bridge with nftables' NAT, as libvirt and Docker set it up.
type masquerade struct{ linuxBridge }

// translation is what they load.
const translation = `table ip nat {
	chain post {
		type nat hook postrouting priority srcnat;
		oifname "nic0" counter masquerade
	}
}
`

func (m *masquerade) start(ports []port) error {
	if err := m.linuxBridge.start(ports); err != nil {
		return err
	}
	if err := m.lab.address("sw", "br0", inside(1)); err != nil {
		return err
	}
	if _, err := m.lab.run("sw", "", "sysctl", "-q", "net.ipv4.ip_forward=1"); err != nil {
		return err
	}
	_, err := m.lab.run("sw", translation, "nft", "-f", "-")
	return err
}

// slirp is slirp4netns, which carries TCP by sockets of its own.
type slirp struct {
	lab *lab
	mtu int
}

func (s *slirp) start(ports []port) error {
	if err := s.lab.ip(ports[0].space, "link set lo up"); err != nil {
		return err
	}
	p, err := s.lab.start("sw", "slirp4netns", "--configure", fmt.Sprintf("--mtu=%d", s.mtu), "--disable-host-loopback",
		"--netns-type=path", "/run/netns/"+s.lab.space(ports[0].space), "eth0")
	if err != nil {
		return err
	}
	return s.lab.until("slirp4netns's device", func() bool {
		if p.ended() {
			return true
		}
		out, err := s.lab.run(ports[0].space, "", "ip", "route", "show", "default")
		return err == nil && out != ""
	})
}

func (s *slirp) frames() (uint64, error) { return 0, fmt.Errorf("slirp4netns counts nothing") }

func (s *slirp) link(p port) string { return "tap:" + p.name }
