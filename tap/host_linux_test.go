package tap

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"weft/frame"
)

func prefixes(list ...string) []netip.Prefix {
	p := make([]netip.Prefix, len(list))
	for i, s := range list {
		p[i] = netip.MustParsePrefix(s)
	}
	return p
}

func hostConfig(namespace string) HostConfig {
	return HostConfig{
		Name: "mgmt0", Port: "mgmt", MAC: 0x0200_0000_0042, NetNS: namespace, MTU: 1400, Offloads: true,
		Addresses: prefixes("172.16.9.1/24", "fd16:9::1/64"),
	}
}

// addresses returns the global addresses of the device.
func addresses(t *testing.T, p place, device string) []netip.Prefix {
	t.Helper()
	l, err := p.LinkByName(device)
	must(t, err)
	list, err := p.AddrList(l, netlink.FAMILY_ALL)
	must(t, err)
	var found []netip.Prefix
	for _, a := range list {
		if q := prefix(a.IPNet); !q.Addr().IsLinkLocalUnicast() {
			found = append(found, q)
		}
	}
	return found
}

func TestHostPorts(t *testing.T) {
	isolate(t)
	name, there := namedPlace(t, "a")
	for _, offloads := range []bool{true, false} {
		_, other := namedPlace(t, map[bool]string{true: "on", false: "off"}[offloads])
		before := state(t)
		c := hostConfig(name)
		c.Offloads = offloads
		h, err := OpenHost(c)
		must(t, err)
		if (h.Features() != 0) != offloads {
			t.Errorf("offloads %v: Features = %b", offloads, h.Features())
		}
		newVeth(t, "g0", other, "eth0", "172.16.9.2/24", "fd16:9::2/64")
		d, err := AttachDevice("g0", 1400)
		must(t, err)
		var r relay
		ports := []port{{queue: h.Queues()[0]}, {queue: d.Queues()[0]}}
		if offloads {
			stop := r.start(t, ports...)
			ping(t, &there, 3, "172.16.9.2")
			transfer(t, there, other, "172.16.9.2")
			transfer(t, other, there, "172.16.9.1")
			if r.superframes.Load() == 0 {
				t.Error("no superframe came to the switch")
			}
			stop()
		} else {
			plain(t, h, there)
		}
		must(t, errors.Join(h.Close(), h.Close(), d.Close()))
		l, err := linkByName("g0")
		must(t, err)
		must(t, netlink.LinkDel(l))
		if l, err := there.link("mgmt0"); l != nil || err != nil {
			t.Errorf("after Close mgmt0 is still there: %v", err)
		}
		if after := state(t); after != before {
			t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
		}
	}
}

// plain checks that the host's frames come without any work left to do.
func plain(t *testing.T, h *Host, there place) {
	t.Helper()
	bufs := frame.NewBufs(64)
	must(t, there.do(func() error { return emit("mgmt0", everyone, hostMAC, 3) }))
	got := 0
	eventually(t, "plain frames", func() bool {
		n, err := h.Queues()[0].Recv(bufs)
		must(t, err)
		for _, b := range bufs[:n] {
			if b.Offload != (frame.Offload{}) {
				t.Errorf("offload %+v", b.Offload)
			}
			if b.Len() >= 60 && b.Bytes()[12] == testType>>8 {
				got++
			}
		}
		return got == 3
	})
	ear := listen(t, &there, "mgmt0")
	bufs[0].SetBytes(testFrame(everyone, guestMAC, 60))
	if n, err := h.Queues()[0].Send(bufs[:1]); n != 1 || err != nil {
		t.Errorf("Send = %d, %v", n, err)
	}
	eventually(t, "plain frame at the host", func() bool { return ear.count(t) == 1 })
}

func TestHostUpdatesInPlace(t *testing.T) {
	isolate(t)
	name, there := namedPlace(t, "a")
	c := hostConfig(name)
	h, err := OpenHost(c)
	must(t, err)
	defer h.Close()
	l, err := there.LinkByName("mgmt0")
	must(t, err)
	if h.MAC() != c.MAC || l.Attrs().HardwareAddr.String() != c.MAC.String() {
		t.Errorf("MAC = %s, device has %s, want %s", h.MAC(), l.Attrs().HardwareAddr, c.MAC)
	}
	if out := run(t, &there, "ip", "link", "show", "dev", "mgmt0"); !strings.Contains(out, "qdisc noqueue") || !strings.Contains(out, "qlen 2000") {
		t.Errorf("queues of the host port:\n%s", out)
	}
	addAddresses(t, there.Handle, l, "192.0.2.1/24") // the operator's own
	c.Addresses, c.MTU = prefixes("172.16.9.7/24", "fd16:9::1/64"), 1500
	must(t, h.Update(c))
	want := prefixes("192.0.2.1/24", "172.16.9.7/24", "fd16:9::1/64")
	if got := addresses(t, there, "mgmt0"); !sameSet(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	if now, err := there.LinkByName("mgmt0"); err != nil || now.Attrs().MTU != 1500 || now.Attrs().Index != l.Attrs().Index {
		t.Errorf("MTU not changed in place: %v", err)
	}
	c.MAC++
	if h.Update(c) == nil {
		t.Error("Update took another MAC")
	}
}

func sameSet(a, b []netip.Prefix) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Prefix.Compare)
	slices.SortFunc(b, netip.Prefix.Compare)
	return slices.Equal(a, b)
}

func hostChild() error {
	if _, err := OpenHost(hostConfig(os.Getenv("NETNS"))); err != nil {
		return err
	}
	return ready()
}

