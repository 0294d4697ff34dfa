package config

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"
)

// ParseValue reads a value as it stands in a document, such as {lease: 2h, quota: 3}
// or [eth0, eth1]. A mapping becomes a map[string]any, a list a []any, a whole number
// an int64, true and false a bool, null nil, all else a string.
func ParseValue(text string) (any, error) {
	root, faults := syntax([]byte("v: " + text))
	if err := faults.err(); err != nil {
		return nil, fmt.Errorf("%q is not written as YAML has it", text)
	}
	m, ok := root.(*ast.MappingNode)
	if !ok || len(m.Values) != 1 {
		return nil, fmt.Errorf("%q is more than one value", text)
	}
	return plainValue(m.Values[0].Value)
}

func plainValue(n ast.Node) (any, error) {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.SequenceNode:
		list := make([]any, len(n.Values))
		for i, item := range n.Values {
			var err error
			if list[i], err = plainValue(item); err != nil {
				return nil, err
			}
		}
		return list, nil
	case *ast.MappingNode:
		values := map[string]any{}
		for _, mv := range n.Values {
			key, ok := scalar(mv.Key)
			if _, twice := values[key]; twice || !ok || mv.Key.IsMergeKey() {
				return nil, fmt.Errorf("%q: not a key, or given twice", key)
			}
			v, err := plainValue(mv.Value)
			if err != nil {
				return nil, err
			}
			values[key] = v
		}
		return values, nil
	}
	s, ok := scalar(n)
	if !ok {
		return nil, errors.New("anchors, aliases and tags are for whole documents only")
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil && n.Type() == ast.IntegerType && strconv.FormatInt(i, 10) == s {
		return i, nil
	}
	return s, nil
}
