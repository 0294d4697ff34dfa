package config

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// A field is a key with its value written as YAML.
type field struct{ key, text string }

// setKey gives a key of an entry the value text, or removes the key if text is "".
func setKey(data []byte, list string, i int, key, text string) ([]byte, error) {
	s, err := newSource(data)
	if err != nil {
		return nil, err
	}
	m, err := s.entry(list, i)
	if err != nil {
		return nil, err
	}
	mv := pairOf(m, key)
	switch {
	case mv == nil && text == "":
		return data, nil
	case mv == nil:
		return s.addKey(m, field{key, text})
	case text == "":
		return s.cutKey(m, slices.Index(m.Values, mv))
	case reflect.DeepEqual(branch(mv.Value), valueOf(text)) && !retyped(mv.Value, text):
		return data, nil
	}
	return s.changeKey(mv, text)
}

// retyped reports whether text turns a quoted number into a number, or the reverse.
func retyped(n ast.Node, text string) bool {
	switch n.(type) {
	case *ast.StringNode:
		return isDecimal(text)
	case *ast.IntegerNode:
		return !isDecimal(text)
	}
	return false
}

func (s *source) changeKey(mv *ast.MappingValueNode, text string) ([]byte, error) {
	switch n := mv.Value.(type) {
	case *ast.AnchorNode:
		return nil, shared(n)
	case *ast.SequenceNode:
		if !n.IsFlowStyle {
			return s.changeList(mv, n, text)
		}
	}
	at, err := s.value(mv)
	if err != nil {
		return nil, err
	}
	if at.from == at.to { // behind the colon
		text = " " + text
	}
	return s.splice(at, text), nil
}

// changeList rewrites a list in block style. Items that stay keep their lines with
// all comments; of items that go, the comments above them stay, on top.
func (s *source) changeList(mv *ast.MappingValueNode, seq *ast.SequenceNode, text string) ([]byte, error) {
	root, _ := syntax([]byte("v: " + text))
	v := pairOf(root.(*ast.MappingNode), "v").Value
	items, ok := v.(*ast.SequenceNode)
	at, err := s.value(mv)
	colon, err2 := s.at(mv.Start, ":")
	if err != nil || err2 != nil || !s.leads(at.from) {
		return nil, errLayout
	}
	top, end := s.nextLine(colon), s.nextLine(at.to)
	if !ok || len(items.Values) == 0 {
		rest := string(s.data[colon+1:top]) + s.comments(span{top, end})
		return s.splice(span{colon + 1, end}, " "+text+rest), nil
	}
	old, err := s.items(seq, top)
	if err != nil {
		return nil, err
	}
	var lines, kept strings.Builder
	indent := strings.Repeat(" ", at.from-s.lineStart(at.from))
	for _, item := range items.Values {
		i := slices.IndexFunc(seq.Values, func(n ast.Node) bool { return reflect.DeepEqual(branch(n), branch(item)) })
		if i >= 0 && old[i] != (span{}) {
			lines.Write(terminated(s.data[old[i].from:old[i].to], s.eol()))
			old[i] = span{}
			continue
		}
		word, _ := scalar(item)
		lines.WriteString(indent + "- " + quote(word) + s.eol())
	}
	for _, gone := range old {
		kept.WriteString(s.comments(gone))
	}
	return s.splice(span{top, end}, kept.String()+lines.String()), nil
}

// items returns the lines of each item of a list, with the comments above it.
func (s *source) items(seq *ast.SequenceNode, top int) ([]span, error) {
	spans := make([]span, len(seq.Values))
	for i, n := range seq.Values {
		at, err := s.extent(n)
		if err != nil {
			return nil, err
		}
		spans[i] = span{top, s.nextLine(at.to)}
		top = spans[i].to
	}
	return spans, nil
}

// comments returns the lines of at that hold nothing but a comment.
func (s *source) comments(at span) string {
	var b strings.Builder
	for line := range bytes.Lines(s.data[at.from:at.to]) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("#")) {
			b.Write(terminated(line, s.eol()))
		}
	}
	return b.String()
}

func terminated(line []byte, eol string) []byte {
	if bytes.HasSuffix(line, []byte("\n")) {
		return line
	}
	return slices.Concat(line, []byte(eol))
}

// addKey adds a key behind the others of a mapping.
func (s *source) addKey(m *ast.MappingNode, f field) ([]byte, error) {
	if m.IsFlowStyle {
		return s.addFlow(m, flowElements(m), quote(f.key)+": "+f.text)
	}
	at, err := s.extent(m)
	if err != nil {
		return nil, err
	}
	indent := strings.Repeat(" ", at.from-s.lineStart(at.from))
	return s.after(at.to, indent+quote(f.key)+": "+f.text+s.eol()), nil
}

// cutKey removes the key i of a mapping.
func (s *source) cutKey(m *ast.MappingNode, i int) ([]byte, error) {
	if m.IsFlowStyle {
		return s.cutFlow(flowElements(m), i)
	}
	key, err := s.key(m.Values[i])
	value, err2 := s.value(m.Values[i])
	if err != nil || err2 != nil {
		return nil, errLayout
	}
	if s.leads(key.from) {
		return s.splice(span{s.lineStart(key.from), s.nextLine(value.to)}, ""), nil
	}
	// The key stands behind the entry's dash. The next key takes its place, or the
	// comment lines between them come first and the dash stands alone.
	if i+1 == len(m.Values) {
		return nil, errLayout
	}
	next, err := s.key(m.Values[i+1])
	if err != nil {
		return nil, err
	}
	if s.comments(span{s.nextLine(value.to), next.from}) != "" {
		end := s.nextLine(value.to) - len(s.eol())
		return s.splice(span{key.from - 1, end}, ""), nil
	}
	return s.splice(span{key.from, next.from}, ""), nil
}
