// Command demo shows weft at work in scratch namespaces: a hypervisor with its router and
// a server beyond, real QEMU guests on a network with NAT and on an isolated one, and
// what the client says about them.
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
  - name: default                                 # with NAT, DHCP and DNS: that is the default
    dhcp: {reservations: [{mac: "52:54:00:00:00:11", address: 192.168.150.10, name: web}]}
    forwards: [{proto: tcp, port: 7000, to: "192.168.150.10:7000"}]
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, owner: nobody}                    # a TAP for a virtual machine, on default
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

// A stage is the scene of the demo.
type stage struct {
	*lab.Lab
	*lab.Outside
	hv  *lab.NS // the hypervisor
	ct  *lab.NS // a container of it
	w   *lab.Weftd
	vm1 *lab.Guest // on the network default
	vm2 *lab.Guest // on the network lab
}

func demo(l *lab.Lab) {
	s := &stage{Lab: l, hv: l.NS("hv"), ct: l.NS("ct")}
	s.Outside = l.Outside(s.hv, "nic0")
	l.Veth(s.hv, "ct1", s.ct, "eth0")
	s.ct.Addresses("eth0", "10.77.0.13/24", "fd77::13/64")
	s.Server.Serve()
	s.Server.Tells()
	s.Server.Names("address=/www.example/"+lab.Families[0].Server, "address=/www.example/"+lab.Families[1].Server)
	s.hv.Resolvers(lab.Families[0].Server)

	title("A hypervisor with two networks: weft.yaml")
	fmt.Print(document)
	s.w = s.hv.NewWeftd(document)
	s.w.Wrapper = s.hv.Own()
	s.w.Start()

	title("Two virtual machines boot, QEMU run by a user without rights")
	l.Together(
		func() { s.vm1 = s.hv.Boot("vm1", lab.Nobody, guest.NIC{TAP: "vm1", MAC: "52:54:00:00:00:11"}) },
		func() { s.vm2 = s.hv.Boot("vm2", lab.Nobody, guest.NIC{TAP: "vm2", MAC: "52:54:00:00:00:12"}) },
	)
	s.vm2.Addresses("eth0", "10.77.0.12/24", "fd77::12/64")
	s.w.Up("vm1", "vm2", "ct1", "mgmt0")
	show(s.w, "port", "list")

	s.nat()
	s.isolated()

	title("What the switch knows")
	show(s.w, "status")
	show(s.w, "fdb", "show")
	show(s.w, "counters")
}

// nat shows a guest that has nothing configured find its way outside.
func (s *stage) nat() {
	title("vm1 has nothing configured, and asks the network")
	s.vm1.Configure("eth0")
	s.run(s.vm1, "vm1", "ip addr show dev eth0 | grep inet; cat /etc/resolv.conf")
	show(s.w, "lease", "list")

	title("It reaches a server beyond the provider's router, by name, as the host")
	s.run(s.vm1, "vm1", "nslookup www.example")
	for _, f := range lab.Families {
		s.Reaches(s.vm1, f.Server)
		fmt.Printf("vm1 asks %s who it is: %s\n", f.Server, s.Asks(s.vm1, "tcp", f.Server))
		s.transfers(s.vm1, "vm1", f.Server)
	}
	show(s.w, "nat", "show")

	title("And is reached from there by a forward")
	s.vm1.Serve()
	s.transfers(s.Server, "The server", lab.Families[0].Host)
}

// isolated shows guests that reach each other, and one of them crash.
func (s *stage) isolated() {
	title("On the isolated network they talk: guest to namespace, to the host")
	for _, addr := range []string{"10.77.0.13", "fd77::13", "10.77.0.1"} {
		s.Reaches(s.vm2, addr)
		s.run(s.vm2, "vm2", "ping -c 2 "+addr)
	}
	s.ct.Serve()
	s.transfers(s.vm2, "vm2", "10.77.0.13")

	title("A guest crashes: its port goes down, the others go on")
	if err := s.vm2.Kill(); err != nil {
		s.Fatalf("%v", err)
	}
	s.w.PortIs("vm2", "down")
	show(s.w, "port", "list")
	s.Reaches(s.vm1, lab.Families[0].Server)
}

// transfers times a transfer whose every byte is compared.
func (s *stage) transfers(from lab.Station, name, addr string) {
	const size = 16 << 20
	start := time.Now()
	s.Transfers(from, addr, size)
	fmt.Printf("%s and %s, %d MiB each way in %.1f s, intact\n", name, addr, size>>20, time.Since(start).Seconds())
}

func (s *stage) run(g *lab.Guest, name, command string) {
	fmt.Printf("%s # %s\n%s", name, command, g.Run("%s", command))
}

func title(s string) { fmt.Printf("\n== %s\n\n", s) }

func show(w *lab.Weftd, args ...string) {
	fmt.Printf("# weft %s\n%s\n", strings.Join(args, " "), w.MustWeft(args...))
}
