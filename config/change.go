package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// An edit is what somebody wants of one key of an entry.
type edit struct {
	path      []string // dhcp, lease
	text      string   // the value as YAML on one line; "" removes the key
	list      bool     // instead of text:
	drop, add []string // items of the list to go and to come
}

// An operation is what a change does to the text.
type operation uint8

const (
	opSet  operation = 1 + iota // give the key the value text; remove it if text is ""
	opAdd                       // put an item behind the others of a list
	opDrop                      // take an item out of a list
)

// A change is one step of an edit, at what the document has.
type change struct {
	path []string
	op   operation
	text string // opSet, opAdd
	item int    // opDrop: its index
}

func dotted(path []string) string { return strings.Join(path, ".") }

// editsOf reads the values of an edit of struct type t, in the order of its keys.
func editsOf(t reflect.Type, values map[string]any) ([]edit, error) {
	byPath := map[string]*edit{}
	for key, v := range values {
		name := strings.TrimRight(key, "+-")
		e := byPath[name]
		if e == nil {
			e = &edit{path: strings.Split(name, ".")}
			byPath[name] = e
		} else if !e.list || name == key {
			return nil, fmt.Errorf("%s: set as a whole and changed at once (want one of them)", name)
		}
		if err := e.read(t, key[len(name):], v); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	var edits []edit
	for _, e := range byPath {
		edits = append(edits, *e)
	}
	slices.SortFunc(edits, func(a, b edit) int { return comparePaths(t, a.path, b.path) })
	for i := 1; i < len(edits); i++ {
		if a, b := edits[i-1].path, edits[i].path; len(a) < len(b) && slices.Equal(a, b[:len(a)]) {
			return nil, fmt.Errorf("%s: set beside %s (want one of them)", dotted(a), dotted(b))
		}
	}
	return edits, legible(edits)
}

// legible refuses what no document may hold, such as lists in lists in lists.
func legible(edits []edit) error {
	texts := []string{flowText(newFields(edits, 0))}
	for _, e := range edits {
		texts = append(texts, e.drop...)
	}
	_, faults := syntax([]byte("v: " + flowList(texts)))
	return faults.err()
}

// read takes in the value of the key with what stands behind it: nothing, + or -.
func (e *edit) read(t reflect.Type, suffix string, v any) (err error) {
	t = typeAt(t, e.path)
	if suffix == "" {
		if !isNothing(v) {
			e.text, err = yamlText(t, reflect.ValueOf(v))
		}
		return err
	}
	e.list = true
	items, err := itemTexts(t, v)
	switch {
	case err != nil:
		return err
	case suffix == "+":
		e.add = items
	case suffix == "-":
		e.drop = items
	default:
		return errors.New("want + or - behind the key")
	}
	return nil
}

// comparePaths orders keys as struct type t has them, unknown ones last.
func comparePaths(t reflect.Type, a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return cmp.Or(placeOf(t, a[i])-placeOf(t, b[i]), strings.Compare(a[i], b[i]))
		}
		t = typeAt(t, a[i:i+1])
	}
	return len(a) - len(b)
}

// newFields returns what edits say of the keys at a depth of their paths, for an entry
// that is new.
func newFields(edits []edit, depth int) []field {
	var fields []field
	for len(edits) > 0 {
		e, n := edits[0], 1
		for n < len(edits) && edits[n].path[depth] == e.path[depth] {
			n++
		}
		switch {
		case len(e.path) > depth+1:
			if below := newFields(edits[:n], depth+1); len(below) > 0 {
				fields = append(fields, field{e.path[depth], flowText(below)})
			}
		case e.list:
			fields = append(fields, field{e.path[depth], flowList(e.add)})
		case e.text != "":
			fields = append(fields, field{e.path[depth], e.text})
		}
		edits = edits[n:]
	}
	return fields
}

// changes returns the steps that the edits take at the entry i.
func (d *Document) changes(list string, i int, t reflect.Type, edits []edit) ([]change, error) {
	s, err := newSource(d.data)
	if err != nil {
		return nil, err
	}
	m, err := s.entry(list, i)
	if err != nil {
		return nil, Faults{{Path: index(list, i), Text: err.Error()}}
	}
	var all []change
	for _, e := range edits {
		mv := find(m, e.path)
		if !e.list {
			all = append(all, setChanges(mv, e.path, e.text)...)
			continue
		}
		at := index(list, i) + "." + dotted(e.path)
		more, err := listChanges(at, mv, valueAt(d.value(list, i), e.path), e)
		switch faults := (Faults{}); {
		case errors.As(err, &faults):
			return nil, faults
		case err != nil:
			return nil, Faults{{Path: at, Text: err.Error()}}
		}
		all = append(all, more...)
	}
	return append(all, replaced(t, edits)...), nil
}

