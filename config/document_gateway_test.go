package config_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/config"
)

// network edits the network of that name.
func network(name string, v values) func(*config.Document) error {
	return func(d *config.Document) error { return d.SetNetwork(name, v) }
}

// nested returns a list in a list, and so on.
func nested(depth int) any {
	var v any
	for range depth {
		v = []any{v}
	}
	return v
}

var gatewayEdits = []namedEdit{
	{"set a key below another, block", network("default", values{"dhcp.lease": "2h"})},
	{"set a key below another, flow", network("dmz", values{"dns.domain": "lan"})},
	{"add a key below another, block", network("default", values{"dhcp.quota": 3, "nat.udp": "3m"})},
	{"add a key below another, flow", network("dmz", values{"dhcp.quota": "3"})},
	{"add a key below one that is empty", network("flow", values{"nat.quota": 9})},
	{"add a key below one that is null", network("flow", values{"dhcp.lease": "3h", "dhcp.quota": 1})},
	{"add a key below one that is not there", network("flow", values{"dns.domain": "x", "dns.enabled": true})},
	{"remove a key below another, block", network("default", values{"dhcp.range": nil})},
	{"remove a block below another", network("default", values{"dhcp.reservations": nil})},
	{"remove the only key below another, block", network("default", values{"nat.filtering": nil})},
	{"remove the only key below another, flow", network("dmz", values{"dhcp.lease": nil})},
	{"remove a key below one that is not there", network("flow", values{"dns.domain": nil})},
	{"set what is there already", network("default", values{"dhcp.lease": "1h", "nat": values{"filtering": "endpoint-independent"}})},
	{"mapping for mapping, block", network("default", values{"dhcp": values{"range": "192.168.150.20-192.168.150.30", "quota": 2}})},
	{"mapping for mapping, flow", network("dmz", values{"dns": values{"servers": []any{"9.9.9.9"}, "enabled": false}})},
	{"mapping of a type of Config", network("flow", values{"dhcp": config.DHCP{
		Lease:        config.DefaultLease,
		Reservations: []config.Reservation{{MAC: 0x525400000001, Address: netip.MustParseAddr("10.30.0.9")}},
	}})},
	{"mapping: empty, block", network("default", values{"dhcp": values{}})},
	{"mapping: away with it, block", network("default", values{"dhcp": nil})},
	{"list: add, block of flow", network("default", values{"forwards+": values{"port": 80, "to": "192.168.150.10:80", "proto": "tcp"}})},
	{"list: add, block of blocks", network("default", values{"dhcp.reservations+": []any{values{"mac": "52:54:00:00:00:03", "address6": "fd5a:150::3"}}})},
	{"list: add, wide dash", network("shared", values{"forwards+": values{"proto": "udp", "port": "53", "to": "10.40.0.9:53"}})},
	{"list: add two, flow", network("dmz", values{"routes+": []any{values{"to": "10.8.0.0/16", "via": "10.20.0.6"}, values{"to": "10.9.0.0/16", "via": "10.20.0.6"}}})},
	{"list: add to an empty one", network("dmz", values{"reach+": "default"})},
	{"list: add to one that is not there", network("dmz", values{"dhcp.reservations+": values{"mac": "52:54:00:00:00:04", "address": "10.20.0.9"}})},
	{"list: add to what is in force", network("merged", values{"reach+": "default"})},
	{"list: add to one for many", network("flow", values{"uplinks+": "eth2"})},
	{"list: add a subnet", network("default", values{"subnets+": netip.MustParsePrefix("10.70.0.1/24")})},
	{"list: remove, block of flow", network("default", values{"forwards-": values{"port": "2222"}})},
	{"list: remove, block of blocks", network("default", values{"dhcp.reservations-": values{"name": "web"}})},
	{"list: remove, otherwise written", network("default", values{"dhcp.reservations-": values{"mac": "52-54-00-00-00-02"}})},
	{"list: remove a text, flow", network("dmz", values{"dns.servers-": "9.9.9.9"})},
	{"list: remove a text, block", network("default", values{"subnets-": "fd5a:150::1/64"})},
	{"list: remove the only one, flow", network("dmz", values{"routes-": values{"via": "10.20.0.5"}})},
	{"list: remove the only one, block", network("shared", values{"forwards-": values{"proto": "tcp"}})},
	{"list: remove all, block", network("default", values{"forwards-": []any{values{"proto": "tcp"}, values{"proto": "udp"}}})},
	{"list: remove and add", network("default", values{
		"forwards-": values{"proto": "udp"}, "forwards+": values{"proto": "tcp", "port": "25", "to": "192.168.150.11:25"},
	})},
	{"list: whole, block", network("default", values{"forwards": []any{
		values{"proto": "udp", "port": 514, "to": "192.168.150.11:514"}, values{"proto": "tcp", "port": 25, "to": "192.168.150.11:25"},
	}})},
	{"list: whole, block of blocks", network("default", values{"dhcp.reservations": []any{
		values{"mac": "52:54:00:00:00:05", "address": "192.168.150.5"}, values{"mac": "52:54:00:00:00:02", "address": "192.168.150.11"},
	}})},
	{"new network", network("new", values{
		"subnets": []string{"10.80.0.1/24"}, "dhcp.lease": "2h", "dhcp.range": "10.80.0.5-10.80.0.9", "nat.quota": 7,
		"dhcp.reservations+": values{"mac": "52:54:00:00:00:01", "address": "10.80.0.7"},
		"forwards+":          []any{values{"proto": "tcp", "port": 23, "to": "10.80.0.7:23"}}, "dns.enabled": nil,
	})},
	{"new network of a type of Config", network("new", values{
		"subnets": []string{"10.80.0.1/24"}, "mode": config.ModeRouted,
		"dhcp": config.DHCP{Enabled: true, Lease: config.DefaultLease},
	})},

	{"refused: key below one value", network("default", values{"mtu.lease": 4})},
	{"refused: key below an anchor", network("shared", values{"dhcp.lease": "2h"})},
	{"refused: key below an alias", network("heir", values{"dhcp.lease": "2h"})},
	{"refused: key below what is merged", network("merged", values{"dns.enabled": false})},
	{"refused: faults of keys below", network("default", values{"dhcp.lease": "2s", "dhcp.rnage": "x", "nat.udp": 5, "forwards": []any{values{"proto": "tcp"}}})},
	{"refused: key below and whole", network("default", values{"dhcp": nil, "dhcp.lease": "2h"})},
	{"refused: list whole and changed", network("default", values{"forwards": []any{}, "forwards-": values{"port": 2222}})},
	{"refused: no such item", network("default", values{"forwards-": values{"port": 2223}})},
	{"refused: no item of the kind", network("default", values{"forwards-": values{"port": 0, "prot": "tcp"}})},
	{"refused: no list", network("default", values{"mtu+": 9000})},
	{"refused: no list known", network("default", values{"forward+": values{"port": 1}})},
	{"refused: plus and minus", network("default", values{"forwards+-": values{"port": 1}})},
	{"refused: removed from what is new", network("new", values{"subnets": []any{"10.80.0.1/24"}, "forwards-": values{"port": 1}})},
	{"refused: twice the same port", network("default", values{"forwards+": values{"proto": "tcp", "port": 2222, "to": "192.168.150.9:22"}})},
	{"refused: a key that is YAML", network("default", values{"dhcp.a: b, c": "x"})},
	{"refused: an item that is YAML", network("default", values{"reach+": "dmz], x: [y"})},
	{"refused: a control character", network("d\x00w", values{"dhcp.range": "\x00"})},
	{"refused: lists in lists", network("default", values{"dhcp": nested(50)})},
	{"refused: keys below keys", network("default", values{strings.Repeat("a.", 50): 1})},
	{"refused: a value of no kind", network("default", values{"dhcp": values{"lease": func() {}}})},
}

