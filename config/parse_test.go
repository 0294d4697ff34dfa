package config_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weft/config"
)

var update = flag.Bool("update", false, "write the golden files anew")

var byValue = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}, netip.AddrPort{}), cmpopts.EquateEmpty()}

// golden compares got with the file at path, or writes it there.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with go test ./config -update, and read it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// faults returns err's faults, which must be of that type.
func faults(t *testing.T, err error) config.Faults {
	t.Helper()
	var f config.Faults
	if !errors.As(err, &f) {
		t.Fatalf("error %v is of type %T, want config.Faults", err, err)
	}
	return f
}

func mustParse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatalf("parse:\n%v\nof:\n%s", err, text)
	}
	return c
}

func TestParseReportsEveryFaultAtOnce(t *testing.T) {
	for _, file := range glob(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, err := config.Parse(data)
			if err == nil {
				t.Fatalf("no fault found, config %+v", c)
			}
			lines := faults(t, err).In(filepath.Base(file))
			golden(t, strings.TrimSuffix(file, ".yaml")+".want", strings.Join(lines, "\n")+"\n")
		})
	}
}

func TestParseFillsInDefaults(t *testing.T) {
	got := mustParse(t, `
networks:
  - {name: lab, mode: isolated}
  - {name: lan, mode: bridged, uplink: eth0}
ports:
  - {name: vm1, network: lab}
  - {name: ct1, network: lan, type: device, device: veth0, mac: 52:54:00:00:00:01, stations: ~}
  - {name: h, network: lab, type: host, addresses: [172.16.9.1/24, "fd00::1/64"], offloads: false}
`)
	want := &config.Config{
		Switch: config.Switch{Stations: 65536, Sessions: 262144, Fastpath: "on"},
		Networks: []config.Network{
			{Name: "lab", Mode: "isolated", MTU: 1500, Ageing: config.Duration(300 * time.Second)},
			{Name: "lan", Mode: "bridged", Uplinks: []string{"eth0"}, MTU: 1500, Ageing: config.Duration(300 * time.Second)},
		},
		Ports: []config.Port{
			{Name: "vm1", Network: "lab", Type: "tap", Device: "vm1", Queues: 1, Offloads: new(true), Fastpath: "on"},
			{Name: "ct1", Network: "lan", Type: "device", Device: "veth0", Queues: 1, MAC: 0x525400000001, Offloads: new(true), Fastpath: "on"},
			{
				Name: "h", Network: "lab", Type: "host", Device: "h", Queues: 1, Offloads: new(false), Fastpath: "on",
				Addresses: []netip.Prefix{netip.MustParsePrefix("172.16.9.1/24"), netip.MustParsePrefix("fd00::1/64")},
			},
		},
	}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Error(diff)
	}
}

