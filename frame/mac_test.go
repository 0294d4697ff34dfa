package frame_test

import (
	"testing"

	"weft/frame"
)

func TestMACTextRoundTrip(t *testing.T) {
	for in, want := range map[string]string{
		"52:54:00:12:34:56": "52:54:00:12:34:56",
		"52-54-00-AB-CD-EF": "52:54:00:ab:cd:ef",
		"5254.0012.3456":    "52:54:00:12:34:56",
		"00:00:00:00:00:00": "00:00:00:00:00:00",
		"ff:ff:ff:ff:ff:ff": "ff:ff:ff:ff:ff:ff",
	} {
		var m frame.MAC
		if err := m.UnmarshalText([]byte(in)); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got, _ := m.MarshalText(); string(got) != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
		var p [6]byte
		m.Put(p[:])
		if frame.MACFrom(p[:]) != m {
			t.Errorf("%s: bytes %x read back as %v", in, p, frame.MACFrom(p[:]))
		}
	}
}

func TestParseMACRefuses(t *testing.T) {
	for _, s := range []string{"", "52:54:00:12:34", "52:54:00:12:34:5g", "52:54:00:12:34:56:78:9a"} {
		if m, err := frame.ParseMAC(s); err == nil {
			t.Errorf("%q is taken for %v", s, m)
		}
	}
	m := frame.MAC(7)
	if err := m.UnmarshalText([]byte("x")); err == nil || m != 7 {
		t.Errorf("error %v, address changed to %v", err, m)
	}
}

func TestMACKinds(t *testing.T) {
	for s, want := range map[string]struct{ group, reserved bool }{
		"52:54:00:12:34:56": {false, false},
		"ff:ff:ff:ff:ff:ff": {true, false},
		"01:00:5e:00:00:01": {true, false},
		"33:33:00:00:00:01": {true, false},
		"01:80:c2:00:00:00": {true, true},
		"01:80:c2:00:00:0e": {true, true},
		"01:80:c2:00:00:0f": {true, true},
		"01:80:c2:00:00:10": {true, false},
		"00:80:c2:00:00:00": {false, false},
	} {
		m, err := frame.ParseMAC(s)
		if err != nil {
			t.Fatal(err)
		}
		if m.IsGroup() != want.group || m.IsReserved() != want.reserved {
			t.Errorf("%s: group %v, reserved %v, want %+v", s, m.IsGroup(), m.IsReserved(), want)
		}
	}
}
