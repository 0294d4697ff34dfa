package config

import (
	"bytes"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// addEntry adds an entry at the end of a list, in the style of the one before it.
func addEntry(data []byte, list string, fields []field) ([]byte, error) {
	s, err := newSource(data)
	if err != nil {
		return nil, err
	}
	mv := s.section(list)
	if mv == nil {
		return s.addSection(list, fields)
	}
	switch n := mv.Value.(type) {
	case *ast.NullNode:
		return s.fillSection(mv, fields)
	case *ast.SequenceNode:
		switch {
		case n.IsFlowStyle && len(n.Values) > 0:
			return s.addFlow(n, n.Values, flowText(fields))
		case n.IsFlowStyle:
			return s.fillSection(mv, fields)
		}
		return s.addItem(mv, flowText(fields))
	}
	return nil, shared(mv.Value)
}

// addSection adds a list that the document does not have, at its end.
func (s *source) addSection(list string, fields []field) ([]byte, error) {
	if s.root != nil && s.root.IsFlowStyle {
		return s.addFlow(s.root, flowElements(s.root), list+": ["+flowText(fields)+"]")
	}
	text := list + ":" + s.eol() + s.firstEntry(fields)
	if len(s.data) > 0 {
		if s.data[len(s.data)-1] != '\n' {
			text = s.eol() + text
		}
		text = s.eol() + text
	}
	return s.splice(span{len(s.data), len(s.data)}, text), nil
}

// fillSection puts the first entry into a list that is empty, [] or null.
func (s *source) fillSection(mv *ast.MappingValueNode, fields []field) ([]byte, error) {
	at, err := s.value(mv)
	colon, err2 := s.at(mv.Start, ":")
	if err != nil || err2 != nil {
		return nil, errLayout
	}
	if s.root.IsFlowStyle {
		return s.splice(span{colon + 1, at.to}, " ["+flowText(fields)+"]"), nil
	}
	s.data = s.splice(span{colon + 1, at.to}, "")
	return s.after(colon, s.firstEntry(fields)), nil
}

// deleteEntry removes an entry of a list: its lines, not the comments around them.
func deleteEntry(data []byte, list string, i int) ([]byte, error) {
	s, err := newSource(data)
	if err != nil {
		return nil, err
	}
	mv := s.section(list)
	seq, err := listOf(mv)
	if err != nil {
		return nil, err
	}
	if len(seq.Values) > 1 || seq.IsFlowStyle {
		return s.dropItem(mv, i)
	}
	if n, ok := seq.Values[i].(*ast.AnchorNode); ok {
		return nil, shared(n)
	}
	at, err := s.item(seq, i)
	return s.splice(at, ""), err
}

// firstEntry writes the first entry of a list.
func (s *source) firstEntry(fields []field) string {
	return style{indent: "  ", dash: "- ", block: true, eol: s.eol()}.item(flowText(fields))
}

// dash returns the offset of an entry's dash, first on its line.
func (s *source) dash(seq *ast.SequenceNode, i int) (int, error) {
	if i >= len(seq.Entries) {
		return 0, errLayout
	}
	off, err := s.at(seq.Entries[i].Start, "-")
	if err == nil && !s.leads(off) {
		err = errLayout
	}
	return off, err
}

// flowElements returns the pairs of a mapping as nodes.
func flowElements(m *ast.MappingNode) []ast.Node {
	nodes := make([]ast.Node, len(m.Values))
	for i, mv := range m.Values {
		nodes[i] = mv
	}
	return nodes
}

// element returns where an element of a flow mapping or list stands.
func (s *source) element(n ast.Node) (span, error) {
	mv, ok := n.(*ast.MappingValueNode)
	if !ok {
		return s.extent(n)
	}
	key, err := s.key(mv)
	value, err2 := s.value(mv)
	if err != nil || err2 != nil || mv.Start.Type != token.MappingValueType {
		return span{}, errLayout
	}
	return span{key.from, value.to}, nil
}

// addFlow adds text behind the last element between braces or brackets.
func (s *source) addFlow(around ast.Node, elements []ast.Node, text string) ([]byte, error) {
	if len(elements) == 0 {
		at, err := s.extent(around)
		return s.splice(span{at.from + 1, at.to - 1}, text), err
	}
	last, err := s.element(elements[len(elements)-1])
	return s.splice(span{last.to, last.to}, ", "+text), err
}

// cutFlow removes one element between braces or brackets, with its comma.
func (s *source) cutFlow(elements []ast.Node, i int) ([]byte, error) {
	at, err := s.element(elements[i])
	if err != nil {
		return nil, err
	}
	if i+1 < len(elements) {
		comma := s.comma(at.to)
		if comma < 0 {
			return nil, errLayout
		}
		return s.splice(s.widen(span{at.from, comma + 1}), ""), nil
	}
	if i == 0 {
		return s.splice(at, ""), nil
	}
	before, err := s.element(elements[i-1])
	comma := s.comma(before.to)
	if err != nil || comma < 0 || comma >= at.from {
		return nil, errLayout
	}
	// Up to the end of the element before, unless a comment stands between.
	between := s.data[comma+1 : at.from]
	if bytes.IndexByte(between, '#') < 0 {
		between = nil
	}
	return s.splice(span{comma, at.to}, string(between)), nil
}

// widen takes in the rest of the line, comment included, if the element has its
// lines for itself, or else the space behind it.
func (s *source) widen(at span) span {
	next := s.nextLine(at.to)
	rest := bytes.TrimSpace(s.data[at.to:next])
	if s.leads(at.from) && (len(rest) == 0 || rest[0] == '#') {
		return span{s.lineStart(at.from), next}
	}
	if len(rest) > 0 && rest[0] != '#' {
		at.to += bytes.IndexByte(s.data[at.to:], rest[0])
	}
	return at
}

// comma returns the offset of the comma that follows off, or -1.
func (s *source) comma(off int) int {
	for off < len(s.data) {
		switch s.data[off] {
		case ',':
			return off
		case ' ', '\t', '\r', '\n':
			off++
		case '#':
			off = s.nextLine(off)
		default:
			return -1
		}
	}
	return -1
}
