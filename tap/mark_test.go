package tap

import "testing"

func TestMarkRoundTrip(t *testing.T) {
	for _, m := range []mark{
		{role: rolePort, of: "vm1"},
		{role: roleHost, of: "mgmt", home: 4026531840},
		{role: roleGateway, of: "default", home: 4026531840},
		{role: roleCompanion, of: "vm1"},
		{role: roleCompanion, of: "vm1", qdisc: true},
		{role: roleWireCompanion, of: "eth0", qdisc: true},
		{role: roleHostCompanion, of: "eth0"},
	} {
		if got := parseMark(m.String()); got != m {
			t.Errorf("%q read as %+v, want %+v", m, got, m)
		}
	}
	for _, alias := range []string{"", "weft", "weft: ", "weft: something else", "my weft: port vm1", "uplink to core 1"} {
		if m := parseMark(alias); !m.absent || m.isCompanion() {
			t.Errorf("%q read as weft's mark %+v", alias, m)
		}
	}
}

func TestCompanionNamesDiffer(t *testing.T) {
	seen := make(map[string]string)
	for _, device := range []string{
		"vm1", "eth0", "w-eth0", "h-eth0", "w-w-eth0", "x-eth0", "a-long-name-15b", "a-long-name-15c", "exactly-12by", "ten-bytes-",
		"eleven-byte",
	} {
		for _, r := range []role{roleCompanion, roleWireCompanion, roleHostCompanion} {
			name := companionName(r, device)
			if len(name) > nameMax || name[:3] != "wf-" {
				t.Errorf("%s %s: %q is not a name wf-… of at most %d bytes", r, device, name, nameMax)
			}
			what := string(r) + " " + device
			if other, ok := seen[name]; ok {
				t.Errorf("%s is the name for both %s and %s", name, other, what)
			}
			seen[name] = what
		}
	}
	if got := companionName(roleCompanion, "vm1"); got != "wf-vm1" {
		t.Errorf("companion of vm1 is %s", got)
	}
}