func TestParseFillsInGateways(t *testing.T) {
	got := mustParse(t, `
networks:
  - name: default
  - {name: dmz, mode: routed, subnets: [10.20.0.1/28, "2001:db8::1/64"], uplink: eth0, dhcp: {}}
  - {name: bare, mode: routed, subnets: [10.21.0.1/24]}
  - name: own
    subnets: [10.22.0.1/16]
    uplinks: [eth0]
    dhcp: {lease: 2m, quota: 0, reservations: [{mac: 52:54:00:00:00:01, address: 10.22.0.10, name: web}]}
    dns: {enabled: false, servers: [9.9.9.9]}
    nat: {addresses: [203.0.113.7], filtering: endpoint-independent, udp: 2m}
    forwards: [{proto: tcp, port: 2222, to: 10.22.0.10:22}, {proto: udp, port: 8000-8010, to: "10.22.0.10:8000", address: 203.0.113.7}]
    routes: [{to: 10.7.0.0/16, via: 10.22.0.5}]
    reach: [dmz]
  - {name: third, subnets: [10.23.0.1/24], nat: {ports: 50000-60000}}
ports:
  - {name: vm1}
`)
	network := func(name string, m config.Mode, r string) config.Network {
		n := config.Network{
			Name: name, Mode: m, Uplinks: []string{"auto"}, MTU: 1500, Ageing: config.Duration(300 * time.Second),
			DHCP: config.DHCP{Enabled: true, Lease: config.Duration(time.Hour), Quota: 8},
			DNS:  config.DNS{Enabled: true, Domain: "vm.internal"},
		}
		from, to, _ := strings.Cut(r, "-")
		n.DHCP.Range = config.AddressRange{First: netip.MustParseAddr(from), Last: netip.MustParseAddr(to)}
		if m == config.ModeNAT {
			n.NAT = config.NAT{
				Filtering: "address-and-port", Ports: config.PortRange{First: 50000, Last: 60000}, // as the third has it
				UDP: config.Duration(5 * time.Minute), TCPEstablished: config.Duration(124 * time.Minute),
				TCPTransitory: config.Duration(4 * time.Minute), TCPClosing: config.Duration(4 * time.Minute),
				ICMP: config.Duration(time.Minute),
			}
		}
		return n
	}
	subnets := func(texts ...string) (list []netip.Prefix) {
		for _, s := range texts {
			list = append(list, netip.MustParsePrefix(s))
		}
		return list
	}
	first := network("default", "nat", "192.168.150.100-192.168.150.250")
	first.Subnets = subnets("192.168.150.1/24", "fd5a:150::1/64")
	dmz := network("dmz", "routed", "10.20.0.2-10.20.0.14")
	dmz.Subnets, dmz.Uplinks = subnets("10.20.0.1/28", "2001:db8::1/64"), []string{"eth0"}
	bare := network("bare", "routed", "10.21.0.100-10.21.0.250")
	bare.Subnets, bare.DHCP.Enabled, bare.DNS.Enabled = subnets("10.21.0.1/24"), false, false
	own := network("own", "nat", "10.22.0.100-10.22.255.250")
	own.Subnets, own.Uplinks = subnets("10.22.0.1/16"), []string{"eth0"}
	own.DHCP.Lease, own.DHCP.Quota = config.Duration(2*time.Minute), 0
	own.DHCP.Reservations = []config.Reservation{{MAC: 0x525400000001, Address: netip.MustParseAddr("10.22.0.10"), Name: "web"}}
	own.DNS.Enabled, own.DNS.Servers = false, []netip.Addr{netip.MustParseAddr("9.9.9.9")}
	own.NAT.Addresses, own.NAT.Filtering = []netip.Addr{netip.MustParseAddr("203.0.113.7")}, "endpoint-independent"
	own.NAT.UDP, own.NAT.Ports = config.Duration(2*time.Minute), config.PortRange{First: 1024, Last: 65535}
	own.Forwards = []config.Forward{
		{Proto: "tcp", Port: config.PortRange{First: 2222, Last: 2222}, To: netip.MustParseAddrPort("10.22.0.10:22")},
		{Proto: "udp", Port: config.PortRange{First: 8000, Last: 8010}, To: netip.MustParseAddrPort("10.22.0.10:8000"), Address: netip.MustParseAddr("203.0.113.7")},
	}
	own.Routes = []config.Route{{To: netip.MustParsePrefix("10.7.0.0/16"), Via: netip.MustParseAddr("10.22.0.5")}}
	own.Reach = []string{"dmz"}
	third := network("third", "nat", "10.23.0.100-10.23.0.250")
	third.Subnets = subnets("10.23.0.1/24")
	if diff := cmp.Diff([]config.Network{first, dmz, bare, own, third}, got.Networks, byValue); diff != "" {
		t.Error(diff)
	}
	if got.Ports[0].Network != "default" {
		t.Errorf("vm1 is on network %q", got.Ports[0].Network)
	}
}

// What guests get leaves the gateway out, wherever in its subnet it is.
func TestParseMakesRangesFromSubnets(t *testing.T) {
	for subnet, want := range map[string]string{
		"192.168.150.1/24":   "192.168.150.100-192.168.150.250",
		"192.168.150.254/24": "192.168.150.100-192.168.150.250",
		"192.168.150.120/24": "192.168.150.121-192.168.150.250",
		"192.168.150.200/24": "192.168.150.100-192.168.150.199",
		"172.16.0.1/12":      "172.16.0.100-172.17.0.99",
		"10.0.0.1/25":        "10.0.0.2-10.0.0.126",
		"10.0.0.126/25":      "10.0.0.1-10.0.0.125",
		"10.0.0.2/30":        "10.0.0.1-10.0.0.1",
		"10.0.0.0/31":        "10.0.0.1-10.0.0.1",
		"10.0.0.1/31":        "10.0.0.0-10.0.0.0",
		"fd00::1/64":         "",
	} {
		c, err := config.Parse([]byte(`networks: [{name: a, subnets: ["` + subnet + `"]}]`))
		if err != nil {
			t.Errorf("%s: %v", subnet, err)
			continue
		}
		if got := c.Networks[0].DHCP.Range.String(); got != want {
			t.Errorf("%s: range %s, want %s", subnet, got, want)
		}
		if want != "" {
			mustParse(t, `networks: [{name: a, subnets: ["`+subnet+`"], dhcp: {range: `+want+`}}]`)
		}
	}
}

