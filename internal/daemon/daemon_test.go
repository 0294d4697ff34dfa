package daemon

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
	"weft/tap"
)

const levelOfTests = zap.ErrorLevel

// states returns "name state" of all ports.
func states(d *Daemon) []string {
	var list []string
	for _, p := range d.Ports() {
		list = append(list, p.Name+" "+p.State)
	}
	return list
}

func want(t *testing.T, what string, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func apply(t *testing.T, d *Daemon, text string) api.Applied {
	t.Helper()
	a, err := d.Apply(api.Apply{Document: text, Runtime: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPortsWaitForTheirDevices(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, lan)
	want(t, "at start", states(d), []string{"vm1 down", "ct1 waiting", "mgmt up", "eth0:wire up", "eth0:host up"})

	k.set("veth1", true)
	k.set("vm1", true) // a guest opened its TAP
	want(t, "devices came", states(d), []string{"vm1 up", "ct1 up", "mgmt up", "eth0:wire up", "eth0:host up"})

	k.set("vm1", false)
	k.remove("veth1")
	k.set("eth0", false)
	want(t, "devices went", states(d), []string{"vm1 down", "ct1 waiting", "mgmt up", "eth0:wire down", "eth0:host up"})

	k.set("veth1", true)
	k.remove("vm1") // somebody deleted it: weft makes it again
	want(t, "devices came back", states(d), []string{"vm1 down", "ct1 up", "mgmt up", "eth0:wire down", "eth0:host up"})
}

func TestDeviceReplacedUnderItsNameIsAttachedAnew(t *testing.T) {
	k := newMemKernel(t, "eth0", "veth1")
	d := start(t, k, lan)
	before := k.open["veth1"]
	k.mu.Lock()
	l := k.links["veth1"]
	l.Index = 99
	k.links["veth1"] = l
	k.mu.Unlock()
	k.tell(l)
	if k.open["veth1"] == before {
		t.Error("the new device was not attached")
	}
	want(t, "states", states(d)[1:2], []string{"ct1 up"})
}

func TestApplyRollsBackWhole(t *testing.T) {
	changed := strings.NewReplacer(
		"name: vm1, network: lan", "name: vm1, network: lab", // moves
		"172.16.9.1/24", "172.16.9.2/24", // changes in place
		"- {name: ct1", "- {name: vm9, network: lab}\n  - {name: ct2", // new name, new port
		"mode: isolated}", "mode: isolated, mtu: 9000}\n  - {name: new, mode: isolated}",
	).Replace(lan)
	for what, fault := range map[string]string{
		"a new TAP":              "create vm9",
		"a device of a new name": "veth1",
		"a change in place":      "update mgmt",
	} {
		t.Run(what, func(t *testing.T) {
			k := newMemKernel(t, "eth0", "veth1")
			d := start(t, k, lan)
			ports, networks := d.Ports(), d.Networks()
			attached, taps := k.devices()

			k.failOnce(fault, errBroken)
			_, err := d.Apply(api.Apply{Document: changed, Runtime: true})
			if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "nothing was changed") {
				t.Fatalf("Apply: %v, want %v and that nothing was changed", err, errBroken)
			}
			if diff := cmp.Diff(ports, d.Ports()); diff != "" {
				t.Errorf("ports (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(networks, d.Networks()); diff != "" {
				t.Errorf("networks (-before +after):\n%s", diff)
			}
			nowAttached, nowTAPs := k.devices()
			want(t, "attached", nowAttached, attached)
			want(t, "TAPs", nowTAPs, taps)
			apply(t, d, changed) // and it can be done once the fault is mended
			want(t, "in the end", states(d), []string{"vm1 down", "vm9 down", "ct2 up", "mgmt up", "eth0:wire up", "eth0:host up"})
		})
	}
}

func TestApplyDoesNotTouchWhatDoesNotDiffer(t *testing.T) {
	k := newMemKernel(t, "eth0", "veth1")
	d := start(t, k, lan)
	before := maps.Clone(k.open)
	apply(t, d, strings.Replace(lan, "- {name: ct1", "- {name: vm2, network: lan}\n  - {name: ct1", 1))
	apply(t, d, lan)
	if !maps.Equal(before, k.open) {
		t.Error("an attachment that did not differ was made anew")
	}
}

func TestMovedPortKeepsItsTAP(t *testing.T) {
	k := newMemKernel(t, "eth0", "veth1")
	d := start(t, k, lan)
	k.set("vm1", true)
	index := k.links["vm1"].Index
	apply(t, d, strings.Replace(lan, "name: vm1, network: lan", "name: vm1, network: lab", 1))
	if k.links["vm1"].Index != index {
		t.Error("the TAP was made anew: its guest has lost it")
	}
	want(t, "states", states(d)[:1], []string{"vm1 up"})
}

func TestUplinkFailover(t *testing.T) {
	k := newMemKernel(t, "eth0", "eth1")
	d := start(t, k, `
networks: [{name: lan, mode: bridged, uplinks: [eth0, eth1]}]
ports: [{name: vm1, network: lan, mac: "52:54:00:00:00:01"}]
`)
	uplinks := func() (list []string) {
		for _, u := range d.Networks()[0].Uplinks {
			list = append(list, u.Device+" "+u.State)
		}
		return list
	}
	want(t, "both there", uplinks(), []string{"eth0 active", "eth1 standby"})

	k.set("eth0", false)
	want(t, "eth0 lost its carrier", uplinks(), []string{"eth0 no-carrier", "eth1 active"})
	sent := k.open["eth1"].wire.sent
	if len(sent) != 1 || frame.MACFrom(sent[0][6:]) != 0x5254_0000_0001 || frame.MACFrom(sent[0]) != frame.Broadcast {
		t.Errorf("announced on eth1: %x, want one broadcast by the station of vm1", sent)
	}

	for range 5 {
		d.repair()
	}
	if got, want := len(k.open["eth1"].wire.sent), 1+announceAgain; got != want {
		t.Errorf("announced %d times on eth1 (want %d: a switch may not forward yet)", got, want)
	}

	k.set("eth0", true)
	want(t, "eth0 is back", uplinks(), []string{"eth0 active", "eth1 standby"})

	k.remove("eth0")
	want(t, "eth0 vanished", uplinks(), []string{"eth0 waiting", "eth1 active"})

	k.set("eth1", false)
	if w := d.Status().Warnings; !slices.ContainsFunc(w, func(s string) bool { return strings.Contains(s, "no way outside") }) {
		t.Errorf("warnings: %q, want that the network has no way outside", w)
	}

	before := len(k.open["eth1"].wire.sent)
	k.set("eth1", true)
	if len(k.open["eth1"].wire.sent) == before {
		t.Error("not announced when the cable is back, maybe in another switch")
	}
}

func TestUplinkKnowsTheGuests(t *testing.T) {
	k := newMemKernel(t, "eth0")
	d := start(t, k, `
networks: [{name: lan, mode: bridged, uplinks: [eth0]}]
ports: [{name: vm1, network: lan, mac: "52:54:00:00:00:01"}]
`)
	guests := func() (list []string) {
		for mac, present := range k.open["eth0"].guests {
			if present {
				list = append(list, mac.String())
			}
		}
		slices.Sort(list)
		return list
	}
	want(t, "static", guests(), []string{"52:54:00:00:00:01"})
	if err := d.AddStation("lan", 0x5254_0000_0002, "vm1"); err != nil {
		t.Fatal(err)
	}
	if err := d.AddStation("lan", 0x5254_0000_0003, "eth0:wire"); err != nil {
		t.Fatal(err)
	}
	want(t, "added at run time", guests(), []string{"52:54:00:00:00:01", "52:54:00:00:00:02"})

	k.remove("eth0")
	k.set("eth0", true)
	want(t, "after the NIC came back", guests(), []string{"52:54:00:00:00:01", "52:54:00:00:00:02"})
	stations, err := d.Stations("lan")
	if err != nil || len(stations) != 4 {
		t.Errorf("stations: %v, %v; want the static ones of vm1, wire and host", stations, err)
	}
}

func TestEditsAreWrittenBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weft.yaml")
	text := "# mine\nnetworks:\n  - {name: lab, mode: isolated} # quiet\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	k := newMemKernel(t)
	d := start(t, k, text)
	d.opts.ConfigPath = path

	if _, err := d.EditPort("vm1", control.OpCreate, map[string]any{"network": "lab"}, false); err != nil {
		t.Fatal(err)
	}
	written, _ := os.ReadFile(path)
	if s := string(written); !strings.HasPrefix(s, text) || !strings.Contains(s, "vm1") {
		t.Errorf("file:\n%s\nwant the old text, then vm1", s)
	}
	if _, err := d.EditPort("vm1", control.OpCreate, map[string]any{"network": "lab"}, false); !errors.Is(err, control.ErrConflict) {
		t.Errorf("creating it twice: %v, want ErrConflict", err)
	}
	if _, err := d.EditPort("vm2", control.OpUpdate, nil, false); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("changing what is not there: %v, want ErrNotFound", err)
	}

	// What cannot be written does not run, what cannot run is not written.
	k.fails["create vm3"] = errBroken
	_, err := d.EditPort("vm3", control.OpCreate, map[string]any{"network": "lab"}, false)
	if !errors.Is(err, errBroken) {
		t.Errorf("a port that cannot be made: %v", err)
	}
	if now, _ := os.ReadFile(path); string(now) != string(written) {
		t.Errorf("the refused port was written:\n%s", now)
	}
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := d.EditPort("vm4", control.OpCreate, map[string]any{"network": "lab"}, false); !errors.Is(err, control.ErrReadOnly) {
		t.Errorf("read-only file: %v, want ErrReadOnly", err)
	}
	want(t, "ports", states(d), []string{"vm1 down"})
	if _, err := d.EditPort("vm4", control.OpCreate, map[string]any{"network": "lab"}, true); err != nil {
		t.Errorf("--runtime: %v", err)
	}
	want(t, "ports", states(d), []string{"vm1 down", "vm4 down"})
}

func TestStartNeedsWhatAllPortsNeed(t *testing.T) {
	k := newMemKernel(t, "eth0")
	k.fails["create vm1"] = errBroken
	d := start(t, k, lan) // one port fails, the others run
	want(t, "states", states(d), []string{"vm1 error", "ct1 waiting", "mgmt up", "eth0:wire up", "eth0:host up"})
	k.fails = map[string]error{}
	d.repair()
	want(t, "repaired", states(d)[:1], []string{"vm1 down"})

	for _, hopeless := range []error{tap.ErrNoTUN, tap.ErrNoBPF, os.ErrPermission} {
		k := newMemKernel(t)
		d := start(t, k, "")
		k.fails["create vm1"] = fmt.Errorf("wrapped: %w", hopeless)
		_, err := d.Apply(api.Apply{Document: "networks: [{name: a, mode: isolated}]\nports: [{name: vm1, network: a}]", Runtime: true})
		if !errors.Is(err, hopeless) {
			t.Errorf("apply: %v, want %v", err, hopeless)
		}
	}
}

func TestStartKeepsWhatItsDocumentUsesTheSameWay(t *testing.T) {
	c := parse(t, `{networks: [{name: lan, mode: bridged, uplinks: [n]}], ports: [
		{name: t, network: lan}, {name: h, network: lan, type: host}, {name: d, network: lan, type: device}]}`)
	kept := map[string][]tap.Use{"n": {tap.Attached}, "t": {tap.MadeTAP, tap.Attached}, "h": {tap.MadeHostPort}, "d": {tap.Attached}, "x": nil}
	for device, list := range kept {
		for _, as := range []tap.Use{tap.MadeTAP, tap.MadeHostPort, tap.Attached} {
			if got, want := uses(c, nil, device, as), slices.Contains(list, as); got != want {
				t.Errorf("uses(%s, %d) = %v (want %v)", device, as, got, want)
			}
		}
	}
}
