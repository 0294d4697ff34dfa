package main

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"weft/config"
)

// A key is one that an edit may set: of an entry's own, or dotted one of a mapping in
// it. An entry is a config.Network or config.Port.
type key struct {
	name string
	kind reflect.Type // of its value
}

// keys returns the keys of an entry in their order, those of mappings behind them.
func keys(entry any) []key { return keysOf(reflect.TypeOf(entry), "") }

func keysOf(t reflect.Type, prefix string) (known []key) {
	for _, field := range reflect.VisibleFields(t) {
		name := field.Tag.Get("yaml")
		if name == "" || prefix == "" && name == "name" { // an entry's name is an argument of its own
			continue
		}
		kind := field.Type
		if kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}
		known = append(known, key{prefix + name, kind})
		if isMapping(kind) {
			known = append(known, keysOf(kind, prefix+name+".")...)
		}
	}
	return known
}

// isMapping reports whether values of type t are keys with values, and not a text.
func isMapping(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// find returns the key of that name, which may be dotted. As in the file uplink stands
// for uplinks, of one.
func find(known []key, name string) (key, error) {
	if i := slices.IndexFunc(known, func(k key) bool { return k.name == "uplinks" }); i >= 0 && name == "uplink" {
		return key{name, known[i].kind.Elem()}, nil
	}
	i := slices.IndexFunc(known, func(k key) bool { return k.name == name })
	if i >= 0 {
		return known[i], nil
	}
	around, _, _ := cutLast(name, ".")
	var names []string
	for _, k := range known {
		if in, _, _ := cutLast(k.name, "."); in == around {
			names = append(names, k.name)
		}
	}
	if len(names) == 0 {
		return key{}, usagef("unknown key %q: %s has no keys below it", name, around)
	}
	slices.Sort(names)
	return key{}, usagef("unknown key %q (want %s)", name, strings.Join(names, ", "))
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// parseValues reads KEY=VALUE pairs into the values of an edit of entry. KEY= removes
// the key, KEY+=VALUE adds to a list, KEY-=VALUE removes from it.
func parseValues(entry any, pairs []string) (map[string]any, error) {
	known := keys(entry)
	values := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		name, text, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("%q is not KEY=VALUE", pair)
		}
		k, err := find(known, strings.TrimRight(name, "+-"))
		if err != nil {
			return nil, err
		}
		if name != k.name {
			if err := k.change(values, name[len(k.name):], text); err != nil {
				return nil, usagef("%s: %w", pair, err)
			}
			continue
		}
		if _, twice := values[name]; twice {
			return nil, usagef("%s is given twice", name)
		}
		v, err := parseValue(k.kind, text)
		if err != nil {
			return nil, usagef("%s: %w", pair, err)
		}
		values[name] = v
	}
	return values, nil
}

// change takes in KEY+=VALUE or KEY-=VALUE, by its sign. There may be several for one
// list.
func (k key) change(values map[string]any, sign, text string) error {
	switch {
	case sign != "+" && sign != "-":
		return usagef("want =, += or -= behind the key")
	case k.kind.Kind() != reflect.Slice:
		return usagef("%s is no list (want %[1]s=VALUE)", k.name)
	case text == "":
		return usagef("empty (want what is to be added or removed)")
	}
	items, err := parseItems(k.kind.Elem(), text)
	if err != nil {
		return err
	}
	before, _ := values[k.name+sign].([]any)
	values[k.name+sign] = append(before, items...)
	return nil
}

func parseValue(t reflect.Type, text string) (any, error) {
	inBraces := text != "" && (text[0] == '{' || text[0] == '[')
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
	case t.Kind() == reflect.Slice && !inBraces:
		return parseItems(t.Elem(), text)
	case isMapping(t) && !inBraces:
		return nil, usagef("want {KEY: VALUE, …}, or its keys one by one, such as %s=", firstOf(t))
	case t.Kind() == reflect.Slice || isMapping(t):
		return config.ParseValue(text)
	}
	return text, nil
}

// firstOf shows how a key of a mapping is reached.
func firstOf(t reflect.Type) string { return "KEY." + t.Field(0).Tag.Get("yaml") }

// parseItems reads items of a list whose elements have type t: texts between commas,
// one mapping in its short form, or either as YAML.
func parseItems(t reflect.Type, text string) ([]any, error) {
	if text[0] == '{' || text[0] == '[' && isMapping(t) {
		v, err := config.ParseValue(text)
		if list, ok := v.([]any); ok {
			return list, err
		}
		return []any{v}, err
	}
	if isMapping(t) {
		item, err := parseShort(t, text)
		return []any{item}, err
	}
	var items []any
	for item := range strings.SplitSeq(text, ",") {
		items = append(items, item)
	}
	return items, nil
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
