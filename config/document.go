package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// ErrNotFound says that a document has no network or port of that name.
var ErrNotFound = errors.New("not in the document")

// A Document is a configuration as its author wrote it. Edits change the bytes of
// what they name and no others: comments, order, quoting and style stay. An edit
// that fails leaves the document as it was.
type Document struct {
	data []byte
	cfg  *Config
}

// NewDocument reads a document. It keeps data. The error is Faults.
func NewDocument(data []byte) (*Document, error) {
	cfg, err := Parse(data)
	if err != nil {
		return nil, err
	}
	return &Document{data: data, cfg: cfg}, nil
}

// Bytes returns the document's text. The caller must not change it.
func (d *Document) Bytes() []byte { return d.data }

// Config returns what the document says, defaults filled in. The caller must not
// change it; the next edit makes a new one.
func (d *Document) Config() *Config { return d.cfg }

// SetNetwork sets keys of the network name, which is added at the end if it is not
// there. A nil value removes the key. The error is Faults.
func (d *Document) SetNetwork(name string, values map[string]any) error {
	return d.set("networks", reflect.TypeFor[Network](), name, values)
}

// SetPort does for the port name what SetNetwork does for a network.
func (d *Document) SetPort(name string, values map[string]any) error {
	return d.set("ports", reflect.TypeFor[Port](), name, values)
}

// DeleteNetwork removes a network that no port uses. The error is ErrNotFound or
// Faults.
func (d *Document) DeleteNetwork(name string) error {
	i := d.find("networks", name)
	var users []string
	for _, p := range d.cfg.Ports {
		if p.Network == name {
			users = append(users, p.Name)
		}
	}
	if i >= 0 && len(users) > 0 {
		return Faults{{
			Path: index("networks", i), Value: name,
			Text: fmt.Sprintf("%s is in use by %s (delete or move them first)", name, strings.Join(users, ", ")),
		}}
	}
	return d.delete("networks", name)
}

// DeletePort removes a port. The error is ErrNotFound or Faults.
func (d *Document) DeletePort(name string) error { return d.delete("ports", name) }

// find returns the index of a network or port, or -1.
func (d *Document) find(list, name string) int {
	if list == "networks" {
		return slices.IndexFunc(d.cfg.Networks, func(n Network) bool { return n.Name == name })
	}
	return slices.IndexFunc(d.cfg.Ports, func(p Port) bool { return p.Name == name })
}

func (d *Document) set(list string, t reflect.Type, name string, values map[string]any) error {
	i := d.find(list, name)
	texts, err := renderAll(t, values)
	if err != nil {
		return Faults{{Path: fmt.Sprintf("%s[%s]", list, name), Text: err.Error()}}
	}
	if i < 0 {
		return d.add(list, t, name, texts)
	}
	for one, many := range single[t] {
		_, sets := texts[one]
		if texts[many] != "" && !sets {
			texts[one] = "" // uplinks: takes the place of uplink:, and the reverse
		}
		if _, sets := texts[many]; texts[one] != "" && !sets {
			texts[many] = ""
		}
	}
	data := d.data
	want := treeOf(data)
	for _, key := range ordered(t, texts) {
		want.put(list, i, key, texts[key])
		if data, err = setKey(data, list, i, key, texts[key]); err != nil {
			return Faults{{Path: index(list, i), Value: name, Text: err.Error()}}
		}
	}
	return d.accept(data, want, index(list, i), name)
}

func (d *Document) add(list string, t reflect.Type, name string, texts map[string]string) error {
	path := index(list, len(d.cfg.Networks))
	if list == "ports" {
		path = index(list, len(d.cfg.Ports))
	}
	if other, ok := texts["name"]; ok && other != quote(name) {
		return Faults{{Path: path + ".name", Value: other, Text: fmt.Sprintf("%s is not the name %q that the new entry is to have", other, name)}}
	}
	texts["name"] = quote(name)
	maps.DeleteFunc(texts, func(_, text string) bool { return text == "" })
	var fields []field
	for _, key := range ordered(t, texts) {
		fields = append(fields, field{key, texts[key]})
	}
	data, err := addEntry(d.data, list, fields)
	if err != nil {
		return Faults{{Path: path, Value: name, Text: err.Error()}}
	}
	want := treeOf(d.data)
	want.add(list, fields)
	return d.accept(data, want, path, name)
}

func (d *Document) delete(list, name string) error {
	i := d.find(list, name)
	if i < 0 {
		return fmt.Errorf("%s %q: %w", strings.TrimSuffix(list, "s"), name, ErrNotFound)
	}
	data, err := deleteEntry(d.data, list, i)
	if err != nil {
		return Faults{{Path: index(list, i), Value: name, Text: err.Error()}}
	}
	want := treeOf(d.data)
	want.remove(list, i)
	return d.accept(data, want, index(list, i), name)
}

// accept takes data as the document's new text if it says exactly what the edit
// wanted, which guards against layouts that splicing misjudges, and if it is valid.
func (d *Document) accept(data []byte, want tree, path, name string) error {
	if !reflect.DeepEqual(treeOf(data), want) {
		return Faults{{Path: path, Value: name, Text: errLayout.Error()}}
	}
	cfg, err := Parse(data)
	if err != nil {
		return err
	}
	d.data, d.cfg = data, cfg
	return nil
}

// renderAll writes the values as YAML; "" stands for a key to remove.
func renderAll(t reflect.Type, values map[string]any) (map[string]string, error) {
	texts := make(map[string]string, len(values)+1)
	for key, v := range values {
		if isNothing(v) {
			texts[key] = ""
			continue
		}
		text, err := render(t, key, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		texts[key] = text
	}
	return texts, nil
}

// ordered returns the keys of texts in the order of struct type t, unknown ones last.
func ordered(t reflect.Type, texts map[string]string) []string {
	known := keys(t)
	place := func(key string) int {
		if i := slices.Index(known, key); i >= 0 {
			return i
		}
		return len(known)
	}
	return slices.SortedFunc(maps.Keys(texts), func(a, b string) int {
		if d := place(a) - place(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

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

func (t tree) put(list string, i int, key, text string) {
	if entries := t.entries(list); i < len(entries) {
		if entry, ok := entries[i].(map[string]any); ok && text == "" {
			delete(entry, key)
		} else if ok {
			entry[key] = valueOf(text)
		}
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
