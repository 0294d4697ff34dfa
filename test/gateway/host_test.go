package gateway

import (
	"regexp"
	"strings"
	"testing"

	"weft/test/lab"
)

// reserved is the setting that keeps the host from using NAT's ports by itself.
const reserved = "net.ipv4.ip_local_reserved_ports"

// programs matches what tc and the kernel say of programs at a device.
var programs = regexp.MustCompile(`(clsact|bpf|tcx|programs|promiscuity)`)

// The host is as it was: no forwarding, no firewall, no route, no setting, but for weft's
// own devices and the ports it reserves; those too are as they were in the end.
func TestHostIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.hv.Run("sysctl -qw %s=5000-5009,50000", reserved)
	s.plug("ct1")
	before := s.hv.Snapshot()
	w := s.weftd(`
networks:
  - {name: default, forwards: [{proto: tcp, port: 2222, to: "192.168.150.10:22"}]}
  - {name: dmz, mode: routed, proxy: true, subnets: [10.20.0.1/24, "fd10:20::1/64"], dhcp: {}}
ports:
  - {name: ct1, type: device}
`)
	w.Up("ct1", "nic0:wire")
	running := s.hv.Snapshot()
	for line := range strings.Lines(lab.Difference(before, running)) {
		// Programs at the devices that weft works at are seen in tc's lists only.
		if !strings.Contains(line, "wf-") && !strings.Contains(line, reserved) && !programs.MatchString(line) {
			t.Errorf("while it runs: %s", line)
		}
	}
	if ports := s.hv.Run("sysctl -n %s", reserved); strings.TrimSpace(ports) != "5000-5009,49152-65535" {
		t.Errorf("reserved ports: %s, want those of others too", ports)
	}
	w.Stop()
	if after := s.hv.Snapshot(); after != before {
		t.Errorf("after the end:\n%s", lab.Difference(before, after))
	}

	t.Log("after a crash, the next start and its end")
	w.Start()
	w.Kill()
	w.Start()
	w.Stop()
	if after := s.hv.Snapshot(); after != before {
		t.Errorf("after a crash and an end:\n%s", lab.Difference(before, after))
	}

	t.Log("after a crash and --cleanup")
	w.Start()
	w.Kill()
	w.Cleanup()
	if after := s.hv.Snapshot(); after != before {
		t.Errorf("after --cleanup:\n%s", lab.Difference(before, after))
	}
}

// The host's own traffic on the NIC that it shares: connections live on, its servers are
// reached, and a port that the host and a guest both use is each one's own.
func TestHostTrafficIsItsOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Server.Serve()
	s.hv.Serve()
	kept := map[string]func() error{}
	for _, f := range lab.Families {
		c := s.hv.MustDial("tcp", at(f.Server, 7001))
		kept[f.Name] = func() error { _, err := lab.Exchange(c, "?"); return err }
	}
	w := s.weftd(oneGuest)
	a := s.container("ct1")
	resets := s.hv.Run("nstat -as TcpEstabResets TcpOutRsts")
	for _, f := range lab.Families {
		t.Logf("%s: transfers of both at once", f.Name)
		s.Together(
			func() { s.Transfers(s.hv, f.Server, 32<<20) },
			func() { s.Transfers(a, f.Server, 32<<20) },
			func() { s.Transfers(s.Server, f.Host, 32<<20) },
		)
		const port = 50000 // of those that weft reserves: the guest keeps it
		guest, err := a.DialFrom("tcp", at(a.addr[f.Version], port), at(f.Server, 7001))
		if err != nil {
			t.Fatal(err)
		}
		if seen, err := lab.Exchange(guest, "?"); err != nil || seen != at(f.Host, port)+"\n" {
			t.Errorf("%s: the guest's port %d is %q outside (%v)", f.Name, port, seen, err)
		}
		t.Logf("%s: the host listens on a port that is a guest's outside", f.Name)
		l := s.hv.Listen(at(f.Host, port))
		s.connects(s.Server, at(f.Host, port), l, f.Server)
		if _, err := lab.Exchange(guest, "?"); err != nil {
			t.Errorf("%s: the guest's connection: %v", f.Name, err)
		}
		t.Logf("%s: the host has a port first", f.Name)
		own, err := s.hv.DialFrom("tcp", at(f.Host, 40001), at(f.Server, 7001))
		if err != nil {
			t.Fatal(err)
		}
		seen, err := s.TriesAsking(a, "tcp", at(f.Server, 7001), "-from", at(a.addr[f.Version], 40001))
		if err != nil || seen.Port() == 40001 {
			t.Errorf("%s: the guest with the host's port is %v outside (%v), want another port", f.Name, seen, err)
		}
		if _, err := lab.Exchange(own, "?"); err != nil {
			t.Errorf("%s: the host's own connection: %v", f.Name, err)
		}
		if err := kept[f.Name](); err != nil {
			t.Errorf("%s: the host's connection from before weft: %v", f.Name, err)
		}
	}
	if got := s.hv.Run("nstat -as TcpEstabResets TcpOutRsts"); got != resets {
		t.Errorf("resets of the host's TCP:\n%swere\n%s", got, resets)
	}
	w.Stop()
	for _, f := range lab.Families {
		if err := kept[f.Name](); err != nil {
			t.Errorf("%s: the host's connection after weft: %v", f.Name, err)
		}
	}
}
