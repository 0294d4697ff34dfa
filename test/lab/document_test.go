package lab

import "testing"

func TestWithoutFastpath(t *testing.T) {
	const off = "switch: {fastpath: off}\n"
	for _, c := range []struct{ text, want string }{
		{"", off},
		{"networks: []\n", "networks: []\n" + off},
		{"networks: []", "networks: []\n" + off},
		{"switch: {workers: 2}\nports: []\n", "switch: {fastpath: off, workers: 2}\nports: []\n"},
		{"switch:\n  workers: 2\n  stations: 9\n", "switch:\n  fastpath: off\n  workers: 2\n  stations: 9\n"},
		{"# switch: {}\nports: []\n", "# switch: {}\nports: []\n" + off},
	} {
		if got := withoutFastpath(c.text); got != c.want {
			t.Errorf("%q became %q, want %q", c.text, got, c.want)
		}
	}
}
