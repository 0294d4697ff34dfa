package tap

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func gatewayConfig() HostConfig {
	return HostConfig{
		Name: "wf-gw", Port: "default", MAC: 0x0200_0000_0042, MTU: 1400, Offloads: true, Gateway: true,
		Addresses: prefixes("10.150.0.1/24", "10.150.1.1/24", "fd5a:150::1/64"),
	}
}

// allAddresses returns those of every scope, and complains of those that are not usable.
func allAddresses(t *testing.T, device string) []netip.Prefix {
	t.Helper()
	l, err := linkByName(device)
	must(t, err)
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	must(t, err)
	var found []netip.Prefix
	for _, a := range list {
		found = append(found, prefix(a.IPNet))
		if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			t.Errorf("%s is tentative", a.IPNet)
		}
	}
	return found
}

func setting(t *testing.T, path string) string {
	t.Helper()
	p, err := os.ReadFile(settings + path)
	must(t, err)
	return strings.TrimSpace(string(p))
}

func TestGateway(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		before := state(t)
		for path, value := range map[string]string{ // a host that routes, and trusts its routers
			"ipv4/ip_forward":                "1",
			"ipv6/conf/all/disable_ipv6":     "1", // of devices to come, too
			"ipv6/conf/default/accept_ra":    "2",
			"ipv6/conf/default/disable_ipv6": "1",
		} {
			must(t, writeSetting(path, value))
		}
		c := gatewayConfig()
		h, err := OpenHost(c)
		must(t, err)
		want := append(c.Addresses, GatewayLinkLocal)
		if got := allAddresses(t, c.Name); !sameSet(got, want) {
			t.Errorf("addresses %v, want %v", got, want)
		}
		for _, s := range gatewaySettings {
			path := s.family + "/conf/" + c.Name + "/" + s.name
			if got := setting(t, path); got != s.value {
				t.Errorf("%s = %s, want %s", path, got, s.value)
			}
		}
		l, err := linkByName(c.Name)
		must(t, err)
		if m := parseMark(l.Attrs().Alias); m.role != roleGateway || m.of != "default" || m.home == 0 {
			t.Errorf("alias %q", l.Attrs().Alias)
		}
		if _, err := AttachDevice(c.Name, 1400); !errors.Is(err, ErrBusy) {
			t.Errorf("AttachDevice to a gateway: %v, want ErrBusy", err)
		}

		// The secondary address of a subnet stays when the primary one goes.
		c.Addresses = prefixes("10.150.0.1/24", "10.150.0.2/24")
		must(t, h.Update(c))
		c.Addresses = prefixes("10.150.0.2/24")
		must(t, h.Update(c))
		if got := allAddresses(t, c.Name); !sameSet(got, append(c.Addresses, GatewayLinkLocal)) {
			t.Errorf("addresses %v after the update", got)
		}

		// The next process takes it over; an address that the document lacks goes.
		must(t, h.Release())
		again, err := OpenHost(gatewayConfig())
		must(t, err)
		if now, err := linkByName(c.Name); err != nil || now.Attrs().Index != l.Attrs().Index {
			t.Errorf("not taken over: %v", err)
		}
		if got := allAddresses(t, c.Name); !sameSet(got, want) {
			t.Errorf("addresses %v after the take-over, want %v", got, want)
		}
		must(t, again.Close())
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

// A guest whose default router says that it is none has no default route any more.
func TestGatewayIsARouterToGuests(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		h, err := OpenHost(gatewayConfig())
		must(t, err)
		defer h.Close()
		guest := newPlace(t)
		newVeth(t, "g0", guest, "eth0", "10.150.0.30/24", "fd5a:150::30/64")
		d, err := AttachDevice("g0", 1400)
		must(t, err)
		defer d.Close()
		var r relay
		stop := r.start(t, port{queue: h.Queues()[0]}, port{queue: d.Queues()[0]})
		defer stop()
		ping(t, &guest, 3, "10.150.0.1")
		ping(t, &guest, 3, "fd5a:150::1")
		ping(t, &guest, 3, "fe80::1%eth0")
		seen := 0
		neighbors, err := guest.NeighList(0, netlink.FAMILY_V6)
		must(t, err)
		for _, n := range neighbors {
			if n.HardwareAddr.String() != h.MAC().String() {
				continue
			}
			seen++
			if n.Flags&netlink.NTF_ROUTER == 0 {
				t.Errorf("%s is no router", n.IP)
			}
		}
		if seen < 2 {
			t.Errorf("%d neighbors at the gateway, want 2: %v", seen, neighbors)
		}
		if got := setting(t, "ipv6/conf/wf-gw/forwarding"); got != "0" {
			t.Errorf("forwarding = %s", got)
		}
	})
}

