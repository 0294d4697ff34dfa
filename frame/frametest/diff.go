package frametest

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// Equal fails the test if the frames differ, and says where.
func Equal(t testing.TB, got, want []byte) {
	t.Helper()
	if d := Diff(got, want); d != "" {
		t.Errorf("frame differs (got, want):\n%s", d)
	}
}

// Diff returns how got differs from want, a line for each field of each header, or
// the first byte where no header says; "" if they are equal.
func Diff(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	var b strings.Builder
	if len(got) != len(want) {
		fmt.Fprintf(&b, "length: %d, %d bytes\n", len(got), len(want))
	}
	gs, ws := Decode(got).Layers(), Decode(want).Layers()
	for i := range min(len(gs), len(ws)) {
		if gs[i].LayerType() != ws[i].LayerType() {
			fmt.Fprintf(&b, "layer %d: %v, %v\n", i+1, gs[i].LayerType(), ws[i].LayerType())
			break
		}
		diffFields(&b, gs[i], ws[i])
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			fmt.Fprintf(&b, "first at byte %d: %x, %x\n", i, got[i:min(i+16, len(got))], want[i:min(i+16, len(want))])
			break
		}
	}
	return b.String()
}

func diffFields(b *strings.Builder, got, want gopacket.Layer) {
	g, w := reflect.Indirect(reflect.ValueOf(got)), reflect.Indirect(reflect.ValueOf(want))
	if g.Kind() != reflect.Struct {
		return // payload
	}
	for i := range g.NumField() {
		f := g.Type().Field(i)
		if f.Name == "BaseLayer" || !f.IsExported() || reflect.DeepEqual(g.Field(i).Interface(), w.Field(i).Interface()) {
			continue
		}
		fmt.Fprintf(b, "%v.%s: %v, %v\n", got.LayerType(), f.Name, g.Field(i), w.Field(i))
	}
}

// Decode returns gopacket's reading of the frame, which shares p's memory.
func Decode(p []byte) gopacket.Packet {
	return gopacket.NewPacket(p, layers.LayerTypeEthernet, gopacket.NoCopy)
}
