package config_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weft/config"
)

// genGateway adds what only a network of mode nat has: 10.0.i.0/24.
func genGateway(t *rapid.T, i int, n map[string]string) {
	n["subnets"] = fmt.Sprintf(`[10.0.%d.1/24, "fd00:0:0:%d::1/64"]`, i, i)
	pairs := func(key string, values ...string) {
		if chosen := rapid.SliceOfNDistinct(rapid.SampledFrom(values), 0, 2, rapid.ID).Draw(t, key); len(chosen) > 0 {
			n[key] = "{" + strings.Join(chosen, ", ") + "}"
		}
	}
	list := func(key string, most int, item func(i, j int) string) string {
		var items []string
		for j := range rapid.IntRange(0, most).Draw(t, key) {
			items = append(items, item(i, j))
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	pairs("nat", "quota: 4", "udp: 300s", "filtering: address")
	pairs("dhcp", "lease: 2h", "quota: 3", "reservations: "+list("reservations", 3, reservation))
	if f := list("forwards", 2, forward); f != "[]" {
		n["forwards"] = f
	}
}

func reservation(i, j int) string {
	return fmt.Sprintf(`{mac: "52:54:00:00:%02x:%02x", address: 10.0.%d.%d}`, i, j, i, 10+j)
}

func forward(i, j int) string {
	return fmt.Sprintf(`{proto: tcp, port: %d, to: "10.0.%d.9:%d"}`, 1000*i+j+1, i, 100+j)
}

// below changes keys of a network's mappings, or the mappings as a whole, and returns
// the values that do it.
func (s *script) below(t *rapid.T, at int) values {
	v, entry := values{}, s.lists["networks"][at]
	for _, key := range []string{"nat", "dhcp"} {
		pairs := map[string]string{}
		for _, p := range parts(cmp.Or(entry[key], "{}")) {
			k, v, _ := strings.Cut(p, ": ")
			pairs[k] = v
		}
		switch rapid.SampledFrom([]string{"one", "one", "whole", "away", "leave"}).Draw(t, key) {
		case "one":
			k := rapid.SampledFrom([]string{"quota", map[string]string{"nat": "udp", "dhcp": "lease"}[key]}).Draw(t, "below")
			if value := rapid.SampledFrom([]string{"", "5", "6"}).Draw(t, "value"); value == "" {
				v[key+"."+k] = nil
				delete(pairs, k)
			} else if v[key+"."+k] = value; k == "quota" {
				pairs[k] = value
			} else {
				v[key+"."+k] = value + "m"
				pairs[k] = value + "m"
			}
		case "whole":
			v[key] = values{"quota": 9}
			pairs = map[string]string{"quota": "9"}
		case "away":
			v[key], pairs = nil, nil
		case "leave":
			continue
		}
		entry[key] = flow(pairs)
	}
	return v
}

func flow(pairs map[string]string) string {
	var texts []string
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		texts = append(texts, k+": "+pairs[k])
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

// items takes items out of a network's list of forwards and puts some in, and returns
// the values that do it.
func (s *script) items(t *rapid.T, at int) values {
	entry := s.lists["networks"][at]
	v, items := values{}, parts(cmp.Or(entry["forwards"], "[]"))
	gone := 0
	for len(items) > 0 && gone < 2 && rapid.Bool().Draw(t, "drop") {
		i := rapid.IntRange(0, len(items)-1).Draw(t, "item")
		_, port, _ := strings.Cut(parts(items[i])[1], ": ")
		drop, _ := v["forwards-"].([]any)
		v["forwards-"] = append(drop, values{"port": port})
		items = slices.Delete(items, i, i+1)
		gone++
	}
	for range rapid.IntRange(1-min(gone, 1), 2).Draw(t, "add") {
		s.ports++
		add, _ := v["forwards+"].([]any)
		v["forwards+"] = append(add, values{"to": fmt.Sprintf("10.0.%d.9:22", at), "proto": "tcp", "port": 50000 + s.ports})
		items = append(items, fmt.Sprintf(`{proto: tcp, port: %d, to: "10.0.%d.9:22"}`, 50000+s.ports, at))
	}
	entry["forwards"] = "[" + strings.Join(items, ", ") + "]"
	return v
}

func TestDocumentAgreesWithTheObviousTwinOnGateways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genScript(t)
		at := slices.IndexFunc(s.lists["networks"], func(e map[string]string) bool { return e["mode"] == "nat" })
		if at < 0 {
			return
		}
		name := s.lists["networks"][at]["name"]
		was := s.text()
		d, err := config.NewDocument([]byte(was))
		if err != nil {
			t.Fatalf("%v\nin:\n%s", err, was)
		}
		head, tail := s.around("networks", name)
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			var v values
			if rapid.Bool().Draw(t, "list") {
				v = s.items(t, at)
			} else {
				v = s.below(t, at)
			}
			err := d.SetNetwork(name, v)
			s.compare(t, fmt.Sprintf("edit of %s, %v,", name, v), was, head, tail, d, err)
		}
	})
}
