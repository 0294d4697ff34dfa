package config_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weft/config"
)

// A script is a document with, beside its text, what it means: entries as maps of
// keys to YAML values. It is the slow, obvious twin of a Document.
type script struct {
	chunks []chunk
	lists  map[string][]map[string]string
	ports  int // forwarded by edits so far
}

// A chunk is some lines of a script; those of an entry carry its list and name.
type chunk struct{ list, name, text string }

var comments = rapid.SampledFrom([]string{"", "", "", "# a comment\n", "  # {name: not, an: entry}\n", "\n", "# ümlaut: [\n\n"})

var tails = rapid.SampledFrom([]string{"", "", "  # tail", " # 'quoted', }"})

// A writer writes an entry in one of the styles that people use.
type writer struct {
	*rapid.T
	eol string
	strings.Builder
}

func (w *writer) tail() string { return tails.Draw(w.T, "tail") }

// pair writes a key with its value on one line.
func (w *writer) pair(k, v string) string {
	if !strings.ContainsAny(v[:1], `[{"`) && !strings.Contains(" mtu stations queues quota port ", " "+k+" ") {
		v = rapid.SampledFrom([]string{v, v, "'" + v + "'"}).Draw(w.T, "quoted")
	}
	return k + ": " + v
}

func genEntry(t *rapid.T, indent, eol string, keys []string, entry map[string]string) string {
	w := &writer{T: t, eol: eol}
	switch rapid.SampledFrom([]string{"flow", "lines", "block", "block"}).Draw(t, "style") {
	case "flow":
		var pairs []string
		for _, k := range keys {
			pairs = append(pairs, w.pair(k, entry[k]))
		}
		w.WriteString(indent + "- {" + strings.Join(pairs, ", ") + "}" + w.tail() + eol)
	case "lines":
		w.WriteString(indent + "- {")
		for i, k := range keys {
			if i > 0 {
				w.WriteString(indent + "   ")
			}
			if w.WriteString(w.pair(k, entry[k])); i+1 < len(keys) {
				w.WriteString("," + w.tail() + eol)
			}
		}
		w.WriteString("}" + w.tail() + eol)
	case "block":
		lead := indent + "- "
		for _, k := range keys {
			w.block(lead, k, entry[k])
			lead = indent + "  "
		}
	}
	return w.String()
}

// block writes a key with its value, in block style now and then, behind lead.
func (w *writer) block(lead, k, v string) {
	indent := strings.Repeat(" ", len(lead)) + rapid.SampledFrom([]string{"", "  "}).Draw(w.T, "deeper")
	items := parts(v)
	if len(items) == 0 || !rapid.Bool().Draw(w.T, "block "+k) {
		w.WriteString(lead + w.pair(k, v) + w.tail() + w.eol)
		return
	}
	w.WriteString(lead + k + ":" + w.tail() + w.eol)
	if v[0] == '{' {
		for _, item := range items {
			k, v, _ := strings.Cut(item, ": ")
			w.block(indent+"  ", k, v)
		}
		return
	}
	for _, item := range items {
		if item[0] != '{' || !rapid.Bool().Draw(w.T, "block item") {
			w.WriteString(indent + "  - " + item + w.tail() + w.eol)
			continue
		}
		lead := indent + "  - "
		for _, pair := range parts(item) {
			k, v, _ := strings.Cut(pair, ": ")
			w.WriteString(lead + w.pair(k, v) + w.tail() + w.eol)
			lead = indent + "    "
		}
	}
}

// parts returns what stands between the brackets or braces of a value of a script.
func parts(v string) []string {
	if v[0] != '[' && v[0] != '{' {
		return nil
	}
	var list []string
	depth, from := 0, 1
	for i, c := range v {
		switch {
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		}
		if end := i == len(v)-1; end && i > from || depth == 1 && c == ',' {
			list = append(list, strings.TrimSpace(v[from:i]))
			from = i + 1
		}
	}
	return list
}