func TestHostTakenOverWhereverItIs(t *testing.T) {
	isolate(t)
	a, atA := namedPlace(t, "a")
	b, atB := namedPlace(t, "b")
	for _, test := range []struct {
		name          string
		before, after string // NetNS of the configuration
		moved         *place // by the operator, in between
		found         place
	}{
		{"where it was made", a, a, nil, atA},
		{"moved by the operator", "", "", &atB, atB},
		{"configured elsewhere", a, b, nil, atB},
	} {
		t.Run(test.name, func(t *testing.T) {
			child := startChild(t, "host", "NETNS="+test.before)
			if test.moved != nil {
				l, err := linkByName("mgmt0")
				must(t, err)
				must(t, netlink.LinkSetNsFd(l, int(test.moved.ns)))
			}
			crash(child)
			renamed := hostConfig(test.after)
			renamed.Port = "admin"
			h, err := OpenHost(renamed)
			must(t, err)
			l, err := test.found.LinkByName("mgmt0")
			must(t, err)
			if m := parseMark(l.Attrs().Alias); m.role != roleHost || m.of != "admin" {
				t.Errorf("alias %q", l.Attrs().Alias)
			}
			if got := addresses(t, test.found, "mgmt0"); !sameSet(got, hostConfig("").Addresses) {
				t.Errorf("addresses %v", got)
			}
			must(t, h.Close())
			if l, _ := test.found.link("mgmt0"); l != nil {
				t.Error("not removed")
			}
		})
	}
}

func TestHostsOfOneNameInSeveralNamespaces(t *testing.T) {
	isolate(t)
	newVeth(t, "eth0", newPlace(t), "peer") // the daemon's namespace has one, too
	before := state(t)
	open := func(port, namespace string) *Host {
		c := hostConfig(namespace)
		c.Name, c.Port = "eth0", port
		h, err := OpenHost(c)
		must(t, err)
		return h
	}
	a, atA := namedPlace(t, "a")
	b, atB := namedPlace(t, "b")
	held := openNamespaces(t)
	for range 2 { // the second time they are taken over
		ha, hb := open("a", a), open("b", b)
		for want, p := range map[string]place{"a": atA, "b": atB} {
			l, err := p.link("eth0")
			if err != nil || l == nil || parseMark(l.Attrs().Alias).of != want {
				t.Fatalf("namespace %s: eth0 is %v, %v", want, l, err)
			}
		}
		must(t, errors.Join(ha.Release(), hb.Release()))
	}
	must(t, errors.Join(open("a", a).Close(), open("b", b).Close()))

	// The old one goes when the new one is there.
	home := hostConfig("")
	h, err := OpenHost(home)
	must(t, err)
	away, err := OpenHost(hostConfig(a))
	must(t, err)
	back, err := OpenHost(hostConfig(b))
	must(t, err)
	must(t, errors.Join(h.Close(), away.Close(), back.Close()))
	// One that stays open would keep a deleted namespace alive, port and all.
	if n := openNamespaces(t); n != held {
		t.Errorf("%d namespaces are held open (want %d)", n, held)
	}
	if after := state(t); after != before {
		t.Errorf("left behind:\n%s\nwas:\n%s", after, before)
	}
}

func TestHostWhoseNamespaceWasMadeAnew(t *testing.T) {
	isolate(t)
	name, _ := namedPlace(t, "a")
	other, atOther := namedPlace(t, "b")
	crash(startChild(t, "host", "NETNS="+name))
	h, err := OpenHost(hostConfig(name)) // taken over: it holds the namespace
	must(t, err)
	if h.Superseded() {
		t.Error("superseded while nothing happened")
	}
	run(t, nil, "ip", "netns", "delete", name)
	if h.Superseded() {
		t.Error("superseded by nothing")
	}
	run(t, nil, "ip", "netns", "add", name)
	if !h.Superseded() {
		t.Error("not superseded by a namespace of the same name")
	}
	at, l, err := h.where()
	must(t, err)
	defer at.close()
	must(t, at.LinkSetNsFd(l, int(atOther.ns)))
	if h.Superseded() {
		t.Errorf("superseded although it was moved to %s", other)
	}
	must(t, h.Close())
}

// openNamespaces counts the descriptors of network namespaces.
func openNamespaces(t *testing.T) int {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	n := 0
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "net:[") {
			n++
		}
	}
	return n
}

func TestHostRefused(t *testing.T) {
	isolate(t)
	run(t, nil, "ip", "tuntap", "add", "mgmt0", "mode", "tap")
	if _, err := OpenHost(hostConfig("")); !errors.Is(err, ErrForeign) {
		t.Errorf("foreign TAP: %v, want ErrForeign", err)
	}
	c := hostConfig("wt-none")
	c.Name = "mgmt1"
	if _, err := OpenHost(c); err == nil || !strings.Contains(err.Error(), "ip netns add wt-none") {
		t.Errorf("missing namespace: %v", err)
	}
	if _, err := linkByName("mgmt1"); !errors.Is(err, ErrNoDevice) {
		t.Errorf("the failure left mgmt1: %v", err)
	}
}

func TestHostVanishes(t *testing.T) {
	isolate(t)
	h, err := OpenHost(hostConfig(""))
	must(t, err)
	l, err := linkByName("mgmt0")
	must(t, err)
	must(t, netlink.LinkDel(l))
	b := frame.NewBufs(1)
	if _, err := h.Queues()[0].Recv(b); !errors.Is(err, ErrNoDevice) {
		t.Errorf("Recv: %v, want ErrNoDevice", err)
	}
	b[0].SetBytes(testFrame(hostMAC, guestMAC, 60))
	if _, err := h.Queues()[0].Send(b); !errors.Is(err, ErrNoDevice) {
		t.Errorf("Send: %v, want ErrNoDevice", err)
	}
	must(t, h.Close())
}
