package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// isNothing reports whether v stands for a key to remove.
func isNothing(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}

// numeric reports whether a key of type t takes a number without quotes.
func numeric(t reflect.Type) bool {
	return t != nil && (t.Kind() == reflect.Int && t.PkgPath() == "" || t == reflect.TypeFor[PortRange]())
}

// yamlText writes v as YAML on one line, for a place that has type t, nil if unknown.
// A text such as "9000" becomes a number where one is wanted.
func yamlText(t reflect.Type, v reflect.Value) (string, error) {
	if !v.IsValid() {
		return "null", nil
	}
	if n, ok := v.Interface().(json.Number); ok {
		return n.String(), nil
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		return textOf(t, string(text)), err
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return yamlText(t, v.Elem())
	case reflect.String:
		return textOf(t, v.String()), nil
	case reflect.Bool:
		text := strconv.FormatBool(v.Bool())
		if t == reflect.TypeFor[Fastpath]() {
			text = textOf(t, text)
		}
		return text, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Float32, reflect.Float64: // a number that came as JSON
		if math.IsInf(v.Float(), 0) || math.IsNaN(v.Float()) {
			return "", fmt.Errorf("%v is no number to write", v.Float())
		}
		return strconv.FormatFloat(v.Float(), 'f', -1, 64), nil
	case reflect.Slice, reflect.Array:
		items, err := itemTexts(t, v.Interface())
		return flowList(items), err
	case reflect.Map, reflect.Struct:
		fields, err := fieldTexts(t, v)
		return flowText(fields), err
	}
	return "", errors.New("no value for a key (want text, a number, true, false, a list, or keys with values)")
}

func textOf(t reflect.Type, s string) string {
	var word Fastpath
	switch {
	case numeric(t) && isDecimal(s):
		return s
	case t == reflect.TypeFor[Fastpath]() && word.UnmarshalText([]byte(s)) == nil:
		return string(word) // without quotes: read as a truth value it is the same
	}
	return quote(s)
}

// itemTexts writes the elements of v, a list or one element of it, for a list of
// type t.
func itemTexts(t reflect.Type, v any) ([]string, error) {
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice && list.Kind() != reflect.Array {
		list = reflect.ValueOf([]any{v})
	}
	if t != nil && t.Kind() == reflect.Slice {
		t = t.Elem()
	} else {
		t = nil
	}
	items := make([]string, list.Len())
	for i := range items {
		var err error
		if items[i], err = yamlText(t, list.Index(i)); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// fieldTexts writes the keys of v, a map or a struct, in the order of struct type t.
// What is nothing is left out: null, and in a struct an empty text or list.
func fieldTexts(t reflect.Type, v reflect.Value) ([]field, error) {
	values := map[string]reflect.Value{}
	if v.Kind() == reflect.Map {
		if v.Type().Key().Kind() != reflect.String {
			return nil, errors.New("keys that are no text")
		}
		for _, key := range v.MapKeys() {
			values[key.String()] = v.MapIndex(key)
		}
	} else {
		t = v.Type()
		for i, key := range keys(t) {
			if f := v.Field(i); !f.IsZero() || f.Kind() == reflect.Int || f.Kind() == reflect.Bool {
				values[key] = f
			}
		}
	}
	var fields []field
	for key, value := range values {
		if isNothing(value.Interface()) {
			continue
		}
		text, err := yamlText(typeAt(t, []string{key}), value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		fields = append(fields, field{key, text})
	}
	slices.SortFunc(fields, func(a, b field) int { return comparePaths(t, []string{a.key}, []string{b.key}) })
	return fields, nil
}

// quote writes s plainly if every reader of YAML takes it for the text s, in flow
// and block style, and in double quotes if not.
func quote(s string) string {
	tokens := lexer.Tokenize(s)
	plain := len(tokens) == 1 && tokens[0].Type == token.StringType && tokens[0].Value == s &&
		!token.IsNeedQuoted(s) && !strings.ContainsAny(s, ",[]{}:#&*!|>'\"%@`\\ ") &&
		utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
	if plain {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