func genNetwork(t *rapid.T, i int) map[string]string {
	n := map[string]string{"name": fmt.Sprintf("net%d", i)}
	switch n["mode"] = rapid.SampledFrom([]string{"isolated", "bridged", "nat", "nat"}).Draw(t, "mode"); n["mode"] {
	case "bridged":
		n["uplinks"] = fmt.Sprintf("[nic%da, nic%db]", i, i)
	case "nat":
		genGateway(t, i, n)
	}
	maybe(t, n, map[string]string{"mtu": "9000", "ageing": "60s", "stations": "100"})
	return n
}

func genPort(t *rapid.T, i, networks int) map[string]string {
	p := map[string]string{"name": fmt.Sprintf("vm%d", i), "network": fmt.Sprintf("net%d", rapid.IntRange(0, networks-1).Draw(t, "network"))}
	maybe(t, p, map[string]string{"mac": fmt.Sprintf(`"52:54:00:00:00:%02x"`, i), "owner": "root", "queues": "2"})
	return p
}

// maybe gives an entry each of the keys, or not.
func maybe(t *rapid.T, entry, keys map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if rapid.Bool().Draw(t, k) {
			entry[k] = keys[k]
		}
	}
}

func genScript(t *rapid.T) *script {
	s := &script{lists: map[string][]map[string]string{}}
	eol := rapid.SampledFrom([]string{"\n", "\n", "\r\n"}).Draw(t, "eol")
	networks := rapid.IntRange(1, 3).Draw(t, "networks")
	for i := range networks {
		s.lists["networks"] = append(s.lists["networks"], genNetwork(t, i))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "ports") {
		s.lists["ports"] = append(s.lists["ports"], genPort(t, i, networks))
	}
	free := func() {
		s.chunks = append(s.chunks, chunk{text: strings.ReplaceAll(comments.Draw(t, "comment"), "\n", eol)})
	}
	for _, list := range rapid.Permutation([]string{"networks", "ports"}).Draw(t, "order") {
		if len(s.lists[list]) == 0 {
			continue
		}
		free()
		s.chunks = append(s.chunks, chunk{text: list + ":" + tails.Draw(t, "tail") + eol})
		indent := rapid.SampledFrom([]string{"", "  ", "    "}).Draw(t, "indent")
		for _, entry := range s.lists[list] {
			free()
			keys := rapid.Permutation(slices.Sorted(maps.Keys(entry))).Draw(t, "keys")
			s.chunks = append(s.chunks, chunk{list, entry["name"], genEntry(t, indent, eol, keys, entry)})
		}
		free()
	}
	return s
}

func (s *script) text() string {
	var b strings.Builder
	for _, c := range s.chunks {
		b.WriteString(c.text)
	}
	return b.String()
}

// around returns the text before and behind an entry.
func (s *script) around(list, name string) (head, tail string) {
	at := slices.IndexFunc(s.chunks, func(c chunk) bool { return c.list == list && c.name == name })
	before, behind := script{chunks: s.chunks[:at]}, script{chunks: s.chunks[at+1:]}
	return before.text(), behind.text()
}

// meaning is what the script says, written in the plainest way.
func (s *script) meaning() string {
	var b strings.Builder
	for _, list := range []string{"networks", "ports"} {
		b.WriteString(list + ":\n")
		for _, entry := range s.lists[list] {
			b.WriteString("- {")
			for k, v := range entry {
				b.WriteString(k + ": " + v + ", ")
			}
			b.WriteString("}\n")
		}
	}
	return b.String()
}

// newValues draws an edit of keys: as values for the Document, and as YAML for the
// script.
func newValues(t *rapid.T, list string) (values, map[string]string) {
	choice := map[string][]any{
		"mtu": {nil, 1400, 9000}, "stations": {nil, 7, "8"}, "ageing": {nil, "10s", "60s"},
	}
	if list == "ports" {
		choice = map[string][]any{
			"mac": {nil, "52:54:00:00:0a:01"}, "owner": {nil, "kvm", "root", "a#b"}, "queues": {nil, 8.0},
			"stations": {nil, 7, "8"}, "group": {nil, 107}, "fastpath": {nil, "on", "off", "xdp", true, false},
		}
	}
	v, yaml := values{}, map[string]string{}
	for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(choice))), 1, 3, rapid.ID).Draw(t, "edited") {
		v[k] = rapid.SampledFrom(choice[k]).Draw(t, "value")
		if v[k] == nil {
			yaml[k] = ""
		} else if s, ok := v[k].(string); ok && k != "stations" {
			yaml[k] = `"` + s + `"`
		} else {
			yaml[k] = fmt.Sprint(v[k])
		}
	}
	return v, yaml
}

func TestDocumentAgreesWithTheObviousTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genScript(t)
		was := s.text()
		d, err := config.NewDocument([]byte(was))
		if err != nil {
			t.Fatalf("%v\nin:\n%s", err, was)
		}
		list := rapid.SampledFrom(slices.Sorted(maps.Keys(s.lists))).Draw(t, "list")
		name := rapid.SampledFrom(s.lists[list]).Draw(t, "entry")["name"]
		at := slices.IndexFunc(s.lists[list], func(e map[string]string) bool { return e["name"] == name })
		head, tail := s.around(list, name)

		verb := rapid.SampledFrom([]string{"set", "delete", "add", "uplinks"}).Draw(t, "verb")
		switch verb {
		case "set":
			v, yaml := newValues(t, list)
			err = set(d, list, name, v)
			s.put(list, at, yaml)
		case "uplinks":
			list = "networks"
			if at >= len(s.lists[list]) || s.lists[list][at]["mode"] != "bridged" {
				return
			}
			name = s.lists[list][at]["name"]
			head, tail = s.around(list, name)
			nics := rapid.Permutation([]string{fmt.Sprintf("nic%da", at), fmt.Sprintf("nic%db", at), "nic9"}).Draw(t, "nics")
			nics = nics[:rapid.IntRange(1, 3).Draw(t, "count")]
			err = d.SetNetwork(name, values{"uplinks": nics})
			s.put(list, at, map[string]string{"uplinks": "[" + strings.Join(nics, ", ") + "]"})
		case "delete":
			if list == "networks" {
				for i := range s.lists["ports"] {
					if s.lists["ports"][i]["network"] == name {
						return
					}
				}
				err = d.DeleteNetwork(name)
			} else {
				err = d.DeletePort(name)
			}
			s.lists[list] = slices.Delete(s.lists[list], at, at+1)
		case "add":
			v := values{"mode": "isolated"}
			entry := map[string]string{"name": "new", "mode": "isolated"}
			if list == "ports" {
				v = values{"network": "net0"}
				entry = map[string]string{"name": "new", "network": "net0"}
			}
			err = set(d, list, "new", v)
			s.lists[list] = append(s.lists[list], entry)
			last := s.lists[list][len(s.lists[list])-2]["name"]
			_, tail = s.around(list, last)
			head = was[:len(was)-len(tail)]
		}
		s.compare(t, verb+" of "+list+" "+name, was, head, tail, d, err)
	})
}

// compare fails the test if an edit of what stands between head and tail failed,
// touched other lines, or does not mean what the script means by now.
func (s *script) compare(t *rapid.T, what, was, head, tail string, d *config.Document, err error) {
	if err != nil {
		t.Fatalf("%s: %v\nin:\n%s", what, err, was)
	}
	is := string(d.Bytes())
	if !strings.HasPrefix(is, head) || !strings.HasSuffix(is, tail) || len(is) < len(head)+len(tail) {
		t.Fatalf("%s touched other lines:\n%s", what, change(was, is))
	}
	want, err := config.Parse([]byte(s.meaning()))
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, s.meaning())
	}
	if diff := cmp.Diff(want, d.Config(), byValue); diff != "" {
		t.Fatalf("%s (-want +got):\n%s\nin:\n%s", what, diff, is)
	}
}

func set(d *config.Document, list, name string, v values) error {
	if list == "networks" {
		return d.SetNetwork(name, v)
	}
	return d.SetPort(name, v)
}

func (s *script) put(list string, at int, yaml map[string]string) {
	for k, v := range yaml {
		if v == "" {
			delete(s.lists[list][at], k)
		} else {
			s.lists[list][at][k] = v
		}
	}
}
