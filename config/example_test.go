package config_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"weft/config"
)

func TestExampleLoads(t *testing.T) {
	c := mustParse(t, string(config.Example))
	if len(c.Networks) != 1 || c.Networks[0].Name != "default" || c.Networks[0].Mode != config.ModeNAT || len(c.Ports) != 0 {
		t.Errorf("got %+v, want the NAT network default alone", c)
	}
}

// What the example offers as comments must work once the comment signs are gone, and
// show each key that there is.
func TestExampleCommentsLoad(t *testing.T) {
	offered := regexp.MustCompile(`(?m)^( *)# ( *(?:- )?\{?[a-z0-9-]+:(?: .*)?)$`)
	text := offered.ReplaceAllString(string(config.Example), "$1$2")
	c := mustParse(t, text)
	if len(c.Networks) != 4 || len(c.Ports) != 4 || c.Switch.Stations != 65536 {
		t.Errorf("got %d networks and %d ports, want 4 and 4, of:\n%s", len(c.Networks), len(c.Ports), text)
	}
	var visit func(reflect.Type)
	visit = func(r reflect.Type) {
		for r.Kind() == reflect.Slice || r.Kind() == reflect.Pointer {
			r = r.Elem()
		}
		if r.Kind() != reflect.Struct {
			return
		}
		for i := range r.NumField() {
			key := r.Field(i).Tag.Get("yaml")
			if key != "" && !regexp.MustCompile(`(?m)(^|[ {])`+key+`:( |$)`).MatchString(text) {
				t.Errorf("the example does not show %s of %v", key, r)
			}
			visit(r.Field(i).Type)
		}
	}
	visit(reflect.TypeFor[config.Config]())
	// Where it shows defaults, it shows the right ones.
	shown, bare := c.Networks[0], mustParse(t, string(config.Example)).Networks[0]
	if shown.DHCP.Range != bare.DHCP.Range || shown.DHCP.Lease != bare.DHCP.Lease || shown.DHCP.Quota != bare.DHCP.Quota ||
		shown.NAT.Ports != bare.NAT.Ports || shown.NAT.UDP != bare.NAT.UDP || shown.NAT.TCPEstablished != bare.NAT.TCPEstablished ||
		shown.DNS.Domain != bare.DNS.Domain || !slices.Equal(shown.Subnets, bare.Subnets) {
		t.Errorf("the example shows %+v, the defaults are %+v", shown, bare)
	}
}

func TestReadmeConfigurationsLoad(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```yaml\n(# weft\\.yaml.*?)```").FindAllSubmatch(readme, -1) {
		mustParse(t, string(m[1]))
	}
}
