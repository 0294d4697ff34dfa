package daemon

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/config"
	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
	"weft/route/rtnl"
)

const explained = `
networks:
  - {name: default, forwards: [{proto: tcp, port: 2222, to: "192.168.150.10:22"}]}
  - {name: dmz, mode: routed, subnets: [10.20.0.1/24]}
  - {name: lan, mode: bridged, uplinks: [eth1]}
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, type: device, device: veth1, mac: "52:54:00:00:00:01"}
  - {name: vm2, type: device, device: veth2}
  - {name: srv, network: dmz, type: device, device: veth3, mac: "52:54:00:00:00:03"}
  - {name: ct1, network: lan, type: device, device: veth4, mac: "52:54:00:00:00:04"}
  - {name: a, network: lab, type: device, device: veth5, mac: "52:54:00:00:00:05"}
  - {name: b, network: lab, type: device, device: veth6, mac: "52:54:00:00:00:06"}
  - {name: c, network: lab, type: device, device: veth7}
`

// explain returns the steps, a line each, with a flow cache that knows the entries and
// refusals of memory.
func explain(t *testing.T, d *Daemon, memory api.Fastpath, port string, f api.Flow) string {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	steps, err := d.explainLocked(api.Explain{Port: port, Flow: f}, func(_ api.FastpathQuery, wanted func(api.FastpathEntry) bool) api.Fastpath {
		m := memory
		m.Entries = slices.DeleteFunc(slices.Clone(m.Entries), func(e api.FastpathEntry) bool { return wanted != nil && !wanted(e) })
		return m
	})
	if err != nil {
		t.Fatalf("%s: %v", port, err)
	}
	var text strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&text, "%s: %s\n", s.Stage, s.Says)
	}
	return text.String()
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/NAME.want.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name + ".want"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./internal/daemon -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func flow(protocol, from, to string) api.Flow {
	return api.Flow{Protocol: protocol, From: netip.MustParseAddrPort(from), To: netip.MustParseAddrPort(to)}
}

// through returns the flow, between stations.
func through(f api.Flow, src, dst frame.MAC) api.Flow {
	f.Src, f.Dst = src, dst
	return f
}

// explaining returns a daemon with neighbors, a station at each port and a session.
func explaining(t *testing.T) (*Daemon, *memKernel) {
	k := newMemKernel(t, "eth0", "eth1", "veth1", "veth2", "veth3", "veth4", "veth5", "veth6", "veth7")
	k.set("veth7", false)
	d := start(t, k, explained)
	d.hostChanged(home("eth0", 1, "192.0.2.2/24"))
	d.neighborChanged(rtnl.Neighbor{Link: 1, Address: netip.MustParseAddr("192.0.2.1"), MAC: 0x0200_0000_00fe})
	d.sw.Learn(d.uplinkLocked("eth0").wire, 0x0200_0000_00fe)
	l := d.layer3
	for a, mac := range map[string]frame.MAC{"192.168.150.10": 0x525400000001, "192.168.150.11": 0x525400000002} {
		l.router.SetNeighbor(d.networks["default"].gateway.id, netip.MustParseAddr(a), mac)
	}
	d.sw.Learn(d.ports["vm2"].id, 0x525400000002)
	b := frame.NewBufs(1)[0]
	b.CopyFrom(frameOf(through(flow("udp", "192.168.150.10:4000", "198.51.100.1:53"), 1, 2)))
	b.In = d.ports["vm1"].id
	b.Parse()
	if r := l.table.Outbound(d.sw.Now(), b, l.realm("default"), l.nicPool("eth0")); r != 0 {
		t.Fatal(r)
	}
	return d, k
}

