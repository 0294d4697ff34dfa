package tap

import (
	"strconv"
	"strings"
	"testing"
)

func TestPortSetInTheKernelsWay(t *testing.T) {
	for list, want := range map[string]string{
		"":                      "",
		"80":                    "80",
		"8000-8010,80\n":        "80,8000-8010",
		"1,2,3,5":               "1-3,5",
		"0-65535":               "0-65535",
		"65535,0":               "0,65535",
		"100-200,150-300":       "100-300",
		"8080,9148":             "8080,9148",
		"49152-65535,1024-2000": "1024-2000,49152-65535",
	} {
		s, err := parsePorts(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
			continue
		}
		if got := s.String(); got != want {
			t.Errorf("%q reads as %q, want %q", list, got, want)
		}
	}
	for _, bad := range []string{"a", "1-", "-1", "2-1", "65536", "1,,2", "1-2-3", "1 2"} {
		if s, err := parsePorts(bad); err == nil {
			t.Errorf("%q reads as %q", bad, s)
		}
	}
}

func TestPortSetRemove(t *testing.T) {
	s, _ := parsePorts("10-20,63-64,128")
	less, _ := parsePorts("12,15-63,128,4000")
	s.remove(less)
	if got := s.String(); got != "10-11,13-14,64" || s.len() != 5 {
		t.Errorf("%q, %d ports", got, s.len())
	}
}

func FuzzPortSet(f *testing.F) {
	for _, list := range []string{"", "1-3,5", "65535", "0-65535", "7-3"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		s, err := parsePorts(list)
		if err != nil {
			return
		}
		again, err := parsePorts(s.String())
		if err != nil || *again != *s {
			t.Fatalf("%q was written as %q, which reads otherwise: %v", list, s, err)
		}
		for part := range strings.SplitSeq(s.String(), ",") {
			first, _, _ := strings.Cut(part, "-")
			if n, err := strconv.Atoi(first); part != "" && (err != nil || !s.has(n)) {
				t.Fatalf("%q: %q is not of the set", list, part)
			}
		}
	})
}
