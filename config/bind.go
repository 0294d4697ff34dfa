package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// maxNodes bounds how much a document may grow by aliases.
const maxNodes = 1 << 20

// later are the keys that a coming version serves.
var later = map[reflect.Type][]string{
	reflect.TypeFor[Network](): {"overlay", "vlan"},
	reflect.TypeFor[Port]():    {"vlan"},
}

// single are the keys that stand for a list of one.
var single = map[reflect.Type]map[string]string{
	reflect.TypeFor[Network](): {"uplink": "uplinks"},
}

// A binder carries a tree into a Config and notes every fault on its way.
type binder struct {
	anchors map[string]ast.Node
	lines   map[string]int  // path → line, of everything that was given
	failed  map[string]bool // paths that have a fault
	nodes   int
	faults  Faults
}

func newBinder() *binder {
	return &binder{anchors: map[string]ast.Node{}, lines: map[string]int{}, failed: map[string]bool{}}
}

func (b *binder) fault(path, value, format string, args ...any) {
	b.failed[path] = true
	b.faults = append(b.faults, Fault{Path: path, Value: value, Text: fmt.Sprintf(format, args...), Line: b.line(path)})
}

// line returns the line of what stands at path, or of the nearest thing around it.
func (b *binder) line(path string) int {
	for {
		if n, ok := b.lines[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return 0
		}
		path = path[:cut]
	}
}

// given reports whether the document sets path to something.
func (b *binder) given(path string) bool { _, ok := b.lines[path]; return ok }

// collect notes the anchors, so that aliases find them.
func (b *binder) collect(root ast.Node) {
	for _, n := range ast.Filter(ast.AnchorType, root) {
		anchor := n.(*ast.AnchorNode)
		name := anchor.Name.GetToken().Value
		if b.anchors[name] != nil {
			b.faults = append(b.faults, Fault{Text: fmt.Sprintf("anchor &%s is defined twice", name), Line: line(n)})
		}
		b.anchors[name] = anchor.Value
	}
}

// resolve follows aliases to what they stand for. It returns nil after a fault.
func (b *binder) resolve(path string, n ast.Node) ast.Node {
	for range maxDepth {
		if b.nodes++; b.nodes > maxNodes {
			if b.nodes == maxNodes+1 {
				b.fault(path, "", "aliases make the document too large")
			}
			return nil
		}
		switch node := n.(type) {
		case *ast.AnchorNode:
			n = node.Value
		case *ast.AliasNode:
			name := node.Value.GetToken().Value
			if n = b.anchors[name]; n == nil {
				b.fault(path, "*"+name, "no anchor &%s in this document", name)
				return nil
			}
		case *ast.TagNode:
			b.fault(path, node.GetToken().Value, "tags are not supported (leave %s out)", node.GetToken().Value)
			return nil
		default:
			return n
		}
	}
	b.fault(path, "", "an alias that leads to itself")
	return nil
}

// value binds the node at path to v. Null leaves v as it is.
func (b *binder) value(path string, n ast.Node, v reflect.Value) {
	if n = b.resolve(path, n); n == nil || n.Type() == ast.NullType {
		return
	}
	if _, ok := b.lines[path]; !ok {
		b.lines[path] = line(n)
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		b.text(path, n, u)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		b.mapping(path, n, v)
	case reflect.Slice:
		b.list(path, n, v)
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		b.value(path, n, p.Elem())
		v.Set(p)
	default:
		b.scalar(path, n, v)
	}
}

func (b *binder) text(path string, n ast.Node, u encoding.TextUnmarshaler) {
	s, ok := scalar(n)
	if !ok {
		b.fault(path, "", "%s (want one value)", kind(n))
		return
	}
	if err := read(u, s); err != nil {
		b.fault(path, s, "%v", err)
	}
}

// read has u read s. It refuses what netip takes for nothing, and says what was wanted
// where netip does not.
func read(u encoding.TextUnmarshaler, s string) error {
	err := u.UnmarshalText([]byte(s))
	if err == nil && s != "" {
		return nil
	}
	switch u.(type) {
	case *netip.Prefix:
		return prefixError(s)
	case *netip.Addr:
		return fmt.Errorf("%q is not an address (want one such as 192.0.2.1 or 2001:db8::1)", s)
	case *netip.AddrPort:
		return fmt.Errorf("%q is not an address with a port (want one such as 192.0.2.1:22 or [2001:db8::1]:22)", s)
	}
	return err
}

// prefixError says what is wrong with an address that netip cannot read.
func prefixError(s string) error {
	switch a, err := netip.ParseAddr(s); {
	case err == nil && a.Is4():
		return fmt.Errorf("%q has no prefix length (want one such as %s/24)", s, s)
	case err == nil:
		return fmt.Errorf("%q has no prefix length (want one such as %s/64)", s, a.WithZone(""))
	}
	return fmt.Errorf("%q is not an address with a prefix length (want one such as 192.0.2.1/24 or 2001:db8::1/64)", s)
}

func (b *binder) scalar(path string, n ast.Node, v reflect.Value) {
	s, ok := scalar(n)
	if !ok {
		b.fault(path, "", "%s (want one value)", kind(n))
		return
	}
	_, quoted := n.(*ast.StringNode)
	switch v.Kind() {
	case reflect.String:
		if _, ok := n.(*ast.BoolNode); ok {
			b.fault(path, s, "%s is true or false, not text (if it is meant, want quotes: %q)", s, s)
			return
		}
		v.SetString(s)
	case reflect.Int:
		i, err := strconv.Atoi(s)
		switch {
		case err == nil && quoted:
			b.fault(path, s, "%q is text (want a number without quotes)", s)
		case err != nil:
			b.fault(path, s, "%q is not a whole number in decimal digits", s)
		default:
			v.SetInt(int64(i))
		}
	case reflect.Bool:
		on, ok := n.(*ast.BoolNode)
		if !ok {
			b.fault(path, s, "%q is neither true nor false", s)
			return
		}
		v.SetBool(on.Value)
	default:
		panic("config: no binding for " + v.Type().String())
	}
}

func (b *binder) list(path string, n ast.Node, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		b.fault(path, "", "%s (want a list)", kind(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, n := range seq.Values {
		b.element(fmt.Sprintf("%s[%d]", path, i), n, v.Index(i))
	}
}

// element binds what cannot be left out.
func (b *binder) element(path string, n ast.Node, v reflect.Value) {
	b.lines[path] = line(n)
	if n.Type() == ast.NullType {
		b.fault(path, "", "empty (want a value, or no entry)")
		return
	}
	b.value(path, n, v)
}

// kind names what n is, for a message that wanted something else.
func kind(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode:
		return "this is a mapping of keys to values"
	case *ast.SequenceNode:
		return "this is a list"
	default:
		s, _ := scalar(n)
		return fmt.Sprintf("%q is one value", excerpt(s))
	}
}
