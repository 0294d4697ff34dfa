package config

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// render writes v as YAML on one line, for key of struct type t. A text such as
// "9000" becomes a number where the key wants one.
func render(t reflect.Type, key string, v any) (string, error) {
	if f, ok := fieldOf(t, key); ok && f.Type.Kind() == reflect.Int && f.Type.PkgPath() == "" {
		if s, ok := v.(string); ok && isDecimal(s) {
			return s, nil
		}
	}
	return yamlText(reflect.ValueOf(v))
}

// fieldOf returns the field of t that key names.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == key {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

// isNothing reports whether v stands for a key to remove.
func isNothing(v any) bool {
	r := reflect.ValueOf(v)
	return !r.IsValid() || r.Kind() == reflect.Pointer && r.IsNil()
}

func yamlText(v reflect.Value) (string, error) {
	if !v.IsValid() {
		return "null", nil
	}
	if n, ok := v.Interface().(json.Number); ok {
		return n.String(), nil
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		return quote(string(text)), err
	}
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		return yamlText(v.Elem())
	case reflect.String:
		return quote(v.String()), nil
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Float32, reflect.Float64: // a number that came as JSON
		if math.IsInf(v.Float(), 0) || math.IsNaN(v.Float()) {
			return "", fmt.Errorf("%v is no number to write", v.Float())
		}
		return strconv.FormatFloat(v.Float(), 'f', -1, 64), nil
	case reflect.Slice, reflect.Array:
		items := make([]string, v.Len())
		for i := range items {
			var err error
			if items[i], err = yamlText(v.Index(i)); err != nil {
				return "", err
			}
		}
		return "[" + strings.Join(items, ", ") + "]", nil
	}
	return "", errors.New("no value for a key (want text, a number, true, false, or a list of them)")
}

// quote writes s plainly if every reader of YAML takes it for the text s, in flow
// and block style, and in double quotes if not.
func quote(s string) string {
	tokens := lexer.Tokenize(s)
	plain := len(tokens) == 1 && tokens[0].Type == token.StringType && tokens[0].Value == s &&
		!token.IsNeedQuoted(s) && !strings.ContainsAny(s, ",[]{}:#&*!|>'\"%@`\\ ")
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
