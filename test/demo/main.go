// Command demo shows weft at work in a scratch namespace: a switch, two real QEMU
// guests and a namespace that plays a third, and what the client says about them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"weft/test/guest"
	"weft/test/lab"
)

const document = `networks:
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, network: lab, owner: nobody}      # TAPs for two virtual machines
  - {name: vm2, network: lab, owner: nobody}
  - {name: ct1, network: lab, type: device}       # the veth of a namespace
  - {name: mgmt0, network: lab, type: host, addresses: [10.77.0.1/24, "fd77::1/64"]}
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	start := time.Now()
	c := &console{ctx: ctx}
	if !c.run(func() { demo(lab.New(c)) }) {
		os.Exit(1)
	}
	fmt.Printf("\nDone in %.0f seconds; everything is removed.\n", time.Since(start).Seconds())
}

func demo(l *lab.Lab) {
	hv, ct := l.NS("hv"), l.NS("ct")
	l.Veth(hv, "ct1", ct, "eth0")
	ct.Addresses("eth0", "10.77.0.13/24", "fd77::13/64")

	title("A hypervisor with one network: weft.yaml")
	fmt.Print(document)
	w := hv.Weftd(document)

	title("Two virtual machines boot, QEMU run by a user without rights")
	var vm1, vm2 *lab.Guest
	l.Together(
		func() { vm1 = boot(hv, "vm1", 11) },
		func() { vm2 = boot(hv, "vm2", 12) },
	)
	w.Up("vm1", "vm2", "ct1", "mgmt0")
	show(w, "port", "list")

	title("They talk: guest to guest, to the namespace, to the host")
	for _, addr := range []string{"10.77.0.12", "fd77::13", "10.77.0.1"} {
		l.Reaches(vm1, addr)
		fmt.Printf("vm1 # ping -c 3 %s\n%s", addr, vm1.Run("ping -c 3 %s", addr))
	}

	title("TCP, both ways, every byte compared")
	vm2.Serve()
	ct.Serve()
	for _, addr := range []string{"10.77.0.12", "fd77::13"} {
		const size = 16 << 20
		start := time.Now()
		l.Transfers(vm1, addr, size)
		fmt.Printf("vm1 and %s: %d MiB each way in %.1f s, intact\n", addr, size>>20, time.Since(start).Seconds())
	}

	title("What the switch knows")
	show(w, "status")
	show(w, "fdb", "show")
	show(w, "counters")

	title("A guest crashes: its port goes down, the others go on")
	if err := vm2.Kill(); err != nil {
		l.Fatalf("%v", err)
	}
	w.PortIs("vm2", "down")
	show(w, "port", "list")
	l.Reaches(vm1, "10.77.0.13")
}

func boot(hv *lab.NS, name string, station int) *lab.Guest {
	g := hv.Boot(name, lab.Nobody, guest.NIC{TAP: name, MAC: fmt.Sprintf("52:54:00:00:00:%02x", station)})
	g.Addresses("eth0", fmt.Sprintf("10.77.0.%d/24", station), fmt.Sprintf("fd77::%d/64", station))
	return g
}

func title(s string) { fmt.Printf("\n== %s\n\n", s) }

func show(w *lab.Weftd, args ...string) {
	fmt.Printf("# weft %s\n%s\n", strings.Join(args, " "), w.MustWeft(args...))
}
