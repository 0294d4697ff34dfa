package main

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// keys returns the YAML keys that an edit of entry, a config.Network or
// config.Port, may set, with the kind of value each takes.
func keys(entry any) map[string]reflect.Type {
	known := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(reflect.TypeOf(entry)) {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if key == "" || key == "-" || key == "name" { // the name is an argument of its own
			continue
		}
		t := field.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		known[key] = t
	}
	return known
}

// parseValues reads KEY=VALUE pairs into the values of an edit of entry. KEY=
// removes the key.
func parseValues(entry any, pairs []string) (map[string]any, error) {
	known := keys(entry)
	values := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		key, text, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("%q is not KEY=VALUE", pair)
		}
		t, ok := known[key]
		if !ok {
			return nil, usagef("unknown key %q (want %s)", key, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if _, twice := values[key]; twice {
			return nil, usagef("%s is given twice", key)
		}
		v, err := parseValue(t, text)
		if err != nil {
			return nil, usagef("%s: %w", pair, err)
		}
		values[key] = v
	}
	return values, nil
}

func parseValue(t reflect.Type, text string) (any, error) {
	switch {
	case text == "":
		return nil, nil
	case t == reflect.TypeFor[int](): // not its namesakes, such as Duration, which are written as text
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, usagef("%q is not a whole number", text)
		}
		return n, nil
	case t.Kind() == reflect.Bool:
		return parseSwitch(text)
	case t.Kind() == reflect.Slice:
		return strings.Split(text, ","), nil
	}
	return text, nil
}

func parseSwitch(text string) (bool, error) {
	switch text {
	case "true", "on", "yes":
		return true, nil
	case "false", "off", "no":
		return false, nil
	}
	return false, usagef("%q is neither true nor false", text)
}
