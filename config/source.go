package config

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// errLayout refuses an edit rather than risk the author's text.
var errLayout = errors.New("written in a way that cannot be edited in place (change the file with an editor)")

// A source is a document's text with its tree, for edits by position. The parser's
// offsets drift after comments and its printer moves them about, so that edits
// splice the text, at lines and columns that are verified to hold what they should.
type source struct {
	data  []byte
	lines []int // offset of each line
	root  *ast.MappingNode
}

// newSource reads a document that Parse has found valid.
func newSource(data []byte) (*source, error) {
	root, faults := syntax(data)
	if err := faults.err(); err != nil {
		return nil, err
	}
	s := &source{data: data, lines: []int{0}}
	if bytes.HasPrefix(data, []byte(byteOrderMark)) {
		s.lines[0] = len(byteOrderMark)
	}
	for i, c := range data {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	m, ok := root.(*ast.MappingNode)
	if root != nil && !ok {
		return nil, errLayout
	}
	s.root = m
	return s, nil
}

// at returns the offset of t, which starts with the text lead.
func (s *source) at(t *token.Token, lead string) (int, error) {
	if t == nil || t.Position == nil || t.Position.Line < 1 || t.Position.Line > len(s.lines) {
		return 0, errLayout
	}
	off := s.lines[t.Position.Line-1]
	for range t.Position.Column - 1 { // columns count characters
		if off >= len(s.data) || s.data[off] == '\n' {
			return 0, errLayout
		}
		off++
		for off < len(s.data) && s.data[off]&0xc0 == 0x80 {
			off++
		}
	}
	if !bytes.HasPrefix(s.data[off:], []byte(lead)) {
		return 0, errLayout
	}
	return off, nil
}

// A span is a range of offsets.
type span struct{ from, to int }

// extent returns where n stands.
func (s *source) extent(n ast.Node) (span, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if n.IsFlowStyle {
			return s.between(n.Start, "{", n.End, "}")
		}
		if len(n.Values) == 0 {
			return span{}, errLayout
		}
		first, err := s.key(n.Values[0])
		last, err2 := s.value(n.Values[len(n.Values)-1])
		return span{first.from, last.to}, errors.Join(err, err2)
	case *ast.SequenceNode:
		if n.IsFlowStyle {
			return s.between(n.Start, "[", n.End, "]")
		}
		if len(n.Values) == 0 {
			return span{}, errLayout
		}
		from, err := s.at(n.Start, "-")
		last, err2 := s.extent(n.Values[len(n.Values)-1])
		return span{from, last.to}, errors.Join(err, err2)
	case *ast.AnchorNode, *ast.AliasNode:
		return s.reference(n)
	case *ast.LiteralNode, *ast.TagNode, *ast.MappingKeyNode, nil:
		return span{}, errLayout
	}
	return s.word(n.GetToken())
}

func (s *source) between(start *token.Token, open string, end *token.Token, closing string) (span, error) {
	from, err := s.at(start, open)
	to, err2 := s.at(end, closing)
	return span{from, to + 1}, errors.Join(err, err2)
}

// reference returns where an alias, or an anchor with what it names, stands.
func (s *source) reference(n ast.Node) (span, error) {
	if a, ok := n.(*ast.AliasNode); ok {
		lead := "*" + a.Value.GetToken().Value
		from, err := s.at(a.Start, lead)
		return span{from, from + len(lead)}, err
	}
	a := n.(*ast.AnchorNode)
	from, err := s.at(a.Start, "&"+a.Name.GetToken().Value)
	named, err2 := s.extent(a.Value)
	return span{from, named.to}, errors.Join(err, err2)
}

// word returns where a scalar on one line stands.
func (s *source) word(t *token.Token) (span, error) {
	switch t.Type {
	case token.DoubleQuoteType, token.SingleQuoteType:
		mark := byte('"')
		if t.Type == token.SingleQuoteType {
			mark = '\''
		}
		from, err := s.at(t, string(mark))
		if err != nil {
			return span{}, err
		}
		to, err := s.closing(from, mark)
		return span{from, to}, err
	case token.ImplicitNullType:
		return span{}, errLayout
	}
	from, err := s.at(t, t.Value)
	return span{from, from + len(t.Value)}, err
}

