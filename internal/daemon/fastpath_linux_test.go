package daemon

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"weft/config"
	"weft/fastpath"
	"weft/frame"
	"weft/internal/control"
	"weft/internal/control/api"
)

// remembering returns a daemon with a flow cache of the kernel's, which serves vm1 and
// the wire of eth0, and knows the session of explaining and what a guest sends another.
func remembering(t *testing.T) *Daemon {
	d, _ := explaining(t)
	c, err := fastpath.New(fastpath.Config{Flows: 64})
	if errors.Is(err, os.ErrPermission) && os.Getenv("WEFT_E2E_REQUIRED") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	vm1, vm2, wire := d.ports["vm1"].id, d.ports["vm2"].id, d.uplinkLocked("eth0").wire
	for i, id := range []frame.PortID{vm1, vm2, wire} {
		if err := c.SetPort(id, fastpath.Port{Index: 1000 + i, Queue: 2000 + i}); err != nil {
			t.Fatal(err)
		}
	}
	d.flows.fault = nil
	d.flows.cache.Store(c)
	t.Cleanup(func() { d.flows.cache.Store(nil) })
	gateway := d.networks["default"].gateway.att.MAC()
	was, _ := frameOf(through(flow("udp", "192.168.150.10:4000", "198.51.100.1:53"), 0x525400000001, gateway)).Flow()
	is, _ := frameOf(through(flow("udp", "192.0.2.2:4000", "198.51.100.1:53"), 0x020000000001, 0x0200000000fe)).Flow()
	since := c.Mark()
	c.Remember(&frame.Decision{In: vm1, Out: wire, Was: was, Is: is, ByFlow: true, Basis: frame.Basis{Routed: true, Session: 1}}, since)
	between := frame.Flow{Src: 0x525400000001, Dst: 0x525400000002}
	c.Remember(&frame.Decision{In: vm1, Out: vm2, Was: between, Is: between}, since)
	c.Refuse(vm2, &was, frame.RefusedOnce)
	return d
}

func TestFastpathAnswers(t *testing.T) {
	d := remembering(t)
	all, err := d.Fastpath(api.FastpathQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if all.Flows != 2 || all.Capacity != 64 || all.Refused["once"] != 1 || !all.Enabled || len(all.Entries) != 2 || len(all.Refusals) != 0 {
		t.Errorf("answered %+v", all)
	}
	one, err := d.Fastpath(api.FastpathQuery{Port: "eth0:wire", Limit: 1})
	if err != nil || len(one.Entries) != 1 {
		t.Fatalf("of eth0:wire %+v, %v", one.Entries, err)
	}
	e, f := one.Entries[0], flow("udp", "192.168.150.10:4000", "198.51.100.1:53")
	e.Age, e.Idle = 0, 0
	want := api.FastpathEntry{
		In: "vm1", Out: "eth0:wire", Kind: kindFlow, Flow: through(f, 0x525400000001, e.Dst), State: "fresh",
		NewFrom: flow("udp", "192.0.2.2:4000", "198.51.100.1:53").From, NewTo: f.To,
	}
	if e != want {
		t.Errorf("entry %+v, want %+v", e, want)
	}
	refused, err := d.Fastpath(api.FastpathQuery{Port: "vm2", Refused: true})
	if err != nil || len(refused.Refusals) != 1 || refused.Refusals[0].Reason != "once" || refused.Refusals[0].Flow != want.Flow || len(refused.Entries) != 0 {
		t.Errorf("refused %+v, %v", refused, err)
	}
	if other, err := d.Fastpath(api.FastpathQuery{Port: "vm1", Refused: true}); err != nil || len(other.Refusals) != 0 {
		t.Errorf("refused at vm1 %+v, %v", other.Refusals, err)
	}
	if _, err := d.Fastpath(api.FastpathQuery{Port: "none"}); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("of a port that is not there: %v", err)
	}
}

func TestExplainReadsTheKernelsFlowCache(t *testing.T) {
	d := remembering(t)
	for _, f := range []api.Flow{flow("udp", "192.168.150.10:4000", "198.51.100.1:53"), {Dst: 0x525400000002}} {
		way, err := d.Explain(api.Explain{Port: "vm1", Flow: f})
		if err != nil {
			t.Fatal(err)
		}
		last := way.Steps[len(way.Steps)-1]
		want := map[bool]string{
			true:  "known by its flow, fresh to eth0:wire: frames so far 0, the last 0s ago",
			false: "known by its two stations, fresh to vm2: frames so far 0, the last 0s ago",
		}[f.Protocol != ""]
		if last.Stage != "flow-cache" || last.Says != want {
			t.Errorf("%s: %+v, want %s", flowText(f), last, want)
		}
	}
}

func TestFlushOfTheFlowCache(t *testing.T) {
	d := remembering(t)
	n, err := d.FlushFastpath()
	left, err2 := d.Fastpath(api.FastpathQuery{})
	if err := errors.Join(err, err2); err != nil || n != 2 || len(left.Entries) != 0 || left.Flows != 0 {
		t.Errorf("%d entries forgotten, left %+v, %v", n, left, err)
	}
}

// A cache that is off tells why.
func TestFastpathSaysWhyItIsOff(t *testing.T) {
	d, _ := explaining(t)
	for want, set := range map[string]func(){
		"weftd is about to start it": func() { d.flows.fault = nil },
		errBroken.Error():            func() { d.flows.fault = errBroken },
		"by switch: {fastpath: off}": func() { c := *d.cfg; c.Switch.Fastpath = config.FastpathOff; d.cfg = &c },
	} {
		before, fault := d.cfg, d.flows.fault
		set()
		if got, err := d.Fastpath(api.FastpathQuery{}); err != nil || got.Enabled || got.Detail != want {
			t.Errorf("%+v, %v, want it off: %s", got, err, want)
		}
		d.cfg, d.flows.fault = before, fault
	}
	if n, err := d.FlushFastpath(); n != 0 || err != nil {
		t.Errorf("%d entries of no cache forgotten, %v", n, err)
	}
}

// Whoever asks how weft is learns that it does without, unless he wants it so.
func TestDoctorMissesTheFlowCache(t *testing.T) {
	d, _ := explaining(t)
	said := func() (list []string) {
		for _, f := range d.Doctor() {
			if strings.Contains(f.Text, errBroken.Error()) && f.Severity == sevWarning && f.Remedy != "" {
				list = append(list, f.Text)
			}
		}
		return list
	}
	d.flows.fault = errBroken
	missed := []string{"all frames come to weft: " + errBroken.Error()}
	want(t, "doctor", said(), missed)
	if got := d.Status().Warnings; !slices.Contains(got, missed[0]) {
		t.Errorf("status warns of %q, want %q", got, missed)
	}
	c := *d.cfg
	c.Switch.Fastpath = config.FastpathOff
	d.cfg = &c
	want(t, "doctor, of one that is off", said(), nil)
}
