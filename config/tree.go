package config

import (
	"maps"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// A tree is what a document says, without its form: the top keys and below them
// strings for scalars, []any, map[string]any, and ref for aliases.
type tree map[string]any

type ref string

func treeOf(data []byte) tree {
	root, _ := syntax(data)
	t, ok := branch(root).(map[string]any)
	if !ok {
		return tree{}
	}
	maps.DeleteFunc(t, func(_ string, v any) bool { list, ok := v.([]any); return v == nil || ok && len(list) == 0 })
	return t
}

func branch(n ast.Node) any {
	switch n := n.(type) {
	case nil, *ast.NullNode:
		return nil
	case *ast.MappingNode:
		m := map[string]any{}
		for _, mv := range n.Values {
			key, _ := scalar(mv.Key)
			m[key] = branch(mv.Value)
		}
		return m
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, v := range n.Values {
			list[i] = branch(v)
		}
		return list
	case *ast.AliasNode:
		return ref(n.Value.GetToken().Value)
	case *ast.AnchorNode:
		return []any{ref(n.Name.GetToken().Value), branch(n.Value)}
	}
	s, _ := scalar(n)
	return s
}

// valueOf returns the tree of a rendered value.
func valueOf(text string) any { return treeOf([]byte("v: [" + text + "]"))["v"].([]any)[0] }

func (t tree) entries(list string) []any { l, _ := t[list].([]any); return l }

// change does what c does to the text.
func (t tree) change(list string, i int, c change) {
	entries := t.entries(list)
	if i >= len(entries) {
		return
	}
	in, ok := entries[i].(map[string]any)
	for _, key := range c.path[:len(c.path)-1] {
		if ok && in[key] == nil && c.text != "" {
			in[key] = map[string]any{}
		}
		in, ok = in[key].(map[string]any)
	}
	if !ok {
		return // an alias, or what is no mapping: the text has refused the change
	}
	key := c.path[len(c.path)-1]
	items, _ := in[key].([]any)
	switch {
	case c.op == opAdd:
		in[key] = append(items, valueOf(c.text))
	case c.op == opDrop:
		in[key] = slices.Delete(items, c.item, c.item+1)
	case c.text == "":
		delete(in, key)
	default:
		in[key] = valueOf(c.text)
	}
}

func (t tree) add(list string, fields []field) {
	entry := map[string]any{}
	for _, f := range fields {
		entry[f.key] = valueOf(f.text)
	}
	t[list] = append(t.entries(list), entry)
}

func (t tree) remove(list string, i int) {
	if left := slices.Delete(t.entries(list), i, i+1); len(left) > 0 {
		t[list] = left
	} else {
		delete(t, list)
	}
}
