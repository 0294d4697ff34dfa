package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
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
// there. A nil value removes the key. A key with dots reaches into a mapping:
// dhcp.lease. A key that ends in + adds to a list, one that ends in - removes from it
// what equals the value, or has what the value has: "forwards-": {"port": 2222}.
// The error is Faults.
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
	edits, err := editsOf(t, values)
	if err != nil {
		return Faults{{Path: fmt.Sprintf("%s[%s]", list, name), Text: err.Error()}}
	}
	if i < 0 {
		return d.add(list, name, edits)
	}
	changes, err := d.changes(list, i, t, edits)
	if err != nil {
		return err
	}
	data, want := d.data, treeOf(d.data)
	for _, c := range changes {
		want.change(list, i, c)
		if data, err = c.apply(data, list, i); err != nil {
			return Faults{{Path: index(list, i), Value: name, Text: err.Error()}}
		}
	}
	return d.accept(data, want, index(list, i), name)
}

func (d *Document) add(list, name string, edits []edit) error {
	path := index(list, len(d.cfg.Networks))
	if list == "ports" {
		path = index(list, len(d.cfg.Ports))
	}
	for _, e := range edits {
		switch {
		case len(e.drop) > 0:
			return Faults{{Path: path + "." + dotted(e.path), Value: name, Text: "a new entry has nothing to be removed"}}
		case e.path[0] == "name" && e.text != quote(name):
			return Faults{{Path: path + ".name", Value: e.text, Text: fmt.Sprintf("%s is not the name %q that the new entry is to have", e.text, name)}}
		}
	}
	fields := slices.DeleteFunc(newFields(edits, 0), func(f field) bool { return f.key == "name" })
	fields = slices.Insert(fields, 0, field{"name", quote(name)})
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
