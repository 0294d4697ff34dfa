package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"weft/frame"
	"weft/test/lab"
)

// A cottage is a hypervisor with a network that has NAT, and a guest with addresses of
// its own, ct1.
type cottage struct {
	*lab.Lab
	*lab.Outside
	hv, guest *lab.NS
}

const natted = `
networks:
  - {name: default}
ports:
  - {name: ct1, type: device}
`

func newCottage(t *testing.T) (*cottage, *lab.Weftd) {
	t.Helper()
	l := lab.New(t)
	c := &cottage{Lab: l, hv: l.NS("hv"), guest: l.NS("guest")}
	c.Outside = l.Outside(c.hv, "nic0")
	l.Veth(c.hv, "ct1", c.guest, "eth0")
	c.guest.Addresses("eth0", "192.168.150.10/24", "fd5a:150::10/64")
	for _, f := range lab.Families {
		c.guest.Run("ip %s route add default via %s", f.Version, f.Gateway)
	}
	w := c.hv.NewWeftd(natted)
	w.Wrapper = c.hv.Own()
	w.Start()
	for _, f := range lab.Families {
		c.Reaches(c.guest, f.Server)
	}
	return c, w
}

// Ports that NAT reserved are given back after a crash, though no network has NAT any more.
func TestPortsReservedByACrashAreGivenBack(t *testing.T) {
	t.Parallel()
	c, w := newCottage(t)
	reserved := func() string {
		return strings.TrimSpace(c.hv.Run("cat /proc/sys/net/ipv4/ip_local_reserved_ports"))
	}
	w.Kill()
	if reserved() == "" {
		t.Fatal("no ports are reserved")
	}
	w.Edit("networks: [{name: lan, mode: isolated}]")
	w.Start()
	if got := reserved(); got != "" {
		t.Errorf("after the start ports %s are reserved", got)
	}
}

// Guests are told that their router goes (RFC 4861 6.2.5) when weft ends, and not when
// it is only replaced.
func TestGuestsAreToldOfTheEnd(t *testing.T) {
	t.Parallel()
	c, w := newCottage(t)
	wire := c.guest.Wire("eth0")
	farewell := func(f []byte) bool {
		const advertisement, lifetime = 134, 6
		l := frame.Parse(f)
		m := f[l.L4:]
		return l.Protocol == frame.ProtocolICMPv6 && l.L4 != 0 && len(m) > lifetime+1 &&
			m[0] == advertisement && m[lifetime] == 0 && m[lifetime+1] == 0
	}
	w.Leave()
	w.Start()
	if len(wire.Matching(farewell)) > 0 {
		t.Error("guests were told to give up their router at a restart")
	}
	w.Stop()
	wire.Awaits("the farewell", farewell)
}

// A connection through NAT goes on while its NIC becomes a bridged network's too, and
// while it is NAT's alone again: the host's stack sees none of its segments.
func TestNICBecomesBridgedUnderAConnection(t *testing.T) {
	t.Parallel()
	c, w := newCottage(t)
	bridged := strings.Replace(natted, "ports:", "  - {name: lan, mode: bridged, uplinks: [nic0]}\nports:", 1)
	for i := range 9 { // they take their time between the NIC and the end of the change
		bridged += fmt.Sprintf("  - {name: br%d, network: lan}\n", i)
	}
	for _, f := range lab.Families {
		listener := c.Server.Listen(net.JoinHostPort(f.Server, "9"))
		down := c.guest.MustDial("tcp", listener.Addr().String())
		up, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { // without a pause
			_, err := io.Copy(up, endless{})
			sent <- err
		}()
		go func() { _, _ = io.Copy(io.Discard, down) }()
		for range 3 {
			for _, document := range []string{bridged, natted} {
				w.Edit(document)
				w.MustWeft("apply")
				select {
				case err := <-sent:
					t.Fatalf("%s: the connection ended: %v", f.Name, err)
				default:
				}
			}
		}
		_ = up.Close()
		if err := <-sent; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the connection ended: %v", f.Name, err)
		}
		_ = down.Close()
	}
}

// endless is a stream of zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// What takes the gateway's addresses away does not keep them.
func TestGatewayAddressesComeBack(t *testing.T) {
	t.Parallel()
	c, w := newCottage(t)
	for _, harm := range []string{"ip link set wf-g-default down; ip link set wf-g-default up", "ip addr flush dev wf-g-default"} {
		c.hv.Run("%s", harm)
		c.guest.Run("ip neighbor flush all")
		for _, f := range lab.Families {
			c.Reaches(c.guest, f.Gateway)
			c.Reaches(c.guest, f.Server)
		}
	}
	w.PortIs("default:gateway", "up")
}
