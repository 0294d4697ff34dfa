package lab

import (
	"os"
	"regexp"
	"strings"
)

// Fastpath says whether this run is one with the flow cache: WEFT_FASTPATH=off in the
// environment is the other kind.
func Fastpath() bool { return os.Getenv("WEFT_FASTPATH") != "off" }

// Document returns a document as this run gives it to weft: the text itself, and in a
// run without the flow cache what turns that off, unless the text itself says something
// about it. No line moves but in a switch section, for what is said of faults.
func Document(text string) string {
	if Fastpath() || strings.Contains(text, "fastpath:") {
		return text
	}
	return withoutFastpath(text)
}

var (
	switchLine  = regexp.MustCompile(`(?m)^switch:[ \t]*\{`)
	switchBlock = regexp.MustCompile(`(?m)^switch:[ \t]*\n([ \t]+)`)
	lastLine    = regexp.MustCompile(`[^\n]\z`)
)

func withoutFastpath(text string) string {
	switch {
	case switchLine.MatchString(text):
		return switchLine.ReplaceAllString(text, "switch: {fastpath: off, ")
	case switchBlock.MatchString(text):
		return switchBlock.ReplaceAllString(text, "switch:\n${1}fastpath: off\n${1}")
	}
	return lastLine.ReplaceAllString(text, "$0\n") + "switch: {fastpath: off}\n"
}
