package main

import (
	"testing"

	"weft/frame"
)

func TestEveryRefusalIsExplained(t *testing.T) {
	for r := frame.Refusal(1); r < frame.NumRefusals; r++ {
		if refusals[r.String()] == "" {
			t.Errorf("%s is not explained", r)
		}
	}
	if got, want := len(refusals), int(frame.NumRefusals)-1; got != want {
		t.Errorf("%d reasons explained, want %d", got, want)
	}
}
