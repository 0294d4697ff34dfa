package main

import (
	"os/exec"
	"strings"
	"testing"

	"weft/internal/control/controltest"
)

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := weft(t, "", "completion", shell)
		if r.status != exitDone || !strings.Contains(r.stdout, "__complete") {
			t.Errorf("%s: status %d, %d bytes, %s", shell, r.status, len(r.stdout), r.stderr)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			continue // the shell's own judgement is an extra
		}
		cmd := exec.CommandContext(t.Context(), path, "-n")
		cmd.Stdin = strings.NewReader(r.stdout)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", shell, err, out)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Setenv("WEFT_SOCKET", controltest.Serve(t, controltest.New()))
	for line, want := range map[string]string{
		"port show ":                             "vm1 vm2 eth0:wire",
		"port show vm1 ":                         "",
		"capture ":                               "vm1 vm2 eth0:wire",
		"capture eth":                            "eth0:wire",
		"network delete ":                        "lan lab default dmz",
		"network add ":                           "",
		"network add new mode=":                  "mode=nat mode=routed mode=bridged mode=isolated",
		"network set lan mt":                     "mtu=",
		"network set lan mtu=1 ":                 "ageing= dhcp. dns. forwards+= forwards-= mode= nat. proxy= reach= routes+= routes-= stations= subnets= uplinks=",
		"network set lan ageing=":                "",
		"network set lan dhcp.":                  "dhcp.enabled= dhcp.lease= dhcp.quota= dhcp.range= dhcp.reservations+= dhcp.reservations-=",
		"network set lan nat.f":                  "nat.filtering=",
		"network set lan nat.filtering=endpoint": "nat.filtering=endpoint-independent",
		"network set lan dns.enabled=":           "dns.enabled=true dns.enabled=false",
		"network set lan reach+=d":               "reach+=default reach+=dmz",
		"network set lan what=":                  "",
		"network set lan what.":                  "",
		"port set vm1 network=":                  "network=lan network=lab network=default network=dmz",
		"port set vm1 fastpath=":                 "fastpath=on fastpath=off fastpath=xdp",
		"port set vm1 type=d":                    "type=device",
		"fdb add lan ":                           "",
		"fdb add lan 52:54:00:00:00:1 ":          "vm1 vm2 eth0:wire",
		"fdb flush --port ":                      "vm1 vm2 eth0:wire",
		"nat show ":                              "default",
		"nat flush default ":                     "",
		"nat show --port ":                       "vm1 vm2 eth0:wire",
		"lease list ":                            "default dmz",
		"lease release default ":                 "192.168.150.10 192.168.150.101 fd5a:150::10",
		"fastpath show ":                         "vm1 vm2 eth0:wire",
		"explain vm":                             "vm1 vm2",
		"explain vm1 ":                           "",
		"route show ":                            "default dmz",
		"completion ":                            "bash zsh fish",
	} {
		words := strings.Fields(line)
		if strings.HasSuffix(line, " ") {
			words = append(words, "")
		}
		r := weft(t, "", append([]string{"__complete"}, words...)...)
		part := words[len(words)-1]
		var got []string
		for offer := range strings.Lines(r.stdout) {
			word, _, _ := strings.Cut(strings.TrimSpace(offer), "\t")
			if !strings.HasPrefix(word, ":") && strings.HasPrefix(word, part) { // as the shells do
				got = append(got, word)
			}
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%q completes to %q, want %q", line, g, want)
		}
	}
}

// Without a daemon completion offers nothing, and says nothing into the prompt.
func TestCompletionWithoutDaemon(t *testing.T) {
	t.Setenv("WEFT_SOCKET", "/nonexistent/weft.sock")
	r := weft(t, "", "__complete", "port", "show", "")
	if r.status != exitDone || r.stdout != ":4\n" {
		t.Errorf("status %d, %q", r.status, r.stdout)
	}
}
