package nat

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexModel compares an index that is nearly full with a map, tags of which many
// begin their search at the same place.
func TestIndexModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := index{slots: make([]slot, rapid.IntRange(4, 20).Draw(t, "slots"))}
		slow := map[uint32]uint32{} // record to tag
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				if len(slow) < len(x.slots)-1 {
					record := rapid.Uint32Range(1, 1000).Filter(func(r uint32) bool { return slow[r] == 0 }).Draw(t, "record")
					tag := rapid.SampledFrom([]uint32{1, 2, 1 << 30, 1<<30 + 1, 1 << 31, 1<<32 - 2, 1<<32 - 1}).Draw(t, "tag")
					x.add(tag, byHost, record)
					slow[record] = tag
				}
			},
			"remove": func(t *rapid.T) {
				if len(slow) > 0 {
					record := rapid.SampledFrom(slices.Sorted(maps.Keys(slow))).Draw(t, "record")
					x.remove(slow[record], byHost, record)
					delete(slow, record)
				}
			},
			"": func(t *rapid.T) {
				for record, tag := range slow {
					if !slices.Contains(slices.Collect(x.all(tag, byHost)), record) {
						t.Fatalf("record %d of tag %#x is not found: %#x", record, tag, x.slots)
					}
					if got := slices.Collect(x.all(tag, byPeer)); got != nil {
						t.Fatalf("found as another kind: %d", got)
					}
				}
				used := 0
				for _, s := range x.slots {
					if s != 0 {
						used++
					}
				}
				if used != len(slow) {
					t.Fatalf("%d slots used, want %d", used, len(slow))
				}
			},
		})
	})
}

// However tags lie, searches are short also in the fullest table.
func TestIndexStaysShort(t *testing.T) {
	const sessions = 20000
	x := newIndex(sessions, [3]uint64{0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9})
	for i := range uint32(6 * sessions) {
		x.add(x.tag(byOutward, udp, uint64(i), address{}), byOutward, i+1)
	}
	longest, run := 0, 0
	for _, s := range x.slots {
		if run++; s == 0 {
			longest, run = max(longest, run), 0
		}
	}
	if longest > 2000 {
		t.Errorf("a search may look at %d slots", longest)
	}
}