func TestParseTakesEmptyDocuments(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "networks:\n", "networks: []\nports: ~\n", "switch: {}\n", "{}", "null\n"} {
		if c := mustParse(t, text); len(c.Networks)+len(c.Ports) != 0 || c.Switch.Stations != 65536 {
			t.Errorf("%q: got %+v, want no networks", text, c)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	for name, text := range map[string]string{
		"owner by number":               "networks: [{name: a, mode: isolated}]\nports: [{name: p, network: a, owner: 107, group: 4294967294}]",
		"bounds, lowest":                "switch: {workers: 0, stations: 1}\nnetworks: [{name: a, mode: isolated, mtu: 1280, ageing: 10s, stations: 1}]\nports: [{name: p, network: a, queues: 1}]",
		"bounds, highest":               "switch: {workers: 256, stations: 16777216}\nnetworks: [{name: a, mode: isolated, mtu: 65521, ageing: 1000000s, stations: 16777216}]\nports: [{name: p, network: a, queues: 256}]",
		"long port name beside device":  "networks: [{name: a, mode: isolated}]\nports: [{name: the-front-door-of-web-1, network: a, device: vm1}]",
		"libvirt's TAP as device":       "networks: [{name: a, mode: isolated}]\nports: [{name: p, network: a, type: device, device: vnet0}]",
		"kernel names of others":        "networks: [{name: a, mode: bridged, uplinks: [eth0.100, 'enp3s0@x', 'a%b']}]",
		"one device name per namespace": "networks: [{name: a, mode: isolated}]\nports:\n- {name: p, network: a, type: host, device: eth0, netns: x, addresses: [10.0.0.1/24]}\n- {name: q, network: a, type: host, device: eth0, netns: y, addresses: [10.0.0.1/24]}",
		"one MAC on two networks":       "networks: [{name: a, mode: isolated}, {name: b, mode: isolated}]\nports: [{name: p, network: a, mac: 52:54:00:00:00:01}, {name: q, network: b, mac: 52:54:00:00:00:01}]",
		"point to point":                "networks: [{name: a, mode: isolated}]\nports: [{name: p, network: a, type: host, addresses: [10.0.0.0/31, 10.0.0.9/32]}]",
		"several uplinks":               "networks: [{name: a, mode: bridged, uplinks: [eth0, eth1]}, {name: b, mode: bridged, uplink: eth2}]",
		"one NIC, many uses":            "networks: [{name: a, mode: bridged, uplink: eth0}, {name: b, uplink: eth0}, {name: c, mode: routed, subnets: [10.0.0.1/24], uplinks: [eth1, eth0]}]",
		"guests in a namespace":         "networks: [{name: a, subnets: [10.0.0.1/24]}]\nports: [{name: p, network: a, type: host, netns: x, addresses: [10.0.0.9/24]}]",
		"one port, several addresses":   "networks: [{name: a, nat: {addresses: [192.0.2.1]}, forwards: [{proto: tcp, port: 22, to: '192.168.150.9:22'}]}, {name: b, subnets: [10.0.0.1/24], forwards: [{proto: tcp, port: 22, to: '10.0.0.9:22', address: 192.0.2.3}, {proto: tcp, port: 22, to: '10.0.0.10:22', address: 192.0.2.4}, {proto: udp, port: 22, to: '10.0.0.9:22'}]}]",
		"a range up to the last port":   "networks: [{name: a, forwards: [{proto: tcp, port: 65534-65535, to: '192.168.150.9:65534'}, {proto: tcp, port: 65534-65535, to: '[fd5a:150::9]:1'}]}]",
		"default route behind a guest":  "networks: [{name: a, routes: [{to: 0.0.0.0/0, via: 192.168.150.2}, {to: '::/0', via: 'fd5a:150::2'}]}]",
		"each other in reach":           "networks: [{name: a, reach: [b]}, {name: b, mode: routed, subnets: [10.0.0.1/24], proxy: true, reach: [a]}]",
		"bounds of NAT, lowest":         "networks: [{name: a, nat: {ports: 36864-36865, udp: 1s, tcp-established: 1s, tcp-transitory: 1s, tcp-closing: 1s, icmp: 1s}, dhcp: {lease: 2m, quota: 0}}]",
		"bounds of NAT, highest":        "switch: {sessions: 16777216}\nnetworks: [{name: a, nat: {ports: 65535, quota: 16777216, udp: 720h}, dhcp: {lease: 8760h, quota: 65536}}]",
		"IPv6 alone":                    "networks: [{name: a, subnets: ['fd00::1/80'], dns: {servers: ['fe80::1%eth0', 127.0.0.53]}}]",
		"byte order mark":               "\ufeffnetworks: []",
		"windows line ends":             "networks:\r\n  - name: a\r\n    mode: isolated\r\nports:\r\n  - {name: p, network: a}\r\n",
	} {
		t.Run(name, func(t *testing.T) { mustParse(t, text) })
	}
}

func TestParseResolvesAliasesAndMerges(t *testing.T) {
	got := mustParse(t, `
networks:
  - &lab {name: lab, mode: isolated, mtu: &jumbo 9000}
  - {<<: *lab, name: lab2}
  - {name: lab3, mode: isolated, mtu: *jumbo}
ports:
  - &guest
    name: vm1
    network: lab
    owner: libvirt-qemu
  - <<: *guest
    name: vm2
  - <<: [*guest]
    name: vm3
    owner: ~
`)
	for i, n := range got.Networks {
		if n.Mode != "isolated" || n.MTU != 9000 {
			t.Errorf("network %d: %+v", i, n)
		}
	}
	for i, owner := range []string{"libvirt-qemu", "libvirt-qemu", ""} {
		if p := got.Ports[i]; p.Owner != owner || p.Network != "lab" {
			t.Errorf("port %d: %+v, want owner %q", i, p, owner)
		}
	}
}

func TestParseBoundsWhatKeepsTheParserBusy(t *testing.T) {
	entry := "- *a\n"
	for name, text := range map[string]string{
		"brackets":       strings.Repeat("[", 1<<19),
		"open and close": strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"dashes":         strings.Repeat("- ", 1<<19),
		"anchors":        strings.Repeat("&a ", 1<<18),
		"keys":           strings.Repeat("a: b\n", 1<<17),
		"bare keys":      strings.Repeat("a:\n", 1<<17),
		"quotes":         strings.Repeat(`"`, 1<<19),
		"aliases":        "networks:\n- &a {name: n, uplinks: [" + strings.Repeat("x,", 4000) + "x]}\n" + strings.Repeat(entry, 1<<17),
		"ring":           "networks: &a\n- *a\n- {<<: *b}\nports: [&b {<<: *b, <<: [*b, *b]}]\n",
		"too long":       strings.Repeat("# comment\n", 1<<17),
		"not text":       "networks:\n  - name: \xff\n",
		"a NUL":          "networks:\n  - name: a\x00\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := config.Parse([]byte(text))
			if err == nil {
				t.Fatalf("accepted: %+v", c)
			}
			faults(t, err)
		})
	}
}

