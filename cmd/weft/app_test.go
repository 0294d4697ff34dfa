package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"weft/internal/control"
	"weft/internal/control/controltest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC // the golden files show times of day
	goleak.VerifyTestMain(m)
}

// A result is what a call of weft left.
type result struct {
	status         int
	stdout, stderr string
}

func weft(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs}
	status := a.run(t.Context(), args)
	return result{status, out.String(), errs.String()}
}

// golden compares with testdata/NAME.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./cmd/weft -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Every command that shows something, as people and as programs see it.
func TestOutput(t *testing.T) {
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, controltest.New()))
	for name, line := range map[string]string{
		"status":            "status",
		"network-list":      "network list",
		"network-show":      "network show lan",
		"network-add":       "network add lan mode=bridged uplinks=eth0,eth1",
		"port-list":         "port list",
		"port-show":         "port show vm1",
		"port-show-waiting": "port show vm2",
		"port-delete":       "port delete vm1",
		"fdb-show":          "fdb show",
		"fdb-show-network":  "fdb show lab",
		"fdb-add":           "fdb add lan 52:54:00:00:00:07 vm1",
		"fdb-delete":        "fdb delete lan 52:54:00:00:00:07",
		"fdb-flush":         "fdb flush lan --port vm1",
		"counters":          "counters",
		"counters-port":     "counters vm1",
		"network-show-nat":  "network show default",
		"network-show-dmz":  "network show dmz",
		"nat-show":          "nat show",
		"nat-show-port":     "nat show default --port vm1 --limit 1",
		"nat-flush":         "nat flush default 192.168.150.10",
		"lease-list":        "lease list",
		"lease-release":     "lease release default 192.168.150.10",
		"route-show":        "route show",
		"route-show-dmz":    "route show dmz",
		"fastpath-show":     "fastpath show",
		"fastpath-show-vm2": "fastpath show vm2 --limit 1",
		"fastpath-refused":  "fastpath show --refused",
		"fastpath-flush":    "fastpath flush",
		"explain":           "explain vm1 tcp 192.168.150.10:4000 > 198.51.100.1:443",
		"apply":             "apply",
		"doctor":            "doctor",
	} {
		t.Run(name, func(t *testing.T) {
			r := weft(t, "", strings.Fields(line)...)
			golden(t, name+".txt", r.stdout+r.stderr)
			r = weft(t, "", append(strings.Fields(line), "--json")...)
			golden(t, name+".json", r.stdout)
		})
	}
}