// closing returns the offset behind the quoted text that starts at from.
func (s *source) closing(from int, mark byte) (int, error) {
	for i := from + 1; i < len(s.data) && s.data[i] != '\n'; i++ {
		switch {
		case mark == '"' && s.data[i] == '\\':
			i++
		case s.data[i] != mark:
		case mark == '\'' && i+1 < len(s.data) && s.data[i+1] == mark:
			i++
		default:
			return i + 1, nil
		}
	}
	return 0, errLayout
}

// key returns where the key of a pair stands.
func (s *source) key(mv *ast.MappingValueNode) (span, error) { return s.extent(mv.Key) }

// value returns where the value of a pair stands: behind the colon if it is left out.
func (s *source) value(mv *ast.MappingValueNode) (span, error) {
	if t := mv.Value.GetToken(); t != nil && t.Type == token.ImplicitNullType {
		colon, err := s.at(mv.Start, ":")
		return span{colon + 1, colon + 1}, err
	}
	return s.extent(mv.Value)
}

// lineStart returns the offset of the line that off is on.
func (s *source) lineStart(off int) int { return bytes.LastIndexByte(s.data[:off], '\n') + 1 }

// nextLine returns the offset of the line after the one that off is on.
func (s *source) nextLine(off int) int {
	if i := bytes.IndexByte(s.data[off:], '\n'); i >= 0 {
		return off + i + 1
	}
	return len(s.data)
}

// leads reports whether nothing but space stands before off on its line.
func (s *source) leads(off int) bool {
	return len(bytes.TrimLeft(s.data[s.lineStart(off):off], " ")) == 0
}

// eol returns the line ending that the document uses.
func (s *source) eol() string {
	if bytes.Contains(s.data, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// splice returns the text with text in the place of at.
func (s *source) splice(at span, text string) []byte {
	return slices.Concat(s.data[:at.from], []byte(text), s.data[at.to:])
}

// after returns the text with whole lines inserted below the line that off is on.
func (s *source) after(off int, lines string) []byte {
	next := s.nextLine(off)
	if next == len(s.data) && next > 0 && s.data[next-1] != '\n' {
		lines = s.eol() + lines[:len(lines)-len(s.eol())]
	}
	return s.splice(span{next, next}, lines)
}

// section returns the pair of a top key, or nil.
func (s *source) section(list string) *ast.MappingValueNode {
	if s.root == nil {
		return nil
	}
	return pairOf(s.root, list)
}

// entry returns an entry of a list, as a mapping that may be edited.
func (s *source) entry(list string, i int) (*ast.MappingNode, error) {
	mv := s.section(list)
	if mv == nil {
		return nil, errLayout
	}
	seq, ok := mv.Value.(*ast.SequenceNode)
	if !ok || i >= len(seq.Values) {
		return nil, shared(mv.Value)
	}
	m, ok := seq.Values[i].(*ast.MappingNode)
	if !ok {
		return nil, shared(seq.Values[i])
	}
	return m, nil
}

// shared says why n, no plain mapping or list, cannot be edited.
func shared(n ast.Node) error {
	switch n := n.(type) {
	case *ast.AliasNode:
		return fmt.Errorf("an alias, *%s: an edit would change every place that uses it (change the file with an editor)", n.Value.GetToken().Value)
	case *ast.AnchorNode:
		return fmt.Errorf("named &%s for others to use: an edit would change them too (change the file with an editor)", n.Name.GetToken().Value)
	}
	return errLayout
}

// pairOf returns the pair of a key, or nil.
func pairOf(m *ast.MappingNode, key string) *ast.MappingValueNode {
	for _, mv := range m.Values {
		if k, ok := scalar(mv.Key); ok && k == key {
			return mv
		}
	}
	return nil
}
