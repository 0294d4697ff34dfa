package daemon

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/config"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	doc, err := config.NewDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc.Config()
}

const lan = `
networks:
  - {name: lan, mode: bridged, uplinks: [eth0]}
  - {name: lab, mode: isolated}
ports:
  - {name: vm1, network: lan}
  - {name: ct1, network: lab, type: device, device: veth1}
  - {name: mgmt, network: lab, type: host, addresses: [172.16.9.1/24]}
`

func TestPlanNamesWhatDiffersAndNothingElse(t *testing.T) {
	tests := []struct {
		name     string
		from, to string
		want     []string
	}{
		{"nothing to do", lan, lan, nil},
		{"start", "", lan, []string{
			"add network lan (bridged)", "add network lab (isolated)", "attach uplink eth0 to network lan",
			"add port vm1 (tap) to network lan", "add port ct1 (device) to network lab", "add port mgmt (host) to network lab",
		}},
		{"stop", lan, "", []string{
			"remove port vm1 from network lan", "remove port ct1 from network lab", "remove port mgmt from network lab",
			"detach uplink eth0 from network lan", "remove network lan", "remove network lab",
		}},
		{"no flow cache", lan, "switch: {fastpath: off}" + lan, []string{"turn the flow cache off"}},
		{"a flow cache, as ever", "switch: {fastpath: on}" + lan, lan, nil},
		{
			"no flow cache at a port",
			lan, strings.Replace(lan, "{name: vm1, network: lan}", "{name: vm1, network: lan, fastpath: off}", 1),
			[]string{"change port vm1: fastpath on → off"},
		},
		{
			"a port goes to another network and keeps its device",
			lan, strings.Replace(lan, "{name: vm1, network: lan}", "{name: vm1, network: lab}", 1),
			[]string{"take port vm1 out of network lan, keep its device vm1", "add port vm1 (tap) to network lab"},
		},
		{
			"a port gets another name and keeps its device",
			lan, strings.Replace(lan, "name: ct1", "name: ct9", 1),
			[]string{"take port ct1 out of network lab, keep its device veth1", "add port ct9 (device) to network lab"},
		},
		{
			"a device that another type of port needs is made anew",
			lan, strings.Replace(lan, "{name: vm1, network: lan}", "{name: vm1, network: lan, queues: 2}", 1),
			[]string{"remove port vm1 from network lan", "add port vm1 (tap) to network lan"},
		},
		{
			"settings change in place",
			lan, strings.Replace(lan, "172.16.9.1/24", "172.16.9.2/24", 1),
			[]string{"change port mgmt: addresses 172.16.9.1/24 → 172.16.9.2/24"},
		},
		{
			"an uplink is added behind the other",
			lan, strings.Replace(lan, "[eth0]", "[eth0, eth1]", 1),
			[]string{"change network lan: uplinks eth0 → eth0, eth1", "attach uplink eth1 to network lan"},
		},
		{
			"an uplink moves to another network",
			lan, strings.Replace(strings.Replace(lan, "mode: bridged, uplinks: [eth0]", "mode: isolated", 1), "{name: lab, mode: isolated}", "{name: lab, mode: bridged, uplinks: [eth0]}", 1),
			[]string{
				"detach uplink eth0 from network lan", "change network lan: mode bridged → isolated, uplinks eth0 → none",
				"change network lab: mode isolated → bridged, uplinks none → eth0", "attach uplink eth0 to network lab",
			},
		},
		{
			"the MTU of a network changes in place",
			lan, strings.Replace(lan, "{name: lab, mode: isolated}", "{name: lab, mode: isolated, mtu: 9000}", 1),
			[]string{"change network lab: mtu 1500 → 9000"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := describe(Plan(parse(t, tt.from), parse(t, tt.to)))
			if !slices.Equal(got, tt.want) {
				t.Errorf("plan:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
		})
	}
}

// TestPlanFreesDevicesBeforeTheyAreTaken checks the property that any plan must
// have, between random configurations.
func TestPlanFreesDevicesBeforeTheyAreTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := randomConfig(t, "from"), randomConfig(t, "to")
		held := map[string]bool{}
		networks := map[string]bool{}
		for _, p := range from.Ports {
			held[p.Device] = true
		}
		for _, n := range from.Networks {
			networks[n.Name] = true
			for _, nic := range n.Uplinks {
				held[nic] = true
			}
		}
		for _, a := range Plan(from, to) {
			switch a.Kind {
			case DetachPort:
				delete(held, a.Port.Device)
			case DetachUplink:
				delete(held, a.Uplink)
			case AddNetwork:
				networks[a.Network.Name] = true
			case AttachUplink:
				take(t, held, a.Uplink)
			case AttachPort:
				take(t, held, a.Port.Device)
				if !networks[a.Port.Network] {
					t.Fatalf("%s: the network is not there yet", a)
				}
			case RemoveNetwork:
				delete(networks, a.Network.Name)
			}
		}
		for _, p := range to.Ports {
			if !held[p.Device] {
				t.Fatalf("port %s has lost its device", p.Name)
			}
		}
		if len(networks) != len(to.Networks) {
			t.Fatalf("networks after the plan: %v", networks)
		}
	})
}

