package main

import "fmt"

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

// forwarding is the kernel's router between the guest's veth and the NIC.
type forwarding struct{ lab *lab }

func (f *forwarding) start(ports []port) error {
	for _, p := range ports {
		if err := f.lab.veth(p); err != nil {
			return err
		}
	}
	if err := f.lab.address("sw", ports[0].name, inside(1)); err != nil {
		return err
	}
	_, err := f.lab.run("sw", "", "sysctl", "-q", "net.ipv4.ip_forward=1")
	return err
}

func (f *forwarding) frames() (uint64, error) {
	rx, _, err := f.lab.packets()
	return rx, err
}

func (f *forwarding) link(p port) string { return "tap:" + p.name }
