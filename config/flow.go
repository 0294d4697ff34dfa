package config

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A field is a key with its value written as YAML on one line.
type field struct{ key, text string }

// flowText writes keys with their values on one line in braces.
func flowText(fields []field) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = quote(f.key) + ": " + f.text
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// flowList writes items on one line in brackets.
func flowList(items []string) string { return "[" + strings.Join(items, ", ") + "]" }

// flowFields returns the keys of a mapping that flowText wrote, none of anything else.
func flowFields(text string) []field {
	s, n := flow(text)
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return nil
	}
	var fields []field
	for _, mv := range m.Values {
		key, _ := scalar(mv.Key)
		if at, err := s.value(mv); err == nil {
			fields = append(fields, field{key, string(s.data[at.from:at.to])})
		}
	}
	return fields
}

// flowItems returns the items of a list that flowList wrote, none of anything else.
func flowItems(text string) []string {
	s, n := flow(text)
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil
	}
	var items []string
	for _, n := range seq.Values {
		if at, err := s.extent(n); err == nil {
			items = append(items, string(s.data[at.from:at.to]))
		}
	}
	return items
}

// flow returns the tree of a rendered value, with the source that it stands in.
func flow(text string) (*source, ast.Node) {
	s, err := newSource([]byte("v: " + text))
	if err != nil || s.root == nil {
		return nil, nil
	}
	return s, pairOf(s.root, "v").Value
}