func take(t *rapid.T, held map[string]bool, device string) {
	if held[device] {
		t.Fatalf("device %s is taken before it was freed", device)
	}
	held[device] = true
}

func randomConfig(t *rapid.T, label string) *config.Config {
	var c config.Config
	devices := []string{"d0", "d1", "d2", "d3"}
	for _, name := range []string{"a", "b", "c"} {
		if !rapid.Bool().Draw(t, label+" network "+name) {
			continue
		}
		n := config.Network{Name: name, Mode: config.ModeIsolated, MTU: rapid.SampledFrom([]int{1500, 9000}).Draw(t, "mtu")}
		for len(devices) > 0 && rapid.Bool().Draw(t, "uplink") {
			n.Mode = config.ModeBridged
			n.Uplinks = append(n.Uplinks, devices[0])
			devices = devices[1:]
		}
		c.Networks = append(c.Networks, n)
	}
	own := []string{"t0", "t1"} // made by weft for taps and host ports
	for _, name := range []string{"p", "q", "r"} {
		if len(c.Networks) == 0 || !rapid.Bool().Draw(t, label+" port "+name) {
			continue
		}
		p := config.Port{
			Name: name, Queues: 1, Network: rapid.SampledFrom(c.Networks).Draw(t, "network").Name,
			Type: rapid.SampledFrom([]config.PortType{config.PortTAP, config.PortDevice, config.PortHost}).Draw(t, "type"),
		}
		names := &own
		if p.Type == config.PortDevice {
			names = &devices
		}
		if len(*names) == 0 {
			continue
		}
		i := rapid.IntRange(0, len(*names)-1).Draw(t, "device")
		p.Device = (*names)[i]
		*names = slices.Delete(slices.Clone(*names), i, i+1)
		c.Ports = append(c.Ports, p)
	}
	return &c
}

func TestPlanTellsDevicesOfOneNameApart(t *testing.T) {
	old := parse(t, `{networks: [{name: lan, mode: bridged, uplinks: [eth0]}], ports: [
		{name: a, network: lan, type: host, device: eth0, netns: a},
		{name: b, network: lan, type: host, device: eth0, netns: b}]}`)
	new := parse(t, `{networks: [{name: lan, mode: isolated}], ports: [
		{name: b, network: lan, type: host, device: eth0, netns: b}]}`)
	for _, a := range Plan(old, new) {
		if a.Moved || a.Recreate || a.Kind == AttachPort {
			t.Errorf("%s: moved %v, recreated %v (want neither: nobody takes its device)", a, a.Moved, a.Recreate)
		}
	}
}
