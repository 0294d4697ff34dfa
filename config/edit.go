package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// apply does the change to entry i of a list of a document.
func (c change) apply(data []byte, list string, i int) ([]byte, error) {
	s, err := newSource(data)
	if err != nil {
		return nil, err
	}
	m, err := s.entry(list, i)
	if err != nil {
		return nil, err
	}
	switch c.op {
	case opAdd:
		return s.addItem(find(m, c.path), c.text)
	case opDrop:
		return s.dropItem(find(m, c.path), c.item)
	}
	return s.setKey(m, c.path, c.text)
}

// setKey gives the key at path below m the value text, or removes it if text is "".
func (s *source) setKey(m *ast.MappingNode, path []string, text string) ([]byte, error) {
	m, around, path, err := descend(m, path)
	if err != nil {
		return nil, err
	}
	for text != "" && len(path) > 1 { // what is around it is not there yet
		last := len(path) - 1
		path, text = path[:last], flowText([]field{{path[last], text}})
	}
	mv := pairOf(m, path[0])
	switch {
	case len(path) > 1, mv == nil && text == "":
		return s.data, nil
	case mv == nil:
		return s.addKey(m, field{path[0], text})
	case text == "" && around != nil && len(m.Values) == 1 && !m.IsFlowStyle:
		return s.changeKey(around, "{}") // null would mean left out
	case text == "":
		return s.cutKey(m, slices.Index(m.Values, mv))
	case reflect.DeepEqual(branch(mv.Value), valueOf(text)) && !retyped(mv.Value, text):
		return s.data, nil
	}
	return s.changeKey(mv, text)
}

// descend returns the innermost mapping on the way to path that the document has, the
// pair whose value it is if that is below m, and what is left of the path.
func descend(m *ast.MappingNode, path []string) (in *ast.MappingNode, around *ast.MappingValueNode, rest []string, err error) {
	for len(path) > 1 {
		mv := pairOf(m, path[0])
		if mv == nil && merges(m) {
			return nil, nil, nil, fmt.Errorf("%s may come from another entry by <<, which an edit would hide (change the file with an editor)", path[0])
		}
		if mv == nil || mv.Value.Type() == ast.NullType {
			break
		}
		v, ok := mv.Value.(*ast.MappingNode)
		if !ok {
			if _, one := scalar(mv.Value); one {
				return nil, nil, nil, fmt.Errorf("%s is one value, without keys below it", path[0])
			}
			return nil, nil, nil, shared(mv.Value)
		}
		m, around, path = v, mv, path[1:]
	}
	return m, around, path, nil
}

// find returns the pair at path below m, or nil.
func find(m *ast.MappingNode, path []string) *ast.MappingValueNode {
	in, _, rest, err := descend(m, path)
	if err != nil || len(rest) > 1 {
		return nil
	}
	return pairOf(in, rest[0])
}

// merges reports whether m takes keys from elsewhere: <<.
func merges(m *ast.MappingNode) bool {
	return slices.ContainsFunc(m.Values, func(mv *ast.MappingValueNode) bool { return mv.Key.IsMergeKey() })
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
	case *ast.MappingNode:
		if !n.IsFlowStyle {
			return s.changeBlock(mv, text)
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

// changeBlock puts text in the place of a value in block style. The comments that
// have lines of their own stay.
func (s *source) changeBlock(mv *ast.MappingValueNode, text string) ([]byte, error) {
	colon, top, at, err := s.block(mv)
	if err != nil {
		return nil, err
	}
	end := s.nextLine(at.to)
	rest := string(s.data[colon+1:top]) + s.comments(span{top, end})
	return s.splice(span{colon + 1, end}, " "+text+rest), nil
}

// block returns where a value in block style stands: the colon, the line below it, and
// the value itself.
func (s *source) block(mv *ast.MappingValueNode) (colon, top int, at span, err error) {
	at, err = s.value(mv)
	colon, err2 := s.at(mv.Start, ":")
	if err != nil || err2 != nil || !s.leads(at.from) {
		return 0, 0, span{}, errLayout
	}
	return colon, s.nextLine(colon), at, nil
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