func gatewayChild() error {
	if os.Getenv("HOOK") == "tap.clsact" {
		hooks = func() []hook { return []hook{clsact{}} }
	}
	if _, err := OpenHost(gatewayConfig()); err != nil {
		return err
	}
	return ready()
}

func TestGatewaySwept(t *testing.T) {
	eachHook(t, func(t *testing.T) {
		name, there := namedPlace(t, "a")
		before := state(t)
		crash(startChild(t, "gateway", "HOOK="+hookName()))
		if _, err := Sweep(func(device string, as Use) bool { return device == "wf-gw" && as == MadeGateway }); err != nil {
			t.Error(err)
		}
		l, err := linkByName("wf-gw")
		must(t, err)
		for _, h := range hooks()[:1] {
			if id, err := h.find(l, egress, ownSeat); id == 0 || err != nil {
				t.Errorf("the program of a gateway that is kept: %d, %v", id, err)
			}
		}
		removed, err := Sweep(func(_ string, as Use) bool { return as != MadeGateway })
		must(t, err)
		if len(removed) != 1 || removed[0] != "wf-gw, TAP of gateway of default" {
			t.Errorf("removed %q", removed)
		}

		// Moved away by hand, it is neither taken over nor kept.
		crash(startChild(t, "gateway", "HOOK="+hookName()))
		l, err = linkByName("wf-gw")
		must(t, err)
		must(t, netlink.LinkSetNsFd(l, int(there.ns)))
		h, err := OpenHost(gatewayConfig())
		must(t, err)
		removed, err = Sweep(func(string, Use) bool { return true })
		must(t, err)
		if len(removed) != 1 || removed[0] != "wf-gw, TAP of gateway of default in namespace "+name {
			t.Errorf("removed %q", removed)
		}
		if l, _ := there.link("wf-gw"); l != nil {
			t.Error("the gateway that was moved is still there")
		}
		must(t, h.Close())
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	})
}

func TestGatewayRefused(t *testing.T) {
	isolate(t)
	before := state(t)
	c := gatewayConfig()
	c.NetNS = "wt-none"
	if _, err := OpenHost(c); err == nil || !strings.Contains(err.Error(), "gateway of default: it cannot be in namespace wt-none") {
		t.Errorf("in a namespace: %v", err)
	}
	h, err := OpenHost(hostConfig(""))
	must(t, err)
	defer h.Close()
	c = gatewayConfig()
	c.Name = hostConfig("").Name
	if _, err := OpenHost(c); !errors.Is(err, ErrForeign) {
		t.Errorf("a host port of that name: %v, want ErrForeign", err)
	}
	changed := hostConfig("")
	changed.Gateway = true
	if h.Update(changed) == nil {
		t.Error("Update made a gateway of a host port")
	}
	must(t, h.Close())
	runChild(t, "no settings", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
	if after := state(t); after != before {
		t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
	}
}

// gatewayReadOnlyChild has a /proc/sys that it may not write.
func gatewayReadOnlyChild() error {
	if err := sysReadOnly(); err != nil {
		return err
	}
	_, err := OpenHost(gatewayConfig())
	return expect(err, unix.EROFS, "gateway of default", "net.ipv4.conf.wf-gw.", "ProtectKernelTunables=no")
}
