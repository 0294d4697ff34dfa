package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSize is the length, in bytes, of the longest document that is read.
const MaxSize = 1 << 20

// The YAML parser takes time that grows with the square of the nesting and of an
// entry's length. These bounds keep the worst document of MaxSize near a second.
const (
	maxDepth = 32   // brackets, or dashes and the like in a row
	maxEntry = 1000 // tokens from one dash or brace to the next
)

const byteOrderMark = "\ufeff"

// syntax returns the root of the document's tree, or nil if it is empty.
func syntax(data []byte) (root ast.Node, faults Faults) {
	// A document comes from people and from the control socket: what the parser
	// does not survive is a fault of the document, not the end of the switch.
	defer func() {
		if r := recover(); r != nil {
			root, faults = nil, Faults{{Text: fmt.Sprintf("the YAML parser gives up: %v", r)}}
		}
	}()
	if f := readable(data); f != nil {
		return nil, Faults{*f}
	}
	// The lexer counts some line ends of DOS twice, and takes a byte order mark for text.
	text := strings.TrimPrefix(string(data), byteOrderMark)
	tokens := lexer.Tokenize(strings.ReplaceAll(text, "\r\n", "\n"))
	if f := bounded(tokens); f != nil {
		return nil, Faults{*f}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Faults{syntaxFault(data, err)}
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case root == nil:
			root = doc.Body
		default:
			faults = append(faults, Fault{Text: "a second document starts here (want one)", Line: line(doc.Body)})
		}
	}
	return root, faults
}

// readable refuses what is too long or not text.
func readable(data []byte) *Fault {
	if len(data) > MaxSize {
		return &Fault{Text: fmt.Sprintf("the document is longer than %d bytes", MaxSize)}
	}
	for n, text := range bytes.Split(data, []byte("\n")) {
		text = bytes.TrimSuffix(text, []byte("\r"))
		if !utf8.Valid(text) || bytes.ContainsAny(text, "\x00\r") {
			return &Fault{Text: fmt.Sprintf("line %d: this is not text in UTF-8 without control characters", n+1), Line: n + 1}
		}
	}
	return nil
}

// bounded refuses documents that would keep the parser busy for long.
func bounded(tokens token.Tokens) *Fault {
	var depth, openers, entry int
	for _, t := range tokens {
		switch t.Type {
		case token.CommentType:
			continue
		case token.SequenceStartType, token.MappingStartType:
			depth++
			openers++
		case token.SequenceEndType, token.MappingEndType:
			depth--
			openers = 0
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			openers++
		case token.MappingValueType, token.CollectEntryType:
			openers = 0
		}
		entry++
		if t.Type == token.SequenceEntryType || t.Type == token.MappingStartType {
			entry = 0
		}
		if depth > maxDepth || openers > maxDepth || entry > maxEntry {
			n := t.Position.Line
			return &Fault{Text: fmt.Sprintf("line %d: nested too deep or too long for one entry", n), Line: n}
		}
	}
	return nil
}

// syntaxFault says where the parser stopped, with the text that stands there.
func syntaxFault(data []byte, err error) Fault {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return Fault{Text: err.Error()}
	}
	n := e.GetToken().Position.Line
	f := Fault{Line: n, Text: fmt.Sprintf("line %d: %s", n, strings.TrimSpace(e.GetMessage()))}
	if lines := strings.Split(string(data), "\n"); n >= 1 && n <= len(lines) {
		f.Value = strings.TrimSpace(lines[n-1])
		f.Text += fmt.Sprintf(" (at %q)", excerpt(f.Value))
	}
	return f
}

// excerpt shortens s to what fits on a line of an error.
func excerpt(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// line returns the line on which n starts.
func line(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// scalar returns the text of a scalar as it was meant: without quotes, escapes
// resolved.
func scalar(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.MappingKeyNode:
		return scalar(n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode, *ast.MergeKeyNode:
		return n.GetToken().Value, true
	}
	return "", false
}
