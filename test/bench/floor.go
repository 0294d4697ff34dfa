package main

import (
	"fmt"

	"weft/test/bench/guest"
)

// floor is no switch: the kernel redirects every frame of the one port to the other,
// unseen. What a cache adds to that is what weft can be made to save.
type floor struct {
	lab  *lab
	hook guest.Hook
}

func (f *floor) start(ports []port) error {
	if len(ports) != 2 {
		return fmt.Errorf("%d ports: a redirect has two ends", len(ports))
	}
	for _, p := range ports {
		attach := f.lab.veth
		if p.kind == tap {
			attach = f.tap
		}
		if err := attach(p); err != nil {
			return err
		}
	}
	return f.redirect(ports[0].name, ports[1].name)
}

func (f *floor) redirect(a, b string) error {
	p, err := f.lab.guest("sw", "redirect", string(f.hook), a, b)
	if err != nil {
		return err
	}
	return p.awaitLine(f.lab, holding)
}

// tap makes a TAP as weft does: with a longer queue of its own, and none in front of it.
func (f *floor) tap(p port) error {
	if err := f.lab.tap(p); err != nil {
		return err
	}
	if err := f.lab.ip("sw", fmt.Sprintf("link set %s txqueuelen 2000", p.name)); err != nil {
		return err
	}
	_, err := f.lab.run("sw", "", "tc", "qdisc", "replace", "dev", p.name, "root", "noqueue")
	return err
}

// frames counts what came in by all of the namespace's devices.
func (f *floor) frames() (uint64, error) {
	rx, _, err := f.lab.packets()
	return rx, err
}

func (f *floor) link(p port) string { return "tap:" + p.name }

// routerFloor is the same between the guest and the NIC: either end takes the other for
// its router, so that nothing in a packet has to change.
type routerFloor struct{ floor }

func (f *routerFloor) start(ports []port) error {
	if err := f.lab.veth(ports[0]); err != nil {
		return err
	}
	const a, b = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
	if err := f.lab.ip("a", "link set eth0 address "+a, fmt.Sprintf("neighbor add %s lladdr %s dev eth0", inside(1).Addr(), b)); err != nil {
		return err
	}
	if err := f.lab.ip("b", "link set eth0 address "+b, fmt.Sprintf("neighbor add %s lladdr %s dev eth0", guestAddress(1).Addr(), a)); err != nil {
		return err
	}
	return f.redirect(ports[0].name, "nic0")
}
