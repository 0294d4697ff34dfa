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
	p, err := f.lab.guest("sw", "redirect", string(f.hook), ports[0].name, ports[1].name)
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