// value returns what entry i of a list says, defaults filled in.
func (d *Document) value(list string, i int) reflect.Value {
	if list == "ports" {
		return reflect.ValueOf(d.cfg.Ports[i])
	}
	return reflect.ValueOf(d.cfg.Networks[i])
}

// replaced removes keys that stand for others that an edit sets: uplinks takes the
// place of uplink, and the reverse.
func replaced(t reflect.Type, edits []edit) (all []change) {
	sets := func(key string) (any, gives bool) {
		for _, e := range edits {
			if len(e.path) == 1 && e.path[0] == key {
				return true, e.list || e.text != ""
			}
		}
		return false, false
	}
	for one, many := range single[t] {
		named, given := sets(one)
		namedMany, givenMany := sets(many)
		if givenMany && !named {
			all = append(all, change{path: []string{one}, op: opSet})
		}
		if given && !namedMany {
			all = append(all, change{path: []string{many}, op: opSet})
		}
	}
	return all
}

// setChanges returns the steps that give the key at path, which mv has or nobody, the
// value text. A mapping in the place of another is set key by key, so that what stays
// keeps its place and its comments.
func setChanges(mv *ast.MappingValueNode, path []string, text string) []change {
	var old *ast.MappingNode
	if mv != nil {
		old, _ = mv.Value.(*ast.MappingNode)
	}
	fields := flowFields(text)
	if old == nil || len(fields) == 0 || merges(old) {
		return []change{{path: path, op: opSet, text: text}}
	}
	var all []change
	for _, f := range fields {
		all = append(all, setChanges(pairOf(old, f.key), append(slices.Clone(path), f.key), f.text)...)
	}
	for _, mv := range old.Values {
		key, _ := scalar(mv.Key)
		if !slices.ContainsFunc(fields, func(f field) bool { return f.key == key }) {
			all = append(all, change{path: append(slices.Clone(path), key), op: opSet})
		}
	}
	return all
}

// listChanges returns the steps that take items out of the list at a path, which mv
// has, and put some in. A list that the entry does not have itself begins as what is in
// force.
func listChanges(at string, mv *ast.MappingValueNode, inForce reflect.Value, e edit) ([]change, error) {
	if !inForce.IsValid() || inForce.Kind() != reflect.Slice {
		return nil, errors.New("no list (want it without + or -)")
	}
	gone, err := matching(at, inForce, e.drop)
	if err != nil {
		return nil, err
	}
	if mv != nil {
		seq, ok := mv.Value.(*ast.SequenceNode)
		switch {
		case ok && len(seq.Values) == inForce.Len():
			var all []change
			for i, away := range slices.Backward(gone) {
				if away {
					all = append(all, change{path: e.path, op: opDrop, item: i})
				}
			}
			for _, text := range e.add {
				all = append(all, change{path: e.path, op: opAdd, text: text})
			}
			return all, nil
		case ok || mv.Value.Type() != ast.NullType:
			return nil, shared(mv.Value)
		}
	}
	items, err := itemTexts(inForce.Type(), inForce.Interface())
	if err != nil {
		return nil, err
	}
	var stay []string
	for i, item := range items {
		if !gone[i] {
			stay = append(stay, item)
		}
	}
	return []change{{path: e.path, op: opSet, text: flowList(append(stay, e.add...))}}, nil
}

// matching says which elements of list one of the items describes: all that equal it,
// or have what it has of their keys. Each item must describe one at least.
func matching(at string, list reflect.Value, items []string) ([]bool, error) {
	gone := make([]bool, list.Len())
	for _, text := range items {
		b := newBinder()
		want := reflect.New(list.Type().Elem()).Elem()
		root, _ := syntax([]byte("v: " + text))
		b.value(at, pairOf(root.(*ast.MappingNode), "v").Value, want)
		if err := b.faults.err(); err != nil {
			return nil, err
		}
		found := false
		for i := range list.Len() {
			if describes(b, at, want, list.Index(i)) {
				gone[i], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("nothing in it is %s", text)
		}
	}
	return gone, nil
}

// describes reports whether v has what want, bound by b at a path, was given.
func describes(b *binder, at string, want, v reflect.Value) bool {
	if v.Kind() != reflect.Struct || isText(v.Type()) {
		return want.Equal(v)
	}
	for i, key := range keys(v.Type()) {
		if b.given(at+"."+key) && !want.Field(i).Equal(v.Field(i)) {
			return false
		}
	}
	return true
}
