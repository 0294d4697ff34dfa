package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A pair is one key of a mapping and its value.
type pair struct {
	key   string
	line  int
	value ast.Node
}

// pairs returns what a mapping holds, merge keys (<<) resolved: own keys first, and
// they win.
func (b *binder) pairs(path string, n ast.Node, depth int) []pair {
	m, ok := n.(*ast.MappingNode)
	switch {
	case !ok:
		b.fault(path, "", "%s (want keys with values)", kind(n))
		return nil
	case depth > maxDepth:
		b.fault(path, "", "an alias that leads to itself")
		return nil
	}
	var own []pair
	var merged []ast.Node
	for _, mv := range m.Values {
		key, ok := scalar(mv.Key)
		switch {
		case !ok:
			b.fault(path, "", "%s, not a key", kind(mv.Key))
		case mv.Key.IsMergeKey():
			merged = append(merged, mv.Value)
		default:
			own = append(own, pair{key, line(mv.Key), mv.Value})
		}
	}
	for _, n := range merged {
		own = b.merge(path, own, n, depth)
	}
	return own
}

// merge adds the pairs of a merge key's value whose keys are not there yet.
func (b *binder) merge(path string, own []pair, n ast.Node, depth int) []pair {
	if n = b.resolve(path+".<<", n); n == nil {
		return own
	}
	sources := []ast.Node{n}
	if seq, ok := n.(*ast.SequenceNode); ok {
		sources = seq.Values
	}
	for _, source := range sources {
		if source = b.resolve(path+".<<", source); source == nil {
			continue
		}
		for _, p := range b.pairs(path, source, depth+1) {
			if !slices.ContainsFunc(own, func(o pair) bool { return o.key == p.key }) {
				own = append(own, p)
			}
		}
	}
	return own
}

func (b *binder) mapping(path string, n ast.Node, v reflect.Value) {
	t := v.Type()
	first := map[string]int{}
	for _, p := range b.pairs(path, n, 0) {
		at := strings.TrimPrefix(path+"."+inPath(p.key), ".")
		if was, twice := first[p.key]; twice {
			b.fault(at, "", "given twice (first on line %d)", was)
			b.faults[len(b.faults)-1].Line = p.line
			continue
		}
		first[p.key] = p.line
		if i := slices.Index(keys(t), p.key); i >= 0 {
			b.field(at, p, v.Field(i))
		} else if list := single[t][p.key]; list != "" {
			b.listOfOne(at, p, v.Field(slices.Index(keys(t), list)))
		} else {
			b.lines[at] = p.line
			b.unknown(at, p.key, t)
		}
	}
	for one, list := range single[t] {
		if first[one] != 0 && first[list] != 0 {
			b.fault(path+"."+one, "", "given beside %s (want one of them)", list)
		}
	}
}

// inPath writes a key as it stands in a path: quoted if it is no plain word.
func inPath(key string) string {
	if key == "" || strings.ContainsFunc(key, func(c rune) bool { return !isAlnum(c) && c != '_' && c != '-' }) {
		return strconv.Quote(excerpt(key))
	}
	return key
}

// field binds the value of one key. Null counts as left out.
func (b *binder) field(path string, p pair, v reflect.Value) {
	if p.value.Type() != ast.NullType {
		b.lines[path] = p.line
		b.value(path, p.value, v)
	}
}

// listOfOne binds one value to a list.
func (b *binder) listOfOne(path string, p pair, list reflect.Value) {
	one := reflect.New(list.Type().Elem()).Elem()
	b.field(path, p, one)
	if list.Len() == 0 && b.given(path) {
		list.Set(reflect.Append(list, one))
	}
}

func (b *binder) unknown(path, key string, t reflect.Type) {
	known := keys(t)
	near := nearest(key, known)
	switch {
	case slices.Contains(later[t], key):
		b.fault(path, "", "not available in this version")
	case near != "":
		b.fault(path, "", "unknown key (did you mean %q?)", near)
	default:
		b.fault(path, "", "unknown key (want one of %s)", strings.Join(known, ", "))
	}
}

// nearest returns the name that s was probably meant to be, or "".
func nearest(s string, names []string) string {
	best, found := 3, ""
	for _, name := range names {
		if d := distance(s, name); d < best && d <= len(name)/2 {
			best, found = d, name
		}
	}
	return found
}

// distance returns how many letters to add, remove, change or swap with their
// neighbour to make a into b: optimal string alignment. Far apart is 99.
func distance(a, b string) int {
	const far = 99
	if len(a) > len(b)+2 || len(b) > len(a)+2 {
		return far
	}
	var before, above []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, above[j+1]+1, above[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
