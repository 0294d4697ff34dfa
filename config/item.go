package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// listOf returns the list that a pair has.
func listOf(mv *ast.MappingValueNode) (*ast.SequenceNode, error) {
	if mv == nil {
		return nil, errLayout
	}
	seq, ok := mv.Value.(*ast.SequenceNode)
	if !ok {
		return nil, shared(mv.Value)
	}
	return seq, nil
}

// addItem puts an item behind the others of a list, in the style of the last one.
func (s *source) addItem(mv *ast.MappingValueNode, text string) ([]byte, error) {
	seq, err := listOf(mv)
	if err != nil {
		return nil, err
	}
	if seq.IsFlowStyle {
		return s.addFlow(seq, seq.Values, text)
	}
	last := len(seq.Values) - 1
	at, err := s.extent(seq.Values[last])
	if err != nil {
		return nil, err
	}
	style, err := s.style(seq)
	if err != nil {
		return nil, err
	}
	return s.after(at.to, style.item(text)), nil
}

// dropItem takes an item out of a list: its lines, not the comments around them.
func (s *source) dropItem(mv *ast.MappingValueNode, i int) ([]byte, error) {
	seq, err := listOf(mv)
	if err != nil {
		return nil, err
	}
	if n, ok := seq.Values[i].(*ast.AnchorNode); ok {
		return nil, shared(n)
	}
	if seq.IsFlowStyle {
		return s.cutFlow(seq.Values, i)
	}
	if len(seq.Values) == 1 {
		return s.changeBlock(mv, "[]") // null would mean left out
	}
	at, err := s.item(seq, i)
	return s.splice(at, ""), err
}

// item returns the lines of an item of a list in block style.
func (s *source) item(seq *ast.SequenceNode, i int) (span, error) {
	dash, err := s.dash(seq, i)
	at, err2 := s.extent(seq.Values[i])
	if err != nil || err2 != nil {
		return span{}, errLayout
	}
	return span{s.lineStart(dash), s.nextLine(at.to)}, nil
}

// A style is how the items of a list in block style are written.
type style struct {
	indent string
	dash   string // with the space behind it
	block  bool   // mappings: one key a line
	eol    string
}

// style returns that of a list's last item.
func (s *source) style(seq *ast.SequenceNode) (style, error) {
	last := len(seq.Values) - 1
	dash, err := s.dash(seq, last)
	at, err2 := s.extent(seq.Values[last])
	if err != nil || err2 != nil {
		return style{}, errLayout
	}
	st := style{indent: strings.Repeat(" ", dash-s.lineStart(dash)), dash: "- ", eol: s.eol()}
	if m, ok := seq.Values[last].(*ast.MappingNode); ok && !m.IsFlowStyle {
		st.block = true
		if s.lineStart(at.from) == s.lineStart(dash) {
			st.dash = "-" + strings.Repeat(" ", at.from-dash-1)
		}
	}
	return st, nil
}

// item writes an item of the list: its lines.
func (st style) item(text string) string {
	fields := flowFields(text)
	if !st.block || len(fields) == 0 {
		return st.indent + "- " + text + st.eol
	}
	var b strings.Builder
	lead := st.dash
	for _, f := range fields {
		b.WriteString(st.indent + lead + quote(f.key) + ": " + f.text + st.eol)
		lead = strings.Repeat(" ", len(st.dash))
	}
	return b.String()
}

// changeList rewrites a list in block style. Items that stay keep their lines with
// all comments; of items that go, the comments above them stay, on top.
func (s *source) changeList(mv *ast.MappingValueNode, seq *ast.SequenceNode, text string) ([]byte, error) {
	items := flowItems(text)
	if len(items) == 0 {
		return s.changeBlock(mv, text)
	}
	_, top, at, err := s.block(mv)
	if err != nil {
		return nil, err
	}
	style, err := s.style(seq)
	if err != nil {
		return nil, err
	}
	old, err := s.items(seq, top)
	if err != nil {
		return nil, err
	}
	var lines, kept strings.Builder
	for _, item := range items {
		i := slices.IndexFunc(seq.Values, func(n ast.Node) bool { return reflect.DeepEqual(branch(n), valueOf(item)) })
		if i >= 0 && old[i] != (span{}) {
			lines.Write(terminated(s.data[old[i].from:old[i].to], s.eol()))
			old[i] = span{}
			continue
		}
		lines.WriteString(style.item(item))
	}
	for _, gone := range old {
		kept.WriteString(s.comments(gone))
	}
	return s.splice(span{top, s.nextLine(at.to)}, kept.String()+lines.String()), nil
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
