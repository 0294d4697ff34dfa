package main

import (
	"net/netip"
	"reflect"
	"strings"

	"weft/config"
	"weft/frame"
)

// The short forms of a list's entries. To remove one, as much of it as tells it from
// the others is enough.
const (
	shortForward     = "PROTO:[ADDRESS:]PORT:GUEST:PORT, such as tcp:2222:192.168.150.10:22"
	shortReservation = "MAC,ADDRESS,NAME, such as 52:54:00:00:00:01,192.168.150.10,web"
	shortRoute       = "PREFIX,GUEST, such as 10.7.0.0/16,192.168.150.5"
)

// parseShort reads one entry of a list of type t in its short form.
func parseShort(t reflect.Type, text string) (map[string]any, error) {
	switch t {
	case reflect.TypeFor[config.Forward]():
		return parseForward(text)
	case reflect.TypeFor[config.Reservation]():
		return parseReservation(text)
	case reflect.TypeFor[config.Route]():
		return parseRoute(text)
	}
	return nil, usagef("want {KEY: VALUE, …}")
}

// parseForward reads tcp:2222:192.168.150.10:22, with the address outside before its
// port if there is one, and, to remove a forward, without the guest.
func parseForward(text string) (map[string]any, error) {
	parts := splitColons(text)
	f := map[string]any{"proto": parts[0]}
	rest := parts[1:]
	if len(rest) > 0 {
		if a, err := netip.ParseAddr(strings.Trim(rest[0], "[]")); err == nil {
			f["address"] = a.String()
			rest = rest[1:]
		}
	}
	switch len(rest) {
	case 1:
	case 3:
		f["to"] = rest[1] + ":" + rest[2]
	default:
		return nil, usagef("%q is no forward (want %s)", text, shortForward)
	}
	f["port"] = rest[0]
	return f, nil
}

// splitColons splits s at its colons that are not in brackets, as those of IPv6
// addresses are.
func splitColons(s string) (parts []string) {
	depth, from := 0, 0
	for i, c := range s {
		switch c {
		case '[':
			depth++
		case ']':
			depth--
		case ':':
			if depth == 0 {
				parts, from = append(parts, s[from:i]), i+1
			}
		}
	}
	return append(parts, s[from:])
}

// parseReservation tells what is between the commas by its form.
func parseReservation(text string) (map[string]any, error) {
	r := map[string]any{}
	for part := range strings.SplitSeq(text, ",") {
		key := "name"
		if _, err := frame.ParseMAC(part); err == nil {
			key = "mac"
		} else if a, err := netip.ParseAddr(part); err == nil {
			key = "address6"
			if a.Is4() {
				key = "address"
			}
		}
		if _, twice := r[key]; twice || part == "" {
			return nil, usagef("%q is no reservation (want %s)", text, shortReservation)
		}
		r[key] = part
	}
	return r, nil
}

func parseRoute(text string) (map[string]any, error) {
	to, via, both := strings.Cut(text, ",")
	if strings.Contains(via, ",") {
		return nil, usagef("%q is no route (want %s)", text, shortRoute)
	}
	r := map[string]any{"to": to}
	if both {
		r["via"] = via
	}
	return r, nil
}
