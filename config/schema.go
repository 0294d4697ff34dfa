package config

import (
	"encoding"
	"math"
	"reflect"
	"slices"
)

// keys returns the keys of struct type t in their order.
func keys(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

// fieldOf returns the field of struct type t that key names.
func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	if t == nil || t.Kind() != reflect.Struct || isText(t) {
		return reflect.StructField{}, false
	}
	i := slices.Index(keys(t), key)
	if i < 0 {
		return reflect.StructField{}, false
	}
	return t.Field(i), true
}

// typeAt returns the type of what stands at path below struct type t, or nil.
func typeAt(t reflect.Type, path []string) reflect.Type {
	for _, key := range path {
		f, ok := fieldOf(t, key)
		if !ok {
			return nil
		}
		t = f.Type
	}
	return t
}

// valueAt returns what stands at path below v, or the zero Value.
func valueAt(v reflect.Value, path []string) reflect.Value {
	for _, key := range path {
		f, ok := fieldOf(v.Type(), key)
		if !ok {
			return reflect.Value{}
		}
		v = v.FieldByIndex(f.Index)
	}
	return v
}

// placeOf returns where key stands among those of struct type t, unknown ones last.
func placeOf(t reflect.Type, key string) int {
	if f, ok := fieldOf(t, key); ok {
		return f.Index[0]
	}
	return math.MaxInt32
}

// isText reports whether values of type t are written as one text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}
