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
}

// A chunk is some lines of a script; those of an entry carry its list and name.
type chunk struct{ list, name, text string }

var comments = rapid.SampledFrom([]string{"", "", "", "# a comment\n", "  # {name: not, an: entry}\n", "\n", "# ümlaut: [\n\n"})

var tails = rapid.SampledFrom([]string{"", "", "  # tail", " # 'quoted', }"})

// genEntry writes an entry in one of the styles that people use.
func genEntry(t *rapid.T, indent, eol string, keys []string, entry map[string]string) string {
	tail := func() string { return tails.Draw(t, "tail") }
	pair := func(k string) string {
		v := entry[k]
		if !strings.HasPrefix(v, "[") && !strings.HasPrefix(v, `"`) {
			v = rapid.SampledFrom([]string{v, v, "'" + v + "'"}).Draw(t, "quoted")
			if k == "mtu" || k == "stations" || k == "queues" {
				v = entry[k]
			}
		}
		return k + ": " + v
	}
	var b strings.Builder
	switch rapid.SampledFrom([]string{"flow", "lines", "block"}).Draw(t, "style") {
	case "flow":
		var pairs []string
		for _, k := range keys {
			pairs = append(pairs, pair(k))
		}
		b.WriteString(indent + "- {" + strings.Join(pairs, ", ") + "}" + tail() + eol)
	case "lines":
		b.WriteString(indent + "- {")
		for i, k := range keys {
			if i > 0 {
				b.WriteString(indent + "   ")
			}
			if b.WriteString(pair(k)); i+1 < len(keys) {
				b.WriteString("," + tail() + eol)
			}
		}
		b.WriteString("}" + tail() + eol)
	case "block":
		lead := "- "
		for _, k := range keys {
			b.WriteString(indent + lead)
			lead = "  "
			items := strings.Split(strings.Trim(entry[k], "[]"), ", ")
			if !strings.HasPrefix(entry[k], "[") || !rapid.Bool().Draw(t, "block list") {
				b.WriteString(pair(k) + tail() + eol)
				continue
			}
			b.WriteString(k + ":" + tail() + eol)
			for _, item := range items {
				b.WriteString(indent + "    - " + item + tail() + eol)
			}
		}
	}
	return b.String()
}

func genNetwork(t *rapid.T, i int) map[string]string {
	n := map[string]string{"name": fmt.Sprintf("net%d", i), "mode": "isolated"}
	if rapid.Bool().Draw(t, "bridged") {
		n["mode"] = "bridged"
		n["uplinks"] = fmt.Sprintf("[nic%da, nic%db]", i, i)
	}
	for k, v := range map[string]string{"mtu": "9000", "ageing": "60s", "stations": "100"} {
		if rapid.Bool().Draw(t, k) {
			n[k] = v
		}
	}
	return n
}

func genPort(t *rapid.T, i, networks int) map[string]string {
	p := map[string]string{"name": fmt.Sprintf("vm%d", i), "network": fmt.Sprintf("net%d", rapid.IntRange(0, networks-1).Draw(t, "network"))}
	for k, v := range map[string]string{"mac": fmt.Sprintf(`"52:54:00:00:00:%02x"`, i), "owner": "root", "queues": "2"} {
		if rapid.Bool().Draw(t, k) {
			p[k] = v
		}
	}
	return p
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

// newValues draws an edit: as values for the Document, and as YAML for the script.
func newValues(t *rapid.T, list string) (values, map[string]string) {
	choice := map[string][]any{
		"mtu": {nil, 1400, 9000}, "stations": {nil, 7, "8"}, "ageing": {nil, "10s", "60s"},
	}
	if list == "ports" {
		choice = map[string][]any{
			"mac": {nil, "52:54:00:00:0a:01"}, "owner": {nil, "kvm", "root", "a#b"}, "queues": {nil, 8.0},
			"stations": {nil, 7, "8"}, "group": {nil, 107},
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
		if err != nil {
			t.Fatalf("%s of %s %s: %v\nin:\n%s", verb, list, name, err, was)
		}
		is := string(d.Bytes())
		if !strings.HasPrefix(is, head) || !strings.HasSuffix(is, tail) || len(is) < len(head)+len(tail) {
			t.Fatalf("%s of %s %s touched other lines:\n%s", verb, list, name, change(was, is))
		}
		want, err := config.Parse([]byte(s.meaning()))
		if err != nil {
			t.Fatalf("%v\nin:\n%s", err, s.meaning())
		}
		if diff := cmp.Diff(want, d.Config(), byValue); diff != "" {
			t.Fatalf("%s of %s %s (-want +got):\n%s\nin:\n%s", verb, list, name, diff, is)
		}
	})
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
