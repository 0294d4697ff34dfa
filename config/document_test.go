package config_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/config"
	"weft/frame"
)

type values = map[string]any

func mustDocument(t *testing.T, text string) *config.Document {
	t.Helper()
	d, err := config.NewDocument([]byte(text))
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	return d
}

// change shows the lines between the common head and the common tail of two texts.
func change(was, is string) string {
	a, b := strings.SplitAfter(was, "\n"), strings.SplitAfter(is, "\n")
	n := 0
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b, n = a[1:], b[1:], n+1
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	var out strings.Builder
	fmt.Fprintf(&out, "@ line %d\n", n+1)
	for _, line := range a {
		out.WriteString("-" + strings.TrimSuffix(line, "\n") + "\n")
	}
	for _, line := range b {
		out.WriteString("+" + strings.TrimSuffix(line, "\n") + "\n")
	}
	return out.String()
}

type namedEdit struct {
	name string
	do   func(d *config.Document) error
}

var edits = []namedEdit{
	{"set a value, block", func(d *config.Document) error { return d.SetNetwork("lan", values{"mtu": 9000}) }},
	{"set a value, flow", func(d *config.Document) error { return d.SetPort("vm1", values{"owner": "root"}) }},
	{"set a quoted value", func(d *config.Document) error { return d.SetPort("vm1", values{"mac": "52:54:00:00:00:99"}) }},
	{"set what is there already", func(d *config.Document) error {
		return d.SetNetwork("lab", values{"ageing": "300s", "mode": "isolated"})
	}},
	{"set a number given as text", func(d *config.Document) error { return d.SetNetwork("lan", values{"mtu": "9000"}) }},
	{"set a number from JSON", func(d *config.Document) error { return d.SetNetwork("lan", values{"stations": 1000.0}) }},
	{"set values of the types of Config", func(d *config.Document) error {
		return d.SetPort("vm2", values{"mac": frame.MAC(0x525400000003), "queues": 4, "owner": nil})
	}},
	{"add keys, block", func(d *config.Document) error {
		return d.SetNetwork("lan", values{"ageing": config.Duration(time.Minute), "stations": 4096})
	}},
	{"add a key, flow", func(d *config.Document) error { return d.SetNetwork("lab", values{"mtu": 1400}) }},
	{"add a key, flow over lines", func(d *config.Document) error { return d.SetPort("vm2", values{"queues": 2}) }},
	{"add a key, wide dash", func(d *config.Document) error { return d.SetPort("ct1", values{"mac": "52:54:00:00:00:07"}) }},
	{"remove a key, block", func(d *config.Document) error { return d.SetNetwork("lan", values{"mtu": nil}) }},
	{"remove the middle key, flow", func(d *config.Document) error { return d.SetPort("vm1", values{"mac": nil}) }},
	{"remove the last key, flow", func(d *config.Document) error { return d.SetPort("vm1", values{"owner": nil}) }},
	{"remove a key with its line, flow", func(d *config.Document) error { return d.SetPort("vm2", values{"mac": nil}) }},
	{"remove the last key, flow with comments", func(d *config.Document) error { return d.SetPort("vm2", values{"owner": nil}) }},
	{"remove a key that is not there", func(d *config.Document) error { return d.SetPort("vm2", values{"queues": nil}) }},
	{"rename and move", func(d *config.Document) error { return d.SetPort("ct1", values{"name": "ct9", "network": "dmz"}) }},
	{"list: reorder", func(d *config.Document) error { return d.SetNetwork("lan", values{"uplinks": []any{"eth1", "eth0"}}) }},
	{"list: drop and add", func(d *config.Document) error {
		return d.SetNetwork("lan", values{"uplinks": []string{"eth0", "eth9"}})
	}},
	{"list: away with it", func(d *config.Document) error {
		return d.SetNetwork("lan", values{"uplinks": nil, "mode": "isolated"})
	}},
	{"list: empty", func(d *config.Document) error {
		return d.SetNetwork("lan", values{"uplinks": []string{}, "mode": "isolated"})
	}},
	{"list in place of one", func(d *config.Document) error {
		return d.SetNetwork("dmz", values{"uplinks": []string{"eth2", "eth3"}})
	}},
	{"one in place of a list", func(d *config.Document) error { return d.SetNetwork("lan", values{"uplink": "eth0"}) }},
	{"list, flow over lines", func(d *config.Document) error {
		return d.SetPort("mgmt0", values{"addresses": []string{"10.0.0.1/8"}})
	}},
	{"set a word that YAML 1.1 has for a truth value", func(d *config.Document) error { return d.SetPort("vm1", values{"fastpath": "off"}) }},
	{"set a truth value for a word", func(d *config.Document) error { return d.SetPort("ct1", values{"fastpath": true}) }},
	{"an heir's own key", func(d *config.Document) error { return d.SetPort("vm5", values{"owner": "kvm"}) }},
	{"new network", func(d *config.Document) error {
		return d.SetNetwork("new", values{"mode": "bridged", "uplinks": []string{"eth5"}, "mtu": nil})
	}},
	{"new port", func(d *config.Document) error {
		return d.SetPort("vm9", values{"network": "lab", "name": "vm9", "mac": "52:54:00:00:00:09"})
	}},
	{"delete a port, flow", func(d *config.Document) error { return d.DeletePort("vm1") }},
	{"delete a port, flow over lines", func(d *config.Document) error { return d.DeletePort("vm2") }},
	{"delete a port, block", func(d *config.Document) error { return d.DeletePort("ct1") }},
	{"delete an heir", func(d *config.Document) error { return d.DeletePort("vm5") }},
	{"delete the last port", func(d *config.Document) error { return d.DeletePort("mgmt0") }},
	{"delete a network", func(d *config.Document) error { return d.DeleteNetwork("dmz") }},

	{"refused: network in use", func(d *config.Document) error { return d.DeleteNetwork("lan") }},
	{"refused: shared entry", func(d *config.Document) error { return d.SetPort("vm4", values{"owner": "kvm"}) }},
	{"refused: delete a shared entry", func(d *config.Document) error { return d.DeletePort("vm4") }},
	{"refused: faults", func(d *config.Document) error {
		return d.SetPort("vm1", values{"mac": "52:54", "queues": 1000, "onwer": "x", "network": "nowhere"})
	}},
	{"refused: faults of a new entry", func(d *config.Document) error { return d.SetNetwork("a/b", values{"mode": "nat"}) }},
	{"refused: required key", func(d *config.Document) error { return d.SetPort("vm1", values{"network": nil}) }},
	{"refused: rename of a network in use", func(d *config.Document) error { return d.SetNetwork("lan", values{"name": "wan"}) }},
	{"refused: two names", func(d *config.Document) error { return d.SetPort("vm9", values{"name": "vm10", "network": "lab"}) }},
	{"refused: a value of no kind", func(d *config.Document) error { return d.SetPort("vm1", values{"owner": values{"a": 1}}) }},
	{"refused: a key that is YAML", func(d *config.Document) error {
		return d.SetPort("vm1", values{"a: b}\n- {name": "x"})
	}},
	{"refused: a value that is YAML", func(d *config.Document) error {
		return d.SetPort("vm1", values{"owner": "a}\n- {name: x, network: lab"})
	}},
	{"refused: not there", func(d *config.Document) error { return d.DeletePort("vm77") }},
}