// Whatever comes over the socket, an edit is done or refused, and touches its own
// entry only.
func FuzzSetNetwork(f *testing.F) {
	text, err := os.ReadFile("testdata/edit/gateway.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][3]string{
		{"default", "dhcp", `{"lease": "2h", "reservations": [{"mac": "52:54:00:00:00:01", "address": "192.168.150.9"}]}`},
		{"default", "forwards-", `{"port": 2222}`},
		{"default", "forwards+", `[{"proto": "tcp", "port": "22", "to": "192.168.150.9:22", "address": null}]`},
		{"dmz", "dns.servers+", `"9.9.9.10"`},
		{"flow", "nat.quota", `17`},
		{"shared", "mtu", `9000.5`},
		{"merged", "reach", `["dmz", true, 4, {"a b": [], "": {}}]`},
		{"new", "subnets+", `["10.9.0.1/24"]`},
		{"new", "dhcp.range", `"]}, x"`},
		{"default", "dhcp", strings.Repeat("[", 50) + strings.Repeat("]", 50)},
	} {
		f.Add(seed[0], seed[1], []byte(seed[2]))
	}
	f.Fuzz(func(t *testing.T, name, key string, value []byte) {
		var v any
		if json.Unmarshal(value, &v) != nil {
			return
		}
		d := mustDocument(t, string(text))
		before := d.Config()
		if err := d.SetNetwork(name, values{key: v}); err != nil {
			faults(t, err)
			if string(d.Bytes()) != string(text) || d.Config() != before {
				t.Fatalf("failed and changed the document: %v", err)
			}
			return
		}
		if diff := cmp.Diff(mustParse(t, string(d.Bytes())), d.Config(), byValue); diff != "" {
			t.Fatalf("Config disagrees with Bytes:\n%s", diff)
		}
		for i, was := range before.Networks {
			if is := d.Config().Networks[i]; was.Name != name && !cmp.Equal(was, is, byValue) {
				t.Fatalf("another network changed:\n%s", cmp.Diff(was, is, byValue))
			}
		}
	})
}
