package main

import "fmt"

// linuxBridge is the kernel's bridge over veth pairs and TAPs.
type linuxBridge struct {
	lab       *lab
	netfilter bool // bridged frames pass the host's IP firewall, as on a host with Docker or libvirt
}

// firewall is the least that such a host has: a stateful FORWARD chain.
const firewall = `table ip filter {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related counter accept
		counter accept
	}
}
`

func (b *linuxBridge) start(ports []port) error {
	if err := b.setNetfilter(); err != nil {
		return err
	}
	if err := b.lab.ip("sw", "link add br0 type bridge", "link set br0 up"); err != nil {
		return err
	}
	for _, p := range ports {
		attach := b.lab.veth // instead of the device that other switches make themselves
		if p.kind == tap {
			attach = b.lab.tap
		}
		if err := attach(p); err != nil {
			return err
		}
		if err := b.lab.ip("sw", fmt.Sprintf("link set %s master br0", p.name)); err != nil {
			return err
		}
	}
	return nil
}

// setNetfilter says whether bridged frames pass the firewall, and loads one if so.
func (b *linuxBridge) setNetfilter() error {
	const setting = "net.bridge.bridge-nf-call-iptables="
	if !b.netfilter {
		_, err := b.lab.run("sw", "", "sysctl", "-q", "-e", setting+"0") // -e: without br_netfilter it is 0 anyway
		return err
	}
	if _, err := b.lab.run("sw", "", "sysctl", "-q", setting+"1"); err != nil {
		return fmt.Errorf("%w (remedy: modprobe br_netfilter)", err)
	}
	_, err := b.lab.run("sw", firewall, "nft", "-f", "-")
	return err
}

// frames counts what the bridge gave to its ports; nobody else sends there.
func (b *linuxBridge) frames() (uint64, error) {
	_, tx, err := b.lab.packets("master", "br0")
	return tx, err
}

func (b *linuxBridge) link(p port) string { return "tap:" + p.name }