func TestDocumentEditsKeepTheRest(t *testing.T) {
	for file, edits := range map[string][]namedEdit{"rich": edits, "gateway": gatewayEdits} {
		text, err := os.ReadFile("testdata/edit/" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, e := range edits {
			d := mustDocument(t, string(text))
			before := d.Config()
			err := e.do(d)
			fmt.Fprintf(&out, "== %s\n", e.name)
			if err == nil {
				out.WriteString(change(string(text), string(d.Bytes())))
				continue
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				fmt.Fprintf(&out, "! %s\n", line)
			}
			if string(d.Bytes()) != string(text) || d.Config() != before {
				t.Errorf("%s: failed and changed the document", e.name)
			}
		}
		golden(t, "testdata/edit/"+file+".want", out.String())
	}
}

func TestDocumentEditsTheText(t *testing.T) {
	lab := func(d *config.Document) error { return d.SetNetwork("lab", values{"mode": "isolated"}) }
	port := func(d *config.Document) error { return d.SetPort("vm1", values{"network": "lab"}) }
	for name, c := range map[string]struct {
		was  string
		do   func(d *config.Document) error
		want string
	}{
		"empty file":         {"", lab, "networks:\n  - name: lab\n    mode: isolated\n"},
		"comment only":       {"# mine\n", lab, "# mine\n\nnetworks:\n  - name: lab\n    mode: isolated\n"},
		"no last line end":   {"switch: {workers: 1}", lab, "switch: {workers: 1}\n\nnetworks:\n  - name: lab\n    mode: isolated\n"},
		"empty list":         {"networks: []  # none\nports:\n", lab, "networks:  # none\n  - name: lab\n    mode: isolated\nports:\n"},
		"null list":          {"networks: ~\n# x\n", lab, "networks:\n  - name: lab\n    mode: isolated\n# x\n"},
		"bare list, comment": {"networks: # x\n# y\n", lab, "networks: # x\n  - name: lab\n    mode: isolated\n# y\n"},
		"all flow":           {"{networks: [{name: a, mode: isolated}]}\n", lab, "{networks: [{name: a, mode: isolated}, {name: lab, mode: isolated}]}\n"},
		"all flow, empty":    {"{networks: []}\n", lab, "{networks: [{name: lab, mode: isolated}]}\n"},
		"all flow, new list": {"{networks: [{name: lab, mode: isolated}]}\n", port, "{networks: [{name: lab, mode: isolated}], ports: [{name: vm1, network: lab}]}\n"},
		"byte order mark": {
			"\ufeffnetworks: [{name: a, mode: isolated}]", lab,
			"\ufeffnetworks: [{name: a, mode: isolated}, {name: lab, mode: isolated}]",
		},
		"line ends of DOS": {
			"networks:\r\n- name: a\r\n  mode: isolated\r\n", lab,
			"networks:\r\n- name: a\r\n  mode: isolated\r\n- name: lab\r\n  mode: isolated\r\n",
		},
		"last line without end": {
			"networks:\n- {name: a, mode: isolated}", lab,
			"networks:\n- {name: a, mode: isolated}\n- {name: lab, mode: isolated}",
		},
		"text that is no ASCII": {
			"networks:  # für alle\n- {name: lab, mode: isolated}  # Prüfstand\nports:\n- {network: lab, name: vm1, owner: jürgen, group: kvm}  # ä\n",
			func(d *config.Document) error { return d.SetPort("vm1", values{"owner": nil, "group": "tür"}) },
			"networks:  # für alle\n- {name: lab, mode: isolated}  # Prüfstand\nports:\n- {network: lab, name: vm1, group: tür}  # ä\n",
		},
		"key left empty": {
			"networks:\n- name: lab\n  mode: isolated\n  mtu:   # default\n",
			func(d *config.Document) error { return d.SetNetwork("lab", values{"mtu": 9000}) },
			"networks:\n- name: lab\n  mode: isolated\n  mtu: 9000   # default\n",
		},
		"only entry goes": {
			"# a\nnetworks: # b\n  # c\n  - name: lab # d\n    mode: isolated\n  # e\n",
			func(d *config.Document) error { return d.DeleteNetwork("lab") },
			"# a\nnetworks: # b\n  # c\n  # e\n",
		},
		"first key goes": {
			"networks:\n- mtu: 9000\n  name: lab\n  mode: isolated\n",
			func(d *config.Document) error { return d.SetNetwork("lab", values{"mtu": nil}) },
			"networks:\n- name: lab\n  mode: isolated\n",
		},
		"first key goes, comment below": {
			"networks:\n- mtu: 9000\n  # its name\n  name: lab\n  mode: isolated\n",
			func(d *config.Document) error { return d.SetNetwork("lab", values{"mtu": nil}) },
			"networks:\n-\n  # its name\n  name: lab\n  mode: isolated\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := mustDocument(t, c.was)
			if err := c.do(d); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(d.Bytes())); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(mustParse(t, c.want), d.Config(), byValue); diff != "" {
				t.Errorf("Config disagrees with Bytes:\n%s", diff)
			}
		})
	}
}