func TestExplain(t *testing.T) {
	d, k := explaining(t)
	gateway, host, routed := k.open["wf-g-default"].mac, k.open["eth0"].mac, k.open["wf-g-dmz"].mac
	bare, text := api.Flow{}, strings.Builder{}
	for _, c := range []struct {
		name, port string
		flow       api.Flow
	}{
		{"between stations", "a", through(bare, 0, 0x525400000006)},
		{"to a station that is not known", "a", through(bare, 0x525400000099, 0x525400000098)},
		{"back to where it came from", "vm2", through(bare, 0x525400000099, 0x525400000002)},
		{"a static station's address", "b", through(bare, 0x525400000005, 0x525400000006)},
		{"a station that moves", "vm1", through(bare, 0x525400000002, 0x525400000001)},
		{"reserved", "a", through(bare, 0, 0x0180c2000000)},
		{"by a port that is down", "c", through(bare, 0x525400000007, 0x525400000006)},
		{"to guests of one network", "vm1", flow("tcp", "192.168.150.10:4000", "192.168.150.11:22")},
		{"a question", "vm1", flow("arp", "192.168.150.10:0", "192.168.150.11:0")},
		{"a claim to be the gateway", "vm1", flow("arp", "192.168.150.1:0", "192.168.150.11:0")},
		{"a DHCP client", "vm1", flow("udp", "0.0.0.0:68", "255.255.255.255:67")},
		{"a DHCP server", "vm1", flow("udp", "192.168.150.10:67", "192.168.150.11:68")},
		{"to the gateway itself", "vm1", flow("udp", "192.168.150.10:4000", "192.168.150.1:53")},
		{"of a session", "vm1", flow("udp", "192.168.150.10:4000", "198.51.100.1:53")},
		{"of a new session by a port that is mapped", "vm1", flow("udp", "192.168.150.10:4000", "198.51.100.2:53")},
		{"of a new session", "vm1", flow("tcp", "192.168.150.10:4000", "198.51.100.1:443")},
		{"an echo request", "vm1", flow("icmp", "192.168.150.10:7", "198.51.100.1:0")},
		{"by a foreign address", "vm1", flow("tcp", "10.9.9.9:4000", "198.51.100.1:443")},
		{"where no route leads", "vm1", flow("tcp", "[fd5a:150::10]:4000", "[2001:db8::1]:443")},
		{"to a network that is not to be reached", "vm1", flow("tcp", "192.168.150.10:4000", "10.20.0.5:80")},
		{"to a forward, from inside", "vm2", flow("tcp", "192.168.150.11:4000", "192.0.2.2:2222")},
		{"to a neighbor that is not known", "srv", flow("tcp", "10.20.0.3:4000", "192.0.2.99:80")},
		{"tagged, to the gateway", "vm1", api.Flow{Dst: gateway, VLAN: 5}},
		{"an answer", "eth0:wire", flow("udp", "198.51.100.1:53", "192.0.2.2:4000")},
		{"a stranger to a mapped port", "eth0:wire", flow("udp", "198.51.100.9:53", "192.0.2.2:4000")},
		{"a forward", "eth0:wire", flow("tcp", "198.51.100.9:40000", "192.0.2.2:2222")},
		{"to the host", "eth0:wire", flow("tcp", "198.51.100.9:40000", "192.0.2.2:22")},
		{"an echo request to the host", "eth0:wire", flow("icmp", "198.51.100.9:1", "192.0.2.2:0")},
		{"to a routed network", "eth0:wire", through(flow("tcp", "198.51.100.9:40000", "10.20.0.3:80"), 0, host)},
		{"between others on the wire", "eth0:wire", through(bare, 0x020000000001, 0x020000000002)},
		{"tagged, to the host", "eth0:wire", api.Flow{Dst: host, VLAN: 5}},
		{"to a guest on the wire", "eth1:wire", through(bare, 0x020000000001, 0x525400000004)},
		{"a group on the wire", "eth1:wire", through(bare, 0x020000000001, frame.Broadcast)},
		{"to outside, on the wire", "eth1:wire", through(bare, 0x020000000001, 0x020000000002)},
		{"the host to a guest", "eth1:host", through(bare, 0, 0x525400000004)},
		{"the host to outside", "eth1:host", through(bare, 0, 0x020000000002)},
		{"the host to a guest behind NAT", "default:gateway", flow("tcp", "192.168.150.1:4000", "192.168.150.10:22")},
		{"tagged, to the routed gateway", "srv", through(flow("tcp", "10.20.0.3:4000", "10.20.0.1:80"), 0, routed)},
	} {
		fmt.Fprintf(&text, "== %s, %s\n%s", c.name, c.port, explain(t, d, api.Fastpath{Enabled: true}, c.port, c.flow))
	}
	golden(t, "explain", text.String())
}

