package lab

import (
	"testing"

	"weft/test/guest"
)

// The lab itself, with the kernel's bridge in the place of weft: what this test finds
// broken is not weft's fault.
func TestLab(t *testing.T) {
	t.Parallel()
	l := New(t)
	hv, world := l.NS("hv"), l.NS("out")
	l.Veth(hv, "nic", world, "eth0")
	world.Addresses("eth0", "10.9.0.3/24", "fd09::3/64")
	hv.Run("ip link add br0 type bridge && ip link set br0 up && ip link set nic master br0")
	for _, tap := range []string{"vm1", "vm2"} {
		hv.Run("ip tuntap add %[1]s mode tap user nobody && ip link set %[1]s master br0 up", tap)
	}
	var a, b *Guest
	l.Together(
		func() { a = hv.Boot("a", Nobody, guest.NIC{TAP: "vm1", MAC: "52:54:00:00:00:01"}) },
		func() { b = hv.Boot("b", Nobody, guest.NIC{TAP: "vm2", MAC: "52:54:00:00:00:02"}) },
	)
	a.Addresses("eth0", "10.9.0.1/24", "fd09::1/64")
	b.Addresses("eth0", "10.9.0.2/24", "fd09::2/64")
	b.Serve()
	world.Serve()
	for _, addr := range []string{"10.9.0.2", "fd09::2", "10.9.0.3", "fd09::3"} {
		l.Reaches(a, addr)
		l.Transfers(a, addr, 4<<20)
	}
	l.NotReaches(a, "10.9.0.4")
	l.NotReaches(a, "fd09::4")

	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	l.NotReaches(a, "10.9.0.2")
	b.Reboot()
	b.Addresses("eth0", "10.9.0.2/24")
	l.Reaches(a, "10.9.0.2")
}