func TestCommandsAskTheEngine(t *testing.T) {
	e := controltest.New()
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, e))
	document := filepath.Join(t.TempDir(), "weft.yaml")
	if err := os.WriteFile(document, []byte("networks: []"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"network add lan mode=bridged mtu=9000 uplinks=eth0,eth1 ageing=60s":                                                                                        `edit network lan op=2 map[string]interface {}{"ageing":"60s", "mode":"bridged", "mtu":9000, "uplinks":[]interface {}{"eth0", "eth1"}} runtime=false`,
		"network set default dhcp.lease=2h nat.quota=9 dns.enabled=off dhcp.range=":                                                                                 `edit network default op=3 map[string]interface {}{"dhcp.lease":"2h", "dhcp.range":interface {}(nil), "dns.enabled":false, "nat.quota":9} runtime=false`,
		"network set default forwards+=tcp:2222:192.168.150.10:22 forwards+=udp:[2001:db8::1]:8000-8010:[fd00::1]:8000 forwards-=tcp:23 forwards-=tcp:192.0.2.1:24": `edit network default op=3 map[string]interface {}{"forwards+":[]interface {}{map[string]interface {}{"port":"2222", "proto":"tcp", "to":"192.168.150.10:22"}, map[string]interface {}{"address":"2001:db8::1", "port":"8000-8010", "proto":"udp", "to":"[fd00::1]:8000"}}, "forwards-":[]interface {}{map[string]interface {}{"port":"23", "proto":"tcp"}, map[string]interface {}{"address":"192.0.2.1", "port":"24", "proto":"tcp"}}} runtime=false`,
		"network set default dhcp.reservations+=52:54:00:00:00:01,192.168.150.10,fd00::1,web dhcp.reservations-=db":                                                 `edit network default op=3 map[string]interface {}{"dhcp.reservations+":[]interface {}{map[string]interface {}{"address":"192.168.150.10", "address6":"fd00::1", "mac":"52:54:00:00:00:01", "name":"web"}}, "dhcp.reservations-":[]interface {}{map[string]interface {}{"name":"db"}}} runtime=false`,
		"network set default routes=10.7.0.0/16,192.168.150.5 routes-=10.8.0.0/16 reach+=a,b":                                                                       `edit network default op=3 map[string]interface {}{"reach+":[]interface {}{"a", "b"}, "routes":[]interface {}{map[string]interface {}{"to":"10.7.0.0/16", "via":"192.168.150.5"}}, "routes-":[]interface {}{map[string]interface {}{"to":"10.8.0.0/16"}}} runtime=false`,
		"network set default dhcp={range:\u00a010.0.0.1-10.0.0.9,quota:\u00a03} forwards=[{proto:\u00a0tcp,port:\u00a022}] forwards+={port:\u00a023}":               `edit network default op=3 map[string]interface {}{"dhcp":map[string]interface {}{"quota":3, "range":"10.0.0.1-10.0.0.9"}, "forwards":[]interface {}{map[string]interface {}{"port":22, "proto":"tcp"}}, "forwards+":[]interface {}{map[string]interface {}{"port":23}}} runtime=false`,
		"network set default uplink=auto": `edit network default op=3 map[string]interface {}{"uplink":"auto"} runtime=false`,
		"network set lan mtu= --runtime":  `edit network lan op=3 map[string]interface {}{"mtu":interface {}(nil)} runtime=true`,
		"network delete lan":              `edit network lan op=4 map[string]interface {}(nil) runtime=false`,
		"port add vm1":                    `edit port vm1 op=2 map[string]interface {}{} runtime=false`,
		"port add h type=host addresses=10.0.0.1/24,fd00::1/64 offloads=off":   `edit port h op=2 map[string]interface {}{"addresses":[]interface {}{"10.0.0.1/24", "fd00::1/64"}, "offloads":false, "type":"host"} runtime=false`,
		"port set eth0:wire mac=52:54:00:00:00:01 queues=2 owner=libvirt-qemu": `edit port eth0:wire op=3 map[string]interface {}{"mac":"52:54:00:00:00:01", "owner":"libvirt-qemu", "queues":2} runtime=false`,
		"port set vm1 fastpath=xdp":             `edit port vm1 op=3 map[string]interface {}{"fastpath":"xdp"} runtime=false`,
		"port delete vm1 --runtime":             `edit port vm1 op=4 map[string]interface {}(nil) runtime=true`,
		"fdb add lan 52-54-00-00-00-07 vm1":     `add station lan 52:54:00:00:00:07 vm1`,
		"fdb delete lan 52:54:00:00:00:07":      `delete station lan 52:54:00:00:00:07`,
		"fdb flush":                             `flush "" ""`,
		"fdb flush lan --port vm1":              `flush "lan" "vm1"`,
		"nat flush":                             `flush nat "" invalid IP`,
		"nat flush default":                     `flush nat "default" invalid IP`,
		"nat flush default fd5a:150::10":        `flush nat "default" fd5a:150::10`,
		"lease release default 192.168.150.101": `release lease default 192.168.150.101`,
		"apply":                                 `apply "" dry=false runtime=false`,
		"apply --dry-run -f " + document:        `apply "networks: []" dry=true runtime=false`,
		"apply --runtime -f -":                  `apply "ports: []" dry=false runtime=true`,
	} {
		args := strings.Split(line, " ") // a no-break space stands for one within an argument
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\u00a0", " ")
		}
		r := weft(t, "ports: []", args...)
		if r.status != exitDone {
			t.Errorf("weft %s: status %d: %s", line, r.status, r.stderr)
		}
		if got := strings.Join(e.Calls(), "\n"); got != want {
			t.Errorf("weft %s asked\n%s, want\n%s", line, got, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	e := controltest.New()
	e.Fail(control.Faults{"networks[0].mtu: 7 is too small (want 68–65521)", "ports[1].type: unknown"})
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, e))
	for _, tt := range []struct {
		line   string
		status int
		stderr string // it has this
	}{
		{"status", exitDone, ""},
		{"version", exitDone, ""},
		{"--help", exitDone, ""},
		{"port set --help", exitDone, ""},
		{"doctor", exitFailed, "doctor: 1 error"},
		{"network show none", exitFailed, "network none: not found"},
		{"capture none", exitFailed, "port none: not found"},
		{"apply", exitFailed, "weft: the document is wrong\n  networks[0].mtu: 7 is too small (want 68–65521)\n  ports[1].type: unknown\n"},
		{"apply -f /nonexistent", exitFailed, "/nonexistent: no such file"},
		{"status --socket /nonexistent/weft.sock", exitFailed, "cannot reach weftd at /nonexistent/weft.sock: no such file or directory (is the service running? systemctl status weftd)"},
		{"", exitUsage, "weft wants a command"},
		{"bogus", exitUsage, `unknown command "bogus"`},
		{"network", exitUsage, "weft network wants a command"},
		{"network bogus", exitUsage, `unknown command "bogus" for "weft network"`},
		{"status more", exitUsage, "unknown command"},
		{"network show", exitUsage, "accepts 1 arg(s)"},
		{"network list --wide", exitUsage, "unknown flag: --wide"},
		{"network set lan", exitUsage, "requires at least 2 arg(s)"},
		{"network set lan mtu", exitUsage, `"mtu" is not KEY=VALUE`},
		{"network set lan name=x", exitUsage, `unknown key "name" (want `},
		{"network set lan mtu=big", exitUsage, `mtu=big: "big" is not a whole number`},
		{"network set lan mtu=1 mtu=2", exitUsage, "mtu is given twice"},
		{"network set lan dhcp.lese=2h", exitUsage, `unknown key "dhcp.lese" (want dhcp.enabled, dhcp.lease, dhcp.quota, dhcp.range, dhcp.reservations)`},
		{"network set lan mtu.x=2", exitUsage, `unknown key "mtu.x": mtu has no keys below it`},
		{"network set lan dhcp=2h", exitUsage, "want {KEY: VALUE, …}, or its keys one by one"},
		{"network set lan dhcp={a", exitUsage, "is not written as YAML has it"},
		{"network set lan mtu+=2", exitUsage, "mtu is no list (want mtu=VALUE)"},
		{"network set lan uplinks+=", exitUsage, "empty (want what is to be added or removed)"},
		{"network set lan uplinks+-=a", exitUsage, "want =, += or -= behind the key"},
		{"network set lan forwards+=tcp", exitUsage, `"tcp" is no forward (want PROTO:`},
		{"network set lan forwards+=tcp:22:a", exitUsage, `"tcp:22:a" is no forward`},
		{"network set lan dhcp.reservations+=web,db", exitUsage, `"web,db" is no reservation`},
		{"network set lan routes+=10.0.0.0/8,a,b", exitUsage, `"10.0.0.0/8,a,b" is no route`},
		{"port set h offloads=maybe", exitUsage, `"maybe" is neither true nor false`},
		{"fdb add lan x vm1", exitUsage, `"x" is not a MAC address`},
		{"nat show --limit -1", exitUsage, "--limit -1: want a number of sessions"},
		{"nat flush default ten", exitUsage, `"ten" is not an address`},
		{"fastpath show --limit -1", exitUsage, "--limit -1: want a number of entries"},
		{"fastpath show vm1 vm2", exitUsage, "accepts at most 1 arg(s)"},
		{"fastpath show", exitFailed, "the document is wrong"}, // the engine fails
		{"explain vm1", exitUsage, "requires at least 2 arg(s)"},
		{"explain vm1 tcp 10.0.0.2:4000", exitUsage, `"tcp 10.0.0.2:4000" is no frame (want [src MAC]`},
		{"explain vm1 tcp 10.0.0.2:4000 > 10.0.0.1:80 dst 52:54:00:00:00:02", exitUsage, "is no frame"},
		{"explain vm1 sctp 10.0.0.2:4000 > 10.0.0.1:80", exitUsage, "is no frame"},
		{"explain vm1 tcp 10.0.0.2 > 10.0.0.1:80", exitUsage, `"10.0.0.2": want an address and a port`},
		{"explain vm1 tcp 10.0.0.2:1 > [fd00::1]:80", exitUsage, "are not of one family"},
		{"explain vm1 icmp 10.0.0.2 > ten", exitUsage, `"ten": want an address such as`},
		{"explain vm1 arp 10.0.0.2:7 > 10.0.0.1", exitUsage, `"10.0.0.2:7": want an address such as 192.168.150.10`},
		{"explain vm1 arp fd00::2 > fd00::1", exitUsage, "arp is for IPv4"},
		{"explain vm1 src ff:ff:ff:ff:ff:ff", exitUsage, "sends no frames"},
		{"explain vm1 src 1 dst 2", exitUsage, `"1" is not a MAC address`},
		{"explain vm1 vlan 4095", exitUsage, "vlan 4095: want 1 to 4094"},
		{"explain vm1 vlan 5 vlan 6", exitUsage, "vlan is given twice"},
		{"lease release default", exitUsage, "accepts 2 arg(s)"},
		{"lease release default 192.168.150", exitUsage, `"192.168.150" is not an address`},
		{"nat show", exitFailed, "the document is wrong"}, // the engine fails
		{"apply --runtime", exitUsage, "--runtime wants -f FILE"},
		{"apply -f /dev/null", exitUsage, "/dev/null is empty"},
		{"capture vm1 -s -1", exitUsage, "want a number of bytes"},
		{"counters --watch --interval 0s", exitUsage, "want more than 0s"},
		{"completion tcsh", exitUsage, "tcsh"},
	} {
		r := weft(t, "", strings.Fields(tt.line)...)
		if r.status != tt.status || !strings.Contains(r.stderr, tt.stderr) {
			t.Errorf("weft %s: status %d, stderr %q; want %d, %q", tt.line, r.status, r.stderr, tt.status, tt.stderr)
		}
		if (r.status == exitUsage) != strings.Contains(r.stderr, "usage: weft") {
			t.Errorf("weft %s: status %d, stderr %q: usage and status differ", tt.line, r.status, r.stderr)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs}
	status := a.run(ctx, []string{"status", "--socket", controltest.Serve(t, controltest.New())})
	if status != exitFailed || errs.String() != "weft: interrupted\n" {
		t.Errorf("status %d, %q", status, errs.String())
	}
}

// Each command says what it is for, and its examples are command lines it takes.
func TestHelp(t *testing.T) {
	a := &app{}
	example := regexp.MustCompile(`weft ([^|>\n]*)`)
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s: no short help", c.CommandPath())
		}
		if c.HasParent() && !c.HasSubCommands() && c.Args == nil {
			t.Errorf("%s: takes any arguments", c.CommandPath())
		}
		for _, m := range example.FindAllStringSubmatch(c.Example, -1) {
			found, rest, err := a.root().Find(strings.Fields(m[1]))
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), m[0], err)
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(a.root())
}