func TestParseLeavesOutFaultsThatNobodyReads(t *testing.T) {
	_, err := config.Parse([]byte("ports:\n" + strings.Repeat("- {name: vm1}\n", 5000)))
	if lines := faults(t, err).Lines(); len(lines) != 1001 || lines[1000] != "and 8999 faults more" {
		t.Errorf("%d lines, the last: %s", len(lines), lines[len(lines)-1])
	}
}

func TestDurationReadsAndWritesText(t *testing.T) {
	for text, want := range map[string]string{"300s": "300s", "5m": "300s", "1h30m": "5400s", "1.5s": "1.5s", "0": "0s"} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got, _ := d.MarshalText(); string(got) != want {
			t.Errorf("%s: written as %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"300", "", "five", "3 s", "-"} {
		if err := new(config.Duration).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: accepted", text)
		}
	}
}

func TestAccountsResolveOwners(t *testing.T) {
	known := func(name string) (string, error) {
		if name == "qemu" {
			return "64055", nil
		}
		return "", os.ErrNotExist
	}
	a := config.Accounts{User: known, Group: known}
	for _, p := range []struct {
		owner, group string
		uid, gid     int
	}{{"", "", 0, config.None}, {"qemu", "qemu", 64055, 64055}, {"", "qemu", config.None, 64055}, {"107", "0", 107, 0}} {
		uid, gid, err := a.IDs(&config.Port{Owner: p.owner, Group: p.group})
		if uid != p.uid || gid != p.gid || err != nil {
			t.Errorf("%+v: got %d %d %v", p, uid, gid, err)
		}
	}
	c := mustParse(t, "networks: [{name: a, mode: isolated}]\nports: [{name: p, network: a, owner: qmeu, group: nobodies}, {name: q, network: a, owner: qemu}]")
	got := faults(t, a.Check(c)).Lines()
	want := []string{
		`ports[0].owner: no user "qmeu" on this host (create it, or give a number): file does not exist`,
		`ports[0].group: no group "nobodies" on this host (create it, or give a number): file does not exist`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if uid, gid, err := config.HostAccounts.IDs(&config.Port{Owner: "root", Group: "root"}); uid != 0 || gid != 0 || err != nil {
		t.Errorf("root is %d:%d %v", uid, gid, err)
	}
}

// glob returns the files that match, of which there must be one.
func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return files
}
