package lease

import (
	"strings"
	"testing"
)

func TestLabelKeepsToRFC1123(t *testing.T) {
	for in, want := range map[string]string{
		"web":                         "web",
		"Web-1.example.org.":          "web-1",
		"DESKTOP_4711":                "desktop-4711",
		"10":                          "10",
		"-x-":                         "x",
		"Jürgens Laptop":              "j--rgens-laptop",
		"":                            "",
		".":                           "",
		"...":                         "",
		"---":                         "",
		"\x00\xff\n":                  "",
		"a\x00b":                      "a-b",
		"localhost":                   "",
		"WPAD":                        "",
		"isatap.example.org":          "",
		strings.Repeat("a", 70):       strings.Repeat("a", 63),
		strings.Repeat("a", 62) + "_": strings.Repeat("a", 62),
	} {
		if got := Label(in); got != want {
			t.Errorf("Label(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzLabel(f *testing.F) {
	for _, s := range []string{"web", "a_b", "wpad", "x.y", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := Label(s)
		if len(l) > 63 || Label(l) != l || strings.HasPrefix(l, "-") || strings.HasSuffix(l, "-") ||
			strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("Label(%q) = %q", s, l)
		}
	})
}
