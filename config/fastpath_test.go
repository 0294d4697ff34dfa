package config_test

import (
	"testing"

	"weft/config"
)

// YAML 1.1 takes on and off for truth values, YAML 1.2 for text, and people quote them
// or not.
func TestFastpathReadsWordsAndTruthValues(t *testing.T) {
	for text, want := range map[string]config.Fastpath{
		"on": config.FastpathOn, "On": config.FastpathOn, `"on"`: config.FastpathOn, "true": config.FastpathOn, "~": config.FastpathOn,
		"off": config.FastpathOff, "OFF": config.FastpathOff, "'off'": config.FastpathOff, "false": config.FastpathOff, "xdp": config.FastpathXDP,
	} {
		c := mustParse(t, "networks: [{name: lab, mode: isolated}]\nports: [{name: vm1, network: lab, fastpath: "+text+"}]")
		if got := c.Ports[0].Fastpath; got != want {
			t.Errorf("fastpath: %s is read as %q, want %q", text, got, want)
		}
	}
	if got := mustParse(t, "switch: {fastpath: off}").Switch.Fastpath; got != config.FastpathOff {
		t.Errorf("switch.fastpath: off is read as %q", got)
	}
}