// The flow cache sees the frame before all others, and has the last word.
func TestExplainAsksTheFlowCache(t *testing.T) {
	d, _ := explaining(t)
	if _, err := d.Mirror("vm2", nil, func() {}); err != nil {
		t.Fatal(err)
	}
	d.ports["b"].cfg.Fastpath = config.FastpathOff
	outward, between := flow("udp", "192.168.150.10:4000", "198.51.100.1:53"), api.Flow{Src: 0x525400000005, Dst: 0x525400000009}
	d.sw.Learn(d.ports["a"].id, 0x525400000099)
	known := through(outward, 0x525400000001, d.networks["default"].gateway.att.MAC())
	memory := api.Fastpath{
		Enabled: true,
		Entries: []api.FastpathEntry{
			{In: "eth0:wire", Out: "vm1", Kind: "flow", Flow: known},
			{In: "vm1", Out: "eth0:wire", Kind: "flow", Flow: known, State: "stale"},
			{In: "vm1", Out: "eth0:wire", Kind: "flow", Flow: known, State: "direct", Frames: 7, Idle: 2.2},
			{In: "b", Out: "a", Kind: "station", Flow: api.Flow{Src: 6, Dst: 5}, State: "queued", Frames: 1},
		},
		Refusals: []api.FastpathRefusal{{Port: "vm1", Flow: through(flow("icmp", "192.168.150.10:7", "198.51.100.1:7"), known.Src, known.Dst), Reason: "full", Ago: 3}},
	}
	for _, c := range []struct {
		memory api.Fastpath
		port   string
		flow   api.Flow
		want   string
	}{
		{memory, "vm1", outward, "known by its flow, direct to eth0:wire: frames so far 7, the last 2s ago"},
		{memory, "vm1", flow("udp", "192.168.150.10:4000", "198.51.100.2:53"), "will know it by its flow from the next frame on"},
		{memory, "vm1", flow("icmp", "192.168.150.10:7", "198.51.100.1:7"), "will know it by its flow from the next frame on; it was refused 3s ago, full"},
		{memory, "vm1", flow("tcp", "192.168.150.10:4000", "198.51.100.2:53"), "leaves it to weft: its connection is not established"},
		{memory, "vm1", api.Flow{Dst: 0x525400000002}, "leaves it to weft: somebody captures at vm2"},
		{memory, "b", through(flow("tcp", "10.0.0.1:4", "10.0.0.2:5"), 6, 5), "known by its two stations, queued to a: frames so far 1, the last 0s ago"},
		{memory, "b", api.Flow{Dst: 0x525400000005}, "leaves it to weft: it is off at b"},
		{memory, "a", between, "leaves it to weft: it goes to all ports"},
		{memory, "a", api.Flow{Dst: frame.Broadcast}, "leaves ARP, and what is for a group, to weft"},
		{memory, "ct1", api.Flow{Dst: 0x525400000044}, "will know it by its two stations from the next frame on"},
		{api.Fastpath{Detail: "the kernel is old"}, "vm1", outward, "off, the kernel is old"},
	} {
		d.sw.Learn(d.uplinkLocked("eth1").wire, 0x525400000044)
		got := explain(t, d, c.memory, c.port, c.flow)
		if want := "\nflow-cache: " + c.want + "\n"; !strings.HasSuffix(got, want) {
			t.Errorf("%s, %s: explained as\n%s, want%s", c.port, flowText(c.flow), got, want)
		}
	}
}

func TestExplainRefuses(t *testing.T) {
	d, _ := explaining(t)
	some := flow("udp", "192.168.150.10:1", "192.168.150.99:2")
	for text, e := range map[string]api.Explain{
		"port none: not found":             {Port: "none"},
		`protocol "sctp" (want tcp`:        {Port: "vm1", Flow: api.Flow{Protocol: "sctp"}},
		"want two addresses of one family": {Port: "vm1", Flow: flow("tcp", "192.168.150.10:1", "[fd00::1]:2")},
		"arp is for IPv4":                  {Port: "vm1", Flow: flow("arp", "[fd00::2]:0", "[fd00::1]:0")},
		"addresses without a protocol":     {Port: "vm1", Flow: api.Flow{From: some.From}},
		"vlan 4095 (want 1 to 4094)":       {Port: "vm1", Flow: api.Flow{VLAN: 4095}},
		"ff:ff:ff:ff:ff:ff sends no":       {Port: "vm1", Flow: api.Flow{Src: frame.Broadcast}},
		"who sends it is not known at c":   {Port: "c", Flow: api.Flow{Dst: 1}},
		"who gets it is not known at vm1":  {Port: "vm1", Flow: some},
		"who gets it is not known at a ":   {Port: "a", Flow: some},
		"who gets it is not known at b ":   {Port: "b"},
	} {
		_, err := d.Explain(e)
		if err == nil || !strings.Contains(err.Error(), text) || !errors.Is(err, control.ErrInvalid) && !errors.Is(err, control.ErrNotFound) {
			t.Errorf("%+v: %v, want %s", e, err, text)
		}
	}
}
