package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/config"
)

func TestParseValue(t *testing.T) {
	for text, want := range map[string]any{
		"eth0": "eth0", "": nil, "~": nil, "true": true, "2222": int64(2222), "007": "007", "0x10": "0x10", "1.5": "1.5", `"22"`: "22",
		"8000-8010": "8000-8010", "52:54:00:00:00:01": "52:54:00:00:00:01", "[]": []any{}, "{}": map[string]any{},
		"{lease: 2h, quota: 3}": map[string]any{"lease": "2h", "quota": int64(3)},
		`[{proto: tcp, port: 2222, to: 192.168.150.10:22}, {to: "[fd00::1]:22", address: ~}]`: []any{
			map[string]any{"proto": "tcp", "port": int64(2222), "to": "192.168.150.10:22"},
			map[string]any{"to": "[fd00::1]:22", "address": nil},
		},
		"{reservations: [{mac: 52:54:00:12:34:56}]}": map[string]any{"reservations": []any{map[string]any{"mac": "52:54:00:12:34:56"}}},
	} {
		got, err := config.ParseValue(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got:\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"{", "[a", "{a: 1, a: 2}", "a\nb: c", "&x a", "*x", "!!str a", "{<<: {a: b}}", "{[a]: b}", "a: b"} {
		if got, err := config.ParseValue(text); err == nil {
			t.Errorf("%s: accepted as %v", text, got)
		}
	}
}
