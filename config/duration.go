package config

import (
	"fmt"
	"time"
)

// String formats whole seconds as "300s", everything else as time.Duration does.
func (d Duration) String() string {
	if t := time.Duration(d); t%time.Second == 0 {
		return fmt.Sprintf("%ds", t/time.Second)
	}
	return time.Duration(d).String()
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a number with a unit: "300s", "5m", "1h30m". A number without
// one is refused: nobody remembers whether it counts seconds or milliseconds.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if isDecimal(s) && s != "0" {
		return fmt.Errorf("%s has no unit (want %ss, or minutes such as 5m)", s, s)
	}
	t, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration (want a number with a unit such as 300s or 5m)", s)
	}
	*d = Duration(t)
	return nil
}

// isDecimal reports whether s is written in decimal digits only.
func isDecimal(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}