func TestDocumentRefusesWhatItCannotSplice(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"text over lines":  {"networks:\n- name: lab\n  mode: >-\n    isolated\n", "cannot be edited in place"},
		"list by anchor":   {"networks: &n\n- {name: lab, mode: isolated}\n", "named &n"},
		"entry by alias":   {"networks:\n- &n {name: lab, mode: isolated}\nports:\n- {name: p, network: lab}\n", "named &n"},
		"value by anchor":  {"networks:\n- {name: lab, mode: &m isolated}\n- {name: b, mode: *m}\n", "named &m"},
		"plain over lines": {"networks:\n- mtu: 1500\n  name:\n   lab\n  mode: # x\n   isolated\n   \n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := mustDocument(t, c.text)
			err := d.SetNetwork("lab", values{"mode": "bridged", "uplink": "eth0"})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if lines := faults(t, err).Lines(); len(lines) != 1 || !strings.Contains(lines[0], c.want) {
				t.Errorf("got %q, want one that says %q", lines, c.want)
			}
			if string(d.Bytes()) != c.text {
				t.Errorf("changed to:\n%s", d.Bytes())
			}
		})
	}
}

func TestDocumentDeleteOfTheUnknownIsErrNotFound(t *testing.T) {
	d := mustDocument(t, "")
	for _, err := range []error{d.DeletePort("x"), d.DeleteNetwork("x")} {
		if !errors.Is(err, config.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
}

// A document written from nothing by edits says what the edits said.
func rewrite(t *testing.T, c *config.Config) *config.Document {
	t.Helper()
	d := mustDocument(t, fmt.Sprintf("switch: {workers: %d, stations: %d, sessions: %d, fastpath: %s}\n",
		c.Switch.Workers, c.Switch.Stations, c.Switch.Sessions, c.Switch.Fastpath))
	for _, n := range c.Networks { // reach names networks, so they come first
		v := values{"mode": n.Mode, "mtu": n.MTU, "ageing": n.Ageing, "stations": n.Stations, "uplinks": n.Uplinks}
		if n.Mode.HasGateway() {
			maps.Copy(v, values{"subnets": n.Subnets, "dhcp": n.DHCP, "dns": n.DNS, "routes": n.Routes})
		}
		switch n.Mode {
		case config.ModeNAT:
			maps.Copy(v, values{"nat": n.NAT, "forwards": n.Forwards})
		case config.ModeRouted:
			v["proxy"] = n.Proxy
		}
		if err := d.SetNetwork(n.Name, v); err != nil {
			t.Fatalf("network %+v: %v\n%s", n, err, d.Bytes())
		}
	}
	for _, n := range c.Networks {
		if n.Mode.HasGateway() {
			if err := d.SetNetwork(n.Name, values{"reach": n.Reach}); err != nil {
				t.Fatalf("network %+v: %v\n%s", n, err, d.Bytes())
			}
		}
	}
	for _, p := range c.Ports {
		v := values{"network": p.Network, "type": p.Type, "device": p.Device, "stations": p.Stations, "fastpath": p.Fastpath}
		if p.MAC != 0 {
			v["mac"] = p.MAC
		}
		switch p.Type {
		case config.PortTAP:
			maps.Copy(v, values{"queues": p.Queues, "owner": given(p.Owner), "group": given(p.Group)})
		case config.PortHost:
			maps.Copy(v, values{"addresses": p.Addresses, "netns": given(p.NetNS), "offloads": p.Offloads})
		}
		if err := d.SetPort(p.Name, v); err != nil {
			t.Fatalf("port %+v: %v\n%s", p, err, d.Bytes())
		}
	}
	return d
}

func given(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func FuzzParse(f *testing.F) {
	f.Add(config.Example)
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/edit/*.yaml"} {
		for _, file := range glob(f, pattern) {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse(data)
		if err != nil {
			if lines := faults(t, err).Lines(); len(lines) == 0 || slices.Contains(lines, "") {
				t.Fatalf("refused without a reason: %q", lines)
			}
			return
		}
		if diff := cmp.Diff(c, rewrite(t, c).Config(), byValue); diff != "" {
			t.Errorf("written anew (-was +is):\n%s", diff)
		}
	})
}
