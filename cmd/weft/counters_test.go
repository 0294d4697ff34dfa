package main

import (
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"weft/frame"
	"weft/internal/control/api"
)

func TestRates(t *testing.T) {
	before := []api.Counters{
		{Port: "vm1", RxFrames: 1000, RxBytes: 1e6, Drops: map[string]uint64{"runt": 5}},
		{Port: "reborn", TxFrames: 500},
	}
	now := []api.Counters{
		{Port: "vm1", RxFrames: 3000, RxBytes: 3.5e6, TxFrames: 4, Drops: map[string]uint64{"runt": 9}},
		{Port: "reborn", TxFrames: 20},
		{Port: "new", RxFrames: 7},
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	rateTable(w, before, now, 2*time.Second)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	golden(t, "rates.txt", b.String())
}

func TestGlossaryIsWhole(t *testing.T) {
	r := weft(t, "", "counters", "--reasons")
	if got, want := strings.Count(r.stdout, "\n"), int(frame.NumReasons); got != want { // without "none", with a heading
		t.Errorf("%d lines, want %d", got, want)
	}
	for i := frame.Reason(1); i < frame.NumReasons; i++ {
		if !strings.Contains(r.stdout, i.String()) || !strings.Contains(r.stdout, i.Help()) || i.Help() == "" {
			t.Errorf("%s is not explained", i)
		}
	}
}
